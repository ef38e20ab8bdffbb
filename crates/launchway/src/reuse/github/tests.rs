mod trouble;

use launchway_core::events::Event;
use launchway_fakes::github::{GitHub, Run as FakeRun};
use launchway_fakes::{Reply, Request};
use launchway_report::Tests;

use super::super::Memory;
use super::*;
use crate::steps::test_coverage::CoverageRecord;
use crate::testing::git;

const STEPS: [&str; 2] = ["lint", "test-coverage"];
const HOUR: Duration = Duration::from_secs(60 * 60);

/// What is wrong with a run.
type Flaw = fn(&mut FakeRun);

/// A push to the release branch, in a checkout of one file, and what a run of the same tree left.
struct Push {
    ctx: Context,
    tree: String,
    key: Key,
    dir: tempfile::TempDir,
}

impl Push {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "--quiet"]);
        fs_err::write(dir.path().join("lib.rs"), "one").unwrap();
        git(dir.path(), &["add", "."]);
        git(dir.path(), &["commit", "--quiet", "--message", "one"]);
        let tree = git(dir.path(), &["rev-parse", "HEAD^{tree}"]);
        let ctx = Context::for_test(dir.path(), Self::environment("http://127.0.0.1:9"));
        let key = Key::of(ctx.machine(), &ctx.config, StepId::TestCoverage).unwrap().unwrap();
        Self { ctx, tree, key, dir }
    }

    fn environment(api: &str) -> Environment {
        Environment::of([
            ("PATH", std::env::var("PATH").unwrap().as_str()),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_API_URL", api),
            ("GITHUB_REPOSITORY", GitHub::REPOSITORY),
            ("GITHUB_RUN_ID", "100"),
            ("GITHUB_RUN_ATTEMPT", "1"),
            ("GITHUB_TOKEN", GitHub::TOKEN),
            ("GITHUB_WORKFLOW_REF", "acme/app/.github/workflows/main.yaml@refs/heads/main"),
        ])
    }

    fn pass(&self, run: u64) -> Passed {
        Passed {
            key: self.key.clone(),
            run: Some(GitHubRun { id: run, attempt: 1, address: "https://elsewhere.example".to_owned() }),
            finished: Time::from_milliseconds(1_767_225_600_000),
            milliseconds: 61_000,
            commit: None,
            skipped: Vec::new(),
            tests: Some(Tests { passed: 7, failed: 0, skipped: 1 }),
            coverage: Some(CoverageRecord { lines: 100, covered: 91, threshold: 80.0 }),
        }
    }

    /// What a run leaves in which the step passed.
    fn file(&self, run: u64) -> Vec<u8> {
        let passed = [(StepId::TestCoverage.name().to_owned(), vec![self.pass(run)])];
        serde_json::to_vec(&Passes::from(passed)).unwrap()
    }

    /// An hour ago the same tree was pushed to another branch, and everything passed.
    fn run(&self, id: u64) -> FakeRun {
        let run = FakeRun::passed(id, &self.tree, SystemTime::now() - HOUR, &STEPS);
        run.with_artifact(PASSED, self.file(id))
    }

    /// What GitHub is asked for, and the notes that it leaves.
    fn find(&mut self, github: &GitHub) -> (Option<Passed>, Vec<String>) {
        self.ctx.environment = Self::environment(&github.url());
        self.found()
    }

    fn found(&self) -> (Option<Passed>, Vec<String>) {
        let before = self.ctx.reporter.events().len();
        let found = find(&self.ctx, &Trigger::push("main"), StepId::TestCoverage, &self.key);
        let notes = self.ctx.reporter.events().into_iter().skip(before).filter_map(|event| match event {
            Event::Note { text } => Some(text),
            _ => None,
        });
        (found, notes.collect())
    }

    /// Why a run does not count.
    fn flaw(&mut self, run: FakeRun) -> String {
        let id = run.id;
        let (found, notes) = self.find(&GitHub::start(vec![run]).unwrap());
        assert_eq!(found, None, "{notes:?}");
        let [flaw, last] = &notes[..] else { panic!("{notes:?}") };
        assert_eq!(last, "no other run of the last 3 days has tested these files");
        flaw.strip_prefix(&format!("run {id} has the same files but does not count: ")).unwrap().to_owned()
    }

    /// Why a run does not count of which GitHub says this, in place of its own response.
    fn flaw_of(&mut self, says: &serde_json::Value, path: &'static str) -> String {
        let body = serde_json::to_vec(says).unwrap();
        let rule = move |request: &Request, _| {
            request.path().ends_with(path).then(|| Reply::new(200).body(body.clone()))
        };
        let (found, notes) = self.find(&GitHub::scripted(vec![self.run(7)], rule).unwrap());
        assert_eq!(found, None, "{notes:?}");
        notes[0].rsplit(": ").next().unwrap().to_owned()
    }
}

