//! A deploy that fails is rolled back, or says what it left.

use serde_json::{Value, json};

use crate::steps::deploy::manual_steps::by_hand;
use crate::steps::deploy::release::Release;
use crate::steps::deploy::service_state::ServiceState;

use super::*;
use launchway_fakes::render::Look;
use launchway_render::model::{Deploy, Service};

/// A service where every kind of change is due: two variables differ, one is new, one is unmanaged.
fn different() -> Fixture {
    let fixture = Fixture::start();
    fixture.set(&BEFORE_VALUES);
    fixture
}

const BEFORE_VALUES: [(&str, &str); 4] = [
    ("SERVER_MODE", "value-of-type"),
    ("ALIAS", "value-of-old-hosts"),
    ("CIPHER_KEY", "value-of-old-key"),
    ("OWN", "value-of-own"),
];

/// Variables, release and settings are those of before.
#[track_caller]
fn assert_as_before(fixture: &Fixture) {
    assert_eq!(fixture.sorted_variables(), owned(&BEFORE_VALUES));
    assert_eq!(fixture.live().as_deref(), Some(OTHER));
    assert_eq!(fixture.service().image(), "docker.io/acme/app:latest");
}

#[test]
fn a_deploy_that_never_served_needs_no_other() {
    for sticks in [false, true] {
        let fixture = Fixture::start_with(|options| options.image_sticks = sticks);
        fixture.set(&BEFORE_VALUES);
        fixture.looks(["update_in_progress", "update_failed"]);
        let ctx = fixture.context();
        let deployed = deploy(&ctx);
        let error = deployed.result.unwrap_err();
        assert_eq!(Exit::of(&error), Exit::DeployFailed);
        assert_eq!(error.to_string(), "deploy dep-1 ended as update_failed\nthe service was rolled back");
        assert_as_before(&fixture);
        assert_eq!(fixture.count("POST", ""), 1);
        let record = deployed.record;
        assert_eq!(record.site.as_ref(), Some(&fixture.site()));
        let deployment = record.deployment;
        assert_eq!(deployment.outcome, launchway_report::DeploymentOutcome::RolledBack);
        assert_eq!(
            (deployment.id.as_deref(), deployment.environment.as_str()),
            (Some("dep-1"), "value-of-type")
        );
        assert_eq!(deployment.release.unwrap().commit.as_deref(), Some(COMMIT));
        assert_eq!(deployment.previous.unwrap().commit.as_deref(), Some(BEFORE));
        // It is kept, and so is the earlier release.
        assert_eq!(kept(&ctx).origin("dep-before"), Some(Origin::Found));
        assert_eq!(kept(&ctx).origin("dep-1"), Some(Origin::Failed));
    }
}

/// The service that is back would reject a report that is signed with the key of the failed deploy.
#[test]
fn a_report_is_signed_with_the_key_of_what_is_live() {
    for (looks, signed_with) in [(vec!["update_failed"], Some("value-of-old-key")), (Vec::new(), None)] {
        let fixture = different();
        if let [look] = looks[..] {
            fixture.looks([look]);
        }
        let mut ctx = fixture.context();
        ctx.config.deploy.reports =
            Some(SignedPath { path: "/reports".to_owned(), key: "CIPHER_KEY".to_owned() });
        let record = deploy(&ctx).record;
        assert_eq!(record.key.as_ref().map(Secret::expose), signed_with, "{:?}", record.deployment.outcome);
    }
}

