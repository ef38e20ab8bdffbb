use super::*;

fn trigger(event: &str, git_ref: &str, from_fork: bool) -> Trigger {
    Trigger { event: event.to_owned(), git_ref: git_ref.to_owned(), from_fork }
}

#[test]
fn truth_table() {
    for (event, git_ref, from_fork, always, release) in [
        ("push", "refs/heads/master", false, true, true),
        ("push", "refs/heads/feature", false, true, false),
        ("push", "refs/heads/master-2", false, true, false),
        ("push", "refs/heads/feature/master", false, true, false),
        ("push", "refs/tags/master", false, true, false),
        ("push", "", false, true, false),
        ("pull_request", "refs/pull/1/merge", false, false, false),
        ("pull_request", "refs/pull/1/merge", true, true, false),
        ("pull_request", "refs/heads/master", true, true, false),
        ("workflow_dispatch", "refs/heads/master", false, true, false),
        ("schedule", "refs/heads/master", false, true, false),
    ] {
        let trigger = trigger(event, git_ref, from_fork);
        assert_eq!(When::Always.rule("master").allows(&trigger), always, "Always: {trigger:?}");
        assert_eq!(When::Release.rule("master").allows(&trigger), release, "Release: {trigger:?}");
    }
}

#[test]
fn a_rule_is_written_as_an_expression() {
    assert_eq!(
        When::Release.rule("master").to_string(),
        "github.event_name == 'push' && github.ref == 'refs/heads/master'"
    );
    assert_eq!(
        When::Always.rule("master").to_string(),
        "github.event_name != 'pull_request' || github.event.pull_request.head.repo.full_name != github.repository"
    );
    let nested = Rule::All(vec![
        Rule::FromFork,
        Rule::Any(vec![Rule::Event("push"), Rule::Not(Box::new(Rule::FromFork))]),
    ]);
    assert_eq!(
        nested.to_string(),
        "github.event.pull_request.head.repo.full_name != github.repository && (github.event_name == 'push' || \
         !(github.event.pull_request.head.repo.full_name != github.repository))"
    );
}

fn git(branch: Option<&str>) -> Git {
    Git { commit: "c".repeat(40), branch: branch.map(str::to_owned), dirty: false, time: 0 }
}

#[test]
fn a_local_run_is_a_push_of_its_branch() {
    let nothing = Environment::default();
    assert_eq!(Trigger::read(&nothing, &git(Some("x")), None).unwrap(), Trigger::push("x"));
    assert_eq!(Trigger::read(&nothing, &git(Some("x")), Some("master")).unwrap(), Trigger::push("master"));
    let detached = Trigger::read(&nothing, &git(None), None).unwrap();
    assert_eq!((detached.branch(), detached.to_string().as_str()), (None, "a detached head"));
}

#[test]
fn on_github_the_event_decides() {
    let dir = tempfile::tempdir().unwrap();
    let payload = dir.path().join("event.json");
    fs_err::write(&payload, r#"{"pull_request":{"head":{"repo":{"full_name":"someone/fork"}}}}"#).unwrap();
    let github = |repository: &str| {
        Environment::of([
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_EVENT_NAME", "pull_request"),
            ("GITHUB_REF", "refs/pull/7/merge"),
            ("GITHUB_EVENT_PATH", payload.to_str().unwrap()),
            ("GITHUB_REPOSITORY", repository),
        ])
    };
    // The runner checks out a detached head or a merge branch: git's answer must not count.
    let fork = Trigger::read(&github("acme/app"), &git(Some("master")), None).unwrap();
    assert_eq!(fork, trigger("pull_request", "refs/pull/7/merge", true));
    assert_eq!(fork.to_string(), "pull_request of `refs/pull/7/merge`");
    assert!(!Trigger::read(&github("someone/fork"), &git(None), None).unwrap().from_fork);
}