#[test]
fn a_push_of_tested_files_takes_over_what_the_run_found() {
    let mut push = Push::new();
    let run = push.run(7);
    let address = run.address();
    let github = GitHub::start(vec![run]).unwrap();
    let (found, notes) = push.find(&github);
    let found = found.unwrap_or_else(|| panic!("{notes:?}"));
    let own = GitHubRun { id: 7, attempt: 1, address };
    assert_eq!(found, Passed { run: Some(own), ..push.pass(7) });
    assert_eq!(
        found.to_string(),
        "passed on the same files at 2026-01-01T00:00:00.000Z in 61.0 s, in run 7: \
         https://github.com/acme/app/actions/runs/7"
    );
    // Four requests to GitHub with the token, and one without it.
    let requests = github.requests();
    let shown: Vec<(&str, bool)> = requests
        .iter()
        .map(|request| {
            (request.path(), request.header("authorization") == format!("Bearer {}", GitHub::TOKEN))
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("/repos/acme/app/actions/workflows/main.yaml/runs", true),
            ("/repos/acme/app/actions/runs/7/attempts/1/jobs", true),
            ("/repos/acme/app/actions/runs/7/artifacts", true),
            ("/repos/acme/app/actions/artifacts/700/zip", true),
            ("/artifact-bytes/700", false),
        ]
    );
    assert_eq!(requests.last().unwrap().header("authorization"), "");
    let query = "event=push&status=success&created=%3E%3D";
    assert!(requests[0].target.contains(query), "{}", requests[0].target);
}

#[test]
fn another_step_or_another_key_is_not_tested() {
    let mut push = Push::new();
    let github = GitHub::start(vec![push.run(7)]).unwrap();
    let (found, _) = push.find(&github);
    assert!(found.is_some());
    let lint = find(&push.ctx, &Trigger::push("main"), StepId::Lint, &push.key);
    assert_eq!(lint, None, "the run reused it");
    push.key = Key("of another toolchain".to_owned());
    assert_eq!(push.find(&github).0, None);
}

