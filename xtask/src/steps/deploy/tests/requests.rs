//! Asking: which image, which variables, which deploy is ours.

use super::*;

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
    insta::assert_snapshot!(said, @"
    no deploy of ours appeared within 60ms
    not put back: the deploy that was asked for may still begin: look at the service's page
    ");
}

#[test]
fn a_request_of_unknown_fate_is_not_sent_twice() {
    let stub = settled();
    stub.state().asked = [(502, true)].into();
    assert_eq!(attempt(&context(&stub)).unwrap().id, "dep-ours");
    assert_eq!(stub.asked("POST").len(), 1);

    let stub = settled();
    stub.state().asked = [(502, false)].into();
    let (exit, said) = failure(&context(&stub));
    assert_eq!(exit, Exit::NotRolledBack);
    assert!(said.contains("no deploy of ours appeared") && said.contains("502"), "{said}");
    assert_eq!(stub.asked("POST").len(), 1);
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
    assert_eq!(said, "`SERVER_TYPE`: Render refused: 400 Bad Request: no <redacted> here");

    let stub = Stub::start();
    stub.state().faults = vec![("PUT", "HOSTS", 400, "no")];
    let (exit, said) = failure(&context(&stub));
    assert_eq!(exit, Exit::NotRolledBack);
    assert!(said.ends_with("takes them up: SERVER_TYPE"), "{said}");
}

#[test]
fn the_push_record_must_be_of_this_commit_and_this_image() {
    let stub = settled();
    let dir = tempfile::tempdir().unwrap();
    let mut ctx = context(&stub);
    ctx.root = dir.path().to_owned();
    ctx.environment = ctx.environment.without(&["PIPELINE_DIGEST"]);
    let (exit, said) = failure(&ctx);
    assert_eq!(exit, Exit::Usage);
    assert!(said.contains("run `cargo xtask push` first"), "{said}");
    let record = |repository: &str, digest: &str, tag: &str| {
        serde_json::json!({
            "schema": 1, "repository": repository, "digest": digest, "commit_tag": tag, "latest": true,
            "previous_latest": null, "bytes_sent": 0, "bytes_skipped": 0, "blobs": [], "milliseconds": 1,
        })
        .to_string()
    };
    fs_err::create_dir_all(ctx.output()).unwrap();
    for bad in [
        "{".to_owned(),
        record("docker.io/slipway/app", DIGEST, "0000"),
        record("ghcr.io/slipway/app", DIGEST, COMMIT),
        record("docker.io/slipway/app", "latest", COMMIT),
    ] {
        fs_err::write(ctx.output().join("push.json"), bad).unwrap();
        let (exit, said) = failure(&ctx);
        assert_eq!(exit, Exit::Usage);
        assert!(said.contains("run `cargo xtask push`"), "{said}");
    }
    assert_eq!(stub.asked("P"), Vec::<String>::new());
    fs_err::write(ctx.output().join("push.json"), record("slipway/app", DIGEST, COMMIT)).unwrap();
    assert_eq!(attempt(&ctx).unwrap().digest, DIGEST);
}
