//! The runs that pages are made of, in memory.

use std::sync::Arc;
use std::time::Duration;

use report::{Deployment, DeploymentKind, DeploymentOutcome, Report, StepOutcome, Time};

use crate::identity::Identity;

/// The most runs in memory; with some kilobytes each they stay below a small server's. Older ones are in the file.
pub(super) const MAX_RUNS: u32 = 20_000;

/// The newest runs, by when they began.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Changes with the content.
    pub(super) version: u64,
    /// Whether a file was ever read: without one, nothing is known, not even that there is nothing.
    pub(super) loaded: bool,
    /// How many reports the file holds, without those that are left out.
    pub(super) total: u64,
    /// How many runs are left out because they are of another service or environment, and how many because of their
    /// times; see [`History::of`].
    pub(super) elsewhere: usize,
    pub(super) untimely: usize,
    /// Oldest first. They do not depend on the order in which the reports came.
    pub(super) runs: Vec<Arc<Run>>,
}

impl History {
    /// Starts again with what a file holds, in any order.
    pub(super) fn replace(&mut self, total: u64, reports: Vec<Report>) {
        self.runs = reports.into_iter().map(|report| Arc::new(Run::new(report))).collect();
        self.runs.sort_by(|a, b| a.key().cmp(&b.key()));
        self.total = total;
        self.loaded = true;
        self.version += 1;
    }

    /// Adds a report that is new to the file.
    pub(super) fn add(&mut self, report: Report) {
        let run = Arc::new(Run::new(report));
        let place = self.runs.partition_point(|other| other.key() <= run.key());
        self.runs.insert(place, run);
        if self.runs.len() > MAX_RUNS as usize {
            self.runs.remove(0);
        }
        self.total += 1;
        self.version += 1;
    }

    /// What a page of this process is made of: the runs of its own service and environment, from before `now`.
    ///
    /// Others share the ledger when they share the image, and are kept here only because the history is kept whole. A
    /// report from the future would rule the page for ever.
    pub(super) fn of(&self, identity: &Identity, now: Time) -> Self {
        let (mut runs, mut elsewhere, mut untimely) = (Vec::new(), 0, 0);
        for run in &self.runs {
            if !run.report.is_timely(now) {
                untimely += 1;
            } else if !identity.owns(&run.report) {
                elsewhere += 1;
            } else {
                runs.push(Arc::clone(run));
            }
        }
        let left_out = u64::try_from(elsewhere + untimely).unwrap_or(u64::MAX);
        Self { total: self.total.saturating_sub(left_out), elsewhere, untimely, runs, ..*self }
    }

    /// The deployments that happened, by when they ended, oldest first; rehearsals did not happen.
    pub(super) fn deployments(&self) -> Vec<(&Run, &Deployment)> {
        let mut found: Vec<_> = self
            .runs
            .iter()
            .filter(|run| !run.report.rehearsal)
            .filter_map(|run| Some((&**run, run.report.deployment.as_ref()?)))
            .collect();
        found.sort_by_key(|(run, deployment)| (deployment.finished, run.key()));
        found
    }
}

/// A run as the pages need it.
#[derive(Debug)]
pub(super) struct Run {
    /// Without its commits, which are most of it.
    pub(super) report: Report,
    /// For a deployment that went live: how long each of its commits took from being made to being live.
    pub(super) leads: Vec<Duration>,
}

impl Run {
    fn new(mut report: Report) -> Self {
        let commits = std::mem::take(&mut report.commits);
        let live = report.deployment.as_ref().filter(|deployment| {
            deployment.kind == DeploymentKind::Deploy && deployment.outcome == DeploymentOutcome::Live
        });
        let leads = live.map_or_else(Vec::new, |deployment| {
            let commits = if commits.is_empty() { std::slice::from_ref(&report.commit) } else { &commits };
            // A commit from after its deployment, or from before all of them, has a clock that says nothing.
            let known =
                commits.iter().filter(|commit| (Time::EARLIEST..deployment.finished).contains(&commit.time));
            known.map(|commit| deployment.finished.since(commit.time)).collect()
        });
        Self { report, leads }
    }

    pub(super) fn key(&self) -> (report::Time, &str) {
        (self.report.started, &self.report.id)
    }
}

/// The first step that did not end well, if any.
pub(super) fn stumble(report: &Report) -> Option<&report::Step> {
    report.steps.iter().find(|step| matches!(step.outcome, StepOutcome::Failed | StepOutcome::Interrupted))
}
