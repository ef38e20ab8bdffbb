//! How a deploy that was asked for ends, and what it leaves.

use super::*;

const CANCEL: &str = "POST /v1/services/srv-1/deploys/dep-ours/cancel";

#[test]
fn a_failed_deploy_says_what_it_left() {
    let stub = settled();
    stub.state().looks = ["update_in_progress", "update_failed"].into();
    let (exit, said) = failure(&context(&stub));
    assert_eq!((exit, said.as_str()), (Exit::DeployFailed, "deploy dep-ours ended as update_failed"));

    let stub = Stub::start();
    stub.state().looks = ["update_in_progress", "update_failed"].into();
    let ctx = context(&stub);
    let (exit, said) = failure(&ctx);
    assert_eq!(exit, Exit::NotRolledBack);
    insta::assert_snapshot!(said, @"
    deploy dep-ours ended as update_failed
    not put back: these variables keep what was written, and the next deploy of any kind takes them up: SERVER_TYPE, HOSTS, SECRET_KEY, SENTRY_DSN
    ");
    insta::assert_snapshot!(stable(&stub, &notes(&ctx)), @"
    service `app`: http://[app]/
    variables: SERVER_TYPE added, HOSTS added, SECRET_KEY added, SENTRY_DSN added
    asking for `docker.io/slipway/app@[digest]`
    deploy dep-ours: created
    deploy dep-ours: update_in_progress
    deploy dep-ours: update_failed
    ");
}

#[test]
fn a_newer_deploy_supersedes_ours() {
    let stub = settled();
    stub.state().foreign = Some(deploy("dep-newer", "queued", "manual", OTHER, 20));
    stub.state().looks = ["update_in_progress", "canceled"].into();
    let (exit, said) = failure(&context(&stub));
    assert_eq!(exit, Exit::Superseded);
    assert_eq!(said, "deploy dep-ours was cancelled for the newer deploy dep-newer");

    let stub = settled();
    stub.state().looks = ["deactivated"].into();
    assert_eq!(failure(&context(&stub)).0, Exit::Superseded);

    // Cancelled by somebody: the only other deploy is older.
    let stub = settled();
    stub.state().looks = ["canceled"].into();
    let (exit, said) = failure(&context(&stub));
    assert_eq!((exit, said.as_str()), (Exit::DeployFailed, "deploy dep-ours was cancelled"));
}

#[test]
fn a_deploy_that_takes_too_long_is_cancelled() {
    let stub = settled();
    stub.state().looks = ["update_in_progress"].into();
    let mut ctx = context(&stub);
    ctx.config.deploy.timeout = Duration::from_millis(30);
    let (exit, said) = failure(&ctx);
    assert_eq!(exit, Exit::DeployFailed);
    assert_eq!(said, "deploy dep-ours is still update_in_progress after 30ms");
    assert_eq!(stub.asked(CANCEL).len(), 1);
    assert!(notes(&ctx).ends_with("deploy dep-ours is cancelled"));
}

#[test]
fn a_deploy_that_cannot_be_cancelled_is_named() {
    for (after, exit, said) in [
        ("update_in_progress", Exit::NotRolledBack, "may still go live: Render refused: 400 Bad Request"),
        ("live", Exit::NotRolledBack, "deploy dep-ours went live in the meantime"),
        ("update_failed", Exit::DeployFailed, "is still queued after 10ms"),
    ] {
        let stub = settled();
        stub.state().cancel = 400;
        stub.state().looks = ["queued"].into();
        let mut ctx = context(&stub);
        ctx.config.deploy.timeout = Duration::from_millis(10);
        stub.state().after_cancel = Some(after);
        let found = failure(&ctx);
        assert_eq!(found.0, exit, "{}", found.1);
        assert!(found.1.contains(said), "{}", found.1);
    }
}

#[test]
fn an_interrupt_cancels_our_deploy() {
    let stub = Stub::start();
    stub.state().looks = ["update_in_progress"].into();
    let ctx = context(&stub);
    stub.state().interrupt = Some(ctx.interrupt.clone());
    let (exit, said) = failure(&ctx);
    assert_eq!(exit, Exit::Interrupted);
    assert!(said.starts_with("interrupted") && said.contains("takes them up: SERVER_TYPE, HOSTS"), "{said}");
    assert_eq!(stub.asked(CANCEL).len(), 1);
}

#[test]
fn an_outage_of_the_api_is_not_one_of_the_deploy() {
    let stub = settled();
    stub.state().looks = [
        "queued",
        "queued",
        "502 <html>bad</html>",
        "502 <html>bad</html>",
        "429 {}",
        "200 oops",
        "being_blessed",
        "live",
    ]
    .into();
    let ctx = context(&stub);
    assert_eq!(attempt(&ctx).unwrap().status, "live");
    insta::assert_snapshot!(stable(&stub, &notes(&ctx)), @"
    service `app`: http://[app]/
    variables: SERVER_TYPE unchanged, HOSTS unchanged, SECRET_KEY unchanged, SENTRY_DSN unchanged
    asking for `docker.io/slipway/app@[digest]`
    deploy dep-ours: created
    deploy dep-ours: queued
    the Render API is not available (502 Bad Gateway: <html>bad</html>): asking on
    the Render API is not available (429 Too Many Requests: {}): asking on
    the Render API is not available (its answer is not the JSON it should be): asking on
    deploy dep-ours: being_blessed, a status new to us
    deploy dep-ours: live
    http://[app]/version answers commit 0123456789ab
    ");
}

#[test]
fn a_key_that_is_withdrawn_half_way_ends_the_wait() {
    let stub = settled();
    stub.state().looks = ["401 {}"].into();
    let (exit, said) = failure(&context(&stub));
    assert_eq!(exit, Exit::Missing);
    assert!(said.contains("`RENDER_API_KEY`"), "{said}");
}

#[test]
fn another_image_than_ours_is_not_a_success() {
    for sha in [Some(OTHER), None] {
        let stub = settled();
        stub.state().sha = sha;
        let (exit, said) = failure(&context(&stub));
        assert_eq!(exit, Exit::NotRolledBack);
        assert!(said.contains("was asked for\nnot put back: deploy dep-ours stays live"), "{said}");
    }
}

#[test]
fn an_app_that_never_answers_our_commit_is_not_a_success() {
    let stub = settled();
    stub.state().versions = [r#"{"commit":"older"}"#.to_owned(), "<html>".to_owned()].into();
    let ctx = context(&stub);
    let (exit, said) = failure(&ctx);
    assert_eq!(exit, Exit::NotRolledBack);
    insta::assert_snapshot!(stable(&stub, &said), @r#"
    http://[app]/version still answers something that is not `{"commit": "…"}` after 60ms, not commit 0123456789ab
    not put back: deploy dep-ours stays live, unproved
    "#);
    assert!(notes(&ctx).contains("the app answers commit older: waiting for 0123456789ab"));

    let stub = settled();
    stub.state().faults = vec![("GET", "/version", 503, ""); 1000];
    let (_, said) = failure(&context(&stub));
    assert!(said.contains("/version still answers 503 Service Unavailable after 60ms"), "{said}");
}

#[test]
fn a_foreign_release_that_answers_supersedes_ours() {
    let stub = settled();
    stub.state().versions = [r#"{"commit":"newer"}"#.to_owned()].into();
    stub.state().looks = ["live", "deactivated"].into();
    let (exit, said) = failure(&context(&stub));
    assert_eq!(exit, Exit::Superseded);
    assert!(said.contains("a newer deploy took its place"), "{said}");
}