#[test]
fn a_deploy_that_served_is_replaced_by_the_one_before() {
    type Break = fn(&Fixture);
    let breaks: [(Break, &str); 5] = [
        (|fixture| fixture.ours(|image| image.sha = Some(OTHER.to_owned())), "was requested"),
        (|fixture| fixture.ours(|image| image.sha = None), "an image of unknown digest, but"),
        (|fixture| fixture.fault(Fault::often("GET", "/healthz", 503, "", 9)), "requests with an error"),
        (
            |fixture| fixture.script(|script| script.counted = Some(vec![(200, 90), (502, 10)])),
            "responded to 10 of 100 requests with an error: 10 %",
        ),
        (
            // Twice for the plan, then the new release.
            |fixture| fixture.versions([BEFORE, BEFORE, "c0ffee"]),
            "still reports commit c0ffee after 60ms, not commit 0123456789ab",
        ),
    ];
    for (break_it, expected) in breaks {
        let fixture = different();
        break_it(&fixture);
        let ctx = fixture.context();
        let (exit, said) = failure(&ctx);
        assert!(said.contains(expected), "{said}");
        assert_eq!(exit, Exit::DeployFailed, "{said}");
        assert!(said.ends_with("\nthe service was rolled back"), "{said}");
        assert_as_before(&fixture);
        assert_eq!(fixture.service().live_id().unwrap(), "dep-2");
        assert!(notes(&ctx).contains("reports commit beef5678beef"), "{}", notes(&ctx));
    }
}

#[test]
fn a_deploy_that_cannot_be_cancelled_is_followed_to_its_end() {
    for (after, live) in [("update_in_progress", "dep-2"), ("live", "dep-2"), ("update_failed", "dep-before")]
    {
        let fixture = different();
        fixture.looks(["queued"]);
        fixture.script(|script| script.refused_cancel = Some(Look::Status(after)));
        let mut ctx = fixture.context();
        ctx.config.deploy.timeout = Duration::from_secs(1);
        let (exit, said) = failure(&ctx);
        assert_eq!(exit, Exit::DeployFailed, "{said}");
        assert!(said.contains("is still queued after 1s"), "{said}");
        assert_as_before(&fixture);
        assert_eq!(fixture.service().live_id().unwrap(), live, "{after}");
    }
}

