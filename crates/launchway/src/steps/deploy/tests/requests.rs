//! Asking: which image, which variables, which deploy is ours.

use super::*;

const THIRD: &str = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";

#[test]
fn only_our_own_deploy_is_taken_from_the_queue() {
    for foreign in [
        deploy("dep-foreign", "queued", "api", OTHER, 20),
        deploy("dep-foreign", "queued", "manual", DIGEST, 20),
    ] {
        let stub = settled();
        stub.state().asked = [(202, true)].into();
        stub.state().foreign = Some(foreign);
        assert_eq!(attempt(&context(&stub)).unwrap().id, "dep-ours");
        assert!(stub.asked("GET").iter().all(|line| !line.contains("dep-foreign")));
    }
}

#[test]
fn a_foreign_deploy_alone_is_not_ours() {
    let stub = settled();
    // One of the same image that was there before does not count either.
    stub.state().deploys.push(deploy("dep-earlier", "queued", "api", DIGEST, 2));
    stub.state().asked = [(202, false)].into();
    stub.state().foreign = Some(deploy("dep-foreign", "queued", "api", OTHER, 20));
    let (exit, said) = failure(&context(&stub));
    assert_eq!(exit, Exit::NotRolledBack);
    insta::assert_snapshot!(stable(&stub, &said), @"
    no deploy of ours appeared within 60ms
    the service is NOT as it was:
    - release: the deploy that was asked for may still begin, after or before dep-foreign
    what is so now:
    - live: deploy dep-before, [other]
    nothing to do by hand: this service ends with the rehearsal
    ");
}

/// Such as the one of a run that was killed.
#[test]
fn a_deploy_that_is_under_way_is_waited_for() {
    let stub = settled();
    stub.state().deploys.push(deploy("dep-orphan", "update_in_progress", "api", THIRD, 2));
    let ctx = context(&stub);
    let goal = Goal { pace: Pace { queue: Duration::from_secs(20), ..PACE }, ..goal(Kind::Deploy) };
    let attempt = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(30));
            let mut state = stub.state();
            state.deploys[0]["status"] = "deactivated".into();
            state.deploys[1]["status"] = "live".into();
        });
        checked(record::attempt(&ctx, &goal, &plan(&ctx, &Options::default()).unwrap()))
    });
    attempt.result.unwrap();
    assert_eq!(attempt.record.previous.unwrap().digest, THIRD);
    let told = notes(&ctx);
    assert!(
        told.contains("deploy dep-orphan is update_in_progress: waiting up to 20s for it to end"),
        "{told}"
    );
    assert!(!told.contains("Render finishes it first"), "{told}");
}

#[test]
fn a_request_of_unknown_fate_is_not_sent_twice() {
    let stub = settled();
    stub.state().asked = [(502, true)].into();
    assert_eq!(attempt(&context(&stub)).unwrap().id, "dep-ours");
    assert_eq!(stub.asked("POST").len(), 1);

    // One that never appears is put behind one of the release before: Render starts the most recent request.
    let stub = settled();
    stub.state().asked = [(502, false), (201, true)].into();
    let (exit, said) = failure(&context(&stub));
    assert_eq!(exit, Exit::DeployFailed);
    assert!(said.contains("no deploy of ours appeared") && said.contains("502"), "{said}");
    let posts = stub.asked("POST");
    assert!(posts.len() == 2 && posts[0].contains(DIGEST) && posts[1].contains(OTHER), "{posts:?}");
    assert_eq!(stub.state().live().unwrap()["id"], "dep-later-1");
}

#[test]
fn a_refused_request_leaves_the_service_as_it_was() {
    let stub = settled();
    stub.state().faults = vec![("POST", "/deploys", 409, r#"{"message":"conflict"}"#)];
    let (exit, said) = failure(&context(&stub));
    assert_eq!((exit, said.as_str()), (Exit::DeployFailed, "Render refused: 409 Conflict: conflict"));
}

#[test]
fn a_variable_that_is_refused_is_not_called_written() {
    let stub = Stub::start();
    stub.state().faults = vec![("PUT", "SERVER_TYPE", 400, "no value-of-type here")];
    let (exit, said) = failure(&context(&stub));
    assert_eq!(exit, Exit::DeployFailed);
    assert_eq!(
        said,
        "`SERVER_TYPE`: Render refused: 400 Bad Request: no <redacted> here\nthe service is as it was"
    );

    let stub = Stub::start();
    stub.state().faults = vec![("PUT", "HOSTS", 400, "no")];
    let (exit, said) = failure(&context(&stub));
    assert_eq!(exit, Exit::DeployFailed);
    assert!(said.ends_with("the service is as it was") && stub.state().variables.is_empty(), "{said}");
    assert_eq!(stub.asked("DELETE"), ["DELETE /v1/services/srv-1/env-vars/SERVER_TYPE"]);
}

#[test]
fn the_push_record_must_be_of_this_commit_and_this_image() {
    let stub = settled();
    let mut ctx = context(&stub);
    ctx.environment = ctx.environment.without(&["PIPELINE_DIGEST"]);
    let (exit, said) = failure(&ctx);
    assert_eq!(exit, Exit::Usage);
    assert!(said.contains("run `cargo xtask rehearse --job build --job deploy` first"), "{said}");
    let record = |repository: &str, digest: &str, tag: &str| {
        serde_json::json!({
            "schema": 1, "repository": repository, "digest": digest, "commit_tag": tag, "latest": true,
            "previous_latest": null, "bytes_sent": 0, "bytes_skipped": 0, "blobs": [], "milliseconds": 1,
        })
        .to_string()
    };
    fs_err::create_dir_all(ctx.kept()).unwrap();
    for bad in [
        "{".to_owned(),
        record("docker.io/acme/app", DIGEST, "0000"),
        record("ghcr.io/acme/app", DIGEST, COMMIT),
        record("docker.io/acme/app", "latest", COMMIT),
    ] {
        fs_err::write(ctx.kept().join("push.json"), bad).unwrap();
        let (exit, said) = failure(&ctx);
        assert_eq!(exit, Exit::Usage);
        assert!(said.contains("run `cargo xtask rehearse --job build --job deploy`"), "{said}");
    }
    assert_eq!(stub.asked("P"), Vec::<String>::new());
    // That of a real push is no business of a rehearsal's.
    fs_err::write(ctx.output().join("push.json"), "{").unwrap();
    fs_err::write(ctx.kept().join("push.json"), record("acme/app", DIGEST, COMMIT)).unwrap();
    assert_eq!(attempt(&ctx).unwrap().digest, DIGEST);
}
