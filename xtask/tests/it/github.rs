//! On GitHub: groups, annotations, the summary and the step's outputs.

use std::time::SystemTime;

use launchway_fakes::github::{GitHub, Run};

use crate::support::Fixture;

#[test]
fn github_gets_its_own_commands() {
    let fixture = Fixture::new();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (summary, output) = (file("summary"), file("output"));
    // Another step has written before.
    fs_err::write(&summary, "before\n").unwrap();
    fs_err::write(&output, "before=1\n").unwrap();
    let commit = fixture.head();
    let variables = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_EVENT_NAME", "push"),
        ("GITHUB_REF", "refs/heads/feature"),
        ("GITHUB_STEP_SUMMARY", summary.as_str()),
        ("GITHUB_OUTPUT", output.as_str()),
    ];
    let ran = fixture.xtask(&["docker-build"]).envs(&variables).finish().exits(0);
    let group = ran.out.split_once("::group::docker-build\n::stop-commands::").unwrap().1;
    let (token, rest) = group.split_once('\n').unwrap();
    assert!(token.len() >= 32, "{token}");
    assert!(rest.contains(&format!("\n::{token}::\n::endgroup::\n")), "{}", ran.text());
    let digest = fixture.record()["image"]["digest"].as_str().unwrap().to_owned();
    let written = fs_err::read_to_string(&output).unwrap();
    let begin = format!("before=1\nimage=docker.io/acme/app:{commit}\ndigest={digest}\nrun_state=");
    let run_state = written.strip_prefix(&begin).unwrap_or_else(|| panic!("{written}"));
    assert!(
        run_state.contains(r#"{"name":"docker-build","outcome":"passed","#) && run_state.lines().count() == 1
    );

    fixture.replace("app/src/lib.rs", "let length = ", "let length   = ");
    let ran = fixture.xtask(&["lint"]).envs(&variables).finish().exits(1);
    ran.says(&[
        "::group::lint\n",
        "\n::endgroup::\n",
        "::error file=app/src/lib.rs,line=26,title=lint::not formatted",
    ]);
    let written = fs_err::read_to_string(&summary).unwrap();
    assert!(written.starts_with("before\n### docker-build passed\n\n| job | step |"), "{written}");
    assert!(written.contains("| build | docker-build | passed | "), "{written}");
    assert!(written.contains("| test | lint | failed | "), "{written}");
    assert!(written.contains(&format!("- digest: <code>{digest}</code>\n")), "{written}");
    // What failed, and where, is on the page too.
    assert!(written.contains("#### lint: a check failed"), "{written}");
    assert!(written.contains("\n- <code>app/src/lib.rs:26</code> not formatted"), "{written}");
    // A pull request is tested, and releases nothing; so is what a merge queue puts together.
    for (event, git_ref) in [
        ("pull_request", "refs/pull/1/merge"),
        ("merge_group", "refs/heads/gh-readonly-queue/main/pr-1-c0ffee"),
    ] {
        let pull = [("GITHUB_ACTIONS", "true"), ("GITHUB_EVENT_NAME", event), ("GITHUB_REF", git_ref)];
        let ran = fixture.xtask(&["ci", "--explain"]).envs(&pull).finish().exits(0);
        ran.says(&["cargo fmt"]).says_nothing_of(&["docker-build\n"]);
    }
}

#[test]
fn a_push_of_files_that_another_run_has_tested_is_not_tested_again() {
    let fixture = Fixture::new();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (summary, output) = (file("summary"), file("output"));
    let run = |id: &str, branch: &str, github: Option<&GitHub>| {
        let url = github.map(GitHub::url).unwrap_or_default();
        let run = fixture.xtask(&["lint"]).envs(&[
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_EVENT_NAME", "push"),
            ("GITHUB_REF", &format!("refs/heads/{branch}")),
            ("GITHUB_REPOSITORY", GitHub::REPOSITORY),
            ("GITHUB_WORKFLOW_REF", &format!("acme/app/.github/workflows/main.yaml@refs/heads/{branch}")),
            ("GITHUB_RUN_ID", id),
            ("GITHUB_RUN_ATTEMPT", "1"),
            ("GITHUB_STEP_SUMMARY", &summary),
            ("GITHUB_OUTPUT", &output),
        ]);
        let run = if github.is_some() { run.env("GITHUB_TOKEN", GitHub::TOKEN) } else { run };
        let ran = run.env("GITHUB_API_URL", &url).finish().exits(0);
        ran.says_nothing_of(&[GitHub::TOKEN])
    };
    // A run of a feature branch leaves what passed in it.
    run("7", "feature", None).says(&["cargo clippy"]);
    let left = fixture.read("target/xtask/passed.json");
    // As on the machine of another run.
    fs_err::remove_dir_all(fixture.path("target/xtask")).unwrap();
    let tree = fixture.git(&["rev-parse", "HEAD^{tree}"]);
    let tested = Run::passed(7, &tree, SystemTime::now(), &["lint", "test-coverage"]);
    let github = GitHub::start(vec![tested.clone().with_artifact("passed.json", left)]).unwrap();
    // A merge is another commit of the same tree.
    fixture.git(&["commit", "--quiet", "--allow-empty", "--message", "the same"]);
    let ran = run("8", "main", Some(&github)).says_nothing_of(&["cargo clippy"]);
    ran.says(&["reused: passed ", &format!("in run 7: {}", tested.address())]);
    assert_eq!(fixture.outcomes(), [("lint".to_owned(), "reused".to_owned())]);
    let record = fixture.record();
    let reason = record["jobs"][0]["steps"][0]["reason"].as_str().unwrap();
    assert!(reason.contains(&tested.address()), "{reason}");
    let written = fs_err::read_to_string(&summary).unwrap();
    assert!(
        written.contains("| test | lint | reused | ") && written.contains(&tested.address()),
        "{written}"
    );
    let written = fs_err::read_to_string(&output).unwrap();
    assert!(written.contains(r#"{"name":"lint","outcome":"reused","#), "{written}");
    // It leaves nothing from which a later run could reuse.
    assert!(!fixture.exists("target/xtask/passed.json"));
    // Files of which no run knows are tested.
    fixture.write("motd", "Another one.\n");
    fixture.commit();
    let ran = run("9", "main", Some(&github));
    ran.says(&["no other run of the last 3 days has tested these files", "cargo clippy"]);
    assert_eq!(fixture.outcomes(), [("lint".to_owned(), "passed".to_owned())]);
}
