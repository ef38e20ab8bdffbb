//! The facts that are reported of a deployment: what it left, and whether the site is up and on which commit.

use super::*;
use launchway_core::events::{DeployOutcome, Deployed};

/// The facts of a deploy, which are those of its event.
fn facts(ctx: &Context) -> Deployed {
    let facts = deploy(ctx).facts;
    let reported: Vec<_> = ctx
        .reporter
        .events()
        .into_iter()
        .filter_map(|event| if let Event::Deployed(facts) = event { Some(facts) } else { None })
        .collect();
    assert_eq!(reported.as_slice(), std::slice::from_ref(&facts));
    facts
}

#[test]
fn a_live_release_is_up_on_its_commit() {
    let fixture = Fixture::start();
    let facts = facts(&fixture.context());
    assert_eq!((facts.outcome, facts.is_up), (DeployOutcome::Live, Some(true)));
    assert_eq!(facts.live_commit.as_deref(), Some(COMMIT));
    assert_eq!((facts.kind.as_str(), facts.id.as_deref()), ("deploy", Some("dep-1")));
    assert_eq!(facts.url.as_deref(), Some(fixture.site().as_str()));
    assert_eq!(
        (facts.release.unwrap().digest, facts.previous.unwrap().digest),
        (DIGEST.into(), OTHER.into())
    );
    assert_eq!((facts.next, facts.reason), (None, None));
}

#[test]
fn after_a_rollback_the_site_is_up_on_the_earlier_commit() {
    let fixture = Fixture::settled();
    fixture.looks(["update_failed"]);
    let facts = facts(&fixture.context());
    assert_eq!((facts.outcome, facts.is_up), (DeployOutcome::RolledBack, Some(true)));
    assert_eq!(facts.live_commit.as_deref(), Some(BEFORE));
    assert!(facts.reason.unwrap().contains("update_failed"));
    assert_eq!(facts.next.as_deref(), Some("it can wait: fix the cause, then run it again"));
}

#[test]
fn a_site_that_cannot_be_asked_is_not_said_to_be_up() {
    // The key is refused before the service is read: there is no address.
    let fixture = Fixture::start();
    let ctx = fixture.context();
    let refused = Environment::of([("RENDER_API_KEY", "wrong-key-of-this-test")]);
    let environment = ctx.environment.clone().with(refused);
    let facts = facts(&Context { environment, ..ctx });
    assert_eq!((facts.outcome, facts.is_up, facts.url), (DeployOutcome::Unchanged, None, None));
    assert_eq!(facts.next.as_deref(), Some("fix the cause, then run it again"));
}
