//! The facts of a finished deployment, for its event: its outcome, whether the site is up, and what to do.

use launchway_core::events::{DeployOutcome, Deployed, milliseconds};
use launchway_core::http::Http;
use launchway_report::{DeploymentKind, DeploymentOutcome};
use reqwest::Url;

use super::record::DeploymentRecord;
use super::rollout::Rollout;
use super::target::Target;
use super::{Deployment, proof};

/// The facts of a deployment that is live and proved.
pub(super) fn of_live(record: &DeploymentRecord, live: &Deployment) -> Deployed {
    let commit = Some(live.commit.clone()).filter(|commit| !commit.is_empty());
    Deployed { is_up: Some(true), live_commit: commit, ..of(record) }
}

/// The facts of a failed deployment. The site is checked once more, unless nothing was live and nothing is.
pub(super) fn of_failed(
    target: Option<&Target<'_>>,
    record: &DeploymentRecord,
    plan: &Rollout,
    was_live: bool,
) -> Deployed {
    let mut facts = of(record);
    let may_be_up =
        was_live || !matches!(facts.outcome, DeployOutcome::Unchanged | DeployOutcome::RolledBack);
    if let (true, Some(site), Some(Target { http, .. })) = (may_be_up, &record.site, target) {
        facts.is_up = is_up(http, site, &plan.health);
        let version = plan.version.as_ref().filter(|_| facts.is_up == Some(true));
        let url = version.and_then(|path| site.join(path).ok());
        facts.live_commit = url.and_then(|url| proof::reported(http, &url).ok());
    }
    let is_rehearsal = target.is_some_and(|target| target.dashboard().is_none());
    facts.next = Some(next(facts.outcome, facts.is_up, is_rehearsal).to_owned());
    facts
}

fn of(record: &DeploymentRecord) -> Deployed {
    let deployment = &record.deployment;
    let release = |release: &launchway_report::Release| launchway_core::events::Release {
        digest: release.digest.clone(),
        commit: release.commit.clone(),
    };
    Deployed {
        kind: match deployment.kind {
            DeploymentKind::Rollback => Deployed::ROLLBACK,
            DeploymentKind::Deploy | DeploymentKind::Other(_) => Deployed::DEPLOY,
        }
        .to_owned(),
        outcome: outcome(&deployment.outcome),
        environment: deployment.environment.clone(),
        service: record.service.as_ref().and_then(|service| service.name.clone()),
        url: record.site.as_ref().map(Url::to_string),
        id: deployment.id.clone(),
        release: deployment.release.as_ref().map(release),
        previous: deployment.previous.as_ref().map(release),
        is_up: None,
        live_commit: None,
        reason: deployment.reason.clone(),
        next: None,
        milliseconds: milliseconds(deployment.finished.since(deployment.started)),
    }
}

fn outcome(outcome: &DeploymentOutcome) -> DeployOutcome {
    match outcome {
        DeploymentOutcome::Live => DeployOutcome::Live,
        DeploymentOutcome::Unchanged => DeployOutcome::Unchanged,
        DeploymentOutcome::RolledBack => DeployOutcome::RolledBack,
        DeploymentOutcome::Superseded => DeployOutcome::Superseded,
        // This version never ends a deployment with an unknown outcome.
        DeploymentOutcome::NotRolledBack | DeploymentOutcome::Other(_) => DeployOutcome::NotRolledBack,
    }
}

/// Whether the site is healthy; unknown if it must not be contacted.
fn is_up(http: &Http, site: &Url, health: &str) -> Option<bool> {
    let url = site.join(health).ok()?;
    http.check(&url).ok()?;
    Some(proof::healthy(http, &url).is_ok())
}

/// What to do after a failed deployment.
fn next(outcome: DeployOutcome, is_up: Option<bool>, is_rehearsal: bool) -> &'static str {
    match outcome {
        DeployOutcome::NotRolledBack if is_rehearsal => "nothing to do: it ends with the rehearsal",
        DeployOutcome::NotRolledBack => "finish what is listed above",
        _ if is_up == Some(false) => "check the service now",
        DeployOutcome::Superseded => "run it again if yours should be live",
        DeployOutcome::Unchanged | DeployOutcome::RolledBack if is_up == Some(true) => {
            "it can wait: fix the cause, then run it again"
        }
        DeployOutcome::Unchanged | DeployOutcome::RolledBack | DeployOutcome::Live => {
            "fix the cause, then run it again"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use launchway_core::environment::Environment;
    use launchway_core::http::NetworkPolicy;

    #[test]
    fn a_site_that_does_not_respond_is_not_up_and_of_one_that_is_out_of_bounds_nothing_is_known() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let site: Url = format!("http://{closed}/").parse().unwrap();
        let within = |allowed| {
            let http = Http::through(NetworkPolicy::Only(allowed), &Environment::default()).unwrap();
            is_up(&http, &site, "/healthz")
        };
        assert_eq!((within(vec![closed]), within(Vec::new())), (Some(false), None));
    }

    #[test]
    fn what_to_do_follows_from_what_is_left() {
        use DeployOutcome::{NotRolledBack, RolledBack, Superseded, Unchanged};

        let words = |outcome, is_up| next(outcome, is_up, false);
        assert!(words(RolledBack, Some(true)).starts_with("it can wait"));
        assert_eq!(words(Unchanged, None), "fix the cause, then run it again");
        for outcome in [RolledBack, Unchanged, Superseded] {
            assert_eq!(words(outcome, Some(false)), "check the service now");
        }
        assert_eq!(words(Superseded, Some(true)), "run it again if yours should be live");
        assert_eq!(words(NotRolledBack, Some(true)), "finish what is listed above");
        assert_eq!(next(NotRolledBack, None, true), "nothing to do: it ends with the rehearsal");
    }
}
