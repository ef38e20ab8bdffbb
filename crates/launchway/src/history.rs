//! The history: a report of every run that deployed or tried to.
//!
//! There are three copies: in `target/xtask/history/`, so that no outage loses a report; in the registry beside the
//! images, as the [`ledger`]; and on the [`board`], which shows it and loses it with its disk.

mod board;
mod ledger;
mod start;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use anyhow::Result;
use launchway_report::{Commit, Report, SCHEMA, Time};
use serde::Deserialize;

use crate::config::SignedPath;
use crate::context::Context;
use crate::git::Git;
use crate::project::Project;
use crate::run_state::RunState;
use crate::steps::deploy::{DeploymentRecord, ReportPlan, share_releases};
use board::Board;
use launchway_core::environment::Environment;
use launchway_core::events::Reporter;
use launchway_core::file::write_whole;
use launchway_core::secret::Secret;
use launchway_registry::{Access, Client, Session};
use ledger::Ledger;
use reqwest::Url;
pub(crate) use start::begin;
pub(crate) use table::show;

/// Reports by id, as bytes: what was signed, sent and stored must stay the same byte for byte, and the fields of a
/// newer version must survive this one.
type Reports = BTreeMap<String, Vec<u8>>;

/// The id of a report of any version; `None` for anything else.
fn id(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    serde_json::from_slice(bytes).ok().map(|Named { id }| id)
}

/// When the run of a report ended, as far as this version can read it.
fn ended(bytes: &[u8]) -> Option<Time> {
    #[derive(Deserialize)]
    struct Ended {
        finished: Time,
    }
    serde_json::from_slice(bytes).ok().map(|Ended { finished }| finished)
}

/// Creates the report of a run with its deployment, stores it, and sends it where the plan says.
///
/// Returns the size of the image that was live before, where the history has it.
pub(crate) fn conclude(ctx: &Context, so_far: &RunState, record: &DeploymentRecord) -> Option<u64> {
    let Context { environment, reporter, .. } = ctx;
    let report = report(ctx.project(), environment, reporter, so_far, record);
    let report = Report { rehearsal: ctx.is_rehearsal(), ..report };
    let key = |name: &str| record.key.clone().map_or_else(|| ctx.config.secret(environment, name), Ok);
    let board = board(record.plan.board.as_ref(), record.site.as_ref(), key);
    let reports = History::new(&ctx.kept(), reporter).send(&report, &record.plan, ctx.session(), board);
    share_releases(ctx, &record.plan);
    let previous = &record.deployment.previous.as_ref()?.digest;
    let images = reports.values().filter_map(|bytes| serde_json::from_slice::<Report>(bytes).ok()?.image);
    images.filter(|image| image.digest == *previous).map(|image| image.bytes).next()
}

/// Where the service at `site` accepts reports, if the plan sends any, with the key of that name.
fn board<'r>(
    plan: Option<&'r SignedPath>,
    site: Option<&Url>,
    key: impl FnOnce(&str) -> Result<Secret>,
) -> Option<Result<Board<'r>>> {
    let (SignedPath { path, key: name }, site) = plan.zip(site)?;
    Some(key(name).and_then(|secret| Ok(Board { at: site.join(path)?, key: (name, secret) })))
}

/// The report of a run that is not a rehearsal.
fn report(
    project: Project<'_>,
    environment: &Environment,
    reporter: &Reporter,
    so_far: &RunState,
    record: &DeploymentRecord,
) -> Report {
    let Project { root, git, .. } = project;
    let DeploymentRecord { deployment, service, plan, .. } = record;
    let previous = deployment.previous.as_ref().and_then(|release| release.commit.clone());
    let commits = git.published_since(root, previous.as_deref(), reporter);
    let commit = commits.first().cloned().unwrap_or_else(|| own(git));
    Report {
        schema: SCHEMA,
        id: so_far.id.clone(),
        actor: actor(root, environment),
        url: run_url(environment).filter(|url| url.starts_with("https://")),
        service: service.clone(),
        rehearsal: false,
        started: so_far.started.min(deployment.started),
        finished: deployment.finished,
        commit,
        commits,
        steps: so_far.steps.clone(),
        tests: so_far.tests,
        coverage: so_far.coverage,
        image: so_far.image.clone().map(|image| image.named(&plan.ledger)),
        deployment: Some(deployment.clone()),
        under_way: None,
    }
}

/// The commit of a run whose message git cannot read.
fn own(git: &Git) -> Commit {
    Commit {
        sha: git.commit.clone(),
        time: Time::from_milliseconds(git.time.saturating_mul(1000)),
        subject: String::new(),
        author: None,
    }
}

/// Files among the reports that are not reports. They are left alone.
#[derive(Default)]
struct Strange(Vec<PathBuf>);

impl Strange {
    fn report(&self, reporter: &Reporter) {
        for path in &self.0 {
            reporter.skipped("report", format!("{} is not a report", path.display()));
        }
    }
}

