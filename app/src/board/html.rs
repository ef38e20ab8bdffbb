//! The HTML pages.

mod charts;

use askama::Template;
use launchway_report::{Commit, Deployment, DeploymentKind, DeploymentOutcome, Report, StepOutcome, Time};

use super::chart::Chart;
use super::drift::{self, Drift};
use super::figures::{Figure, Figures, LEAST, WINDOW_DAYS};
use super::format::{self, minute, percent, shown_percent};
use super::history::{History, failed_step};
use super::page::Page;
use crate::http::assets;
use crate::identity::Identity;

/// Rows of the tables, and columns of the step-time chart.
const RUNS: usize = 20;
const DEPLOYMENTS: usize = 10;

#[derive(Template)]
#[template(path = "board.html")]
struct Home<'a> {
    style: &'a str,
    icon: &'a str,
    identity: &'a Identity,
    since: String,
    origin: Option<Row<'a>>,
    /// The image's digest, if only the reports know it.
    reported: Option<&'a str>,
    drift: Option<(&'a Drift, String)>,
    loaded: bool,
    total: u64,
    /// How many reports are left out, and why.
    left_out: Vec<String>,
    figures: [Tile; 4],
    charts: Vec<Chart>,
    deployments: Vec<Row<'a>>,
    runs: Vec<Row<'a>>,
}

/// One of the four figures.
struct Tile {
    name: &'static str,
    /// The value in `board.json`.
    exact: Option<f64>,
    shown: String,
    basis: String,
    meaning: &'static str,
}

/// A run in a list.
struct Row<'a> {
    report: &'a Report,
    started: String,
    took: String,
    /// CSS class and text.
    result: (&'static str, String),
    coverage: String,
    tests: String,
}

/// `/`
pub(super) fn home(
    history: &History,
    identity: &Identity,
    figures: &Figures,
    drift: Option<&Drift>,
    now: Time,
) -> askama::Result<Page> {
    let deployed: Vec<_> = history.deployments().into_iter().rev().take(DEPLOYMENTS).collect();
    let live_since = drift::origin(history, identity);
    let origin = live_since.map(|(run, _)| Row::deployment(&run.report));
    let reported = live_since.filter(|_| identity.image_digest.is_none());
    let mut deployments: Vec<_> = deployed.iter().map(|(run, _)| Row::deployment(&run.report)).collect();
    for row in &mut deployments {
        if origin.as_ref().is_some_and(|origin| origin.report.id == row.report.id) {
            "live now".clone_into(&mut row.result.1);
        }
    }
    let newest: Vec<_> = history.runs.iter().rev().take(RUNS).map(|run| &run.report).collect();
    Page::html(&Home {
        style: assets::style_path(),
        icon: assets::icon_path(),
        identity,
        since: identity.started_at.replace('T', " ").replace('Z', " UTC"),
        origin,
        reported: reported.map(|(_, release)| release.digest.as_str()),
        drift: drift.map(|drift| (drift, minute(drift.at))),
        loaded: history.loaded,
        total: history.total,
        left_out: left_out(history),
        figures: tiles(figures),
        charts: [charts::deployments(history, now), charts::coverage(history, now), charts::steps(&newest)]
            .into_iter()
            .flatten()
            .collect(),
        deployments,
        runs: newest.into_iter().map(Row::run).collect(),
    })
}

#[derive(Template)]
#[template(path = "run.html")]
struct Run<'a> {
    style: &'a str,
    icon: &'a str,
    report: &'a Report,
    row: Row<'a>,
    finished: String,
    deployment: Option<(&'a Deployment, (&'static str, String))>,
    image_size: String,
    steps: Vec<(&'a str, (&'static str, &'a str), String)>,
    commits: Vec<(&'a Commit, String)>,
}

/// `/runs/{id}`
pub(super) fn run(report: &Report) -> askama::Result<Page> {
    let steps = report.steps.iter().map(|step| {
        let (outcome, took) = match &step.outcome {
            StepOutcome::Passed => (("good", "passed"), milliseconds(step.milliseconds)),
            StepOutcome::Reused => (("good", "reused"), String::new()),
            StepOutcome::Failed => (("bad", "failed"), milliseconds(step.milliseconds)),
            StepOutcome::Skipped => (("quiet", "skipped"), String::new()),
            StepOutcome::Interrupted => (("quiet", "interrupted"), milliseconds(step.milliseconds)),
            StepOutcome::Other(word) => (("quiet", word.as_str()), milliseconds(step.milliseconds)),
        };
        (step.name.as_str(), outcome, took)
    });
    Page::html(&Run {
        style: assets::style_path(),
        icon: assets::icon_path(),
        report,
        row: Row::run(report),
        finished: minute(report.finished),
        deployment: report.deployment.as_ref().map(|deployment| (deployment, outcome(deployment))),
        image_size: report.image.as_ref().map_or_else(String::new, |image| format::bytes(image.bytes)),
        steps: steps.collect(),
        commits: report.commits.iter().map(|commit| (commit, minute(commit.time))).collect(),
    })
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

    /// A row with the times and the result of the deployment.
    fn deployment(report: &'a Report) -> Self {
        let row = Self::run(report);
        let Some(deployment) = &report.deployment else { return row };
        Self {
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
}

/// CSS class and text for the outcome of a deployment.
pub(super) fn outcome(deployment: &Deployment) -> (&'static str, String) {
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

/// How many reports the page leaves out, and why.
fn left_out(history: &History) -> Vec<String> {
    let reports = |many: usize| if many == 1 { "1 report".to_owned() } else { format!("{many} reports") };
    let mut reasons = Vec::new();
    if history.elsewhere > 0 {
        reasons.push(format!("{} of other services or environments", reports(history.elsewhere)));
    }
    if history.untimely > 0 {
        reasons.push(format!("{} with impossible times", reports(history.untimely)));
    }
    reasons
}

fn tiles(figures: &Figures) -> [Tile; 4] {
    let tile = |name, figure: Figure, of: [&str; 2], shown: fn(f64) -> String, meaning| {
        let [one, many] = of;
        let samples = figure.samples;
        let of = if samples == 1 { one } else { many };
        let (shown, basis) = match figure.value {
            Some(value) => (shown(value), format!("n = {samples} {of}, {WINDOW_DAYS} days")),
            None => ("not shown".to_owned(), format!("n = {samples} {of}; {LEAST} needed")),
        };
        Tile { name, exact: figure.value, shown, basis, meaning }
    };
    let deployments = ["deployment", "deployments"];
    [
        tile(
            "Deployment frequency",
            figures.deployments_per_week,
            deployments,
            |value| format!("{value:.1} a week"),
            "deployments that went live",
        ),
        tile(
            "Lead time",
            figures.lead_time_seconds,
            ["commit", "commits"],
            seconds,
            "median, from commit to live",
        ),
        tile(
            "Change failure rate",
            figures.change_failure_percent,
            deployments,
            |value| format!("{value:.1} %"),
            "failed, or rolled back later",
        ),
        tile(
            "Recovery time",
            figures.recovery_seconds,
            ["recovery", "recoveries"],
            seconds,
            "median, from a failed deployment to the next one that went live",
        ),
    ]
}

fn seconds(value: f64) -> String {
    format::duration(std::time::Duration::try_from_secs_f64(value).unwrap_or_default())
}

fn milliseconds(value: u64) -> String {
    format::duration(std::time::Duration::from_millis(value))
}
