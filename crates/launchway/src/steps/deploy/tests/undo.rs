//! A deploy that fails leaves the service as it was, or says what it left.

use serde_json::{Value, json};

use crate::steps::deploy::base::Base;
use crate::steps::deploy::remote::Release;
use crate::steps::deploy::undo::by_hand;

use super::*;
use crate::testing::stub::event;
use launchway_render::model::{Deploy, Service};

const CANCEL: &str = "POST /v1/services/srv-1/deploys/dep-ours/cancel";

/// A stub where every kind of change is due: two variables differ, one is new, one is none of ours.
fn different() -> Stub {
    let stub = Stub::start();
    stub.state().variables = BEFORE_VALUES.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    stub
}

const BEFORE_VALUES: [(&str, &str); 4] = [
    ("SERVER_TYPE", "value-of-type"),
    ("HOSTS", "value-of-old-hosts"),
    ("SECRET_KEY", "value-of-old-key"),
    ("OWN", "value-of-own"),
];

/// Variables, release and settings are those of before.
#[track_caller]
fn assert_as_before(stub: &Stub) {
    let state = stub.state();
    let mut variables = state.variables.clone();
    variables.sort();
    let mut before = BEFORE_VALUES.map(|(name, value)| (name.to_owned(), value.to_owned()));
    before.sort();
    assert_eq!(variables, before);
    assert!(state.live().unwrap()["image"]["ref"].as_str().unwrap().ends_with(OTHER));
    assert_eq!(state.service["imagePath"], "docker.io/acme/app:latest");
}

#[test]
fn a_deploy_that_never_served_needs_no_other() {
    for sticks in [false, true] {
        let stub = different();
        stub.state().looks = ["update_in_progress", "update_failed"].into();
        stub.state().sticks = sticks;
        let ctx = context(&stub);
        let attempt = recorded(&ctx, &Options::default());
        let error = attempt.result.unwrap_err();
        assert_eq!(Exit::of(&error), Exit::DeployFailed);
        assert_eq!(error.to_string(), "deploy dep-ours ended as update_failed\nthe service is as it was");
        assert_as_before(&stub);
        assert_eq!(stub.asked("POST").len(), 1);
        let record = attempt.record;
        assert_eq!(record.outcome, report::DeploymentOutcome::RolledBack);
        assert_eq!((record.id.as_deref(), record.environment.as_str()), (Some("dep-ours"), "value-of-type"));
        assert_eq!(record.release.unwrap().commit.as_deref(), Some(COMMIT));
        assert_eq!(record.previous.unwrap().commit.as_deref(), Some(BEFORE));
        assert_eq!(attempt.site.as_ref(), Some(&stub.url("/")));
        // It is kept, and so is the release before.
        assert_eq!(snapshot::standing(&ctx, "dep-before"), Some(snapshot::Standing::Found));
        assert_eq!(snapshot::standing(&ctx, "dep-ours"), Some(snapshot::Standing::Failed));
    }
}

#[test]
fn a_deploy_that_served_is_replaced_by_the_one_before() {
    type Break = fn(&Stub);
    let breaks: [(Break, &str); 5] = [
        (|stub| stub.state().sha = Some(OTHER), "was asked for"),
        (|stub| stub.state().sha = None, "whose digest it does not tell, but"),
        (|stub| stub.state().faults = vec![("GET", "/healthz", 503, ""); 9], "requests with an error"),
        (
            |stub| stub.state().counted = Some(vec![(200, 90), (502, 10)]),
            "answered 10 of 100 requests with an error, 10 %",
        ),
        (
            |stub| {
                let commit = |commit: &str| json!({ "commit": commit }).to_string();
                // Twice for the plan, then the new release.
                stub.state().versions = [commit(BEFORE), commit(BEFORE), commit("c0ffee")].into();
            },
            "still answers commit c0ffee after 60ms, not commit 0123456789ab",
        ),
    ];
    for (spoil, said) in breaks {
        let stub = different();
        spoil(&stub);
        let ctx = context(&stub);
        let (exit, told) = failure(&ctx);
        assert!(told.contains(said), "{told}");
        assert_eq!(exit, Exit::DeployFailed, "{told}");
        assert!(told.ends_with("\nthe service is as it was"), "{told}");
        assert_as_before(&stub);
        assert_eq!(stub.state().live().unwrap()["id"], "dep-later-1");
        assert!(notes(&ctx).contains("answers commit beef5678beef"), "{}", notes(&ctx));
    }
}

