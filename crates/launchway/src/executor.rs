//! The executor: which steps run, in order, what is skipped and why, and the record of it all.

mod explain;
pub(crate) mod plan;
pub(crate) mod preflight;
pub(crate) mod record;
mod results;
mod review;
mod selection;

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::history;
use crate::reuse::github::GitHubRun;
use crate::reuse::{Key, Memory, Passed};
use crate::run_state::RunState;
use crate::table::rule::Trigger;
use crate::table::{JobId, StepId};
use crate::turn::Turn;
use launchway_core::events::{Event, Failed, Outcome, Proof, Row, StepEnd, Summary};
use launchway_core::exit::{Exit, Reported};
use plan::{Options, Plan};
use record::{JobRecord, Record, StepRecord};
pub(crate) use results::Results;
use selection::{Selected, select};

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) scope: Scope,
    pub(crate) trigger: Trigger,
    pub(crate) options: Options,
    /// Print the plan and run nothing.
    pub(crate) explain: bool,
    /// After a failure, continue with the steps that do not need the failed one.
    pub(crate) keep_going: bool,
    /// Reuse steps that passed on the same inputs.
    pub(crate) reuse: bool,
}

/// Which part of the pipeline to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The jobs that the branch rule allows, optionally restricted to these.
    Jobs(Option<Vec<JobId>>),
    /// One step, as a GitHub job runs it.
    Step(StepId),
}

/// Runs the request, writes the run record, and returns the results of the steps.
///
/// The error is the first failure. It has been reported in full, with its log and the command to run again.
pub(crate) fn run(ctx: &Context, request: &Request) -> Result<Results> {
    run_and_prove(ctx, request, |_| Proved::default())
}

/// What a rehearsal has proved of its results.
pub(crate) struct Proved {
    /// As far as it got.
    pub(crate) proof: Option<Proof>,
    pub(crate) result: Result<()>,
}

impl Default for Proved {
    /// Nothing was to be proved.
    fn default() -> Self {
        Self { proof: None, result: Ok(()) }
    }
}

/// [`run`], then a proof of the results, which the run record also contains.
pub(crate) fn run_and_prove(
    ctx: &Context,
    request: &Request,
    prove: impl FnOnce(&Results) -> Proved,
) -> Result<Results> {
    let jobs = select(&ctx.config.branch, request);
    let steps: Vec<StepId> =
        jobs.iter().filter(|job| job.skipped.is_none()).flat_map(|job| job.steps.clone()).collect();
    if request.explain {
        return explain::explain(ctx, request, &jobs).map(|()| Results::default());
    }
    ctx.reporter.set_last_run(record::last_run(&ctx.output().join("run.json")));
    let preflight = || preflight::check(ctx, &request.trigger, &steps, &request.options);
    // Another run may take minutes, and sets no variable.
    if preflight::lacks_variables(ctx, &steps) {
        preflight()?;
    }
    let _turn = ctx.turn(Turn::OUTPUT)?;
    preflight()?;
    let so_far = RunState::begin(&ctx.output(), &ctx.git, &ctx.environment, request.scope.step())?;
    Run {
        ctx,
        request,
        earlier: so_far.clone(),
        so_far,
        memory: Memory::read(&ctx.output(), GitHubRun::own(&ctx.environment).as_ref()),
        results: Results::default(),
        failure: None,
        failed: Vec::new(),
        records: Vec::new(),
        rows: Vec::new(),
    }
    .jobs(&jobs, prove)
}

impl Scope {
    /// The step that runs alone, as a part of the run that earlier processes began.
    fn step(&self) -> Option<StepId> {
        match self {
            Self::Jobs(_) | Self::Step(StepId::Rollback) => None,
            Self::Step(step) => Some(*step),
        }
    }

    /// Whether a later process may go on with the run: a rollback is a run of its own, with its own report.
    fn goes_on(&self) -> bool {
        *self != Self::Step(StepId::Rollback)
    }
}

struct Run<'a> {
    ctx: &'a Context,
    request: &'a Request,
    /// What earlier processes of the same run did.
    earlier: RunState,
    so_far: RunState,
    memory: Memory,
    results: Results,
    failure: Option<(StepId, anyhow::Error)>,
    failed: Vec<Failed>,
    records: Vec<JobRecord>,
    rows: Vec<Row>,
}

