//! The run record, `target/xtask/run.json`.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use launchway_report::Time;
use serde::Serialize;
use serde_json::Value;

use super::results::Results;
use crate::context::Context;
use crate::reuse::Passed;
use crate::steps::deploy::Deployment;
use crate::steps::docker_build::Built;
use crate::steps::push::PushRecord;
use crate::steps::test_coverage::CoverageRecord;
use crate::table::rule::Trigger;
use crate::table::{JobId, StepId};
use launchway_core::events::{Deployed, LastRun, Outcome, Proof, Reporter, Review, milliseconds};
use launchway_core::exit::Exit;

/// What one pipeline run did.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    /// Raised when a field is removed or changes its meaning; readers ignore fields that they do not know.
    schema: u32,
    rehearsal: bool,
    commit: &'a str,
    dirty: bool,
    branch: Option<&'a str>,
    /// RFC 3339, in UTC.
    started: String,
    milliseconds: u64,
    exit: Exit,
    exit_code: u8,
    jobs: &'a [JobRecord],
    tests: Option<launchway_report::Tests>,
    coverage: Option<&'a CoverageRecord>,
    image: Option<&'a Built>,
    pushed: Option<&'a PushRecord>,
    deployment: Option<&'a Deployment>,
    /// The deployment as in the history, even if it failed.
    deployment_report: Option<&'a launchway_report::Deployment>,
    /// How the deployment ended, as in the event `deployed`: whether the site is up, on which commit, and what to do.
    deployed: Option<&'a Deployed>,
    /// What the rehearsal has proved, as in the event `proof`.
    proof: Option<Proof>,
    /// What the page of a job on GitHub shows beside that.
    review: &'a Review,
}

#[derive(Debug, Serialize)]
pub(crate) struct JobRecord {
    job: JobId,
    outcome: Outcome,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    steps: Vec<StepRecord>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct StepRecord {
    pub(crate) step: StepId,
    pub(crate) outcome: Outcome,
    /// RFC 3339, in UTC; absent if the step did not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    pub(crate) milliseconds: u64,
    /// Why it was skipped or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The checks inside it that were skipped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) skipped: Vec<String>,
    /// When the reused step ran, for people at the end of the run.
    #[serde(skip)]
    reuse: Option<String>,
}

/// Reads how long each step took from the record of the last run, if there is one.
pub(super) fn last_run(path: &Path) -> LastRun {
    let read = || -> Option<Value> { serde_json::from_str(&fs_err::read_to_string(path).ok()?).ok() };
    let record = read().unwrap_or_default();
    let jobs = record["jobs"].as_array().into_iter().flatten();
    let steps = jobs.filter_map(|job| job["steps"].as_array()).flatten();
    let passed = steps.filter(|step| step["outcome"] == "passed").filter_map(|step| {
        Some((step["step"].as_str()?.to_owned(), Duration::from_millis(step["milliseconds"].as_u64()?)))
    });
    let tests: Option<u64> =
        ["passed", "failed", "skipped"].iter().map(|kind| record["tests"][kind].as_u64()).sum();
    LastRun { steps: passed.collect(), tests }
}

/// The number of tests in the last run that left this record; `None` if it ran none of the steps with tests.
#[cfg(feature = "init")]
pub(crate) fn last_tests(path: &Path) -> Option<u64> {
    last_run(path).tests
}

impl<'a> Record<'a> {
    const SCHEMA: u32 = 1;

    pub(super) fn new(
        ctx: &'a Context,
        trigger: &'a Trigger,
        started: SystemTime,
        exit: Exit,
        jobs: &'a [JobRecord],
        results: &'a Results,
    ) -> Self {
        Self {
            schema: Self::SCHEMA,
            rehearsal: ctx.is_rehearsal(),
            commit: &ctx.git.commit,
            dirty: ctx.git.dirty,
            // A rehearsal runs as on the release branch; the record has the actual one.
            branch: if ctx.is_rehearsal() { ctx.git.branch.as_deref() } else { trigger.branch() },
            started: rfc3339(started),
            milliseconds: 0,
            exit,
            exit_code: exit.code(),
            jobs,
            tests: results.tests,
            coverage: results.coverage.as_ref(),
            image: results.image.as_ref(),
            pushed: results.pushed.as_ref(),
            deployment: results.deployment.as_ref(),
            deployment_report: results.deployment_record.as_ref().map(|record| &record.deployment),
            deployed: results.deployed.as_ref(),
            proof: None,
            review: &results.review,
        }
    }

    pub(super) fn add_proof(&mut self, proof: Option<Proof>, exit: Exit) {
        (self.proof, self.exit, self.exit_code) = (proof, exit, exit.code());
    }

    /// Writes the record of a run that has taken this long.
    pub(super) fn leave(&mut self, path: &Path, elapsed: Duration, reporter: &Reporter) -> Result<()> {
        self.milliseconds = milliseconds(elapsed);
        reporter.leave_json(path, &(serde_json::to_string_pretty(self)? + "\n"))
    }
}

impl JobRecord {
    /// A job failed if one of its steps did, and passed only if all of them ran.
    pub(super) fn new(job: JobId, steps: Vec<StepRecord>, reason: Option<String>) -> Self {
        let worst = [Outcome::Interrupted, Outcome::Failed, Outcome::Skipped]
            .into_iter()
            .find(|outcome| steps.iter().any(|step| step.outcome == *outcome));
        Self { job, outcome: worst.unwrap_or(Outcome::Passed), reason, steps }
    }
}

impl StepRecord {
    pub(crate) fn skipped(step: StepId, reason: String) -> Self {
        Self {
            step,
            outcome: Outcome::Skipped,
            started: None,
            milliseconds: 0,
            reason: Some(reason),
            skipped: Vec::new(),
            reuse: None,
        }
    }

    /// Records a step that passed on the same inputs before.
    pub(super) fn reused(step: StepId, passed: &Passed, now: Time) -> Self {
        Self {
            step,
            outcome: Outcome::Reused,
            started: None,
            milliseconds: 0,
            reason: Some(passed.to_string()),
            skipped: passed.skipped.clone(),
            reuse: Some(passed.remark(now)),
        }
    }

    pub(crate) fn ran(step: StepId, started: SystemTime, elapsed: Duration, outcome: Outcome) -> Self {
        Self {
            step,
            outcome,
            started: Some(rfc3339(started)),
            milliseconds: milliseconds(elapsed),
            reason: None,
            skipped: Vec::new(),
            reuse: None,
        }
    }

    /// The summary's remark beside the outcome: why the step was skipped, or what it skipped.
    pub(super) fn remark(&self) -> String {
        match self.outcome {
            Outcome::Skipped => self.reason.clone().unwrap_or_default(),
            Outcome::Reused => self.reuse.clone().unwrap_or_default(),
            _ if self.skipped.is_empty() => String::new(),
            _ => format!("without {}", self.skipped.join(", ")),
        }
    }
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}
