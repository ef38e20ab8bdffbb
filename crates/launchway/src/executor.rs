//! The executor: which steps run, in order, what is skipped and why, and the record of it all.

pub(crate) mod plan;
pub(crate) mod preflight;
pub(crate) mod record;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};
use report::Tests;
use reqwest::Url;

use crate::context::Context;
use crate::history;
use crate::needs::Need;
use crate::run_state::RunState;
use crate::steps::deploy::Deployment;
use crate::steps::docker_build::Built;
use crate::steps::push::Pushed;
use crate::steps::test_coverage::{self, CoverageRecord};
use crate::table::rule::Trigger;
use crate::table::{JobId, PIPELINE, StepId};
use launchway_core::events::{Event, Failed, Outcome, Row, StepEnd, Summary};
use launchway_core::exit::{Exit, Reported};
use plan::{Options, Plan};
use record::{JobRecord, Record, StepRecord};

/// What is to run.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) scope: Scope,
    pub(crate) trigger: Trigger,
    pub(crate) options: Options,
    /// Print the plan, run nothing.
    pub(crate) explain: bool,
    /// Go on with the steps that do not need the one that failed.
    pub(crate) keep_going: bool,
}

/// Which part of the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The jobs that the rule allows, of all or of these.
    Jobs(Option<Vec<JobId>>),
    /// One step, as a job on GitHub calls it.
    Step(StepId),
}

/// What the steps of a run brought about.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// Also where some of them failed.
    pub(crate) tests: Option<Tests>,
    pub(crate) coverage: Option<CoverageRecord>,
    pub(crate) image: Option<Built>,
    pub(crate) pushed: Option<Pushed>,
    pub(crate) deployment: Option<Deployment>,
    /// The attempt to deploy, also where it failed.
    pub(crate) attempt: Option<Attempt>,
}

/// An attempt to deploy, however it ended.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) record: report::Deployment,
    pub(crate) service: Option<report::Service>,
    /// Where the app answers, if Render told.
    pub(crate) site: Option<Url>,
}

/// Runs the request, writes the run record and returns what the steps brought about.
///
/// The first failure is the error; it has been told in full, with its log and how to run the step again.
pub(crate) fn run(ctx: &Context, request: &Request) -> Result<Results> {
    let jobs = select(ctx, request);
    let steps: Vec<StepId> =
        jobs.iter().filter(|job| job.skipped.is_none()).flat_map(|job| job.steps.clone()).collect();
    if request.explain {
        return explain(ctx, request, &jobs).map(|()| Results::default());
    }
    preflight::check(ctx, &request.trigger, &steps, &request.options)?;
    Run {
        ctx,
        request,
        so_far: RunState::begin(ctx, &request.scope)?,
        results: Results::default(),
        failure: None,
        failed: Vec::new(),
        records: Vec::new(),
        rows: Vec::new(),
    }
    .jobs(&jobs)
}

/// A job as it will run, or why not.
struct Selected {
    id: JobId,
    steps: Vec<StepId>,
    skipped: Option<String>,
}

fn select(ctx: &Context, request: &Request) -> Vec<Selected> {
    let branch = &ctx.config.branch;
    let wanted = match &request.scope {
        Scope::Step(step) => {
            return vec![Selected { id: step.job(), steps: vec![*step], skipped: None }];
        }
        Scope::Jobs(wanted) => wanted,
    };
    PIPELINE
        .iter()
        .map(|job| {
            let skipped = if wanted.as_ref().is_some_and(|wanted| !wanted.contains(&job.id)) {
                Some("not asked for by `--job`".to_owned())
            } else if job.when.allows(branch, &request.trigger) {
                None
            } else {
                Some(format!("runs on {}; this is a {}", job.when.words(branch), request.trigger))
            };
            Selected { id: job.id, steps: job.steps.to_vec(), skipped }
        })
        .collect()
}

