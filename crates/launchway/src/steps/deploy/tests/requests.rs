//! Requests: which image, which variables, which deploy is ours.

use super::*;

#[test]
fn only_our_own_deploy_is_taken_from_the_queue() {
    for other in [somebodys("dep-other", "queued", OTHER), manual("dep-other", "queued", DIGEST)] {
        let fixture = Fixture::settled();
        fixture.fault(Fault::Accepted);
        fixture.joins(other);
        assert_eq!(deploy(&fixture.context()).result.unwrap().id, "dep-1");
        assert_eq!(fixture.count("GET", "dep-other"), 0);
    }
}

#[test]
fn a_deploy_of_somebody_else_alone_is_not_ours() {
    let fixture = Fixture::settled();
    // One of the same image that existed before does not count either.
    fixture.service().add_deploy(&somebodys("dep-earlier", "queued", DIGEST));
    fixture.fault(Fault::once("POST", "/deploys", 202, ""));
    fixture.joins(somebodys("dep-other", "queued", OTHER));
    let (exit, said) = failure(&fixture.context());
    assert_eq!(exit, Exit::NotRolledBack);
    insta::assert_snapshot!(stable(&fixture, &said), @"
    the requested deploy did not appear within 60ms
    the service was NOT fully rolled back:
    - release: the requested deploy may still start, before or after dep-other
    now:
    - live: deploy dep-before, [other]
    nothing to do by hand: this service ends with the rehearsal
    ");
}

/// Such as the one of a run that was killed.
#[test]
fn a_deploy_that_is_under_way_is_waited_for() {
    let fixture = Fixture::settled();
    fixture.service().add_deploy(&somebodys("dep-orphan", "update_in_progress", THIRD));
    let ctx = fixture.context();
    let timings = Timings { queue: Duration::from_secs(60), ..timings(&ctx) };
    let deployed = std::thread::scope(|scope| {
        scope.spawn(|| {
            // It ends once the wait for it has begun.
            let end = Instant::now() + Duration::from_secs(30);
            while !notes(&ctx).contains("dep-orphan") && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(1));
            }
            fixture.service().set_status("dep-before", "deactivated");
            fixture.service().set_status("dep-orphan", "live");
        });
        deploy_with(&ctx, &Options { timings, ..options(&ctx) })
    });
    deployed.result.unwrap();
    assert_eq!(deployed.record.deployment.previous.unwrap().digest, THIRD);
    let reported = notes(&ctx);
    assert!(
        reported.contains("deploy dep-orphan is update_in_progress: waiting up to 1m for it to end"),
        "{reported}"
    );
    assert!(!reported.contains("Render finishes it first"), "{reported}");
}

#[test]
fn an_unclear_request_is_not_sent_twice() {
    let fixture = Fixture::settled();
    fixture.fault(Fault::after("POST", "/deploys", 502, ""));
    assert_eq!(deploy(&fixture.context()).result.unwrap().id, "dep-1");
    assert_eq!(fixture.count("POST", "/deploys"), 1);

    // One that never appears is put behind one of the earlier release: Render starts the most recent request.
    let fixture = Fixture::settled();
    fixture.fault(Fault::once("POST", "/deploys", 502, ""));
    let (exit, said) = failure(&fixture.context());
    assert_eq!(exit, Exit::DeployFailed);
    assert!(said.contains("the requested deploy did not appear") && said.contains("502"), "{said}");
    assert_eq!(fixture.count("POST", "/deploys"), 2);
    let (live, reference) = fixture.service().deploys().pop().unwrap();
    assert_eq!(fixture.service().live_id(), Some(live));
    assert!(reference.ends_with(OTHER), "{reference}");
}

#[test]
fn a_refused_request_leaves_the_service_unchanged() {
    let fixture = Fixture::settled();
    fixture.fault(Fault::once("POST", "/deploys", 409, r#"{"message":"conflict"}"#));
    let (exit, said) = failure(&fixture.context());
    assert_eq!((exit, said.as_str()), (Exit::DeployFailed, "Render refused: 409 Conflict: conflict"));
}

#[test]
fn a_variable_that_is_refused_is_not_called_written() {
    let fixture = Fixture::start();
    fixture.fault(Fault::once("PUT", "SERVER_MODE", 400, "no value-of-type here"));
    let (exit, said) = failure(&fixture.context());
    assert_eq!(exit, Exit::DeployFailed);
    assert_eq!(
        said,
        "`SERVER_MODE`: Render refused: 400 Bad Request: no <redacted> here\nthe service was rolled back"
    );

    let fixture = Fixture::start();
    fixture.fault(Fault::once("PUT", "ALIAS", 400, "no"));
    let (exit, said) = failure(&fixture.context());
    assert_eq!(exit, Exit::DeployFailed);
    assert!(said.ends_with("the service was rolled back") && fixture.variables().is_empty(), "{said}");
    assert_eq!(fixture.requests("DELETE", ""), ["/v1/services/srv-1/env-vars/SERVER_MODE"]);
}

#[test]
fn the_push_record_must_be_of_this_commit_and_this_image() {
    let fixture = Fixture::settled();
    let mut ctx = fixture.context();
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
    assert_eq!(fixture.writes(), 0);
    // That of a real push is no business of a rehearsal's.
    fs_err::write(ctx.output().join("push.json"), "{").unwrap();
    fs_err::write(ctx.kept().join("push.json"), record("acme/app", DIGEST, COMMIT)).unwrap();
    assert_eq!(deploy(&ctx).result.unwrap().digest, DIGEST);
}