#[test]
fn what_cannot_be_put_back_is_a_page_of_facts() {
    let fixture = different();
    fixture.looks(["update_in_progress", "live"]);
    fixture.ours(|image| image.sha = None);
    fixture.earlier(|image| image.looks(["update_failed"]));
    // Written by us, and not by the rollback.
    fixture.fault(Fault::after("PUT", "env-vars/CIPHER_KEY", 200, "{}"));
    let refusal = r#"{"message":"no value-of-old-key"}"#;
    fixture.fault(Fault::often("PUT", "env-vars/CIPHER_KEY", 403, refusal, 3));
    let ctx = fixture.context();
    let deployed = deploy(&ctx);
    assert_eq!(deployed.record.deployment.outcome, launchway_report::DeploymentOutcome::NotRolledBack);
    let (exit, said) = failure_of(&ctx, deployed);
    assert_eq!(exit, Exit::NotRolledBack);
    insta::assert_snapshot!(stable(&fixture, &said), @"
    Render runs an image of unknown digest, but [digest] was requested
    the service was NOT fully rolled back:
    - variables: `CIPHER_KEY`: the key in `RENDER_API_KEY` may not do this (403 Forbidden: no <redacted>): use one of a member of the service's workspace
    - release: deploy dep-3 ended as update_failed
    now:
    - live: deploy dep-1, [digest]
    - these variables still have the values that this run wrote, and the next deploy will use them: CIPHER_KEY
    nothing to do by hand: this service ends with the rehearsal
    ");
}

#[test]
fn an_undo_does_not_try_for_ever() {
    let fixture = different();
    fixture.looks(["update_in_progress", "live"]);
    fixture.ours(|image| image.sha = None);
    fixture.on(Call::Deploy, 0, |service| {
        for (method, name) in [("PUT", "ALIAS"), ("PUT", "CIPHER_KEY"), ("DELETE", "ERRORS_DSN")] {
            service.fault(Fault::often(method, name, 500, "", 60));
        }
    });
    let ctx = fixture.context();
    let timings =
        Timings { backoff: Duration::from_millis(50), rollback: Duration::from_millis(20), ..timings(&ctx) };
    let (exit, said) = failure_of(&ctx, deploy_with(&ctx, &Options { timings, ..options(&ctx) }));
    assert_eq!(exit, Exit::NotRolledBack, "{said}");
    // Three by the deploy. Then each of the three at each of three looks, and the first one once more; with retries for
    // each it would be 54.
    let writes = fixture.count("PUT", "") + fixture.count("DELETE", "") - 3;
    assert!((9..=10).contains(&writes), "{writes}");
    // What works is put back all the same.
    assert_eq!(fixture.live().as_deref(), Some(OTHER));
}

#[test]
fn where_nothing_was_live_only_the_variables_are_put_back() {
    let fixture = Fixture::empty(|_| {});
    fixture.set(&BEFORE_VALUES);
    fixture.looks(["update_failed"]);
    let deployed = deploy(&fixture.context());
    // Nothing was up before: nobody needs to look at the service now.
    assert_eq!(deployed.facts.is_up, None);
    assert_eq!(deployed.facts.next.as_deref(), Some("fix the cause, then run it again"));
    let said = format!("{:#}", deployed.result.unwrap_err());
    assert!(said.ends_with("\nnothing is live, as before; the variables were restored"), "{said}");
    assert_eq!(fixture.sorted_variables(), owned(&BEFORE_VALUES));
}

/// The first release is live and not proved: there is no other one, and it needs what it was started with.
#[test]
fn a_first_deploy_keeps_its_variables_with_its_release() {
    let fixture = Fixture::empty(|_| {});
    fixture.set(&BEFORE_VALUES);
    fixture.ours(|image| image.sha = None);
    let (exit, said) = failure(&fixture.context());
    assert_eq!(exit, Exit::NotRolledBack);
    insta::assert_snapshot!(stable(&fixture, &said), @"
    Render runs an image of unknown digest, but [digest] was requested
    the service was NOT fully rolled back:
    - no earlier release to roll back to: deploy dep-1 is live, unproved, and stays, with the variables that it needs
    now:
    - live: deploy dep-1, [digest]
    - these variables still have the values that this run wrote, and the next deploy will use them: ALIAS, CIPHER_KEY, ERRORS_DSN
    nothing to do by hand: this service ends with the rehearsal
    ");
    assert_eq!((fixture.count("POST", ""), fixture.count("PATCH", "")), (1, 0));
    assert_eq!(fixture.variables()["CIPHER_KEY"], "value-of-key");
}

#[test]
fn what_is_left_to_do_by_hand_depends_on_what_was_live() {
    let before = |live: bool| ServiceState {
        service: Service::default(),
        variables: Vec::new(),
        live: live.then(|| Deploy { id: "dep-before".to_owned(), ..Deploy::default() }),
        release: live.then(|| Release { digest: OTHER.to_owned(), ..Release::default() }),
        reported: None,
    };
    let page = |dashboard: Option<&str>, live: bool| {
        by_hand(dashboard, "docker.io/acme/app", Some(&before(live)), &["ALIAS"]).join("\n")
    };
    let dashboard = Some("https://dashboard.render.com/web/srv-1");
    insta::assert_snapshot!(page(dashboard, true).replace(OTHER, "[other]"), @"
    by hand:
    - https://dashboard.render.com/web/srv-1 → Environment: restore ALIAS
    - `cargo xtask rollback --to dep-before`, which on this machine also restores the variables
    - or https://dashboard.render.com/web/srv-1 → Manual Deploy → Deploy a specific image: `docker.io/acme/app@[other]`
    ");
    insta::assert_snapshot!(page(dashboard, false), @"
    by hand:
    - deploy again once the cause is fixed: the next deploy replaces this one
    - or https://dashboard.render.com/web/srv-1 → Settings → Suspend Web Service: then nothing is live, as before
    ");
    for live in [true, false] {
        assert_eq!(page(None, live), "nothing to do by hand: this service ends with the rehearsal");
    }
}

#[test]
fn a_newer_deploy_is_not_fought() {
    // It waits while ours serves and does not prove itself.
    let fixture = different();
    fixture.ours(|image| image.sha = None);
    fixture.joins(manual("dep-newer", "queued", OTHER));
    let (exit, said) = failure(&fixture.context());
    assert_eq!(exit, Exit::Superseded);
    assert!(said.contains("stopped at a newer deploy: dep-newer is queued"), "{said}");
    assert_eq!(fixture.count("POST", ""), 1);
}

#[test]
fn what_somebody_else_wrote_meanwhile_is_theirs() {
    let fixture = different();
    fixture.on(Call::Deploy, 0, |service| service.set_variable("ALIAS", "value-of-somebody"));
    fixture.fault(Fault::once("POST", "/deploys", 409, ""));
    let ctx = fixture.context();
    let (exit, _) = failure(&ctx);
    assert_eq!(exit, Exit::DeployFailed);
    let variables = fixture.variables();
    assert_eq!(
        (variables["ALIAS"].as_str(), variables["CIPHER_KEY"].as_str()),
        ("value-of-somebody", "value-of-old-key")
    );
    assert!(notes(&ctx).contains("ALIAS has been changed in the meantime"), "{}", notes(&ctx));
}

/// A deploy that is interrupted while it is followed.
fn interrupted(ask: Ask) -> (Fixture, Context, Concluded) {
    let fixture = different();
    fixture.looks(["update_in_progress"]);
    let ctx = fixture.context();
    fixture.interrupt(&ctx, Call::Watch);
    let deployed = checked(DeployPlan::new(&ctx, &options(&ctx)).unwrap().run_with(&ctx, &|_| (), ask));
    (fixture, ctx, deployed)
}

#[test]
fn an_interrupt_undoes_or_leaves_or_stops() {
    let cancelled = |fixture: &Fixture| fixture.count("POST", "/cancel");
    let ended = |ask: Ask| {
        let (fixture, ctx, deployed) = interrupted(ask);
        let outcome = deployed.record.deployment.outcome.clone();
        let (exit, said) = failure_of(&ctx, deployed);
        (fixture, exit, said, outcome)
    };
    let (fixture, exit, said, outcome) = ended(|_, _| Choice::RollBack);
    assert_eq!((exit, said.as_str()), (Exit::Interrupted, "interrupted\nthe service was rolled back"));
    assert_eq!((cancelled(&fixture), outcome), (1, launchway_report::DeploymentOutcome::RolledBack));
    assert_as_before(&fixture);

    let (fixture, exit, said, _) = ended(|_, _| Choice::Leave);
    assert_eq!((exit, cancelled(&fixture)), (Exit::Interrupted, 0));
    assert!(said.contains("`cargo xtask deploy --attach dep-1`") && said.contains("ALIAS"), "{said}");

    let (fixture, exit, said, outcome) = ended(|_, _| Choice::Stop);
    assert_eq!((exit, cancelled(&fixture)), (Exit::NotRolledBack, 0));
    assert_eq!(outcome, launchway_report::DeploymentOutcome::NotRolledBack);
    assert!(said.contains("these variables still have") && said.contains("ERRORS_DSN"), "{said}");
    assert!(said.contains("nothing was restored") && said.contains("--attach dep-1"), "{said}");

    // The second signal comes while the rollback waits.
    let (fixture, exit, _, _) = ended(|_, interrupt| {
        interrupt.set();
        Choice::RollBack
    });
    assert_eq!((exit, cancelled(&fixture)), (Exit::NotRolledBack, 1));
}

#[test]
fn an_attached_deploy_is_followed_and_proved_or_undone() {
    let attach = |ctx: &Context| Options { attach: Some("dep-1".to_owned()), ..options(ctx) };
    let left = || {
        let (fixture, ctx, deployed) = interrupted(|_, _| Choice::Leave);
        deployed.result.unwrap_err();
        (fixture, ctx)
    };
    let (fixture, ctx) = left();
    fixture.looks(["live"]);
    // As another terminal would: nothing is left in memory.
    let again = Context {
        reporter: launchway_core::events::Reporter::new(launchway_core::events::Sink::Memory(Vec::new())),
        ..ctx
    };
    assert_eq!(deploy_with(&again, &attach(&again)).result.unwrap().commit, COMMIT);
    assert_eq!(fixture.count("POST", ""), 1);

    let (fixture, ctx) = left();
    fixture.looks(["update_failed"]);
    let error = deploy_with(&ctx, &attach(&ctx)).result.unwrap_err();
    assert_eq!(Exit::of(&error), Exit::DeployFailed, "{error:#}");
    assert_eq!(fixture.sorted_variables(), owned(&BEFORE_VALUES));

    // Where nothing was kept.
    let (fixture, ctx) = left();
    fs_err::remove_dir_all(ctx.kept().join("deployments")).unwrap();
    fixture.looks(["update_failed"]);
    let error = deploy_with(&ctx, &attach(&ctx)).result.unwrap_err();
    assert_eq!(Exit::of(&error), Exit::NotRolledBack, "{error:#}");
    assert!(error.to_string().contains("this machine knows neither the earlier state"), "{error:#}");

    // One of another image is not ours to follow.
    let other = Options { attach: Some("dep-before".to_owned()), ..options(&ctx) };
    assert_eq!(Exit::of(&deploy_with(&ctx, &other).result.unwrap_err()), Exit::Usage);
    assert!(DeployPlan::new(&ctx, &Options { attach: Some("srv-1".to_owned()), ..options(&ctx) }).is_err());
}

#[test]
fn events_end_a_wait_that_leads_nowhere() {
    type Events = Vec<(&'static str, Value)>;
    let crash = |instance: &str| {
        let reason = json!({ "oomKilled": {}, "evicted": false });
        ("server_failed", json!({ "instanceID": instance, "reason": reason }))
    };
    let pull = |image: &str| ("image_pull_failed", json!({ "imageURL": image, "message": "denied\nby all" }));
    let ours = format!("docker.io/acme/app@{DIGEST}");
    let ended = |before: Events, events: Events| {
        let fixture = different();
        fixture.looks(["update_in_progress"]);
        for (kind, details) in before {
            fixture.service().record(kind, details);
        }
        fixture.script(|script| script.events = events);
        let mut ctx = fixture.context();
        ctx.config.deploy.timeout = Duration::from_millis(200);
        let (exit, said) = failure(&ctx);
        assert_eq!(exit, Exit::DeployFailed, "{said}");
        assert_as_before(&fixture);
        said
    };
    let said = ended(Vec::new(), vec![pull(&ours)]);
    assert!(said.contains("Render cannot pull the image: denied by all; check"), "{said}");
    let said = ended(Vec::new(), vec![crash("a"), crash("b"), crash("c")]);
    assert!(said.contains("dep-1 crashed 3 times: it ran out of memory"), "{said}");
    for (before, events) in [
        (Vec::new(), vec![pull(&format!("docker.io/acme/app@{OTHER}"))]),
        (Vec::new(), vec![crash("a"), crash("b")]),
        (vec![pull(&ours)], Vec::new()),
    ] {
        let said = ended(before, events);
        assert!(said.contains("is still update_in_progress after 200ms"), "{said}");
    }
}

#[test]
fn a_failure_says_why_without_a_secret() {
    let fixture = different();
    fixture.looks(["update_in_progress", "update_failed"]);
    let log = ["starting", "bad value-of-old-key, value-of-own\u{1b}[2J", "value-of-dsn"];
    fixture.script(|script| script.log = log.map(str::to_owned).into());
    fixture.ours(|image| image.reason = json!({ "failure": { "nonZeroExit": 3, "evicted": false } }));
    let ctx = fixture.context();
    let (_, said) = failure(&ctx);
    assert!(
        said.starts_with("deploy dep-1 ended as update_failed: the service exited with code 3\n"),
        "{said}"
    );
    assert!(notes(&ctx).contains("hint: its last lines may say why"), "{}", notes(&ctx));
    let lines: Vec<String> = ctx
        .reporter
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Output { line } => Some(line),
            _ => None,
        })
        .collect();
    assert_eq!(lines, ["starting", "bad <redacted>, <redacted> [2J", "<redacted>"]);
}
