//! Back to an earlier release, image and environment.

use super::*;
use crate::steps::deploy::kept_release::KeptReleases;
use crate::steps::deploy::rollback::{Options, RollbackPlan, To};
use launchway_core::secret::Secret;

fn roll(ctx: &Context, to: To, expect: Option<&str>) -> Concluded {
    let options = Options { to, image_only: false, expect: expect.map(str::to_owned) };
    let plan = RollbackPlan::new(ctx, options, timings(ctx));
    checked(plan.run_with(ctx, &|_| (), |_, _| Choice::RollBack))
}

/// A service after one good deploy from here, which changed every variable.
fn deployed() -> (Fixture, Context) {
    let fixture = Fixture::start();
    fixture.set(&[("ALIAS", "value-of-old-hosts"), ("OWN", "value-of-own")]);
    let ctx = fixture.context();
    deploy(&ctx).result.unwrap();
    (fixture, ctx)
}

#[test]
fn the_plan_shows_what_a_rollback_does() {
    let mut ctx = Context::for_test(Path::new("/nowhere"), Environment::default());
    ctx.config.deploy.reports =
        Some(SignedPath { path: "/api/v1/reports".to_owned(), key: "CIPHER_KEY".to_owned() });
    let plan = RollbackPlan::new(&ctx, Options::default(), Timings::of(&ctx.config.deploy));
    insta::assert_snapshot!(plan.to_string(), @"
    check that service `RENDER_SERVICE_ID` is up and runs `docker.io/acme/app`
    look for deploys in progress
    roll back to the release that was live before
    take its variables from those kept here or under the tag `docker.io/acme/app:releases`
    read all variables and plan the changes to SERVER_MODE, ALIAS, CIPHER_KEY, ERRORS_DSN
    read the service again; stop if it has changed
    if a release is live, report the start of this rollback to it at `/api/v1/reports`, within 10s; the rollback ends within 16m
    write the variables that differ: SERVER_MODE, ALIAS, CIPHER_KEY, ERRORS_DSN
    request a deploy of `docker.io/acme/app@<digest>`
    check the deploy every 3s until it is live; cancel it after 20s
    compare the digest that Render runs with the requested one
    poll the service at `/version` for up to 1m until it reports the commit of that release 5 times in a row
    bake for 1m, polling `/healthz` and `/version`
    set that digest in the service's settings
    keep the release and its variables, encrypted, for a rollback
    add the report of this run to the ledger `docker.io/acme/app:ledger`, within 20s
    keep the encrypted releases under the tag `docker.io/acme/app:releases`, within 20s
    send the service at `/api/v1/reports` the reports that it lacks, within 30s
    if any of this fails: cancel the deploy, restore the variables (within 2m), then deploy and prove the earlier release, and check whether the service is up
    ");
}

#[test]
fn image_and_environment_go_back_together() {
    let (fixture, mut ctx) = deployed();
    assert_eq!(fixture.variables().len(), 5);
    // The engineer on call has the key of the API, and none of the app's.
    ctx.environment = ctx.environment.without(&["SERVER_MODE", "ALIAS", "CIPHER_KEY", "ERRORS_DSN"]);
    let back = roll(&ctx, To::Last, None);
    let deployment = back.result.unwrap();
    assert_eq!((deployment.id.as_str(), deployment.digest.as_str()), ("dep-2", OTHER));
    assert_eq!(deployment.commit, BEFORE);
    assert_eq!(back.record.deployment.kind, launchway_report::DeploymentKind::Rollback);
    let before = owned(&[("ALIAS", "value-of-old-hosts"), ("OWN", "value-of-own")]);
    assert_eq!(fixture.sorted_variables(), before);
    let reported = stable(&fixture, &notes(&ctx));
    assert!(reported.contains("remove  CIPHER_KEY"), "{reported}");
    assert!(!reported.contains("value-of"), "{reported}");

    // And forward again: that release was proved from here. Nothing older is there to go back to.
    let again = roll(&ctx, To::Last, None).result.unwrap_err();
    assert!(again.to_string().contains("no earlier release"), "{again:#}");
    let deployment = roll(&ctx, To::Commit(COMMIT[..9].to_owned()), None).result.unwrap();
    assert_eq!((deployment.digest.as_str(), deployment.commit.as_str()), (DIGEST, COMMIT));
    assert_eq!(fixture.variables().len(), 5);
}

/// Somebody broke the settings and redeployed; that failed, and the release is live again by another deploy.
#[test]
fn a_release_that_is_live_is_deployed_again_with_the_environment_that_was_proved() {
    let (fixture, mut ctx) = deployed();
    let good = fixture.sorted_variables();
    let broken = Environment::of([("CIPHER_KEY", "value-of-broken-key")]);
    let environment = ctx.environment.clone();
    ctx.environment = environment.clone().with(broken);
    fixture.ours(|image| image.commit = "another".to_owned());
    assert_eq!(deploy(&ctx).record.deployment.outcome, launchway_report::DeploymentOutcome::RolledBack);
    assert_eq!(fixture.service().live_id().unwrap(), "dep-3");
    assert_eq!(kept(&ctx).origin("dep-2"), Some(Origin::Failed));

    fixture.ours(|image| image.commit = COMMIT.to_owned());
    ctx.environment = environment;
    let deployment = roll(&ctx, To::Commit(COMMIT.to_owned()), None).result.unwrap();
    assert_eq!((deployment.id.as_str(), deployment.digest.as_str()), ("dep-4", DIGEST));
    assert_eq!((deployment.commit.as_str(), fixture.sorted_variables()), (COMMIT, good));
    // Named by its deploy, it is what that deploy ran.
    roll(&ctx, To::Deploy("dep-2".to_owned()), None).result.unwrap();
    assert_eq!(fixture.variables()["CIPHER_KEY"], "value-of-broken-key");
    assert!(notes(&ctx).contains("these variables are those of a deploy that failed"), "{}", notes(&ctx));
}

#[test]
fn without_its_variables_a_release_is_not_rolled_back_to() {
    let (fixture, ctx) = deployed();
    fs_err::remove_dir_all(ctx.kept().join("deployments")).unwrap();
    let writes = fixture.writes();
    let to = || To::Deploy("dep-before".to_owned());
    let error = roll(&ctx, to(), None).result.unwrap_err();
    assert_eq!(Exit::of(&error), Exit::DeployFailed);
    assert!(error.to_string().contains("kept neither on this machine nor in the registry"), "{error:#}");
    assert_eq!(fixture.writes(), writes);
    // The image alone goes back only where that is asked for.
    let plan = RollbackPlan::new(&ctx, Options { to: to(), image_only: true, expect: None }, timings(&ctx));
    let deployment = checked(plan.run_with(&ctx, &|_| (), |_, _| Choice::RollBack)).result.unwrap();
    assert_eq!((deployment.digest.as_str(), deployment.variables_written.len()), (OTHER, 0));
    assert_eq!(fixture.variables().len(), 5);
    assert!(notes(&ctx).contains("the service keeps its variables"), "{}", notes(&ctx));

    // What was changed, or kept with another key, is no better.
    let (fixture, ctx) = deployed();
    for file in fs_err::read_dir(ctx.kept().join("deployments")).unwrap() {
        let path = file.unwrap().path();
        let text =
            fs_err::read_to_string(&path).unwrap().replace("\"variables\": \"", "\"variables\": \"AAAA");
        fs_err::write(path, text).unwrap();
    }
    let writes = fixture.writes();
    let error = roll(&ctx, To::Last, None).result.unwrap_err();
    assert!(error.to_string().contains("encrypted with another one, or changed since"), "{error:#}");
    assert_eq!(fixture.writes(), writes);
}

/// A registry that keeps documents and does not let anybody look at images.
fn documents() -> launchway_fakes::registry::Scripted {
    scripted(|request, _| {
        let image = [COMMIT, BEFORE, "sha256:aaaa", "sha256:bbbb"];
        image.iter().any(|part| request.target.contains(part)).then(|| Reply::new(403))
    })
}

/// The context of a machine that deploys to the service with this registry.
fn machine(fixture: &Fixture, registry: &launchway_fakes::registry::Scripted, root: &Path) -> Context {
    let mut ctx = fixture.context();
    ctx.root = root.to_owned();
    ctx.environment = ctx.environment.with(Environment::of([
        ("PIPELINE_IMAGE", registry.repository()),
        ("DOCKER_CONFIG", "/nonexistent".to_owned()),
    ]));
    if let NetworkPolicy::Only(addresses) = &mut ctx.network {
        addresses.push(registry.host().parse().unwrap());
    }
    ctx
}

#[test]
fn a_fresh_machine_restores_what_another_one_shared() {
    let registry = documents();
    let fixture = Fixture::start_with(|options| options.image = format!("{}:latest", registry.repository()));
    fixture.set(&[("ALIAS", "value-of-old-hosts"), ("OWN", "value-of-own")]);
    let [first, fresh] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let ctx = machine(&fixture, &registry, first.path());
    let deployed = deploy(&ctx);
    deployed.result.unwrap();
    for _ in 0..2 {
        share_releases(&ctx, &deployed.record.plan);
    }
    assert!(notes(&ctx).contains("2 releases are kept in the registry"), "{}", notes(&ctx));
    assert_eq!(registry.count("PUT", "manifests/releases"), 1, "what is there is not sent again");
    let sent: Vec<u8> = registry.requests().into_iter().flat_map(|request| request.body).collect();
    let sent = String::from_utf8_lossy(&sent).into_owned();
    assert!(
        sent.contains("\"standing\"") && !sent.contains("value-of"),
        "what leaves the machine is encrypted"
    );

    let refused = |change: &dyn Fn(&mut Context), words: &str| {
        let fresh = tempfile::tempdir().unwrap();
        let mut ctx = machine(&fixture, &registry, fresh.path());
        change(&mut ctx);
        let writes = fixture.writes();
        let error = roll(&ctx, To::Last, None).result.unwrap_err();
        assert!(format!("{error:#}").contains(words), "`{words}` is not in {error:#}");
        assert_eq!(fixture.writes(), writes, "{words}");
    };
    let kept = |key: &str, service: &str| KeptReleases::new(first.path(), Secret::new(key), service);
    let files = KeptReleases::new(&ctx.kept(), Secret::new(KEY), "srv-1").files();
    for (key, service, words) in [
        ("rnd_another-key", "srv-1", "encrypted with another one"),
        (KEY, "srv-2", "that of another service than `RENDER_SERVICE_ID`"),
    ] {
        let there = kept(key, service);
        for (id, (_, bytes)) in &files {
            there.add(id, bytes).unwrap();
        }
        let error = there.open("dep-before").unwrap_err();
        assert!(format!("{error:#}").contains(words), "{error:#}");
    }
    let without = |ctx: &mut Context| {
        ctx.environment =
            ctx.environment.clone().with(Environment::of([("PIPELINE_IMAGE", "127.0.0.1:1/a/b")]));
    };
    refused(&without, "cannot be deployed to");
    let tampered = files["dep-before"].1.clone();
    let tampered = String::from_utf8(tampered).unwrap().replace("\"variables\": \"", "\"variables\": \"AAAA");
    refused(
        &|ctx| {
            KeptReleases::new(&ctx.kept(), Secret::new(KEY), "srv-1")
                .add("dep-before", tampered.as_bytes())
                .unwrap();
        },
        "or changed since",
    );

    let ctx = machine(&fixture, &registry, fresh.path());
    let deployment = roll(&ctx, To::Last, None).result.unwrap();
    assert_eq!((deployment.digest.as_str(), deployment.commit.as_str()), (OTHER, BEFORE));
    let before = owned(&[("ALIAS", "value-of-old-hosts"), ("OWN", "value-of-own")]);
    assert_eq!(fixture.sorted_variables(), before);
}

#[test]
fn the_environment_may_name_the_release() {
    let named = |name: &str| To::named(&Environment::of([("XTASK_RELEASE", name)]));
    assert_eq!(named(" dep-1 ").unwrap(), Some(To::Deploy("dep-1".to_owned())));
    assert_eq!((named("").unwrap(), To::named(&Environment::default()).unwrap()), (None, None));
    let error = named("latest").unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Usage);
    assert!(
        format!("{error:#}").starts_with("`XTASK_RELEASE` is not valid: `latest` is not a release"),
        "{error:#}"
    );
}

