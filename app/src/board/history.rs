//! The runs in memory, from which pages are rendered.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use launchway_report::{
    Commit, Deployment, DeploymentKind, DeploymentOutcome, Release, Report, StepOutcome, Time, UnderWay,
};

use super::store::Entry;
use crate::identity::Identity;

/// Most runs in memory, at some kilobytes each. Older ones are read from the file.
pub(super) const MAX_RUNS: u32 = 20_000;

/// An index of all reports in the file, and the newest runs.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// Changes with every change of the content.
    pub(super) version: u64,
    /// Whether a file has been read. Until then the board cannot even be called empty.
    pub(super) loaded: bool,
    /// The number of reports in the file, without starts and those left out.
    pub(super) total: u64,
    /// How many runs are left out because they belong to another service or environment, and how many because of their
    /// times; see [`History::of`].
    pub(super) elsewhere: usize,
    pub(super) untimely: usize,
    /// Oldest first, whatever the order of arrival.
    pub(super) runs: Vec<Arc<Run>>,
    /// The starts of deployments, each in a report of its own, oldest first. They are no runs.
    starts: Vec<Arc<Run>>,
    /// All reports in the order of arrival.
    pub(super) entries: Vec<Arc<Entry>>,
    /// `entries` by id, each with its run if that is in `runs`.
    known: HashMap<String, (Arc<Entry>, Option<Arc<Run>>)>,
}

impl History {
    /// Replaces everything with the content of a file: entries in their order, reports in any.
    pub(super) fn replace(&mut self, entries: Vec<Entry>, reports: Vec<Report>) {
        let mut all: Vec<_> = reports.into_iter().map(|report| Arc::new(Run::new(report))).collect();
        all.sort_by(|a, b| a.key().cmp(&b.key()));
        (self.starts, self.runs) = all.into_iter().partition(|run| run.start().is_some());
        self.entries = entries.into_iter().map(Arc::new).collect();
        let known = self.entries.iter().map(|entry| (entry.id.clone(), (Arc::clone(entry), None)));
        self.known = known.collect();
        for run in self.runs.iter().chain(&self.starts) {
            if let Some((_, known)) = self.known.get_mut(&run.report.id) {
                *known = Some(Arc::clone(run));
            }
        }
        self.loaded = true;
        self.changed();
    }

    /// Adds a new report.
    pub(super) fn add(&mut self, entry: Entry, report: Report) {
        let entry = Arc::new(entry);
        let run = Arc::new(Run::new(report));
        self.known.insert(entry.id.clone(), (Arc::clone(&entry), Some(Arc::clone(&run))));
        self.entries.push(entry);
        let list = if run.start().is_some() { &mut self.starts } else { &mut self.runs };
        let place = list.partition_point(|other| other.key() <= run.key());
        list.insert(place, run);
        if list.len() > MAX_RUNS as usize {
            let oldest = list.remove(0);
            if let Some((_, run)) = self.known.get_mut(&oldest.report.id) {
                *run = None;
            }
        }
        self.changed();
    }

    fn changed(&mut self) {
        self.total = self.entries.len().saturating_sub(self.starts.len()) as u64;
        self.version += 1;
    }