impl Run<'_> {
    fn jobs(mut self, jobs: &[Selected], prove: impl FnOnce(&Results) -> Proved) -> Result<Results> {
        let started = SystemTime::now();
        let clock = Instant::now();
        for job in jobs {
            self.job(job);
        }
        let exit = self.failure.as_ref().map_or(Exit::Done, |(_, error)| Exit::of(error));
        let rehearsal = self.ctx.is_rehearsal();
        self.results.review = review::of(self.ctx, &self.earlier, &self.rows, &self.so_far, &self.results);
        let output = self.ctx.output();
        let path = output.join("run.json");
        let mut record =
            Record::new(self.ctx, &self.request.trigger, started, exit, &self.records, &self.results);
        let kept = record
            .leave(&path, clock.elapsed(), &self.ctx.reporter)
            // No run continues a rehearsal.
            .and_then(|()| {
                let goes_on = !rehearsal && self.request.scope.goes_on();
                if goes_on { self.so_far.leave(&output, &self.ctx.reporter) } else { Ok(()) }
            });
        let mut facts = self.results.facts(rehearsal);
        facts.push(("record".to_owned(), path.display().to_string()));
        let run_state = self.so_far.to_line()?;
        let review = Box::new(self.results.review.clone());
        self.ctx.reporter.emit(Event::Summary(Summary {
            rehearsal,
            rows: self.rows,
            facts,
            run_state,
            review,
        }));
        // Last, where people look first.
        for failed in self.failed {
            self.ctx.reporter.emit(Event::Failed(failed));
        }
        match kept.context("the run record could not be written") {
            Err(error) if exit == Exit::Done => Err(error),
            Err(error) => {
                self.ctx.reporter.note(format!("{error:#}"));
                Err(Reported(exit).into())
            }
            Ok(()) if exit != Exit::Done => Err(Reported(exit).into()),
            Ok(()) => {
                let Proved { proof, result } = prove(&self.results);
                record.add_proof(proof, result.as_ref().err().map_or(Exit::Done, Exit::of));
                record.leave(&path, clock.elapsed(), &self.ctx.reporter)?;
                result.map(|()| self.results)
            }
        }
    }

    fn job(&mut self, job: &Selected) {
        let before = self.records.len();
        let skipped = job.skipped.clone().or_else(|| self.blocked(job));
        if let Some(reason) = &skipped {
            self.ctx.reporter.emit(selection::skipped(job.id, reason));
        } else {
            self.ctx
                .reporter
                .emit(Event::JobStarted { job: job.id.to_string(), title: job.id.job().title.to_owned() });
        }
        let mut steps = Vec::new();
        for step in &job.steps {
            let record = match skipped.clone().or_else(|| self.blocked_step(*step, &steps)) {
                Some(reason) => {
                    if skipped.is_none() {
                        self.ctx
                            .reporter
                            .emit(Event::StepSkipped { step: step.to_string(), reason: reason.clone() });
                    }
                    let record = StepRecord::skipped(*step, reason);
                    self.results.add_to(&mut self.so_far, &record);
                    record
                }
                None => self.reused(*step).unwrap_or_else(|| self.step(*step)),
            };
            self.rows.push(Row {
                job: job.id.to_string(),
                step: step.to_string(),
                outcome: record.outcome,
                milliseconds: record.milliseconds,
                remark: record.remark(),
            });
            steps.push(record);
        }
        debug_assert_eq!(before, self.records.len());
        self.records.push(JobRecord::new(job.id, steps, skipped));
    }

    /// Why a whole job can no longer run.
    fn blocked(&self, job: &Selected) -> Option<String> {
        let (step, error) = self.failure.as_ref()?;
        let needs = job.id.job().needs?;
        Some(match Exit::of(error) {
            Exit::Interrupted => "the run was interrupted".to_owned(),
            _ => format!("needs {needs}, and `{step}` did not pass"),
        })
    }

    /// Why a step of a running job can no longer run.
    fn blocked_step(&self, step: StepId, before: &[StepRecord]) -> Option<String> {
        let (failed, error) = self.failure.as_ref()?;
        if Exit::of(error) == Exit::Interrupted {
            return Some("the run was interrupted".to_owned());
        }
        let needed =
            before.iter().find(|record| step.needs() == Some(record.step) && !record.outcome.is_passed());
        match needed {
            Some(record) => Some(format!("needs `{}`, which did not pass", record.step)),
            None if self.request.keep_going => None,
            None => Some(format!("`{failed}` did not pass; use `--keep-going` to continue")),
        }
    }

    /// The record of a step that passed on the same inputs, unless the step must run anyway.
    fn reused(&mut self, step: StepId) -> Option<StepRecord> {
        let passed = explain::reusable(self.ctx, self.request, &self.memory, step)?;
        let now = SystemTime::now().into();
        self.ctx.reporter.emit(Event::StepReused { step: step.to_string(), reason: passed.words(now) });
        if step == StepId::TestCoverage {
            self.results.tests = passed.tests;
            self.results.coverage.clone_from(&passed.coverage);
        }
        let record = StepRecord::reused(step, &passed, now);
        self.results.add_to(&mut self.so_far, &record);
        Some(record)
    }

    fn step(&mut self, step: StepId) -> StepRecord {
        let is_whole = self.request.options.is_whole(step);
        let key = || Key::of(self.ctx.machine(), &self.ctx.config, step).ok().flatten();
        let key = is_whole.then(key).flatten();
        let started = SystemTime::now();
        let clock = Instant::now();
        let log = self.ctx.reporter.step_started(step.name(), &self.ctx.output().join("logs"));
        let (log, result) = match log {
            Ok(log) => {
                let plan = Plan::of(step, self.ctx, &self.request.options);
                (log, plan.and_then(|plan| plan.run(self.ctx, &self.so_far, &mut self.results)))
            }
            Err(error) => (PathBuf::new(), Err(error)),
        };
        let mut record = StepRecord::ran(step, started, clock.elapsed(), outcome(&result));
        self.conclude(&record);
        let end = self.ctx.reporter.step_finished(step.name(), record.outcome, record.milliseconds);
        record.skipped.clone_from(&end.skipped);
        if let Err(error) = result {
            record.reason = Some(format!("{error:#}"));
            let failed = self.failed(step, &error, end, &log);
            self.failed.push(failed);
            self.failure.get_or_insert((step, error));
        }
        self.results.add_to(&mut self.so_far, &record);
        if let Some(key) = key
            && let Err(error) = self.remember(key, &record)
        {
            self.ctx.reporter.note(format!("the next run cannot reuse these results: {error:#}"));
        }
        record
    }

    /// Records a pass for reuse, if the step left its inputs alone and no test was skipped for lack of a real
    /// counterpart: the key does not include whether there is one.
    fn remember(&mut self, key: Key, record: &StepRecord) -> Result<()> {
        let step = record.step;
        if !record.outcome.is_passed() {
            return self.memory.forget(step, &key);
        }
        let lacks_a_part = step == StepId::TestCoverage && !record.skipped.is_empty();
        if lacks_a_part || Key::of(self.ctx.machine(), &self.ctx.config, step)? != Some(key.clone()) {
            return Ok(());
        }
        let passed = Passed {
            run: GitHubRun::own(&self.ctx.environment),
            key,
            finished: SystemTime::now().into(),
            milliseconds: record.milliseconds,
            commit: Some(match &self.ctx.git {
                git if git.dirty => format!("{} with uncommitted changes", git.short()),
                git => git.short(),
            }),
            skipped: record.skipped.clone(),
            tests: self.results.tests.filter(|_| step == StepId::TestCoverage),
            coverage: self.results.coverage.clone().filter(|_| step == StepId::TestCoverage),
        };
        self.memory.keep(step, passed)
    }

    /// After a deploy or a rollback, whatever its outcome: writes and sends the run report.
    fn conclude(&mut self, step: &StepRecord) {
        let Some(record) = self.results.deployment_record.as_ref().filter(|_| deploys(step.step)) else {
            return;
        };
        let mut so_far = self.so_far.clone();
        self.results.add_to(&mut so_far, step);
        self.results.previous_bytes = history::conclude(self.ctx, &so_far, record);
    }

    fn failed(&self, step: StepId, error: &anyhow::Error, end: StepEnd, log: &Path) -> Failed {
        Failed {
            step: Some(step.to_string()),
            findings: end.findings,
            tests: end.tests,
            tail: end.tail,
            log: Some(log.display().to_string()),
            again: Some(self.ctx.again(step) + &self.request.options.arguments(step)),
            guide: guide(&self.ctx.root),
            deployment: self.results.deployed.clone().filter(|_| deploys(step)),
            ..Failed::of(error)
        }
    }
}

/// Whether a step changes the service.
fn deploys(step: StepId) -> bool {
    matches!(step, StepId::Deploy | StepId::Rollback)
}

/// Where the guide explains exit codes, if the workspace has the guide.
pub(crate) fn guide(root: &Path) -> Option<String> {
    const GUIDE: &str = "docs/deployment.md";

    root.join(GUIDE).is_file().then(|| format!("{GUIDE}#8-what-an-exit-code-means"))
}

fn outcome(result: &Result<()>) -> Outcome {
    match result {
        Ok(()) => Outcome::Passed,
        Err(error) if Exit::of(error) == Exit::Interrupted => Outcome::Interrupted,
        Err(_) => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests;