#[test]
fn a_rollback_that_fails_is_undone_like_a_deploy() {
    let (fixture, ctx) = deployed();
    let before = fixture.sorted_variables();
    fixture.earlier(|image| image.looks(["update_failed"]));
    let back = roll(&ctx, To::Last, None);
    let error = back.result.unwrap_err();
    assert_eq!(
        error.to_string(),
        "deploy dep-2 ended as update_failed\nthe rollback was undone: the service is as it was before"
    );
    assert_eq!(
        (Exit::of(&error), back.record.deployment.outcome),
        (Exit::DeployFailed, launchway_report::DeploymentOutcome::RolledBack)
    );
    assert_eq!(fixture.service().live_id().unwrap(), "dep-1");
    assert_eq!(fixture.sorted_variables(), before);

    // The messages name the rollback, also where variables cannot be restored or it is left running.
    for (choice, said) in [
        (
            Choice::Stop,
            "the rollback was NOT fully undone:\n- nothing was restored, because the run was stopped; deploy dep-2 continues on Render",
        ),
        (
            Choice::Leave,
            "the rollback was left unproved; variables that it wrote: ALIAS, CIPHER_KEY, ERRORS_DSN, SERVER_MODE; deploy dep-2 continues on Render",
        ),
    ] {
        let (fixture, ctx) = deployed();
        fixture.interrupt(&ctx, Call::Watch);
        let plan = RollbackPlan::new(&ctx, Options::default(), timings(&ctx));
        let ask: interrupted::Ask = match choice {
            Choice::Stop => |kind, _| if kind == Kind::Rollback { Choice::Stop } else { Choice::RollBack },
            Choice::Leave | Choice::RollBack => |_, _| Choice::Leave,
        };
        let error = checked(plan.run_with(&ctx, &|_| (), ask)).result.unwrap_err();
        assert!(error.to_string().contains(said), "{error:#}");
    }
}

