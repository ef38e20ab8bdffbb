use super::*;
use crate::context::Context;

fn context(root: &Path, variables: &[(&str, &str)]) -> Context {
    Context::for_test(root, Environment::of(variables.iter().copied()))
}

fn begin(ctx: &Context, alone: Option<StepId>) -> RunState {
    RunState::begin(&ctx.output(), &ctx.git, &ctx.environment, alone).unwrap()
}

/// One step in a process of its own.
fn step(ctx: &Context, step: StepId) -> RunState {
    let mut so_far = begin(ctx, Some(step));
    so_far.add(step, StepOutcome::Passed, 2000);
    so_far.leave(&ctx.output(), &ctx.reporter).unwrap();
    so_far
}

fn names(so_far: &RunState) -> Vec<&str> {
    so_far.steps.iter().map(|step| step.name.as_str()).collect()
}

#[test]
fn a_step_goes_on_with_the_run_of_its_commit() {
    let dir = tempfile::tempdir().unwrap();
    let mut ctx = context(dir.path(), &[]);
    let lint = step(&ctx, StepId::Lint);
    let tests = step(&ctx, StepId::TestCoverage);
    assert_eq!((names(&tests), &tests.id), (vec!["lint", "test-coverage"], &lint.id));
    // The same step again is another run, and so is another commit's.
    let again = step(&ctx, StepId::Lint);
    assert!(again.id != lint.id && names(&again) == ["lint"]);
    ctx.git.commit = "f".repeat(40);
    assert_eq!(names(&step(&ctx, StepId::TestCoverage)), ["test-coverage"]);
    // All the jobs at once are a run of their own.
    assert!(begin(&ctx, None).steps.is_empty());
}

#[test]
fn a_job_goes_on_with_what_the_job_before_did_on_another_machine() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let run = [("GITHUB_RUN_ID", "7"), ("GITHUB_RUN_ATTEMPT", "2")];
    let before = step(&context(first.path(), &run), StepId::TestCoverage);
    assert_eq!(before.id, "github-7-2");
    let given = before.to_line().unwrap();
    let [id, attempt] = run;
    let ctx = context(second.path(), &[id, attempt, (RUN_STATE, &given)]);
    assert_eq!(names(&step(&ctx, StepId::DockerBuild)), ["test-coverage", "docker-build"]);
    assert_eq!(names(&step(&ctx, StepId::Push)), ["test-coverage", "docker-build", "push"]);
    // What is of another run, or cannot be read, is not gone on with.
    for given in [given.replace("7-2", "6-1"), "{".to_owned()] {
        let third = tempfile::tempdir().unwrap();
        let ctx = context(third.path(), &[id, attempt, (RUN_STATE, &given)]);
        assert_eq!(names(&step(&ctx, StepId::Push)), ["push"]);
    }
}

#[test]
fn what_a_newer_version_has_put_in_it_is_handed_on() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let given = step(&context(first.path(), &[]), StepId::TestCoverage).to_line().unwrap();
    let given = given.replacen('{', r#"{"cached":{"lint":true},"#, 1).replace("\"passed\"", "\"reused\"");
    let ctx = context(second.path(), &[(RUN_STATE, &given)]);
    let line = step(&ctx, StepId::DockerBuild).to_line().unwrap();
    assert!(line.contains(r#""cached":{"lint":true}"#) && line.contains(r#""outcome":"reused""#), "{line}");
}
