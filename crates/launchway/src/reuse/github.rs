//! On GitHub: whether another run of the workflow has tested this tree already.
//!
//! Only a push to the release branch asks. What counts is a run of the same workflow file, by a push to this repository, of
//! a commit with the same tree, that is over and succeeded, together with the step itself; and the file of passes that it
//! left, which has the step under the same key and as a step of that very run. A step that was reused leaves no pass, so
//! that nothing is ever reused from a reuse. Whatever is unclear, missing, slow or refused means that the step runs.

mod api;

use std::time::{Duration, SystemTime};

use anyhow::Result;
use launchway_core::environment::Environment;
use launchway_report::Time;
use serde::{Deserialize, Serialize};

use super::{Key, Passed, Passes};
use crate::context::Context;
use crate::git;
use crate::table::rule::{Rule, Trigger, on_github};
use crate::table::{PASSED, PASSED_DAYS, StepId};
use api::{Api, Job, Run};

/// How old a run may be.
const AGE: Duration = Duration::from_secs(PASSED_DAYS as u64 * 24 * 60 * 60);

/// One attempt of a run on GitHub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GitHubRun {
    pub(super) id: u64,
    pub(super) attempt: u64,
    /// Where people find it.
    pub(super) address: String,
}

impl GitHubRun {
    /// The one that this process is part of, on GitHub.
    pub(crate) fn own(environment: &Environment) -> Option<Self> {
        if !on_github(environment) {
            return None;
        }
        let number = |name| environment.get(name).and_then(|text| text.parse().ok());
        let (id, attempt) = (number("GITHUB_RUN_ID")?, number("GITHUB_RUN_ATTEMPT")?);
        let server = environment.get("GITHUB_SERVER_URL").unwrap_or("https://github.com");
        let repository = environment.get("GITHUB_REPOSITORY")?;
        Some(Self { id, attempt, address: format!("{server}/{repository}/actions/runs/{id}") })
    }

    fn is(&self, run: &Run) -> bool {
        (self.id, self.attempt) == (run.id, run.attempt)
    }
}

/// The pass of a step with this key in another run, where one counts. Anything that goes wrong is noted.
pub(crate) fn find(ctx: &Context, trigger: &Trigger, step: StepId, key: &Key) -> Option<Passed> {
    let wanted = Wanted::of(ctx, trigger)?;
    let found = match Wanted::api(ctx, Api::TIME) {
        Ok(None) => return None,
        Ok(Some(api)) => wanted.find(ctx, &api, step, key),
        Err(error) => Err(error),
    };
    match found {
        Ok(Some(passed)) => Some(passed),
        Ok(None) => {
            ctx.reporter.note(format!("no other run of the last {PASSED_DAYS} days has tested these files"));
            None
        }
        Err(error) => {
            ctx.reporter
                .note(format!("cannot find out whether another run has tested these files: {error:#}"));
            None
        }
    }
}

/// What a run must be like to count.
struct Wanted<'a> {
    own: GitHubRun,
    /// The name of the workflow's file, and its path.
    workflow: &'a str,
    path: String,
    tree: String,
    since: Time,
    now: Time,
}

impl<'a> Wanted<'a> {
    /// Nothing where this is not the first attempt of a push to the release branch, of a clean commit: a re-run
    /// of all jobs is a request to run them.
    fn of(ctx: &'a Context, trigger: &Trigger) -> Option<Self> {
        let environment = &ctx.environment;
        let release = Rule::release(&ctx.config.branch);
        if !on_github(environment) || ctx.is_rehearsal() || ctx.git.dirty || !release.allows(trigger) {
            return None;
        }
        let own = GitHubRun::own(environment).filter(|own| own.attempt == 1)?;
        let path = crate::workflow::path(&ctx.config.workflow);
        // `owner/name/.github/workflows/main.yaml@refs/heads/main`.
        let running = environment.get("GITHUB_WORKFLOW_REF")?.split('@').next()?;
        if running != format!("{}/{path}", environment.get("GITHUB_REPOSITORY")?) {
            return None;
        }
        let tree =
            git::text(&ctx.root, &["rev-parse", "--verify", "--end-of-options", "HEAD^{tree}"]).ok()?;
        let now = SystemTime::now();
        let since = now.checked_sub(AGE)?.into();
        Some(Self { own, workflow: &ctx.config.workflow, path, tree, since, now: now.into() })
    }

