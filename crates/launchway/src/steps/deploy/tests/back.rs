//! Back to an earlier release, image and environment.

use super::*;
use crate::steps::deploy::rollback::{To, plan as rollback_plan};

const OLDEST: &str = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";

fn roll(ctx: &Context, to: &To, expect: Option<&str>) -> Attempt {
    checked(record::attempt(ctx, &goal(Kind::Rollback), &rollback_plan(ctx, to, expect)))
}

/// A service after one good deploy from here, which changed every variable.
fn deployed() -> (Stub, Context) {
    let stub = Stub::start();
    stub.state().variables = vec![
        ("HOSTS".to_owned(), "value-of-old-hosts".to_owned()),
        ("OWN".to_owned(), "value-of-own".to_owned()),
    ];
    let ctx = context(&stub);
    attempt(&ctx).unwrap();
    (stub, ctx)
}

#[test]
fn image_and_environment_go_back_together() {
    let (stub, mut ctx) = deployed();
    assert_eq!(stub.state().variables.len(), 5);
    // Whoever is called has the key of the API, and none of the app's.
    ctx.environment = ctx.environment.without(&["SERVER_TYPE", "HOSTS", "SECRET_KEY", "SENTRY_DSN"]);
    let attempt = roll(&ctx, &To::Last, None);
    let deployment = attempt.result.unwrap();
    assert_eq!((deployment.id.as_str(), deployment.digest.as_str()), ("dep-later-1", OTHER));
    assert_eq!(deployment.commit, BEFORE);
    assert_eq!(attempt.record.kind, report::DeploymentKind::Rollback);
    let mut variables = stub.state().variables.clone();
    variables.sort();
    let before = [("HOSTS", "value-of-old-hosts"), ("OWN", "value-of-own")];
    assert_eq!(variables, before.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let told = stable(&stub, &notes(&ctx));
    assert!(told.contains("remove  SECRET_KEY"), "{told}");
    assert!(!told.contains("value-of"), "{told}");

    // And forward again: that release was proved from here. Nothing older is there to go back to.
    let again = roll(&ctx, &To::Last, None).result.unwrap_err();
    assert!(again.to_string().contains("there is no earlier release"), "{again:#}");
    let deployment = roll(&ctx, &To::Commit(COMMIT[..9].to_owned()), None).result.unwrap();
    assert_eq!((deployment.digest.as_str(), deployment.commit.as_str()), (DIGEST, COMMIT));
    assert_eq!(stub.state().variables.len(), 5);
}

#[test]
fn without_a_snapshot_only_the_image_goes_back() {
    let (stub, ctx) = deployed();
    fs_err::remove_dir_all(snapshot::folder(&ctx)).unwrap();
    let deployment = roll(&ctx, &To::Deploy("dep-before".to_owned()), None).result.unwrap();
    assert_eq!((deployment.digest.as_str(), deployment.variables_written.len()), (OTHER, 0));
    assert_eq!(stub.state().variables.len(), 5);
    assert!(notes(&ctx).contains("the service keeps its environment"), "{}", notes(&ctx));

    // Kept with another key is as good as not kept.
    let (stub, mut ctx) = deployed();
    for file in fs_err::read_dir(snapshot::folder(&ctx)).unwrap() {
        let path = file.unwrap().path();
        let text =
            fs_err::read_to_string(&path).unwrap().replace("\"variables\": \"", "\"variables\": \"AAAA");
        fs_err::write(path, text).unwrap();
    }
    ctx.environment = ctx.environment.without(&["SECRET_KEY"]);
    roll(&ctx, &To::Last, None).result.unwrap();
    assert!(notes(&ctx).contains("was kept with another one"), "{}", notes(&ctx));
    assert_eq!(stub.state().variables.len(), 5);
}

#[test]
fn a_rollback_that_fails_is_undone_like_a_deploy() {
    let (stub, ctx) = deployed();
    let before = stub.state().variables.clone();
    stub.state().later = ["update_failed"].into();
    let attempt = roll(&ctx, &To::Last, None);
    let error = attempt.result.unwrap_err();
    assert_eq!(
        (Exit::of(&error), attempt.record.outcome),
        (Exit::DeployFailed, report::DeploymentOutcome::RolledBack)
    );
    assert_eq!(stub.state().live().unwrap()["id"], "dep-ours");
    let sorted = |mut variables: Vec<(String, String)>| {
        variables.sort();
        variables
    };
    assert_eq!(sorted(stub.state().variables.clone()), sorted(before));
}

#[test]
fn only_the_expected_plan_is_followed() {
    let (stub, ctx) = deployed();
    let actions = rollback_plan(&ctx, &To::Last, None);
    let explained = crate::steps::deploy::rollback::explained(&ctx, &actions);
    let hash = explained.last().unwrap().strip_prefix("plan ").unwrap().to_owned();
    let writes = stub.asked("P").len();
    let attempt = roll(&ctx, &To::Last, Some("0000"));
    let error = attempt.result.unwrap_err();
    assert_eq!(Exit::of(&error), Exit::DeployFailed);
    assert!(error.to_string().contains(&format!("the plan is {hash} and not 0000")), "{error:#}");
    assert_eq!((attempt.record.outcome, attempt.record.plan), (report::DeploymentOutcome::Unchanged, None));
    assert_eq!(stub.asked("P").len(), writes);
    assert_eq!(roll(&ctx, &To::Last, Some(&hash)).record.plan, Some(hash));
}

#[test]
fn what_was_taken_back_is_not_gone_back_to() {
    let chosen = |deploys: &[(&str, &str, &str)]| {
        let stub = Stub::start();
        let made = |(second, (id, status, digest)): (usize, &(&str, &str, &str))| {
            deploy(id, status, "api", digest, u32::try_from(second).unwrap())
        };
        stub.state().deploys = deploys.iter().enumerate().map(made).collect();
        let ctx = context(&stub);
        let mut transaction = Transaction::begin(&ctx, Kind::Rollback, PACE).unwrap();
        let done = transaction.execute(&Action::ChooseRelease { to: To::Last });
        done.map(|()| transaction.releases().0.unwrap().digest.clone()).map_err(|error| error.to_string())
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
        chosen(&[("dep-1", old, OTHER), ("dep-2", "update_failed", OLDEST), ("dep-3", live, DIGEST)]),
        Ok(OTHER.to_owned())
    );
    // dep-3 put dep-2 back where it came from.
    let undone = [("dep-1", old, OTHER), ("dep-2", old, DIGEST), ("dep-3", live, OTHER)];
    assert!(chosen(&undone).unwrap_err().contains("there is no earlier release"));
    let undone =
        [("dep-0", old, OLDEST), ("dep-1", old, OTHER), ("dep-2", old, DIGEST), ("dep-3", live, OTHER)];
    assert_eq!(chosen(&undone), Ok(OLDEST.to_owned()));
    assert!(chosen(&[]).is_err());
    // Where nothing is live, the newest that was.
    assert_eq!(chosen(&[("dep-1", old, OTHER), ("dep-2", old, DIGEST)]), Ok(DIGEST.to_owned()));
}

#[test]
fn a_release_is_named_in_one_of_three_ways() {
    assert_eq!("dep-1".parse::<To>().unwrap(), To::Deploy("dep-1".to_owned()));
    assert_eq!("0123456".parse::<To>().unwrap(), To::Commit("0123456".to_owned()));
    assert_eq!(DIGEST.parse::<To>().unwrap(), To::Digest(DIGEST.parse().unwrap()));
    for bad in ["latest", "012345", "sha256:12", "dep-../x", ""] {
        bad.parse::<To>().unwrap_err();
    }
    // A digest must be in the registry, which no test can reach.
    let (stub, ctx) = deployed();
    let writes = stub.asked("P").len();
    roll(&ctx, &To::Digest(OTHER.parse().unwrap()), None).result.unwrap_err();
    for to in [To::Deploy("dep-none".to_owned()), To::Commit("fffffff".to_owned())] {
        assert_eq!(Exit::of(&roll(&ctx, &to, None).result.unwrap_err()), Exit::DeployFailed);
    }
    assert_eq!(stub.asked("P").len(), writes);
}