#[test]
fn only_the_expected_plan_is_followed() {
    let (fixture, ctx) = deployed();
    let explained = RollbackPlan::new(&ctx, Options::default(), timings(&ctx)).explained(&ctx);
    let hash = explained.last().unwrap().strip_prefix("plan ").unwrap().to_owned();
    let writes = fixture.writes();
    let back = roll(&ctx, To::Last, Some("0000"));
    let error = back.result.unwrap_err();
    assert_eq!(Exit::of(&error), Exit::DeployFailed);
    assert!(error.to_string().contains(&format!("the plan is {hash} instead of 0000")), "{error:#}");
    let record = back.record.deployment;
    assert_eq!((record.outcome, record.plan), (launchway_report::DeploymentOutcome::Unchanged, None));
    assert_eq!(fixture.writes(), writes);
    assert_eq!(roll(&ctx, To::Last, Some(&hash)).record.deployment.plan, Some(hash));
}

#[test]
fn a_release_that_was_rolled_back_is_no_target() {
    let chosen = |deploys: &[(&'static str, &'static str, &str)]| {
        let fixture = Fixture::empty(|_| {});
        for (id, status, digest) in deploys {
            fixture.service().add_deploy(&somebodys(id, status, digest));
        }
        let ctx = fixture.context();
        let target = Target::open(&ctx, timings(&ctx)).unwrap();
        To::Last.find(&target).map(|(release, _)| release.digest).map_err(|error| error.to_string())
    };
    let (old, live) = ("deactivated", "live");
    assert_eq!(chosen(&[("dep-1", old, OTHER), ("dep-2", live, DIGEST)]), Ok(OTHER.to_owned()));
    // The same release twice is one.
    assert_eq!(
        chosen(&[("dep-1", old, OTHER), ("dep-2", old, DIGEST), ("dep-3", live, DIGEST)]),
        Ok(OTHER.to_owned())
    );
    // What failed or was cancelled was never live.
    assert_eq!(
        chosen(&[("dep-1", old, OTHER), ("dep-2", "update_failed", THIRD), ("dep-3", live, DIGEST)]),
        Ok(OTHER.to_owned())
    );
    // dep-3 put dep-2 back where it came from.
    let undone = [("dep-1", old, OTHER), ("dep-2", old, DIGEST), ("dep-3", live, OTHER)];
    assert!(chosen(&undone).unwrap_err().contains("no earlier release"));
    let undone =
        [("dep-0", old, THIRD), ("dep-1", old, OTHER), ("dep-2", old, DIGEST), ("dep-3", live, OTHER)];
    assert_eq!(chosen(&undone), Ok(THIRD.to_owned()));
    assert!(chosen(&[]).is_err());
    // Where nothing is live, the newest that was.
    assert_eq!(chosen(&[("dep-1", old, OTHER), ("dep-2", old, DIGEST)]), Ok(DIGEST.to_owned()));
}

#[test]
fn a_release_has_three_kinds_of_names() {
    assert_eq!("dep-1".parse::<To>().unwrap(), To::Deploy("dep-1".to_owned()));
    assert_eq!("0123456".parse::<To>().unwrap(), To::Commit("0123456".to_owned()));
    assert_eq!("ABCDEF0-dirty".parse::<To>().unwrap(), To::Commit("abcdef0-dirty".to_owned()));
    assert_eq!(DIGEST.parse::<To>().unwrap(), To::Digest(DIGEST.parse().unwrap()));
    for bad in ["latest", "012345", "sha256:12", "dep-../x", ""] {
        bad.parse::<To>().unwrap_err();
    }
    // A digest must be in the registry, which no test can reach.
    let (fixture, ctx) = deployed();
    let writes = fixture.writes();
    roll(&ctx, To::Digest(OTHER.parse().unwrap()), None).result.unwrap_err();
    for to in [To::Deploy("dep-none".to_owned()), To::Commit("fffffff".to_owned())] {
        assert_eq!(Exit::of(&roll(&ctx, to, None).result.unwrap_err()), Exit::DeployFailed);
    }
    assert_eq!(fixture.writes(), writes);
}
