//! `/`: what is live, what changed last, how to roll back; then figures, trends and lists.

use std::collections::BTreeSet;

use askama::Template;
use launchway_report::{DeploymentKind, Release, Report, Time, UnderWay, links};

use super::runs::address;
use super::{CommitRow, Pill, Row, charts, release_path, rollback};
use crate::assets;
use crate::board::chart::Chart;
use crate::board::drift::{self, Drift};
use crate::board::figures::{Figure, Figures, LEAST, WINDOW_DAYS};
use crate::board::format::{self, minute};
use crate::board::history::{History, Run};
use crate::board::page::Page;
use crate::identity::Identity;
use crate::settings::Settings;

/// Rows of the tables, and columns of the step-time chart.
const RUNS: usize = 20;
const DEPLOYMENTS: usize = 10;
/// Commits of the live release that are listed at the top.
const CHANGES: usize = 3;

#[derive(Template)]
#[template(path = "board.html")]
struct Home<'a> {
    style: &'a str,
    icon: &'a str,
    identity: &'a Identity,
    /// Name, address, and whether it is this one; empty unless several environments report.
    filters: Vec<(&'a str, String, bool)>,
    since: String,
    /// Whether requests are served and reports stored.
    health: Pill,
    commit_link: Option<String>,
    image: Option<ImageFact<'a>>,
    origin: Option<Row<'a>>,
    drift: Option<(&'a Drift, String)>,
    /// The deployment that has started and not reported its end.
    start: Option<Start<'a>>,
    /// Whether a drift is a deployment in progress, or probably one.
    in_progress: bool,
    last: Option<Row<'a>>,
    changes: Vec<CommitRow<'a>>,
    /// How many commits the live release has, and its page.
    release: Option<(usize, String)>,
    rollback: Option<Rollback<'a>>,
    loaded: bool,
    total: u64,
    /// How many reports are left out, and why.
    left_out: Vec<String>,
    figures: [Tile; 4],
    charts: Vec<Chart>,
    deployments: Vec<Row<'a>>,
    runs: Vec<Row<'a>>,
}

/// The running image.
struct ImageFact<'a> {
    digest: &'a str,
    link: Option<String>,
    /// Whether only the reports know the digest.
    is_reported: bool,
}

/// A deployment that has started and not reported its end.
struct Start<'a> {
    report: &'a Report,
    /// `deploying`, or `rolling back to`.
    doing: String,
    subject: &'a str,
    /// The commit of its release.
    sha: &'a str,
    since: String,
    until: String,
    /// Whether it should have ended.
    is_overdue: bool,
}

/// The way back to the release before the running one.
struct Rollback<'a> {
    command: String,
    page: String,
    /// What it was, where a run on the board deployed it.
    subject: Option<&'a str>,
    /// Until when it was live; `None` if the reports say that it still is.
    until: Option<String>,
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

