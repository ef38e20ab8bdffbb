//! The runs that pages are made of, in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use report::{Commit, Deployment, DeploymentKind, DeploymentOutcome, Report, StepOutcome, Time};

use super::store::Entry;
use crate::identity::Identity;

/// The most runs in memory; with some kilobytes each they stay below a small server's. Older ones are in the file.
pub(super) const MAX_RUNS: u32 = 20_000;

/// What the file holds: an index of all reports, and the newest runs by when they began.
#[derive(Clone, Debug, Default)]
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
    /// All reports, in the order in which they came.
    pub(super) entries: Vec<Arc<Entry>>,
    /// The same by id, with the run where it is one of `runs`.
    known: HashMap<String, (Arc<Entry>, Option<Arc<Run>>)>,
}

impl History {
    /// Starts again with what a file holds: the entries in their order, the reports in any.
    pub(super) fn replace(&mut self, entries: Vec<Entry>, reports: Vec<Report>) {
        self.runs = reports.into_iter().map(|report| Arc::new(Run::new(report))).collect();
        self.runs.sort_by(|a, b| a.key().cmp(&b.key()));
        self.entries = entries.into_iter().map(Arc::new).collect();
        let known = self.entries.iter().map(|entry| (entry.id.clone(), (Arc::clone(entry), None)));
        self.known = known.collect();
        for run in &self.runs {
            if let Some((_, known)) = self.known.get_mut(&run.report.id) {
                *known = Some(Arc::clone(run));
            }
        }
        self.loaded = true;
        self.changed();
    }

    /// Adds a report that is new to the file.
    pub(super) fn add(&mut self, entry: Entry, report: Report) {
        let entry = Arc::new(entry);
        let run = Arc::new(Run::new(report));
        self.known.insert(entry.id.clone(), (Arc::clone(&entry), Some(Arc::clone(&run))));
        self.entries.push(entry);
        let place = self.runs.partition_point(|other| other.key() <= run.key());
        self.runs.insert(place, run);
        if self.runs.len() > MAX_RUNS as usize {
            let oldest = self.runs.remove(0);
            if let Some((_, run)) = self.known.get_mut(&oldest.report.id) {
                *run = None;
            }
        }
        self.changed();
    }

    fn changed(&mut self) {
        self.total = self.entries.len() as u64;
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
        let total = self.total.saturating_sub(left_out);
        Self {
            version: self.version,
            loaded: self.loaded,
            total,
            elsewhere,
            untimely,
            runs,
            ..Self::default()
        }
    }

    /// What is kept under that id.
    pub(super) fn entry(&self, id: &str) -> Option<&Entry> {
        self.known.get(id).map(|(entry, _)| &**entry)
    }

    /// The report of that id, whole, if it is among the newest.
    pub(super) fn report(&self, id: &str) -> Option<Report> {
        let run = self.known.get(id)?.1.as_ref()?;
        Some(Report { commits: run.commits.clone(), ..run.report.clone() })
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
    /// Without its commits: most pages need none.
    pub(super) report: Report,
    commits: Vec<Commit>,
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
            let commits =
                if commits.is_empty() { std::slice::from_ref(&report.commit) } else { commits.as_slice() };
            // A commit from after its deployment, or from before all of them, has a clock that says nothing.
            let known =
                commits.iter().filter(|commit| (Time::EARLIEST..deployment.finished).contains(&commit.time));
            known.map(|commit| deployment.finished.since(commit.time)).collect()
        });
        Self { report, commits, leads }
    }

    pub(super) fn key(&self) -> (report::Time, &str) {
        (self.report.started, &self.report.id)
    }
}

/// The first step that did not end well, if any.
pub(super) fn stumble(report: &Report) -> Option<&report::Step> {
    report.steps.iter().find(|step| matches!(step.outcome, StepOutcome::Failed | StepOutcome::Interrupted))
}