#[test]
fn a_run_counts_only_if_nothing_is_wrong_with_it() {
    let mut push = Push::new();
    let change = |change: fn(&mut FakeRun), push: &Push| {
        let mut run = push.run(7);
        change(&mut run);
        run
    };
    // GitHub itself leaves these out; whether it does is looked at all the same.
    let listed = |run: &FakeRun, push: &mut Push| push.flaw_of(&run.page(), "/runs");
    let run = change(|run| run.event = "pull_request".to_owned(), &push);
    assert_eq!(listed(&run, &mut push), "a push did not start it");
    let run = change(|run| run.event = "merge_group".to_owned(), &push);
    assert_eq!(listed(&run, &mut push), "a push did not start it");
    // Still going, with everything green so far.
    let going = |run: &mut FakeRun| (run.status, run.conclusion) = ("in_progress".to_owned(), None);
    let run = change(going, &push);
    assert_eq!(listed(&run, &mut push), "it has not finished");
    let run = change(|run| run.conclusion = Some("failure".to_owned()), &push);
    assert_eq!(listed(&run, &mut push), "it did not succeed");
    let run = change(|run| run.created = SystemTime::now() - HOUR * 73, &push);
    assert_eq!(listed(&run, &mut push), "it is too old");
    let run = change(|run| run.created = SystemTime::now() + HOUR, &push);
    assert_eq!(listed(&run, &mut push), "its start is in the future");

    // What it is of is not what was pushed, or a job is of another run.
    let mut page = push.run(7).page();
    page["workflow_runs"][0]["head_commit"]["id"] = "c0ffee".into();
    assert_eq!(push.flaw_of(&page, "/runs"), "GitHub names two commits for it");
    for (field, value) in [("run_id", 8.into()), ("run_attempt", 2.into()), ("head_sha", "c0ffee".into())] {
        let mut jobs = push.run(7).jobs_page();
        jobs["jobs"][0][field] = value;
        assert_eq!(push.flaw_of(&jobs, "/jobs"), "the step did not pass", "{field}");
    }

    let flaws: [(Flaw, &str); 15] = [
        (|run| run.path = ".github/workflows/other.yaml".to_owned(), "it ran another workflow"),
        (|run| run.head_repository = Some(1), "it ran for another repository"),
        (|run| run.head_repository = None, "it ran for another repository"),
        // The run succeeded, and its job or its step did not.
        (|run| run.jobs[0].conclusion = Some("failure".to_owned()), "the step did not pass"),
        (|run| run.jobs[0].conclusion = None, "the step did not pass"),
        (|run| run.jobs[0].steps[1].1 = Some("skipped".to_owned()), "the step did not pass"),
        (|run| run.jobs[0].steps[1].1 = Some("failure".to_owned()), "the step did not pass"),
        (|run| drop(run.jobs[0].steps.pop()), "the step did not pass"),
        (|run| run.jobs.clear(), "the step did not pass"),
        (
            |run| {
                // One of several jobs that have the step.
                run.jobs.push(run.jobs[0].clone());
                run.jobs[1].steps[1].1 = None;
            },
            "the step did not pass",
        ),
        // A run whose steps were reused leaves nothing.
        (|run| run.artifacts.clear(), "it left no `passed.json`"),
        (|run| run.artifacts[0].expired = true, "it left no `passed.json`"),
        (|run| run.artifacts.push(run.artifacts[0].clone()), "it left no `passed.json`"),
        (|run| run.artifacts[0].bytes = b"{ cut short".to_vec(), "its `passed.json` cannot be read"),
        (|run| run.artifacts[0].bytes = b"{}".to_vec(), "the step was reused, or ran with other tools"),
    ];
    for (flaw, words) in flaws {
        let run = change(flaw, &push);
        assert_eq!(push.flaw(run), words);
    }
    // A file that a cache brought along from another run, or from an earlier attempt.
    let mut run = push.run(7);
    run.artifacts[0].bytes = push.file(6);
    assert_eq!(push.flaw(run), "the step was reused, or ran with other tools");
    let mut run = push.run(7);
    run.attempt = 2;
    assert_eq!(push.flaw(run), "the step was reused, or ran with other tools");
    // Another tree is not looked at, and neither is this run itself.
    let mut run = push.run(7);
    run.tree = "c0ffee".to_owned();
    let github = GitHub::start(vec![run, push.run(100)]).unwrap();
    assert_eq!(push.find(&github).1, ["no other run of the last 3 days has tested these files"]);
    assert_eq!(github.requests().len(), 1);
}