fn skipped(job: JobId, reason: &str) -> Event {
    Event::JobSkipped { job: job.to_string(), title: job.job().title.to_owned(), reason: reason.to_owned() }
}

/// Tells the plan. One that a registry keeps from being made is an error, once the rest is told.
fn explain(ctx: &Context, request: &Request, jobs: &[Selected]) -> Result<()> {
    let mut refused = None;
    for job in jobs {
        if let Some(reason) = &job.skipped {
            ctx.reporter.emit(skipped(job.id, reason));
            continue;
        }
        for step in &job.steps {
            let plan = Plan::of(*step, ctx, &request.options);
            let lines = match plan {
                Ok(plan) => installs(ctx, *step, request).into_iter().chain(plan.explained(ctx)).collect(),
                // What an earlier step hands over is not there yet.
                Err(error) => {
                    let line = format!("cannot be planned yet: {error:#}");
                    if *step == StepId::DockerBuild && Exit::of(&error) != Exit::Usage {
                        refused = refused.or(Some(Exit::of(&error)));
                    }
                    vec![line]
                }
            };
            ctx.reporter.emit(Event::Planned { step: step.to_string(), lines });
        }
    }
    refused.map_or(Ok(()), |exit| Err(Reported(exit).into()))
}

/// What the preflight of a step would install, or has no way to.
fn installs(ctx: &Context, step: StepId, request: &Request) -> Vec<String> {
    let line = |need: &Need| {
        if need.may_install(ctx) {
            format!("install {need}")
        } else {
            format!("missing: {}", need.problem(ctx))
        }
    };
    match Need::missing(ctx, &[step], request.options.image.engine) {
        Ok(missing) => missing.iter().map(line).collect(),
        Err(error) => vec![format!("missing: {error:#}")],
    }
}

struct Run<'a> {
    ctx: &'a Context,
    request: &'a Request,
    so_far: RunState,
    results: Results,
    failure: Option<(StepId, anyhow::Error)>,
    failed: Vec<Failed>,
    records: Vec<JobRecord>,
    rows: Vec<Row>,
}