#[test]
fn a_cancel_that_is_refused_is_looked_after() {
    for (after, live) in
        [("update_in_progress", "dep-later-1"), ("live", "dep-later-1"), ("update_failed", "dep-before")]
    {
        let stub = different();
        stub.state().cancel = 400;
        stub.state().looks = ["queued"].into();
        stub.state().after_cancel = Some(after);
        let mut ctx = context(&stub);
        ctx.config.deploy.timeout = Duration::from_secs(1);
        let (exit, said) = failure(&ctx);
        assert_eq!(exit, Exit::DeployFailed, "{said}");
        assert!(said.contains("is still queued after 1s"), "{said}");
        assert_as_before(&stub);
        assert_eq!(stub.state().live().unwrap()["id"], live, "{after}");
    }
}

#[test]
fn what_cannot_be_put_back_is_a_page_of_facts() {
    let stub = different();
    stub.state().looks = ["update_in_progress", "live"].into();
    stub.state().sha = None;
    stub.state().later = ["update_failed"].into();
    // Written by us, and not by the undo.
    let refused = ("PUT", "env-vars/SECRET_KEY", 403, r#"{"message":"no value-of-old-key"}"#);
    let lost = ("PUT", "env-vars/SECRET_KEY", 200, "{}");
    stub.state().faults = vec![lost, refused, refused, refused];
    let stub_variables = |stub: &Stub| {
        stub.state().variables.retain(|(name, _)| name != "SECRET_KEY");
        stub.state().variables.push(("SECRET_KEY".to_owned(), "value-of-key".to_owned()));
    };
    let ctx = context(&stub);
    // The first answer was a lie: the value is there all the same.
    let actions = plan(&ctx, &Options::default()).unwrap();
    let mut transaction = Transaction::begin(&ctx, Kind::Deploy, PACE).unwrap();
    let failed = actions.iter().try_for_each(|action| {
        let done = transaction.execute(action);
        if matches!(action, Action::WriteVariables { .. }) {
            stub_variables(&stub);
        }
        done
    });
    let (outcome, error) = transaction.give_up(failed.unwrap_err(), |_| Choice::Undo);
    assert_eq!((outcome, Exit::of(&error)), (report::DeploymentOutcome::NotRolledBack, Exit::NotRolledBack));
    let said = format!("{error:#}");
    assert!(!format!("{said}{}", notes(&ctx)).contains("value-of-"), "{said}");
    insta::assert_snapshot!(stable(&stub, &said), @"
    Render runs an image whose digest it does not tell, but [digest] was asked for
    the service is NOT as it was:
    - variables: `SECRET_KEY`: the key in `RENDER_API_KEY` may not do this (403 Forbidden: no <redacted>): use one of a member of the service's workspace
    - release: deploy dep-later-2 ended as update_failed
    what is so now:
    - live: deploy dep-ours, [digest]
    - these variables keep what this deploy wrote, and the next deploy of any kind takes them up: SECRET_KEY
    nothing to do by hand: this service ends with the rehearsal
    ");
}

#[test]
fn an_undo_does_not_try_for_ever() {
    let stub = different();
    stub.state().looks = ["update_in_progress", "live"].into();
    stub.state().sha = None;
    let ctx = context(&stub);
    let pace = Pace { backoff: Duration::from_millis(50), undo: Duration::from_millis(20), ..PACE };
    let mut transaction = Transaction::begin(&ctx, Kind::Deploy, pace).unwrap();
    let failed = plan(&ctx, &Options::default()).unwrap().iter().try_for_each(|action| {
        let done = transaction.execute(action);
        if matches!(action, Action::AskForDeploy { .. }) {
            let broken = |method, name| vec![(method, name, 500, ""); 60];
            let faults = [
                ("PUT", "env-vars/HOSTS"),
                ("PUT", "env-vars/SECRET_KEY"),
                ("DELETE", "env-vars/SENTRY_DSN"),
            ];
            stub.state().faults = faults.map(|(method, name)| broken(method, name)).concat();
            stub.state().transcript.clear();
        }
        done
    });
    let (_, error) = transaction.give_up(failed.unwrap_err(), |_| Choice::Undo);
    assert_eq!(Exit::of(&error), Exit::NotRolledBack, "{error:#}");
    // Each of the three at each of three looks, and the first one once more; with patience for each it would be 54.
    let writes = stub.asked("PUT").len() + stub.asked("DELETE").len();
    assert!((9..=10).contains(&writes), "{writes}");
    // What works is put back all the same.
    assert!(stub.state().live().unwrap()["image"]["ref"].as_str().unwrap().ends_with(OTHER));
}

#[test]
fn where_nothing_was_live_there_is_nothing_to_go_back_to() {
    let stub = different();
    stub.state().deploys.clear();
    stub.state().looks = ["update_failed"].into();
    let (exit, said) = failure(&context(&stub));
    assert_eq!(exit, Exit::DeployFailed, "{said}");

    assert_as_before_without_deploy(&stub);
}

fn assert_as_before_without_deploy(stub: &Stub) {
    let mut variables = stub.state().variables.clone();
    variables.sort();
    let mut before = BEFORE_VALUES.map(|(name, value)| (name.to_owned(), value.to_owned()));
    before.sort();
    assert_eq!(variables, before);
}

/// The first release is live and not proved: there is no other one, and it needs what it was started with.
#[test]
fn a_first_deploy_keeps_its_variables_with_its_release() {
    let stub = different();
    stub.state().deploys.clear();
    stub.state().sha = None;
    let (exit, said) = failure(&context(&stub));
    assert_eq!(exit, Exit::NotRolledBack);
    insta::assert_snapshot!(stable(&stub, &said), @"
    Render runs an image whose digest it does not tell, but [digest] was asked for
    the service is NOT as it was:
    - nothing was live before, so there is nothing to go back to: deploy dep-ours is live, unproved, and stays, with the variables that it needs
    what is so now:
    - live: deploy dep-ours, [digest]
    - these variables keep what this deploy wrote, and the next deploy of any kind takes them up: HOSTS, SECRET_KEY, SENTRY_DSN
    nothing to do by hand: this service ends with the rehearsal
    ");
    assert_eq!((stub.asked("POST").len(), stub.asked("PATCH").len()), (1, 0));
    let written = stub.state().variables.clone();
    assert!(written.contains(&("SECRET_KEY".to_owned(), "value-of-key".to_owned())), "{written:?}");
}

#[test]
fn what_is_left_by_hand_is_where_the_service_is() {
    let base = |live: bool| Base {
        service: Service::default(),
        variables: Vec::new(),
        live: live.then(|| Deploy { id: "dep-before".to_owned(), ..Deploy::default() }),
        release: live.then(|| Release { digest: OTHER.to_owned(), ..Release::default() }),
        answered: None,
    };
    let page = |dashboard: Option<&str>, live: bool| {
        by_hand(dashboard, "docker.io/acme/app", Some(&base(live)), &["HOSTS"]).join("\n")
    };
    let dashboard = Some("https://dashboard.render.com/web/srv-1");
    insta::assert_snapshot!(page(dashboard, true).replace(OTHER, "[other]"), @"
    by hand:
    - https://dashboard.render.com/web/srv-1 → Environment: set HOSTS back
    - `cargo xtask rollback --to dep-before`, from this machine also the variables
    - or https://dashboard.render.com/web/srv-1 → Manual Deploy → Deploy a specific image: `docker.io/acme/app@[other]`
    ");
    insta::assert_snapshot!(page(dashboard, false), @"
    by hand:
    - deploy again, once the cause is gone: the next deploy replaces this one
    - or https://dashboard.render.com/web/srv-1 → Settings → Suspend Web Service: nothing is live then, as before
    ");
    for live in [true, false] {
        assert_eq!(page(None, live), "nothing to do by hand: this service ends with the rehearsal");
    }
}

#[test]
fn a_newer_deploy_is_not_fought() {
    // It waits while ours serves and does not prove itself.
    let stub = different();
    stub.state().sha = None;
    stub.state().foreign = Some(deploy("dep-newer", "queued", "manual", OTHER, 20));
    let (exit, said) = failure(&context(&stub));
    assert_eq!(exit, Exit::Superseded);
    assert!(said.contains("because of a newer deploy: dep-newer is queued"), "{said}");
    assert_eq!(stub.asked("POST").len(), 1);
}

#[test]
fn what_somebody_else_wrote_meanwhile_is_theirs() {
    let stub = different();
    let ctx = context(&stub);
    let actions = plan(&ctx, &Options::default()).unwrap();
    let mut transaction = Transaction::begin(&ctx, Kind::Deploy, PACE).unwrap();
    for action in &actions {
        transaction.execute(action).unwrap();
        if matches!(action, Action::WriteVariables { .. }) {
            break;
        }
    }
    for (name, value) in &mut stub.state().variables {
        if name == "HOSTS" {
            *value = "value-of-somebody".to_owned();
        }
    }
    let (_, error) = transaction.give_up(Failure::new(Exit::DeployFailed, "no").into(), |_| Choice::Undo);
    assert_eq!(Exit::of(&error), Exit::DeployFailed);
    assert!(stub.state().variables.contains(&("HOSTS".to_owned(), "value-of-somebody".to_owned())));
    assert!(stub.state().variables.contains(&("SECRET_KEY".to_owned(), "value-of-old-key".to_owned())));
    assert!(notes(&ctx).contains("HOSTS was changed by somebody else meanwhile"), "{}", notes(&ctx));
}

#[test]
fn an_interrupt_undoes_or_leaves_or_stops() {
    let interrupted = |ask: fn(&Context) -> Choice| {
        let stub = different();
        stub.state().looks = ["update_in_progress"].into();
        let ctx = context(&stub);
        stub.state().interrupt = Some(ctx.interrupt.clone());
        let actions = plan(&ctx, &Options::default()).unwrap();
        let attempt = checked(record::attempt(&ctx, &Goal { ask, ..goal(Kind::Deploy) }, &actions));
        let error = attempt.result.unwrap_err();
        (stub, Exit::of(&error), format!("{error:#}"), attempt.record.outcome)
    };
    let (stub, exit, said, outcome) = interrupted(|_| Choice::Undo);
    assert_eq!((exit, said.as_str()), (Exit::Interrupted, "interrupted\nthe service is as it was"));
    assert_eq!((stub.asked(CANCEL).len(), outcome), (1, report::DeploymentOutcome::RolledBack));
    assert_as_before(&stub);

    let (stub, exit, said, _) = interrupted(|_| Choice::Leave);
    assert_eq!((exit, stub.asked(CANCEL).len()), (Exit::Interrupted, 0));
    assert!(said.contains("`cargo xtask deploy --attach dep-ours`") && said.contains("HOSTS"), "{said}");

    let (stub, exit, said, outcome) = interrupted(|_| Choice::Stop);
    assert_eq!((exit, stub.asked(CANCEL).len()), (Exit::NotRolledBack, 0));
    assert_eq!(outcome, report::DeploymentOutcome::NotRolledBack);
    assert!(said.contains("these variables keep") && said.contains("SENTRY_DSN"), "{said}");
    assert!(said.contains("nothing was put back") && said.contains("--attach dep-ours"), "{said}");

    // The second signal comes while the undo waits.
    let (stub, exit, _, _) = interrupted(|ctx| {
        ctx.interrupt.set();
        Choice::Undo
    });
    assert_eq!((exit, stub.asked(CANCEL).len()), (Exit::NotRolledBack, 1));
}

#[test]
fn an_attached_deploy_is_followed_and_proved_or_undone() {
    let attach = Options { attach: Some("dep-ours".to_owned()), ..Options::default() };
    let left = || {
        let stub = different();
        stub.state().looks = ["update_in_progress"].into();
        let ctx = context(&stub);
        stub.state().interrupt = Some(ctx.interrupt.clone());
        let actions = plan(&ctx, &Options::default()).unwrap();
        let goal = Goal { ask: |_| Choice::Leave, ..goal(Kind::Deploy) };
        record::attempt(&ctx, &goal, &actions).result.unwrap_err();
        (stub, ctx)
    };
    let (stub, ctx) = left();
    stub.state().looks = ["live"].into();
    // As another terminal would: nothing is left in memory.
    let again = Context {
        reporter: launchway_core::events::Reporter::new(launchway_core::events::Sink::Memory(Vec::new())),
        ..ctx
    };
    assert_eq!(recorded(&again, &attach).result.unwrap().commit, COMMIT);
    assert_eq!(stub.asked("POST").len(), 1);

    let (stub, ctx) = left();
    stub.state().looks = ["update_failed"].into();
    let error = recorded(&ctx, &attach).result.unwrap_err();
    assert_eq!(Exit::of(&error), Exit::DeployFailed, "{error:#}");
    let mut variables = stub.state().variables.clone();
    variables.sort();
    let mut before = BEFORE_VALUES.map(|(name, value)| (name.to_owned(), value.to_owned()));
    before.sort();
    assert_eq!(variables, before);

    // Where nothing was kept.
    let (stub, ctx) = left();
    fs_err::remove_dir_all(snapshot::folder(&ctx)).unwrap();
    stub.state().looks = ["update_failed"].into();
    let error = recorded(&ctx, &attach).result.unwrap_err();
    assert_eq!(Exit::of(&error), Exit::NotRolledBack, "{error:#}");
    assert!(error.to_string().contains("what was before is not known on this machine"), "{error:#}");

    // One of another image is not ours to follow.
    let other = Options { attach: Some("dep-before".to_owned()), ..Options::default() };
    assert_eq!(Exit::of(&recorded(&ctx, &other).result.unwrap_err()), Exit::Usage);
    assert!(plan(&ctx, &Options { attach: Some("srv-1".to_owned()), expect: None }).is_err());
}

#[test]
fn events_end_a_wait_that_leads_nowhere() {
    let crash = |instance: &str| {
        event(
            "server_failed",
            &json!({ "instanceID": instance, "reason": { "oomKilled": {}, "evicted": false } }),
        )
    };
    let pull =
        |image: &str| event("image_pull_failed", &json!({ "imageURL": image, "message": "denied\nby all" }));
    let ours = format!("docker.io/acme/app@{DIGEST}");
    let attempt = |events: Vec<Value>| {
        let stub = different();
        stub.state().looks = ["update_in_progress"].into();
        stub.state().events = events;
        let mut ctx = context(&stub);
        ctx.config.deploy.timeout = Duration::from_millis(200);
        let (exit, said) = failure(&ctx);
        assert_eq!(exit, Exit::DeployFailed, "{said}");
        assert_as_before(&stub);
        said
    };
    let said = attempt(vec![pull(&ours)]);
    assert!(said.contains("Render cannot pull the image: denied by all; look at"), "{said}");
    let said = attempt(vec![crash("a"), crash("b"), crash("c")]);
    assert!(said.contains("dep-ours has crashed 3 times: it ran out of memory"), "{said}");
    for harmless in [
        vec![pull(&format!("docker.io/acme/app@{OTHER}"))],
        vec![crash("a"), crash("b")],
        // Of before our deploy began.
        vec![
            json!({ "type": "image_pull_failed", "timestamp": "2025-12-31T23:59:59Z", "details": { "imageURL": ours } }),
        ],
    ] {
        let said = attempt(harmless);
        assert!(said.contains("is still update_in_progress after 200ms"), "{said}");
    }
}

#[test]
fn a_failure_says_why_without_a_secret() {
    let stub = different();
    stub.state().looks = ["update_in_progress", "update_failed"].into();
    stub.state().log =
        ["starting", "bad value-of-old-key, value-of-own\u{1b}[2J", "value-of-dsn"].map(str::to_owned).into();
    let reason = json!({ "failure": { "nonZeroExit": 3, "evicted": false } });
    stub.state().events = vec![event("deploy_ended", &json!({ "deployId": "dep-ours", "reason": reason }))];
    let ctx = context(&stub);
    let (_, said) = failure(&ctx);
    assert!(
        said.starts_with("deploy dep-ours ended as update_failed: the app ended with exit code 3\n"),
        "{said}"
    );
    assert!(notes(&ctx).contains("to try: read its last lines"), "{}", notes(&ctx));
    let lines: Vec<String> = ctx
        .reporter
        .events()
        .into_iter()
        .filter_map(|told| match told {
            Event::Output { line } => Some(line),
            _ => None,
        })
        .collect();
    assert_eq!(lines, ["starting", "bad <redacted>, <redacted> [2J", "<redacted>"]);
}
