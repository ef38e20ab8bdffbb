//! An attempt and its record, whatever became of it.

use anyhow::Result;
use report::{DeploymentOutcome, Release, Report, Service, Time};
use reqwest::Url;

use crate::context::Context;
use launchway_render::preflight;

use super::transaction::{Goal, Transaction, now};
use super::{Action, Deployment, remote};

/// What was attempted, with its outcome.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// For the history.
    pub(crate) record: report::Deployment,
    /// The service that it was for.
    pub(crate) service: Option<Service>,
    /// Where the app answers, if Render told.
    pub(crate) site: Option<Url>,
    pub(crate) result: Result<Deployment>,
}

/// Runs the actions as one transaction, and records how that ended.
pub(super) fn attempt(ctx: &Context, goal: &Goal, actions: &[Action]) -> Attempt {
    let mut record = report::Deployment {
        kind: goal.kind.into(),
        environment: ctx.config.deploy.environment_name(|name| ctx.environment.get(name)).unwrap_or_default(),
        id: None,
        plan: None,
        started: now(),
        finished: now(),
        outcome: DeploymentOutcome::Live,
        reason: None,
        release: None,
        previous: None,
    };
    let id = ctx.environment.get("RENDER_SERVICE_ID");
    let mut service = id.map(|id| Service { key: Service::key(id), name: None });
    let mut site = None;
    let result = match Transaction::begin(ctx, goal.kind, goal.pace) {
        Err(error) => {
            record.outcome = DeploymentOutcome::Unchanged;
            Err(error)
        }
        Ok(mut transaction) => {
            let done = actions.iter().try_for_each(|action| {
                ctx.interrupt.check()?;
                transaction.execute(action)
            });
            let ended = done.and_then(|()| transaction.deployment()).map_err(|error| {
                let (outcome, error) = transaction.give_up(error, goal.ask);
                record.outcome = outcome;
                error
            });
            if let Some(service) = &mut service {
                service.name = called(ctx, &transaction.remote.service.name);
            }
            site = preflight::address(&transaction.remote.service).ok();
            record.id = transaction.deploy_id();
            record.plan = transaction.plan_hash();
            let (release, previous) = transaction.releases();
            record.release = release.and_then(recorded);
            record.previous = previous.and_then(recorded);
            record.environment = transaction.environment_name();
            ended
        }
    };
    (record.started, record.finished) = between(record.started, now());
    record.environment = named(&record.environment);
    record.reason = result.as_ref().err().map(|error| reason(ctx, error));
    Attempt { record, service, site, result }
}

/// The times of an attempt. Where the clock was put back meanwhile, the later one is right: a report from the future
/// would be refused, and with it the deploy would be missing from the history.
fn between(started: Time, finished: Time) -> (Time, Time) {
    (started.min(finished), finished)
}

/// Why it failed, as a record may say it.
fn reason(ctx: &Context, error: &anyhow::Error) -> String {
    const LONGEST: usize = 2000;
    let text = ctx.reporter.redacted(&format!("{error:#}"));
    let text: String = text.chars().take(LONGEST).collect();
    if text.is_empty() { "it does not say why".to_owned() } else { text }
}

/// A release as the report's format has it; what does not fit there is not known.
fn recorded(release: &remote::Release) -> Option<Release> {
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_commit = |commit: &&String| is_hex(commit.strip_suffix("-dirty").unwrap_or(commit), 40);
    let digest = release.digest.strip_prefix("sha256:").filter(|hex| is_hex(hex, 64))?;
    Some(Release {
        digest: format!("sha256:{digest}"),
        commit: release.commit.as_ref().filter(is_commit).cloned(),
    })
}

/// The service's name, where it has one: one line of at most 100 characters.
fn called(ctx: &Context, text: &str) -> Option<String> {
    let name = ctx.reporter.redacted(text);
    let name: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
    (!name.is_empty()).then_some(name)
}

/// The environment's name: 1 to 64 of `[A-Za-z0-9._-]`.
fn named(text: &str) -> String {
    let name: String =
        text.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).take(64).collect();
    if name.is_empty() { Report::NO_ENVIRONMENT.to_owned() } else { name }
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
