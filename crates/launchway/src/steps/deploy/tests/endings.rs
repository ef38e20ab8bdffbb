//! How a deploy that was asked for ends, and what it leaves.

use serde_json::json;

use super::*;
use crate::testing::stub::event;

const CANCEL: &str = "POST /v1/services/srv-1/deploys/dep-ours/cancel";

#[test]
fn a_newer_deploy_supersedes_ours() {
    let stub = settled();
    stub.state().foreign = Some(deploy("dep-newer", "queued", "manual", OTHER, 20));
    stub.state().looks = ["update_in_progress", "canceled"].into();
    let (exit, said) = failure(&context(&stub));
    assert_eq!(exit, Exit::Superseded);
    assert_eq!(said, "deploy dep-ours was cancelled and is superseded by dep-newer");

    let stub = settled();
    stub.state().looks = ["deactivated"].into();
    assert_eq!(failure(&context(&stub)).0, Exit::Superseded);

    // Cancelled by somebody: the only other deploy is older.
    let stub = settled();
    stub.state().looks = ["canceled"].into();
    let (exit, said) = failure(&context(&stub));
    assert_eq!(
        (exit, said.as_str()),
        (Exit::DeployFailed, "deploy dep-ours was cancelled\nthe service is as it was")
    );

    // Render's own word for it goes before the list.
    let stub = settled();
    stub.state().foreign = Some(deploy("dep-newer", "queued", "manual", OTHER, 20));
    stub.state().looks = ["canceled"].into();
    let reason = json!({ "deployId": "dep-ours", "deployStatus": "canceled", "reason": { "newDeploy": { "id": "dep-told" } } });
    stub.state().events = vec![event("deploy_ended", &reason)];
    let (exit, said) = failure(&context(&stub));
    assert_eq!((exit, said.contains("superseded by dep-told")), (Exit::Superseded, true), "{said}");

    // Render also calls cancelled what it gave up itself.
    let stub = settled();
    stub.state().foreign = Some(deploy("dep-newer", "queued", "manual", OTHER, 20));
    stub.state().looks = ["canceled"].into();
    let reason = json!({ "failure": { "timedOutSeconds": 900, "evicted": false }, "newDeploy": { "id": "dep-newer" } });
    stub.state().events = vec![event("deploy_ended", &json!({ "deployId": "dep-ours", "reason": reason }))];
    let (exit, said) = failure(&context(&stub));
    assert_eq!(exit, Exit::DeployFailed);
    assert!(said.contains("was not up in time"), "{said}");
}

#[test]
fn a_deploy_that_takes_too_long_is_cancelled() {
    let stub = settled();
    stub.state().looks = ["update_in_progress"].into();
    let mut ctx = context(&stub);
    ctx.config.deploy.timeout = Duration::from_millis(30);
    let (exit, said) = failure(&ctx);
    assert_eq!(exit, Exit::DeployFailed);
    assert_eq!(said, "deploy dep-ours is still update_in_progress after 30ms\nthe service is as it was");
    assert_eq!(stub.asked(CANCEL).len(), 1);
    assert!(notes(&ctx).contains("deploy dep-ours is cancelled"));
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
    let told = stable(&stub, &notes(&ctx));
    insta::assert_snapshot!(told[told.find("asking for").unwrap()..told.rfind("http").unwrap()], @"
    asking for `docker.io/acme/app@[digest]`
    deploy dep-ours: created
    deploy dep-ours: queued
    the Render API is not available (502 Bad Gateway: <html>bad</html>): asking on
    the Render API is not available (429 Too Many Requests: {}): asking on
    the Render API is not available (its response is not the JSON it should be): asking on
    deploy dep-ours: being_blessed, a status new to us
    deploy dep-ours: live
    ");
}

#[test]
fn one_answer_of_an_old_instance_begins_the_count_anew() {
    let stub = settled();
    let answer = |commit: &str| json!({ "commit": commit }).to_string();
    // Twice for the plan, then four of five.
    let answers = [[BEFORE; 2].as_slice(), &[COMMIT; 4], &["older", COMMIT]].concat();
    stub.state().versions = answers.into_iter().map(answer).collect();
    let ctx = context(&stub);
    let goal = Goal { pace: Pace { patience: Duration::from_secs(20), ..PACE }, ..goal(Kind::Deploy) };
    checked(record::attempt(&ctx, &goal, &plan(&ctx, &Options::default()).unwrap())).result.unwrap();
    assert!(
        notes(&ctx).contains("the app answers commit older: waiting for commit 0123456789ab"),
        "{}",
        notes(&ctx)
    );
}

#[test]
fn a_key_that_is_withdrawn_half_way_ends_the_wait() {
    let stub = settled();
    stub.state().looks = ["401 {}"].into();
    let (exit, said) = failure(&context(&stub));
    assert_eq!(exit, Exit::Missing);
    assert!(said.contains("`RENDER_API_KEY`") && said.ends_with("the service is as it was"), "{said}");
}

#[test]
fn a_foreign_release_that_answers_supersedes_ours() {
    let stub = settled();
    stub.state().versions = [r#"{"commit":"newer"}"#.to_owned()].into();
    stub.state().looks = ["live", "deactivated"].into();
    let (exit, said) = failure(&context(&stub));
    assert_eq!(exit, Exit::Superseded);
    assert!(said.contains("is superseded by"), "{said}");
}
