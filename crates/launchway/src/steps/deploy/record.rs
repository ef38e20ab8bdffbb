//! A deployment as its run report describes it, whatever its outcome.

use std::time::{Instant, SystemTime};

use anyhow::Result;
use launchway_report::{DeploymentOutcome, Report, Service, Time};
use reqwest::Url;

use launchway_core::events::review::ServiceChanges;
use launchway_core::events::{Deployed, Event, Reporter};
use launchway_core::secret::Secret;
use launchway_render::{model, preflight};

use super::release::Release;
use super::request::State;
use super::rollout::Rollout;
use super::service_state::ServiceState;
use super::target::Target;
use super::{Deployment, ReportPlan, facts};

/// A deployment that ended, for the history.
#[derive(Debug)]
pub(crate) struct Concluded {
    pub(crate) record: DeploymentRecord,
    /// Its reported facts.
    pub(crate) facts: Deployed,
    pub(crate) result: Result<Deployment>,
}

/// What the history gets of a deployment.
#[derive(Clone, Debug)]
pub(crate) struct DeploymentRecord {
    pub(crate) deployment: launchway_report::Deployment,
    /// What its plan changes; absent if it failed before there was one.
    pub(crate) changes: Option<ServiceChanges>,
    /// The service it was for.
    pub(crate) service: Option<Service>,
    /// The service's address, if Render returned it.
    pub(crate) site: Option<Url>,
    /// The key with which the live service checks reports, if it is not the run's own: a failed deployment leaves the
    /// earlier environment.
    pub(crate) key: Option<Secret>,
    /// Where the report goes.
    pub(crate) plan: ReportPlan,
}

/// A deployment that starts, for the board of the service that is live.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) kind: launchway_report::DeploymentKind,
    pub(crate) environment: String,
    pub(crate) since: Time,
    pub(crate) release: Option<launchway_report::Release>,
    /// The service that it is for.
    pub(crate) service: Option<Service>,
    /// The service's address, if Render returned it.
    pub(crate) site: Option<Url>,
    /// The key with which the live service checks reports, if it has one.
    pub(crate) key: Option<Secret>,
    /// Where the report goes.
    pub(crate) plan: ReportPlan,
}

/// Reports the start of a deployment.
pub(crate) type Announce<'a> = &'a dyn Fn(Start);

/// What is known so far about a deployment.
pub(super) struct Draft {
    pub(super) started: Time,
    clock: Instant,
    /// The id of our deploy.
    pub(super) id: Option<String>,
    /// The hash of the plan.
    pub(super) plan: Option<String>,
    /// What the plan changes.
    pub(super) changes: Option<ServiceChanges>,
    pub(super) service: Option<model::Service>,
    pub(super) release: Option<Release>,
    pub(super) previous: Option<Release>,
    pub(super) environment: Option<String>,
    /// The key with which the service checked reports before the deployment, if it has one.
    earlier_key: Option<Secret>,
    /// Whether a deploy was live before, as far as is known.
    was_live: bool,
}

impl Draft {
    pub(super) fn begin(plan: &Rollout) -> Self {
        Self {
            started: SystemTime::now().into(),
            clock: Instant::now(),
            id: None,
            plan: None,
            changes: None,
            service: None,
            release: None,
            previous: None,
            environment: plan.environment.clone(),
            earlier_key: None,
            was_live: true,
        }
    }

    /// Records what the service ran before the deployment.
    pub(super) fn found(&mut self, plan: &Rollout, before: &ServiceState) {
        self.previous.clone_from(&before.release);
        self.was_live = before.live.is_some();
        let signed = plan.report.board.as_ref();
        self.earlier_key = signed.and_then(|signed| before.value(&signed.key)).cloned();
    }

