//! `cargo xtask ci`: which jobs run, and what must be there before any does.

use serde_json::json;

use crate::support::Fixture;

const SECRETS: [&str; 8] = [
    "DOCKERHUB_USERNAME",
    "DOCKERHUB_TOKEN",
    "RENDER_API_KEY",
    "RENDER_SERVICE_ID",
    "SERVER_MODE",
    "ALIAS",
    "CIPHER_KEY",
    "ERRORS_DSN",
];

fn ran_nothing(fixture: &Fixture) {
    for left in ["target/xtask/run.json", "target/xtask/logs", "target/ci", "target/image"] {
        assert!(!fixture.exists(left), "{left}");
    }
}

#[test]
fn a_feature_branch_is_tested_and_not_released() {
    let fixture = Fixture::new();
    if !fixture.has_coverage("a_feature_branch_is_tested_and_not_released") {
        return;
    }
    let rule = "runs on push to `main`; this is branch `feature`";
    let ran = fixture.run(&["ci"]).exits(0).says(&[rule]);
    for job in ["build", "deploy"] {
        let skipped = ran.out.lines().skip_while(|line| !line.starts_with(&format!("{job}: "))).nth(1);
        assert_eq!(skipped, Some(format!("  skipped: {rule}").as_str()), "{}", ran.text());
    }
    let record = fixture.record();
    assert_eq!((&record["rehearsal"], &record["exit_code"]), (&json!(false), &json!(0)));
    assert_eq!(record["jobs"][1]["reason"], rule);
    let outcomes = fixture.outcomes();
    let words: Vec<&str> = outcomes.iter().map(|(_, outcome)| outcome.as_str()).collect();
    assert_eq!(words, ["passed", "passed", "skipped", "skipped", "skipped"]);
    fixture.is_left_alone();
}

#[test]
fn the_same_files_are_tested_once() {
    let fixture = Fixture::new();
    if !fixture.has_coverage("the_same_files_are_tested_once") {
        return;
    }
    let outcomes = |arguments: &[&str]| {
        fixture.run(arguments).exits(0);
        let outcomes = fixture.outcomes();
        outcomes.into_iter().take(2).map(|(_, outcome)| outcome).collect::<Vec<_>>()
    };
    assert_eq!(outcomes(&["ci"]), ["passed", "passed"]);
    let counted = fixture.record();
    assert_eq!(outcomes(&["ci"]), ["reused", "reused"]);
    let record = fixture.record();
    assert_eq!((&record["tests"], &record["coverage"]), (&counted["tests"], &counted["coverage"]));
    let reason = record["jobs"][0]["steps"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("passed on the same files at 2"), "{reason}");
    fixture.run(&["ci", "--explain"]).exits(0).says(&["reused: passed ", " s ago on "]);
    // A rehearsal runs the same steps; a step alone, and `--fresh`, run.
    assert_eq!(outcomes(&["rehearse", "--job", "test"]), ["reused", "reused"]);
    assert_eq!(outcomes(&["ci", "--fresh"]), ["passed", "passed"]);
    assert_eq!(outcomes(&["lint"]), ["passed"]);
    // A commit of the same files is the same tree, other files are not.
    fixture.git(&["commit", "--quiet", "--allow-empty", "--message", "the same"]);
    assert_eq!(outcomes(&["ci"]), ["reused", "reused"]);
    fixture.write("motd", "Another one.\n");
    assert_eq!(outcomes(&["ci"]), ["passed", "passed"]);
    // What failed is run again, and so is what passed before on the same files.
    fixture.replace("app/src/lib.rs", "let length = body.len();", "let length   = body.len();");
    fixture.run(&["ci"]).exits(1);
    fixture.run(&["ci"]).exits(1).says(&["lint: "]);
}

#[test]
fn a_release_begins_only_with_everything_it_needs() {
    let fixture = Fixture::new();
    fixture.git(&["switch", "--quiet", "--create", "main"]);
    let ran = fixture
        .run(&["ci", "--job", "build", "--job", "deploy"])
        .exits(3)
        .says(&["nothing was run: 8 problems"]);
    for name in SECRETS {
        assert!(ran.err.contains(&format!("  `{name}` is not set: ")), "{}", ran.text());
    }
    ran_nothing(&fixture);

    // All of them in the file that git ignores; the tree is not the commit.
    fixture.write(".env", &SECRETS.map(|name| format!("{name}=a-value-of-{name}\n")).concat());
    fixture.write("motd", "Not committed.\n");
    let ran = fixture.run(&["ci", "--job", "build", "--job", "deploy"]).exits(2);
    ran.says(&["nothing was run: 1 problem\n", "the tree has uncommitted changes", "git status"])
        .says_nothing_of(&["a-value-of-", "is not set"]);
    ran_nothing(&fixture);

    // A release is of its branch, whatever step is called.
    fixture.git(&["checkout", "--quiet", "motd"]);
    fixture.git(&["switch", "--quiet", Fixture::BRANCH]);
    let ran = fixture.run(&["deploy"]).exits(2);
    ran.says(&["releases run on push to `main`, but this is branch `feature`", "cargo xtask rehearse"]);
    // Two kinds at once: what is missing decides the code.
    fixture.write(".env", "ALIAS=x\n");
    fixture.run(&["deploy"]).exits(3).says(&["nothing was run: 6 problems", "releases run on"]);
    ran_nothing(&fixture);
}