/// The reports stored on this machine.
pub(crate) struct History {
    folder: PathBuf,
    reporter: Reporter,
}

impl History {
    /// Those in the folder of [`Context::kept`].
    pub(crate) fn new(kept: &Path, reporter: &Reporter) -> Self {
        Self { folder: kept.join("history"), reporter: reporter.clone() }
    }

    /// Stores a report, and brings the ledger and the service's board up to date.
    ///
    /// An outage neither fails a run nor delays it for long: what failed is reported with its reason, and the next run
    /// catches up. Only a report that cannot be stored here is lost, and that is an error. Returns the
    /// reports that it read.
    fn send(
        &self,
        report: &Report,
        plan: &ReportPlan,
        session: Result<Session>,
        board: Option<Result<Board<'_>>>,
    ) -> Reports {
        let [recorded, delivered] =
            [plan.ledger_timeout, plan.timeout].map(|timeout| Instant::now() + timeout);
        let skipped = |check: &str, error: &anyhow::Error| self.reporter.skipped(check, format!("{error:#}"));
        // Everybody with access to the repository or the board can read it.
        if let Err(error) = self.reporter.shown(report).and_then(|report| self.keep(&report)) {
            skipped("report", &error);
            self.reporter.lose(error);
            return Reports::new();
        }
        let mut reports = match self.read() {
            Ok((reports, strange)) => {
                strange.report(&self.reporter);
                reports
            }
            Err(error) => {
                skipped("history", &error);
                Reports::new()
            }
        };
        let session = match session {
            Ok(session) => session,
            Err(error) => {
                skipped("ledger", &error);
                return reports;
            }
        };
        let client = Client::new(session.clone(), Access::Push).with_deadline(recorded);
        match ledger::append(&client, &plan.ledger, &reports, &self.folder.join("ledger")) {
            Ok(Ledger { reports: recorded, .. }) => {
                let many = match recorded.len() {
                    1 => "1 report".to_owned(),
                    many => format!("{many} reports"),
                };
                self.reporter.note(format!("the ledger `{}:ledger` has {many}", plan.ledger));
                reports.extend(recorded);
            }
            Err(error) => skipped("ledger", &error),
        }
        let Some(board) = board else { return reports };
        match board.and_then(|board| board::deliver(&board, &reports, &session, delivered)) {
            Ok(0) => self.reporter.note("the board has every report"),
            Ok(1) => self.reporter.note("the board has the report of this run"),
            Ok(many) => self.reporter.note(format!("{many} reports sent to the board")),
            Err(error) => skipped("board", &error),
        }
        reports
    }

    /// The ids of the stored reports.
    #[cfg(feature = "rehearsal")]
    pub(crate) fn ids(&self) -> Result<Vec<String>> {
        Ok(self.read()?.0.into_keys().collect())
    }

    /// Every report, and the other files.
    fn read(&self) -> Result<(Reports, Strange)> {
        let (mut reports, mut strange) = (Reports::new(), Strange::default());
        if !self.folder.exists() {
            return Ok((reports, strange));
        }
        for entry in fs_err::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let bytes = fs_err::read(&path)?;
                match id(&bytes) {
                    Some(id) => drop(reports.insert(id, bytes)),
                    None => strange.0.push(path),
                }
            }
        }
        Ok((reports, strange))
    }

    fn keep(&self, report: &Report) -> Result<()> {
        write_whole(&self.folder.join(format!("{}.json", report.id)), &valid(report)?)
    }
}

/// A report as bytes; one that no reader would accept is an error.
fn valid(report: &Report) -> Result<Vec<u8>> {
    let problems: Vec<String> =
        report.problems(SystemTime::now().into()).iter().map(ToString::to_string).collect();
    anyhow::ensure!(problems.is_empty(), "the report is not valid: {}", problems.join(", "));
    Ok(serde_json::to_vec(report)?)
}

/// The page of the run on GitHub.
pub(crate) fn run_url(environment: &Environment) -> Option<String> {
    let get = |name: &str| environment.get(name);
    let (server, repository) = (get("GITHUB_SERVER_URL")?, get("GITHUB_REPOSITORY")?);
    Some(format!("{server}/{repository}/actions/runs/{}", get("GITHUB_RUN_ID")?))
}

/// Who started the run: the account on GitHub; elsewhere git's user, or this machine's.
fn actor(root: &Path, environment: &Environment) -> String {
    let variable = |name: &str| environment.get(name).map(str::to_owned);
    let named = variable("GITHUB_ACTOR").or_else(|| Git::user(root)).or_else(|| variable("USER"));
    let named: String = named.unwrap_or_default().chars().filter(|c| !c.is_control()).take(100).collect();
    if named.is_empty() { "unknown".to_owned() } else { named }
}

#[cfg(test)]
mod tests;
