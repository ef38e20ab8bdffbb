use super::*;

fn trigger(event: &str, git_ref: &str) -> Trigger {
    Trigger { event: event.to_owned(), git_ref: git_ref.to_owned() }
}

#[test]
fn truth_table() {
    for (event, git_ref, release) in [
        ("push", "refs/heads/main", true),
        ("push", "refs/heads/feature", false),
        ("push", "refs/heads/main-2", false),
        ("push", "refs/heads/feature/main", false),
        ("push", "refs/tags/main", false),
        ("push", "", false),
        ("pull_request", "refs/pull/1/merge", false),
        ("pull_request", "refs/heads/main", false),
        ("merge_group", "refs/heads/gh-readonly-queue/main/pr-1-c0ffee", false),
        ("workflow_dispatch", "refs/heads/main", false),
        ("workflow_dispatch", "refs/heads/feature", false),
        ("workflow_dispatch", "refs/tags/main", false),
        ("schedule", "refs/heads/main", false),
    ] {
        let trigger = trigger(event, git_ref);
        assert!(When::Always.allows("main", &trigger), "Always: {trigger:?}");
        assert_eq!(When::Release.allows("main", &trigger), release, "Release: {trigger:?}");
        // The same branch, and never the same event.
        let requested = (event, git_ref) == ("workflow_dispatch", "refs/heads/main");
        assert_eq!(When::Requested.allows("main", &trigger), requested, "Requested: {trigger:?}");
    }
}

#[test]
fn a_rule_is_written_as_an_expression() {
    assert_eq!(
        When::Release.rule("main").unwrap().to_string(),
        "github.event_name == 'push' && github.ref == 'refs/heads/main'"
    );
    assert_eq!(
        When::Requested.rule("main").unwrap().to_string(),
        "github.event_name == 'workflow_dispatch' && github.ref == 'refs/heads/main'"
    );
    // What has a condition can be skipped, and GitHub calls what it skips successful.
    assert_eq!(When::Always.rule("main"), None);
    let elsewhere = Rule::Not(Box::new(Rule::Branch("main".to_owned())));
    assert_eq!(elsewhere.to_string(), "!(github.ref == 'refs/heads/main')");
    assert!(elsewhere.allows(&Trigger::push("x")) && !elsewhere.allows(&Trigger::push("main")));
}

fn git(branch: Option<&str>) -> Git {
    Git { commit: "c".repeat(40), branch: branch.map(str::to_owned), dirty: false, time: 0 }
}

#[test]
fn a_local_run_is_a_push_of_its_branch() {
    let nothing = Environment::default();
    let local = Trigger::read(&nothing, &git(Some("x")), None);
    assert_eq!((&local, local.to_string().as_str()), (&Trigger::push("x"), "branch `x`"));
    assert_eq!(Trigger::read(&nothing, &git(Some("x")), Some("main")), Trigger::push("main"));
    let detached = Trigger::read(&nothing, &git(None), None);
    assert_eq!((detached.branch(), detached.to_string().as_str()), (None, "a detached HEAD"));
}

#[test]
fn on_github_the_event_decides() {
    let github = Environment::of([
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_EVENT_NAME", "pull_request"),
        ("GITHUB_REF", "refs/pull/7/merge"),
    ]);
    // The runner checks out a detached HEAD or a merge branch: git's answer must not count.
    let pull = Trigger::read(&github, &git(Some("main")), None);
    assert_eq!(pull, trigger("pull_request", "refs/pull/7/merge"));
    assert_eq!(pull.to_string(), "a pull_request of `refs/pull/7/merge`");
}