#[test]
fn a_run_that_counts_is_found_behind_others() {
    let mut push = Push::new();
    let mut runs: Vec<FakeRun> =
        (8..80).map(|id| FakeRun { tree: "c0ffee".to_owned(), ..push.run(id) }).collect();
    runs.push(push.run(7));
    runs[1] = push.run(9);
    runs[1].artifacts.clear();
    let github = GitHub::start(runs.clone()).unwrap();
    let (found, notes) = push.find(&github);
    assert_eq!(found.unwrap().run.unwrap().id, 7, "{notes:?}");
    assert_eq!(notes, ["run 9 has the same files but does not count: it left no `passed.json`"]);
    // But not behind any number of them.
    let many = 1000..1000 + (Api::PAGE * Api::PAGES) as u64;
    runs.extend(many.map(|id| FakeRun { tree: "c0ffee".to_owned(), ..push.run(id) }));
    let github = GitHub::start(runs).unwrap();
    assert_eq!(push.find(&github).0, None);
    assert_eq!(github.requests().len(), Api::PAGES);
}

#[test]
fn nothing_is_asked_but_by_the_first_attempt_of_a_push_to_the_release_branch() {
    let mut push = Push::new();
    let github = GitHub::start(vec![push.run(7)]).unwrap();
    let asks = |push: &Push, trigger: &Trigger| {
        let before = (github.requests().len(), push.ctx.reporter.events().len());
        let found = find(&push.ctx, trigger, StepId::TestCoverage, &push.key);
        assert_eq!(found.is_some(), github.requests().len() > before.0);
        assert_eq!(push.ctx.reporter.events().len(), before.1, "nothing is said of it");
        found.is_some()
    };
    let with = |push: &mut Push, name: &str, value: &str| {
        let given = Push::environment(&github.url()).without(&[name]);
        push.ctx.environment =
            given.with(Environment::of([(name, value)].into_iter().filter(|_| !value.is_empty())));
    };
    let main = Trigger::push("main");
    with(&mut push, "CI", "true");
    assert!(asks(&push, &main));
    for (event, git_ref) in [
        ("push", "refs/heads/feature"),
        ("push", "refs/tags/main"),
        ("pull_request", "refs/pull/1/merge"),
        ("merge_group", "refs/heads/gh-readonly-queue/main/pr-1-c0ffee"),
        ("workflow_dispatch", "refs/heads/main"),
        ("schedule", "refs/heads/main"),
    ] {
        let trigger = Trigger { event: event.to_owned(), git_ref: git_ref.to_owned() };
        assert!(!asks(&push, &trigger), "{trigger}");
    }
    for (name, value) in [
        ("GITHUB_ACTIONS", ""),
        ("GITHUB_TOKEN", ""),
        ("GITHUB_RUN_ID", ""),
        ("GITHUB_RUN_ATTEMPT", "2"),
        ("GITHUB_WORKFLOW_REF", "acme/app/.github/workflows/other.yaml@refs/heads/main"),
        ("GITHUB_WORKFLOW_REF", "acme/shared/.github/workflows/main.yaml@refs/heads/main"),
    ] {
        with(&mut push, name, value);
        assert!(!asks(&push, &main), "{name}={value}");
    }
    with(&mut push, "CI", "true");
    push.ctx.git.dirty = true;
    assert!(!asks(&push, &main));
    push.ctx.git.dirty = false;
    push.ctx.network = launchway_core::http::NetworkPolicy::Only(Vec::new());
    assert!(!asks(&push, &main));
}

#[test]
fn a_run_on_github_keeps_its_own_passes_alone() {
    let push = Push::new();
    let own = GitHubRun::own(&push.ctx.environment).unwrap();
    assert_eq!(own.address, "https://github.com/acme/app/actions/runs/100");
    let output = push.ctx.output();
    let mut memory = Memory::read(&output, None);
    memory.keep(StepId::TestCoverage, push.pass(7)).unwrap();
    // A step is a process of its own.
    let mut memory = Memory::read(&output, Some(&own));
    let lint = Passed { run: Some(own), ..push.pass(100) };
    memory.keep(StepId::Lint, lint.clone()).unwrap();
    let left = Memory::read(&output, None);
    assert_eq!(left.find(StepId::TestCoverage, &push.key), None, "of run 7, from a cache");
    assert_eq!(left.find(StepId::Lint, &push.key), Some(&lint));
    drop(push.dir);
}
