//! How a deploy that was asked for ends, and what it leaves.

use serde_json::json;

use super::*;
use launchway_fakes::render::Look;

#[test]
fn a_newer_deploy_supersedes_ours() {
    let fixture = Fixture::settled();
    fixture.joins(manual("dep-newer", "queued", OTHER));
    fixture.looks(["update_in_progress", "canceled"]);
    let (exit, said) = failure(&fixture.context());
    assert_eq!(exit, Exit::Superseded);
    assert_eq!(said, "deploy dep-1 was cancelled and superseded by dep-newer");

    let fixture = Fixture::settled();
    fixture.looks(["deactivated"]);
    assert_eq!(failure(&fixture.context()).0, Exit::Superseded);

    // Cancelled by somebody: the only other deploy is older.
    let fixture = Fixture::settled();
    fixture.looks(["canceled"]);
    let (exit, said) = failure(&fixture.context());
    assert_eq!(
        (exit, said.as_str()),
        (Exit::DeployFailed, "deploy dep-1 was cancelled\nthe service was rolled back")
    );

    // Render's own word for it goes before the list.
    let fixture = Fixture::settled();
    fixture.joins(manual("dep-newer", "queued", OTHER));
    fixture.looks(["canceled"]);
    fixture.ours(|image| image.reason = json!({ "newDeploy": { "id": "dep-told" } }));
    let (exit, said) = failure(&fixture.context());
    assert_eq!((exit, said.contains("superseded by dep-told")), (Exit::Superseded, true), "{said}");

    // Render also calls cancelled what it gave up itself.
    let fixture = Fixture::settled();
    fixture.joins(manual("dep-newer", "queued", OTHER));
    fixture.looks(["canceled"]);
    let reason = json!({ "failure": { "timedOutSeconds": 900, "evicted": false }, "newDeploy": { "id": "dep-newer" } });
    fixture.ours(|image| image.reason = reason);
    let (exit, said) = failure(&fixture.context());
    assert_eq!(exit, Exit::DeployFailed);
    assert!(said.contains("was not up in time"), "{said}");
}

#[test]
fn a_deploy_that_takes_too_long_is_cancelled() {
    let fixture = Fixture::settled();
    fixture.looks(["update_in_progress"]);
    let mut ctx = fixture.context();
    ctx.config.deploy.timeout = Duration::from_millis(30);
    let (exit, said) = failure(&ctx);
    assert_eq!(exit, Exit::DeployFailed);
    assert_eq!(said, "deploy dep-1 is still update_in_progress after 30ms\nthe service was rolled back");
    assert_eq!(fixture.count("POST", "/cancel"), 1);
    assert!(notes(&ctx).contains("deploy dep-1 is cancelled"));
}

#[test]
fn an_outage_of_the_api_is_not_one_of_the_deploy() {
    let fixture = Fixture::settled();
    let looks: [Look; 8] = [
        "queued".into(),
        "queued".into(),
        (502, "<html>bad</html>").into(),
        (502, "<html>bad</html>").into(),
        (429, "{}").into(),
        (200, "oops").into(),
        "being_blessed".into(),
        "live".into(),
    ];
    fixture.ours(|image| image.looks(looks));
    let ctx = fixture.context();
    assert_eq!(deploy(&ctx).result.unwrap().status, "live");
    let reported = stable(&fixture, &notes(&ctx));
    insta::assert_snapshot!(reported[reported.find("requesting").unwrap()..reported.rfind("[app]").unwrap()], @"
    requesting a deploy of `docker.io/acme/app@[digest]`
    deploy dep-1: created
    deploy dep-1: queued
    the Render API is not available (502 Bad Gateway: <html>bad</html>): retrying
    the Render API is not available (429 Too Many Requests: {}): retrying
    the Render API is not available (its response is not the expected JSON): retrying
    deploy dep-1: being_blessed, an unknown status
    deploy dep-1: live
    ");
}

#[test]
fn one_response_of_an_old_instance_restarts_the_count() {
    let fixture = Fixture::settled();
    // Twice for the plan, then four of five.
    fixture.versions([BEFORE, BEFORE, COMMIT, COMMIT, COMMIT, COMMIT, "older", COMMIT]);
    let ctx = fixture.context();
    let timings = Timings { settle: Duration::from_secs(20), ..timings(&ctx) };
    deploy_with(&ctx, &Options { timings, ..options(&ctx) }).result.unwrap();
    assert!(
        notes(&ctx).contains("the service reports commit older: waiting for commit 0123456789ab"),
        "{}",
        notes(&ctx)
    );
}

#[test]
fn a_key_that_is_withdrawn_half_way_ends_the_wait() {
    let fixture = Fixture::settled();
    fixture.ours(|image| image.looks([(401, "{}")]));
    let (exit, said) = failure(&fixture.context());
    assert_eq!(exit, Exit::Missing);
    assert!(said.contains("`RENDER_API_KEY`") && said.ends_with("the service was rolled back"), "{said}");
}

#[test]
fn another_release_that_responds_supersedes_ours() {
    let fixture = Fixture::settled();
    fixture.versions(["newer"]);
    fixture.looks(["live", "deactivated"]);
    let (exit, said) = failure(&fixture.context());
    assert_eq!(exit, Exit::Superseded);
    assert!(said.contains("superseded by"), "{said}");
}