    pub(super) fn milliseconds(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The start of a deployment of which everything is known and nothing is written.
    pub(super) fn start(&self, reporter: &Reporter, plan: &Rollout) -> Start {
        Start {
            kind: plan.kind.into(),
            environment: recorded_name(self.environment.as_deref().unwrap_or_default()),
            since: self.started,
            release: self.release.as_ref().and_then(recorded),
            service: self.recorded_service(reporter, plan),
            site: self.site(),
            key: self.earlier_key.clone(),
            plan: plan.report.clone(),
        }
    }

    fn recorded_service(&self, reporter: &Reporter, plan: &Rollout) -> Option<Service> {
        let name = self.service.as_ref().and_then(|service| service_name(reporter, &service.name));
        plan.service.as_ref().map(|id| Service { key: Service::key(id), name })
    }

    fn site(&self) -> Option<Url> {
        self.service.as_ref().and_then(|service| preflight::address(service).ok())
    }

    /// Records the deploy that a failure leaves.
    pub(super) fn saw(&mut self, state: &State) {
        if let State::Ours(deploy) = state {
            self.id = Some(deploy.id.clone());
        }
    }

    /// Ends the deployment. If it failed, the target's site is checked once more.
    pub(super) fn conclude(
        self,
        reporter: &Reporter,
        target: Option<&Target<'_>>,
        plan: &Rollout,
        result: Result<Deployment, (DeploymentOutcome, anyhow::Error)>,
    ) -> Concluded {
        let (outcome, result) = match result {
            Ok(deployment) => (DeploymentOutcome::Live, Ok(deployment)),
            Err((outcome, error)) => (outcome, Err(error)),
        };
        let (started, finished) = between(self.started, SystemTime::now().into());
        let (service, site) = (self.recorded_service(reporter, plan), self.site());
        let deployment = launchway_report::Deployment {
            kind: plan.kind.into(),
            environment: recorded_name(&self.environment.unwrap_or_default()),
            id: self.id,
            plan: self.plan,
            started,
            finished,
            outcome,
            reason: result.as_ref().err().map(|error| reason(reporter, error)),
            release: self.release.as_ref().and_then(recorded),
            previous: self.previous.as_ref().and_then(recorded),
        };
        let has_earlier_key =
            matches!(deployment.outcome, DeploymentOutcome::Unchanged | DeploymentOutcome::RolledBack);
        let record = DeploymentRecord {
            deployment,
            changes: self.changes,
            service,
            site,
            key: self.earlier_key.filter(|_| has_earlier_key),
            plan: plan.report.clone(),
        };
        let facts = match &result {
            Ok(live) => facts::of_live(&record, live),
            Err(_) => facts::of_failed(target, &record, plan, self.was_live),
        };
        reporter.emit(Event::Deployed(facts.clone()));
        Concluded { record, facts, result }
    }
}

/// The times of a deployment. If the clock was set back in the meantime, the later time is right: the board would
/// refuse a report from the future, and the history would lack the deployment.
fn between(started: Time, finished: Time) -> (Time, Time) {
    (started.min(finished), finished)
}

/// Why it failed, in a form that a record may contain.
fn reason(reporter: &Reporter, error: &anyhow::Error) -> String {
    const LONGEST: usize = 2000;
    let text = reporter.redacted(&format!("{error:#}"));
    let text: String = text.chars().take(LONGEST).collect();
    if text.is_empty() { "no reason given".to_owned() } else { text }
}

/// A release in the report's format. Values that do not fit count as unknown.
fn recorded(release: &Release) -> Option<launchway_report::Release> {
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_commit = |commit: &&String| is_hex(commit.strip_suffix("-dirty").unwrap_or(commit), 40);
    let digest = release.digest.strip_prefix("sha256:").filter(|hex| is_hex(hex, 64))?;
    Some(launchway_report::Release {
        digest: format!("sha256:{digest}"),
        commit: release.commit.as_ref().filter(is_commit).cloned(),
    })
}

/// The name of the environment in the report's format: 1 to 64 of `[A-Za-z0-9._-]`.
fn recorded_name(text: &str) -> String {
    let name: String =
        text.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).take(64).collect();
    if name.is_empty() { Report::NO_ENVIRONMENT.to_owned() } else { name }
}

/// The service's name, if it has one: one line of at most 100 characters.
fn service_name(reporter: &Reporter, text: &str) -> Option<String> {
    let name = reporter.redacted(text);
    let name: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_put_back_loses_no_report() {
        let [early, late] = [1, 3_600_000].map(Time::from_milliseconds);
        assert_eq!(between(early, late), (early, late));
        assert_eq!(between(late, early), (early, early));
    }
}