    /// Only the steps that may ask have a token.
    fn api(ctx: &Context, time: Duration) -> Result<Option<Api>> {
        let Some(token) = ctx.environment.secret("GITHUB_TOKEN") else { return Ok(None) };
        Api::new(ctx.http()?, &ctx.environment, token, time).map(Some)
    }

    fn find(&self, ctx: &Context, api: &Api, step: StepId, key: &Key) -> Result<Option<Passed>> {
        for page in 1..=Api::PAGES {
            let runs = api.pushes(self.workflow, self.since, page)?;
            for run in runs.iter().filter(|run| self.is_of_tree(run)) {
                match self.flaw(run).map_or_else(|| passed(api, run, step, key), |flaw| Ok(Err(flaw)))? {
                    Ok(passed) => return Ok(Some(passed)),
                    Err(flaw) => {
                        let note = format!("run {} has the same files but does not count: {flaw}", run.id);
                        ctx.reporter.note(note);
                    }
                }
            }
            if runs.len() < Api::PAGE {
                break;
            }
        }
        Ok(None)
    }

    fn is_of_tree(&self, run: &Run) -> bool {
        run.id != self.own.id && run.head_commit.as_ref().is_some_and(|commit| commit.tree_id == self.tree)
    }

    /// Why a run of the same tree does not count, by what the list of runs says of it.
    fn flaw(&self, run: &Run) -> Option<&'static str> {
        let commit = run.head_commit.as_ref().map(|commit| commit.id.as_str());
        [
            // GitHub may add the branch after an `@`.
            (run.path.split('@').next() == Some(self.path.as_str()), "it ran another workflow"),
            (run.event == "push", "a push did not start it"),
            (run.head_repository.as_ref() == Some(&run.repository), "it ran for another repository"),
            (commit == Some(run.head_sha.as_str()), "GitHub names two commits for it"),
            (run.status.as_deref() == Some("completed"), "it has not finished"),
            (run.conclusion.as_deref() == Some("success"), "it did not succeed"),
            (self.since <= run.created_at, "it is too old"),
            (run.created_at <= self.now, "its start is in the future"),
        ]
        .into_iter()
        .find_map(|(holds, flaw)| (!holds).then_some(flaw))
    }
}

/// The pass of a step in a run, or why there is none.
fn passed(api: &Api, run: &Run, step: StepId, key: &Key) -> Result<Result<Passed, &'static str>> {
    if !has_passed(run, &api.jobs(run)?, step) {
        return Ok(Err("the step did not pass"));
    }
    let Some(file) = api.file(run, PASSED)? else {
        return Ok(Err("it left no `passed.json`"));
    };
    let Ok(passes) = serde_json::from_slice::<Passes>(&file) else {
        return Ok(Err("its `passed.json` cannot be read"));
    };
    // A cache may have brought a file of another run along.
    let is_own = |passed: &&Passed| passed.key == *key && passed.run.as_ref().is_some_and(|own| own.is(run));
    let own = passes.get(step.name()).into_iter().flatten().find(is_own);
    let address = run.html_url.clone();
    let run = GitHubRun { id: run.id, attempt: run.attempt, address };
    Ok(own
        .map(|passed| Passed { run: Some(run), ..passed.clone() })
        .ok_or("the step was reused, or ran with other tools"))
}

/// Whether some job of the run has the step, and every job that has it succeeded, with the step itself.
fn has_passed(run: &Run, jobs: &[Job], step: StepId) -> bool {
    let succeeded = |conclusion: &Option<String>| conclusion.as_deref() == Some("success");
    let of_run = |job: &Job| {
        (job.run_id, job.run_attempt, job.head_sha.as_str()) == (run.id, run.attempt, &run.head_sha)
    };
    let mut found = jobs
        .iter()
        .flat_map(|job| job.steps.iter().map(move |step| (job, step)))
        .filter(|(_, found)| found.name == step.name())
        .peekable();
    found.peek().is_some()
        && found.all(|(job, step)| of_run(job) && succeeded(&job.conclusion) && succeeded(&step.conclusion))
}

#[cfg(test)]
mod tests;
