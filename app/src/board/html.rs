//! The HTML pages.

mod charts;
pub(super) mod home;
pub(super) mod release;
pub(super) mod run;
pub(super) mod runs;

use launchway_report::{
    Commit, Deployment, DeploymentKind, DeploymentOutcome, Release, Report, StepOutcome, links,
};

use super::format::{self, minute, percent, shown_percent};
use super::history::{History, failed_step};

/// CSS class and text of a state.
type Pill = (&'static str, String);

/// A run in a list.
struct Row<'a> {
    report: &'a Report,
    /// The subject and the commit of what it deployed, or of the run itself.
    subject: &'a str,
    sha: &'a str,
    started: String,
    took: String,
    result: Pill,
    coverage: String,
    tests: String,
}

impl<'a> Row<'a> {
    /// A row with the result of the run.
    fn run(report: &'a Report) -> Self {
        let result = match (failed_step(report), &report.deployment) {
            (_, Some(deployment)) => outcome(deployment),
            (Some(step), None) if step.outcome == StepOutcome::Interrupted => {
                ("quiet", "interrupted".to_owned())
            }
            (Some(step), None) => ("bad", format!("{} failed", step.name)),
            (None, None) => ("good", "passed".to_owned()),
        };
        Self {
            report,
            subject: &report.commit.subject,
            sha: &report.commit.sha,
            started: minute(report.started),
            took: format::duration(report.finished.since(report.started)),
            result,
            coverage: report.coverage.map_or_else(String::new, |coverage| shown_percent(percent(&coverage))),
            tests: report.tests.map_or_else(String::new, |tests| match tests.failed {
                0 => format::number(tests.passed),
                failed => format!("{} of {} failed", failed, tests.passed.saturating_add(failed)),
            }),
        }
    }

    /// A row with the release, the times and the result of the deployment.
    fn deployment(history: &'a History, report: &'a Report) -> Self {
        let row = Self::run(report);
        let (subject, sha) = history.subject_of(report);
        let Some(deployment) = &report.deployment else { return row };
        Self {
            subject,
            sha,
            started: minute(deployment.finished),
            took: format::duration(deployment.finished.since(deployment.started)),
            result: outcome(deployment),
            ..row
        }
    }

    fn reason(&self) -> &str {
        self.report
            .deployment
            .as_ref()
            .and_then(|deployment| deployment.reason.as_deref())
            .unwrap_or_default()
    }

    fn environment(&self) -> &str {
        self.report.deployment.as_ref().map_or("", |deployment| &deployment.environment)
    }

    /// The subject, or the id of the run if the subject is unknown.
    fn title(&self) -> &str {
        if self.subject.is_empty() { &self.report.id } else { self.subject }
    }
}

/// A commit in a list.
struct CommitRow<'a> {
    commit: &'a Commit,
    link: Option<String>,
    committed: String,
}

impl<'a> CommitRow<'a> {
    fn new(report: &Report, commit: &'a Commit) -> Self {
        let link = links::commit(report.url.as_deref(), &commit.sha);
        Self { commit, link, committed: minute(commit.time) }
    }

    fn author(&self) -> &str {
        self.commit.author.as_deref().unwrap_or_default()
    }
}

/// The address of a release's page.
fn release_path(release: &Release) -> String {
    format!("/releases/{}", release.digest.trim_start_matches("sha256:"))
}

/// The command that makes a release live again.
fn rollback(release: &Release) -> String {
    let to = match &release.commit {
        Some(commit) if commit.ends_with("-dirty") => commit,
        Some(commit) => format::short(commit),
        None => &release.digest,
    };
    format!("cargo xtask rollback --to {to}")
}

/// CSS class and text for the outcome of a deployment.
pub(super) fn outcome(deployment: &Deployment) -> Pill {
    let (class, words) = match &deployment.outcome {
        DeploymentOutcome::Live => ("good", "went live"),
        DeploymentOutcome::Unchanged => ("bad", "failed, nothing changed"),
        DeploymentOutcome::RolledBack => ("bad", "failed, rolled back"),
        DeploymentOutcome::NotRolledBack => ("bad", "failed, not rolled back"),
        DeploymentOutcome::Superseded => ("quiet", "superseded"),
        DeploymentOutcome::Other(word) => ("quiet", word.as_str()),
    };
    match &deployment.kind {
        DeploymentKind::Deploy => (class, words.to_owned()),
        DeploymentKind::Rollback => {
            (if class == "good" { "warn" } else { class }, format!("rollback {words}"))
        }
        DeploymentKind::Other(word) => (class, format!("{word} {words}")),
    }
}

fn milliseconds(value: u64) -> String {
    format::duration(std::time::Duration::from_millis(value))
}