/// Renders the page.
pub(in crate::board) fn page(
    history: &History,
    environments: &BTreeSet<&str>,
    identity: &Identity,
    figures: &Figures,
    drift: Option<&Drift>,
    fault: bool,
    now: Time,
) -> askama::Result<Page> {
    let deployed: Vec<_> = history.deployments().into_iter().rev().take(DEPLOYMENTS).collect();
    let live = drift::origin(history, identity);
    let origin = live.map(|(run, _)| Row::deployment(history, &run.report));
    let mut deployments: Vec<_> =
        deployed.iter().map(|(run, _)| Row::deployment(history, &run.report)).collect();
    for row in &mut deployments {
        if origin.as_ref().is_some_and(|origin| origin.report.id == row.report.id) {
            "live now".clone_into(&mut row.result.1);
        }
    }
    let last = deployed.first().map(|(run, _)| Row::deployment(history, &run.report));
    let newest: Vec<_> = history.runs.iter().rev().take(RUNS).map(|run| &run.report).collect();
    // A rollback lists no changes; the deployment of its release did.
    let deploy = live.and_then(|(_, release)| history.deploy_of(&release.digest));
    let commits = deploy.map_or(&[][..], changes);
    let any_url = newest.iter().find_map(|report| report.url.as_deref());
    let own = identity.environment();
    let known = identity.commit != Settings::UNKNOWN_COMMIT;
    let start = history.under_way();
    Page::html(&Home {
        style: assets::style_path(),
        icon: assets::icon_path(),
        identity,
        filters: filters(environments, own),
        since: identity.started_at.replace('T', " ").replace('Z', " UTC"),
        health: health(history, fault),
        commit_link: any_url.filter(|_| known).and_then(|url| links::commit(Some(url), &identity.commit)),
        image: image(identity, live),
        origin,
        drift: drift.map(|drift| (drift, minute(drift.at))),
        in_progress: drift::settled(drift, start.map(|(_, start)| start), identity, now).is_some(),
        start: start.map(|(run, start)| Start::new(history, run, start, now)),
        last,
        changes: deploy.map_or_else(Vec::new, |run| {
            commits.iter().take(CHANGES).map(|commit| CommitRow::new(&run.report, commit)).collect()
        }),
        release: live.map(|(_, release)| (commits.len(), release_path(release))),
        rollback: match drift {
            Some(drift) => Some(Rollback::new(history, &drift.reported, None)),
            None => deploy.and_then(|run| way_back(history, run)),
        },
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

/// This page shows one environment; the list of runs shows the others.
fn filters<'a>(environments: &BTreeSet<&'a str>, own: &'a str) -> Vec<(&'a str, String, bool)> {
    let others = environments.iter().filter(|name| ![own, Report::NO_ENVIRONMENT].contains(name));
    let others: Vec<_> = others.map(|name| (*name, address(1, Some(name)), false)).collect();
    if others.is_empty() { others } else { [(own, "/".to_owned(), true)].into_iter().chain(others).collect() }
}

/// The commits that a run made live; its own where it lists none.
fn changes(run: &Run) -> &[launchway_report::Commit] {
    if run.commits().is_empty() { std::slice::from_ref(&run.report.commit) } else { run.commits() }
}

fn health(history: &History, fault: bool) -> Pill {
    match (history.loaded, fault) {
        (true, false) => ("good", "healthy".to_owned()),
        (true, true) => ("warn", "healthy, but the board cannot store reports".to_owned()),
        (false, _) => ("warn", "up, but the board cannot read its file".to_owned()),
    }
}

fn image<'a>(identity: &'a Identity, live: Option<(&'a Run, &'a Release)>) -> Option<ImageFact<'a>> {
    let own = identity.image_digest.as_deref();
    let digest = own.or_else(|| live.map(|(_, release)| release.digest.as_str()))?;
    let built = live.and_then(|(run, _)| run.report.image.as_ref()).filter(|image| image.digest == digest);
    let commit = Some(identity.commit.as_str()).filter(|commit| *commit != Settings::UNKNOWN_COMMIT);
    let link = built.and_then(|image| links::image(image, commit));
    Some(ImageFact { digest, link, is_reported: own.is_none() })
}

/// The release that the live one replaced, as the deployment of the live one reported it.
fn way_back<'a>(history: &'a History, deploy: &Run) -> Option<Rollback<'a>> {
    let deployment = deploy.report.deployment.as_ref()?;
    let previous = deployment.previous.as_ref().filter(|it| Some(*it) != deployment.release.as_ref())?;
    Some(Rollback::new(history, previous, Some(deployment.finished)))
}

impl<'a> Rollback<'a> {
    fn new(history: &'a History, to: &Release, until: Option<Time>) -> Self {
        let subject = history.deploy_of(&to.digest).map(|run| run.report.commit.subject.as_str());
        Self {
            command: rollback(to),
            page: release_path(to),
            subject: subject.filter(|subject| !subject.is_empty()),
            until: until.map(minute),
        }
    }
}

impl<'a> Start<'a> {
    fn new(history: &'a History, run: &'a Run, start: &'a UnderWay, now: Time) -> Self {
        let report = &run.report;
        let release = start.release.as_ref();
        let own = (report.commit.subject.as_str(), report.commit.sha.as_str());
        // A rollback runs at some later commit, so that of its release counts.
        let (subject, sha) = match (&start.kind, release) {
            (DeploymentKind::Deploy, _) | (_, None) => own,
            (_, Some(release)) => {
                let deploy = history.deploy_of(&release.digest).map(|run| run.report.commit.subject.as_str());
                (deploy.unwrap_or("An earlier release"), release.commit.as_deref().unwrap_or(&release.digest))
            }
        };
        Self {
            report,
            doing: match &start.kind {
                DeploymentKind::Deploy => "deploying".to_owned(),
                DeploymentKind::Rollback => "rolling back to".to_owned(),
                DeploymentKind::Other(word) => format!("{word} of"),
            },
            subject,
            sha,
            since: minute(start.since),
            until: minute(start.until),
            is_overdue: start.until <= now,
        }
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
