use std::path::Path;

use super::*;
use crate::context::Context;
use crate::testing::registry::scripted;
use launchway_core::environment::Environment;
use launchway_core::events::Event;
use launchway_fakes::{Reply, Request};

/// The requests to a Sentry that responds to everything with this status, and what was reported.
fn sent(
    status: u16,
    variables: &[(&str, &str)],
    act: impl FnOnce(&SentryPlan, &Http, &Reporter),
) -> (Vec<String>, Vec<String>) {
    let server = scripted(move |_, _| Some(Reply::new(status).body("said")));
    let url = format!("http://{}", server.host());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture");
    let environment = Environment::of(variables.iter().copied()).with(Environment::of([("SENTRY_URL", url)]));
    let ctx = Context::for_test(&root, environment);
    let plan = SentryPlan::new(&root, &ctx.config, &ctx.environment);
    act(&plan, &ctx.http().unwrap(), &ctx.reporter);
    let words = |event: Event| match event {
        Event::Note { text } => Some(text),
        Event::CheckSkipped { check, reason } => Some(format!("skipped {check}: {reason}")),
        _ => None,
    };
    let line = |request: &Request| {
        let body = String::from_utf8(request.body.clone()).unwrap();
        format!("{} {} {} {body}", request.method, request.target, request.header("authorization"))
    };
    let requests = server.requests().iter().map(line).collect();
    (requests, ctx.reporter.events().into_iter().filter_map(words).collect())
}

const SET: [(&str, &str); 3] =
    [("SENTRY_AUTH_TOKEN", "sntrys_token"), ("SENTRY_ORG", "acme"), ("SENTRY_PROJECT", "board")];

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn deploy(kind: Kind, release: &str) -> SentryDeploy<'_> {
    SentryDeploy { kind, release, started: at(1), environment: "production" }
}

fn at(seconds: u64) -> Time {
    Time::from_milliseconds((1_767_225_600 + seconds) * 1000)
}

#[test]
fn a_release_is_made_finalised_and_recorded_as_deployed() {
    let commit = Commit { sha: "a".repeat(40), time: at(0), subject: "Say why".to_owned(), author: None };
    let (requests, reported) = sent(201, &SET, |sentry, http, reporter| {
        let release = sentry.release(COMMIT);
        sentry.announce(http, reporter, &release, &[commit]);
        sentry.deployed(http, reporter, deploy(Kind::Deploy, &release));
    });
    // When it ended is now.
    let ended = requests[1].split('"').nth(3).unwrap();
    insta::assert_snapshot!(requests.join("\n").replace(ended, "[now]"), @r#"
    POST /api/0/organizations/acme/releases/ Bearer sntrys_token {"commits":[{"id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","message":"Say why","timestamp":"2026-01-01T00:00:00.000Z"}],"projects":["board"],"version":"app@0.1.0+0123456789ab"}
    PUT /api/0/organizations/acme/releases/app@0.1.0%2B0123456789ab/ Bearer sntrys_token {"dateReleased":"[now]","projects":["board"]}
    POST /api/0/organizations/acme/releases/app@0.1.0%2B0123456789ab/deploys/ Bearer sntrys_token {"dateFinished":"[now]","dateStarted":"2026-01-01T00:00:01.000Z","environment":"production","projects":["board"]}
    "#);
    assert_eq!(
        reported,
        [
            "Sentry release app@0.1.0+0123456789ab with 1 commit",
            "Sentry has the deploy of app@0.1.0+0123456789ab to production"
        ]
    );
}

#[test]
fn a_rollback_is_a_deploy_of_the_older_release() {
    let (requests, reported) = sent(201, &SET, |sentry, http, reporter| {
        sentry.deployed(http, reporter, deploy(Kind::Rollback, &sentry.release(&"b".repeat(40))));
    });
    assert_eq!(requests.len(), 1);
    assert!(
        requests[0].starts_with("POST /api/0/organizations/acme/releases/app@0.1.0%2Bbbbbbbbbbbbb/deploys/"),
        "{requests:?}"
    );
    assert_eq!(reported, ["Sentry has the deploy of app@0.1.0+bbbbbbbbbbbb to production"]);
}

fn announce(sentry: &SentryPlan, http: &Http, reporter: &Reporter) {
    sentry.announce(http, reporter, &sentry.release(COMMIT), &[]);
}

#[test]
fn a_sentry_that_refuses_is_a_skip() {
    for (status, said) in [
        (
            401,
            "skipped Sentry release: Sentry rejected `SENTRY_AUTH_TOKEN`: it needs the scope `project:releases` (or `org:ci`)",
        ),
        (404, "skipped Sentry release: Sentry cannot find it: check `SENTRY_ORG` and `SENTRY_PROJECT`: said"),
        (500, "skipped Sentry release: Sentry responded 500 Internal Server Error: said"),
    ] {
        let (_, reported) = sent(status, &SET, announce);
        assert_eq!(reported, [said]);
    }
}

#[test]
fn without_its_variables_nothing_is_sent() {
    let (requests, reported) = sent(201, &[], announce);
    assert!(requests.is_empty() && reported.is_empty());
    let (requests, reported) = sent(201, &SET[..1], announce);
    assert!(requests.is_empty());
    assert_eq!(reported, ["skipped Sentry release: not set: SENTRY_ORG, SENTRY_PROJECT"]);
}