impl Run<'_> {
    fn jobs(mut self, jobs: &[Selected]) -> Result<Results> {
        let started = SystemTime::now();
        let clock = Instant::now();
        for job in jobs {
            self.job(job);
        }
        let exit = self.failure.as_ref().map_or(Exit::Done, |(_, error)| Exit::of(error));
        let rehearsal = self.ctx.is_rehearsal();
        let record = Record::new(
            self.ctx,
            &self.request.trigger,
            started,
            clock.elapsed(),
            exit,
            self.records,
            &self.results,
        );
        let path = self.ctx.output().join("run.json");
        let kept = record
            .to_json()
            .and_then(|json| self.ctx.leave_json(&path, &json))
            .and_then(|()| self.so_far.leave(self.ctx));
        let mut facts = self.results.facts();
        facts.push(("record".to_owned(), path.display().to_string()));
        let run_state = self.so_far.to_line()?;
        self.ctx.reporter.emit(Event::Summary(Summary { rehearsal, rows: self.rows, facts, run_state }));
        // Last, where people look first.
        for failed in self.failed {
            self.ctx.reporter.emit(Event::Failed(failed));
        }
        match kept.context("the record of this run could not be written") {
            Err(error) if exit == Exit::Done => Err(error),
            Err(error) => {
                self.ctx.reporter.note(format!("{error:#}"));
                Err(Reported(exit).into())
            }
            Ok(()) if exit == Exit::Done => Ok(self.results),
            Ok(()) => Err(Reported(exit).into()),
        }
    }

    fn job(&mut self, job: &Selected) {
        let before = self.records.len();
        let skipped = job.skipped.clone().or_else(|| self.blocked(job));
        if let Some(reason) = &skipped {
            self.ctx.reporter.emit(self::skipped(job.id, reason));
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
                    self.so_far.add(&record, &self.results);
                    record
                }
                None => self.step(*step),
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

    /// Why a whole job cannot run any more.
    fn blocked(&self, job: &Selected) -> Option<String> {
        let (step, error) = self.failure.as_ref()?;
        let needs = job.id.job().needs?;
        Some(match Exit::of(error) {
            Exit::Interrupted => "the run was interrupted".to_owned(),
            _ => format!("needs {needs}, and `{step}` did not pass"),
        })
    }

    /// Why a step of a running job cannot run any more.
    fn blocked_step(&self, step: StepId, before: &[StepRecord]) -> Option<String> {
        let (failed, error) = self.failure.as_ref()?;
        if Exit::of(error) == Exit::Interrupted {
            return Some("the run was interrupted".to_owned());
        }
        let needed = before
            .iter()
            .find(|record| step.needs() == Some(record.step) && record.outcome != Outcome::Passed);
        match needed {
            Some(record) => Some(format!("needs `{}`, which did not pass", record.step)),
            None if self.request.keep_going => None,
            None => Some(format!("`{failed}` did not pass; `--keep-going` goes on")),
        }
    }

    fn step(&mut self, step: StepId) -> StepRecord {
        let started = SystemTime::now();
        let clock = Instant::now();
        let log = self.ctx.reporter.step_started(step.name(), &self.ctx.output().join("logs"));
        let (log, result) = match log {
            Ok(log) => {
                let plan = Plan::of(step, self.ctx, &self.request.options);
                (log, plan.and_then(|plan| plan.run(self.ctx, &mut self.results)))
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
        self.so_far.add(&record, &self.results);
        record
    }

    /// Where the step was an attempt to deploy: makes the report of the run with it and sends it on.
    fn conclude(&self, step: &StepRecord) {
        let (StepId::Deploy, Some(Attempt { record, service, site })) = (step.step, &self.results.attempt)
        else {
            return;
        };
        let mut so_far = self.so_far.clone();
        so_far.add(step, &self.results);
        let report = history::report(self.ctx, &so_far, service.clone(), record.clone());
        history::conclude(self.ctx, &report, site.as_ref());
    }

    fn failed(&self, step: StepId, error: &anyhow::Error, end: StepEnd, log: &Path) -> Failed {
        Failed {
            step: Some(step.to_string()),
            message: format!("{error:#}"),
            exit: Exit::of(error),
            findings: end.findings,
            tail: end.tail,
            log: Some(log.display().to_string()),
            again: Some(self.ctx.again(step)),
        }
    }
}

fn outcome(result: &Result<()>) -> Outcome {
    match result {
        Ok(()) => Outcome::Passed,
        Err(error) if Exit::of(error) == Exit::Interrupted => Outcome::Interrupted,
        Err(_) => Outcome::Failed,
    }
}

impl Results {
    /// The facts that the end of a run shows; on GitHub `image` and `digest` are the step's outputs.
    fn facts(&self) -> Vec<(String, String)> {
        let mut facts = Vec::new();
        let mut fact = |name: &str, value: String| facts.push((name.to_owned(), value));
        if let Some(tests) = &self.tests {
            fact("tests", test_coverage::in_words(tests));
        }
        if let Some(coverage) = &self.coverage {
            fact("coverage", format!("{coverage}"));
        }
        match (&self.pushed, &self.image) {
            (Some(pushed), _) => {
                fact("image", format!("{}:{}", pushed.repository, pushed.commit_tag));
                fact("digest", pushed.digest.to_string());
            }
            (None, Some(image)) => {
                fact(
                    "image",
                    format!("{}:{}", image.repository, image.tags.first().map_or("", String::as_str)),
                );
                fact("digest", image.digest.to_string());
            }
            (None, None) => {}
        }
        if let Some(deployment) = &self.deployment {
            fact("url", deployment.url.clone());
        }
        facts
    }
}

/// Whole milliseconds, the unit of every record.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