    /// The runs of this process's own service and environment, up to `now`.
    ///
    /// Services that share an image share the ledger, which is stored whole. A report from the future would stay on top
    /// of the page for ever.
    pub(super) fn of(&self, identity: &Identity, now: Time) -> Self {
        let (mut runs, mut elsewhere, mut untimely) = (Vec::new(), 0, 0);
        let is_ours = |run: &Arc<Run>| run.report.is_timely(now) && identity.owns(&run.report);
        for run in &self.runs {
            if is_ours(run) {
                runs.push(Arc::clone(run));
            } else if run.report.is_timely(now) {
                elsewhere += 1;
            } else {
                untimely += 1;
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
            starts: self.starts.iter().filter(|start| is_ours(start)).map(Arc::clone).collect(),
            ..Self::default()
        }
    }

    /// The environments to which runs have deployed, by name.
    pub(super) fn environments(&self) -> BTreeSet<&str> {
        self.runs.iter().filter_map(|run| run.environment()).collect()
    }

    /// The stored report of that id.
    pub(super) fn entry(&self, id: &str) -> Option<&Entry> {
        self.known.get(id).map(|(entry, _)| &**entry)
    }

    /// The whole report of that id, if it is among the newest.
    pub(super) fn report(&self, id: &str) -> Option<Report> {
        let run = self.known.get(id)?.1.as_ref()?;
        Some(Report { commits: run.commits.clone(), ..run.report.clone() })
    }

    /// The newest run that deployed the release with that digest over another one; any that deployed it if there is
    /// none, and no rollback.
    pub(super) fn deploy_of(&self, digest: &str) -> Option<&Run> {
        let is_this = |release: &Option<Release>| release.as_ref().is_some_and(|it| it.digest == digest);
        let mut again = None;
        for run in self.runs.iter().rev() {
            let Some(Deployment { kind: DeploymentKind::Deploy, release, previous, .. }) =
                &run.report.deployment
            else {
                continue;
            };
            match (is_this(release), is_this(previous)) {
                (true, false) => return Some(run),
                (true, true) => again = Some(&**run),
                (false, _) => {}
            }
        }
        again
    }

    /// The subject and the commit of what a run deployed, or of the run itself.
    ///
    /// A rollback runs at some later commit, so that of its release counts.
    pub(super) fn subject_of<'a>(&'a self, report: &'a Report) -> (&'a str, &'a str) {
        let own = (report.commit.subject.as_str(), report.commit.sha.as_str());
        let deployment = report.deployment.as_ref().filter(|it| it.kind != DeploymentKind::Deploy);
        let Some(release) = deployment.and_then(|deployment| deployment.release.as_ref()) else { return own };
        let deploy = self.deploy_of(&release.digest).map(|run| &run.report.commit);
        let commit = release.commit.as_ref().unwrap_or(&release.digest);
        deploy.map_or(("An earlier release", commit), |commit| (&commit.subject, &commit.sha))
    }

    /// The newest deployment that has started, unless it has ended: then its run has sent its report, or a deployment
    /// that started later has ended.
    pub(super) fn under_way(&self) -> Option<(&Run, &UnderWay)> {
        let mut real = self.starts.iter().rev().filter(|run| !run.report.rehearsal);
        let (run, start) = real.find_map(|run| Some((&**run, run.start()?)))?;
        let ends = |(run, deployment): &(&Run, &Deployment)| {
            run.report.id == start.run || deployment.started >= start.since
        };
        (!self.deployments().iter().any(ends)).then_some((run, start))
    }

    /// Real deployments, without rehearsals, in the order in which they ended, oldest first.
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

/// A run as pages need it.
#[derive(Debug)]
pub(super) struct Run {
    /// Without its commits, which few pages need.
    pub(super) report: Report,
    commits: Vec<Commit>,
    /// The lead time of each commit that this run made live.
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
            // The clock of a commit that is newer than its deployment, or impossibly old, was wrong.
            let known =
                commits.iter().filter(|commit| (Time::EARLIEST..deployment.finished).contains(&commit.time));
            known.map(|commit| deployment.finished.since(commit.time)).collect()
        });
        Self { report, commits, leads }
    }

    /// The deployment that this report is the start of.
    fn start(&self) -> Option<&UnderWay> {
        self.report.under_way.as_ref().filter(|_| self.report.deployment.is_none())
    }

    /// The commits since the previous release, newest first.
    pub(super) fn commits(&self) -> &[Commit] {
        &self.commits
    }

    /// The environment that it deployed to, if it deployed.
    pub(super) fn environment(&self) -> Option<&str> {
        self.report.deployment.as_ref().map(|deployment| deployment.environment.as_str())
    }

    pub(super) fn key(&self) -> (launchway_report::Time, &str) {
        (self.report.started, &self.report.id)
    }
}

/// The first step that failed or was interrupted.
pub(super) fn failed_step(report: &Report) -> Option<&launchway_report::Step> {
    report.steps.iter().find(|step| matches!(step.outcome, StepOutcome::Failed | StepOutcome::Interrupted))
}

#[cfg(test)]
mod tests;
