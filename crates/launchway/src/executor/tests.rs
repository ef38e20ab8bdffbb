use std::path::Path;
use std::time::Duration;

use super::*;
use launchway_core::environment::Environment;
use launchway_core::exit::Failure;
use launchway_core::http::NetworkPolicy;

fn request(scope: Scope, branch: &str) -> Request {
    Request {
        scope,
        trigger: Trigger::push(branch),
        options: Options::of(&Context::for_test(Path::new("/w"), Environment::default()).config),
        explain: false,
        keep_going: false,
        reuse: false,
    }
}

fn selected(scope: Scope, branch: &str) -> Vec<(JobId, Option<String>)> {
    select("main", &request(scope, branch)).into_iter().map(|job| (job.id, job.skipped)).collect()
}

#[test]
fn the_release_branch_runs_every_job() {
    let jobs = selected(Scope::Jobs(None), "main");
    assert_eq!(jobs, [(JobId::Test, None), (JobId::Build, None), (JobId::Deploy, None)]);
}

#[test]
fn another_branch_skips_with_the_rule() {
    let jobs = selected(Scope::Jobs(None), "feature");
    assert_eq!(jobs[0], (JobId::Test, None));
    for (_, reason) in &jobs[1..] {
        assert_eq!(reason.as_deref(), Some("runs on push to `main`; this is branch `feature`"));
    }
}

#[test]
fn only_the_jobs_asked_for_run() {
    let jobs = selected(Scope::Jobs(Some(vec![JobId::Build])), "main");
    let skipped: Vec<bool> = jobs.iter().map(|(_, reason)| reason.is_some()).collect();
    assert_eq!(skipped, [true, false, true]);
    assert_eq!(selected(Scope::Step(StepId::Push), "feature"), [(JobId::Build, None)]);
}

fn begun<'a>(ctx: &'a Context, request: &'a Request) -> Run<'a> {
    Run {
        ctx,
        request,
        earlier: RunState::new(&ctx.git).unwrap(),
        so_far: RunState::new(&ctx.git).unwrap(),
        memory: Memory::read(&ctx.output(), None),
        results: Results::default(),
        failure: None,
        failed: Vec::new(),
        records: Vec::new(),
        rows: Vec::new(),
    }
}

#[test]
fn a_rehearsal_leaves_nothing_to_go_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let mut ctx = Context::for_test(dir.path(), Environment::default());
    let request = request(Scope::Jobs(None), "main");
    let state = ctx.output().join("run-state.json");
    ctx.network = NetworkPolicy::Only(Vec::new());
    begun(&ctx, &request).jobs(&[], |_| Proved::default()).unwrap();
    assert!(ctx.output().join("run.json").exists() && !state.exists());
    ctx.network = NetworkPolicy::Anywhere;
    begun(&ctx, &request).jobs(&[], |_| Proved::default()).unwrap();
    assert!(state.exists());
}

#[test]
fn a_rollback_is_a_run_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::for_test(dir.path(), Environment::default());
    let state = || fs_err::read_to_string(ctx.output().join("run-state.json")).unwrap();
    let begin = |step| {
        let scope = Scope::Step(step);
        RunState::begin(&ctx.output(), &ctx.git, &ctx.environment, scope.step()).unwrap()
    };
    begun(&ctx, &request(Scope::Step(StepId::Push), "main")).jobs(&[], |_| Proved::default()).unwrap();
    let before = state();
    assert!(before.contains(&begin(StepId::Deploy).id), "a deploy goes on with the run of its push");
    assert!(!before.contains(&begin(StepId::Rollback).id), "its report would replace that of the deploy");
    begun(&ctx, &request(Scope::Step(StepId::Rollback), "main")).jobs(&[], |_| Proved::default()).unwrap();
    assert_eq!(state(), before, "a deploy would go on with the run of the rollback");
}

/// A run in which these steps failed, asked what blocks what comes next.
fn after(failed: &[StepId], exit: Exit, keep_going: bool, ask: StepId) -> (Option<String>, Option<String>) {
    let ctx = Context::for_test(Path::new("/w"), Environment::default());
    let request = Request { keep_going, ..request(Scope::Jobs(None), "main") };
    let failure = failed.first().map(|step| (*step, Failure::new(exit, "failed").into()));
    let run = Run { failure, ..begun(&ctx, &request) };
    let before: Vec<StepRecord> = failed
        .iter()
        .map(|step| StepRecord::ran(*step, SystemTime::UNIX_EPOCH, Duration::ZERO, Outcome::Failed))
        .collect();
    let job = Selected { id: ask.job(), steps: vec![ask], skipped: None };
    (run.blocked(&job), run.blocked_step(ask, &before))
}

#[test]
fn a_failure_blocks_what_needs_it() {
    assert_eq!(after(&[], Exit::Done, false, StepId::Deploy), (None, None));
    let (job, _) = after(&[StepId::Lint], Exit::CheckFailed, true, StepId::Push);
    assert_eq!(job.unwrap(), "needs test, and `lint` did not pass");
    let (_, step) = after(&[StepId::Lint], Exit::CheckFailed, false, StepId::TestCoverage);
    assert_eq!(step.unwrap(), "`lint` did not pass; use `--keep-going` to continue");
    let (_, step) = after(&[StepId::Lint], Exit::CheckFailed, true, StepId::TestCoverage);
    assert_eq!(step, None);
    let (_, step) = after(&[StepId::DockerBuild], Exit::CheckFailed, true, StepId::Push);
    assert_eq!(step.unwrap(), "needs `docker-build`, which did not pass");
}

#[test]
fn an_interrupt_blocks_everything() {
    let (job, step) = after(&[StepId::Lint], Exit::Interrupted, true, StepId::Push);
    assert_eq!(
        (job.unwrap().as_str(), step.unwrap().as_str()),
        ("the run was interrupted", "the run was interrupted")
    );
    let (_, step) = after(&[StepId::Lint], Exit::Interrupted, true, StepId::TestCoverage);
    assert_eq!(step.unwrap(), "the run was interrupted");
}
