//! The four key metrics of software delivery (DORA), from the deployment log alone.
//!
//! All cover the last [`WINDOW_DAYS`] days, ignore rehearsals and superseded deployments, and state their sample size.
//! With fewer than [`LEAST`] samples a figure has no value: it would be an anecdote.
//!
//! - **Deployment frequency**: deployments that went live, per week.
//! - **Lead time**: from a commit to the deployment that made it live; the median over commits.
//! - **Change failure rate**: the share of deployments that failed or were rolled back later.
//! - **Recovery time**: from a failed deployment to the next one that went live; the median over failures.

use launchway_report::{Deployment, DeploymentKind, DeploymentOutcome, Time};
use serde::Serialize;

use super::format::{count, real};
use super::history::{History, Run};

/// The period of the figures, in days.
pub const WINDOW_DAYS: u64 = 90;
/// The fewest samples for a figure.
pub const LEAST: usize = 5;
const DAY: u64 = 86_400_000;

/// The figures as of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// [`WINDOW_DAYS`].
    pub window_days: u64,
    /// Deployments that went live, per week; samples are deployments.
    pub deployments_per_week: Figure,
    /// Seconds; samples are commits.
    pub lead_time_seconds: Figure,
    /// Percent; samples are deployments.
    pub change_failure_percent: Figure,
    /// Seconds; samples are failures that a live deployment followed.
    pub recovery_seconds: Figure,
}

/// One figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The sample size.
    pub samples: usize,
    /// `None` with fewer than [`LEAST`] samples.
    pub value: Option<f64>,
}

impl Figure {
    fn new(samples: usize, value: impl FnOnce() -> f64) -> Self {
        Self { samples, value: (samples >= LEAST).then(value) }
    }
}

impl Figures {
    /// Computes the figures as of `now`.
    pub(super) fn new(history: &History, now: Time) -> Self {
        let all = attempts(history);
        let start = Time::from_milliseconds(now.milliseconds().saturating_sub(WINDOW_DAYS * DAY));
        let window = &all[all.partition_point(|attempt| attempt.finished < start)..];
        let changes = || window.iter().filter(|attempt| *attempt.kind == DeploymentKind::Deploy);

        let live = changes().filter(|attempt| *attempt.outcome == DeploymentOutcome::Live).count();
        let mut leads: Vec<u64> =
            changes().flat_map(|attempt| &attempt.run.leads).map(std::time::Duration::as_secs).collect();
        let failed = changes().filter(|attempt| attempt.failed).count();
        let mut recoveries: Vec<u64> = window
            .iter()
            .enumerate()
            .filter(|(_, attempt)| attempt.failed)
            .filter_map(|(index, attempt)| {
                let next =
                    window[index + 1..].iter().find(|next| *next.outcome == DeploymentOutcome::Live)?;
                Some(next.finished.since(attempt.finished).as_secs())
            })
            .collect();
        Self {
            window_days: WINDOW_DAYS,
            deployments_per_week: Figure::new(live, || count(live) * 7.0 / days(&all, now)),
            lead_time_seconds: Figure::new(leads.len(), || median(&mut leads)),
            change_failure_percent: Figure::new(changes().count(), || {
                count(failed) / count(changes().count()) * 100.0
            }),
            recovery_seconds: Figure::new(recoveries.len(), || median(&mut recoveries)),
        }
    }
}

/// A deployment that ran to its end.
pub(super) struct Attempt<'a> {
    run: &'a Run,
    kind: &'a DeploymentKind,
    outcome: &'a DeploymentOutcome,
    pub(super) finished: Time,
    /// A change that failed, or that a rollback undid.
    pub(super) failed: bool,
}

/// All attempts in the order in which they ended, oldest first.
pub(super) fn attempts(history: &History) -> Vec<Attempt<'_>> {
    let mut found: Vec<Attempt<'_>> = Vec::new();
    for (run, Deployment { kind, outcome, finished, .. }) in history.deployments() {
        let failed = match (kind, outcome) {
            // Words of a newer version are ignored.
            (_, DeploymentOutcome::Superseded | DeploymentOutcome::Other(_))
            | (DeploymentKind::Other(_), _) => continue,
            (DeploymentKind::Deploy, outcome) => *outcome != DeploymentOutcome::Live,
            (DeploymentKind::Rollback, DeploymentOutcome::Live) => {
                // A rollback undoes the newest change that went live.
                let undone = found.iter_mut().rev().find(|attempt| {
                    *attempt.kind == DeploymentKind::Deploy && *attempt.outcome == DeploymentOutcome::Live
                });
                if let Some(undone) = undone {
                    undone.failed = true;
                }
                false
            }
            (DeploymentKind::Rollback, _) => false,
        };
        found.push(Attempt { run, kind, outcome, finished: *finished, failed });
    }
    found
}

/// The days of the window since the first deployment: a board of ten days has not been idle for eighty. At least a week,
/// so that a busy first day does not become a rate.
fn days(all: &[Attempt<'_>], now: Time) -> f64 {
    let first = all.first().map_or(now, |attempt| attempt.finished);
    let since = now.milliseconds().saturating_sub(first.milliseconds()).div_ceil(DAY);
    real(since.clamp(7, WINDOW_DAYS))
}

/// The median of at least one sample.
fn median(samples: &mut [u64]) -> f64 {
    samples.sort_unstable();
    let middle = samples.len() / 2;
    let upper = samples.get(middle).copied().unwrap_or_default();
    if samples.len() % 2 == 1 { real(upper) } else { real(samples[middle - 1].saturating_add(upper)) / 2.0 }
}

#[cfg(test)]
mod tests;
