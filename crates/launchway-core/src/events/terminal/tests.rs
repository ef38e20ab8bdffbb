use super::*;
use crate::events::{DeployOutcome, Deployed, DrillEnd, Failed, FailedTest, Finding, Row};
use crate::exit::Exit;

fn plain() -> Terminal {
    Terminal::new(Verbosity::Normal, Look::default())
}

fn on_screen(width: usize, event: &Event) -> String {
    let terminal = plain();
    Painter { terminal: &terminal, has_colour: false, width, columns: width }.text(event)
}

#[test]
fn colour_and_progress_are_for_screens() {
    let look = |stdout, stderr, variables: &[(&str, &str)]| {
        let value = |name: &str| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        };
        let Look { is_screen, is_error_screen, has_colour, .. } = Look::of(stdout, stderr, value);
        (is_screen, is_error_screen, has_colour)
    };
    let term = ("TERM", "xterm-256color");
    assert_eq!(look(true, true, &[term]), (true, true, true));
    assert_eq!(look(false, true, &[term]), (false, true, true));
    assert_eq!(look(true, true, &[term, ("NO_COLOR", "1")]), (true, true, false));
    assert_eq!(look(true, true, &[term, ("CI", "true")]), (false, false, true));
    assert_eq!(look(true, true, &[("TERM", "dumb")]), (false, false, true));
    assert_eq!(look(true, true, &[]), (false, false, true));
}

#[test]
fn a_quiet_run_shows_failures_and_requested_text() {
    let note = Event::Note { text: "x".to_owned() };
    assert!(!note.is_shown(Verbosity::Quiet) && note.is_shown(Verbosity::Normal));
    assert!(Event::Text { text: "x".to_owned() }.is_shown(Verbosity::Quiet));
}

#[test]
fn commands_and_paths_are_short_unless_they_are_wanted_in_full() {
    let command = Event::Command {
        line: "A=b /w/bin/cargo-llvm-cov llvm-cov --no-report".to_owned(),
        short: "cargo llvm-cov --no-report".to_owned(),
    };
    let note = Event::Note { text: "report: /w/target/index.html".to_owned() };
    let mut terminal = plain();
    terminal.set_root(Path::new("/w"));
    assert_eq!(terminal.text(&command), "    cargo llvm-cov --no-report\n");
    assert_eq!(terminal.text(&note), "    report: target/index.html\n");
    assert_eq!(on_screen(20, &command), "    cargo llvm-cov…\n");
    let mut terminal = Terminal::new(Verbosity::Verbose, Look::default());
    terminal.set_root(Path::new("/w"));
    assert_eq!(terminal.text(&command), "    A=b /w/bin/cargo-llvm-cov llvm-cov --no-report\n");
    assert_eq!(terminal.text(&note), "    report: /w/target/index.html\n");
}

fn failed() -> Failed {
    Failed {
        step: Some("lint".to_owned()),
        message: "1 of 7 checks failed:\n  cargo fmt --all --check".to_owned(),
        exit: Exit::CheckFailed,
        findings: Vec::new(),
        tests: Vec::new(),
        tail: vec!["$ cargo fmt".to_owned(), "Diff in a.rs:3:".to_owned()],
        log: Some("target/xtask/logs/lint.log".into()),
        again: Some("cargo xtask lint".to_owned()),
        guide: Some("docs/guide.md#exit-codes".to_owned()),
        deployment: None,
    }
}

#[test]
fn a_failure_says_where_why_and_how_to_go_on() {
    let source = Some("fn main(){}".to_owned());
    let finding = Finding { source, ..Finding::new("a.rs", 3, "not formatted") };
    let expected = [
        "",
        "lint: 1 of 7 checks failed:",
        "  cargo fmt --all --check",
        "  at a.rs:3: not formatted",
        "     3 | fn main(){}",
        "  log    target/xtask/logs/lint.log",
        "  again  cargo xtask lint",
        "  guide  docs/guide.md#exit-codes",
        "  exit 1: a check failed (lint, tests, coverage)",
        "",
    ];
    let narrow = Failed { findings: vec![finding.clone()], ..failed() };
    assert!(on_screen(18, &Event::Failed(narrow)).contains("\n     3 | fn main(…\n"));
    let found = Failed { findings: vec![finding], ..failed() };
    assert_eq!(plain().text(&Event::Failed(found)), expected.join("\n"));
    let message = "not valid\n  |\n6 | x\nunknown field\n".to_owned();
    let flush = plain().text(&Event::Failed(Failed { step: None, message, ..failed() }));
    assert!(flush.starts_with("error: not valid\n    |\n  6 | x\n  unknown field\n    $ cargo"), "{flush}");
    // Without a place, what was printed last has to do.
    let text = plain().text(&Event::Failed(failed()));
    assert!(text.contains("--check\n    $ cargo fmt\n    Diff in a.rs:3:\n  log "), "{text}");
    let nothing_ran =
        Failed { step: None, tail: Vec::new(), log: None, again: None, guide: None, ..failed() };
    let text = plain().text(&Event::Failed(nothing_ran));
    assert_eq!(
        text,
        "error: 1 of 7 checks failed:\n  cargo fmt --all --check\n  exit 1: a check failed (lint, tests, coverage)\n"
    );
}

#[test]
fn a_failed_deploy_says_whether_the_site_is_up_and_what_to_do() {
    let deployed = |outcome, is_up, commit: Option<&str>| Deployed {
        kind: "deploy".to_owned(),
        outcome,
        environment: "production".to_owned(),
        service: None,
        url: Some("https://app.onrender.com/".to_owned()),
        id: Some("dep-1".to_owned()),
        release: None,
        previous: None,
        is_up,
        live_commit: commit.map(str::to_owned),
        reason: None,
        next: Some("do this".to_owned()),
        milliseconds: 1,
    };
    let shown = |exit, deployment| {
        let failed = Failed { exit, deployment: Some(deployment), ..failed() };
        plain().text(&Event::Failed(failed))
    };
    let commit = Some("0123456789abcdef0123456789abcdef01234567");
    let text = shown(Exit::DeployFailed, deployed(DeployOutcome::RolledBack, Some(true), commit));
    assert!(text.contains("\n  deploy dep-1 printed\n    $ cargo fmt\n"), "{text}");
    let end = |text: &str| text.split_once("  again  cargo xtask lint\n").unwrap().1.to_owned();
    assert_eq!(
        end(&text),
        "  site   up on commit 0123456789ab\n  next   do this\n  guide  docs/guide.md#exit-codes\n  exit 5: the deploy failed and was rolled back\n"
    );
    let text = shown(Exit::DeployFailed, deployed(DeployOutcome::Unchanged, None, None));
    assert_eq!(
        end(&text),
        "  next   do this\n  guide  docs/guide.md#exit-codes\n  exit 5: the deploy failed and changed nothing\n"
    );
    let of_rollback = |outcome, exit| {
        let rollback = Deployed { kind: "rollback".to_owned(), ..deployed(outcome, None, None) };
        shown(exit, rollback).lines().last().unwrap().trim().to_owned()
    };
    for (outcome, exit, said) in [
        (DeployOutcome::Unchanged, Exit::DeployFailed, "exit 5: the rollback failed and changed nothing"),
        (DeployOutcome::RolledBack, Exit::DeployFailed, "exit 5: the rollback failed and was undone"),
        (
            DeployOutcome::NotRolledBack,
            Exit::NotRolledBack,
            "exit 6: the rollback failed and could not be undone",
        ),
        (DeployOutcome::Unchanged, Exit::Missing, "exit 3: a tool or credential is missing"),
    ] {
        assert_eq!(of_rollback(outcome, exit), said);
    }
    let text = shown(Exit::NotRolledBack, deployed(DeployOutcome::NotRolledBack, Some(false), None));
    assert!(end(&text).starts_with("  site   NOT healthy\n  next   do this\n"), "{text}");
    let text = shown(Exit::Superseded, deployed(DeployOutcome::Superseded, Some(true), None));
    assert!(end(&text).starts_with("  site   up; it does not report its commit\n"), "{text}");
    assert!(text.ends_with("\n  exit 7: superseded by another deploy\n"), "{text}");
}

#[test]
fn a_proof_shows_each_link_and_the_one_that_is_broken() {
    let link = |what: &str, found: &str, wanted: &str| Link {
        what: what.to_owned(),
        found: found.to_owned(),
        wanted: wanted.to_owned(),
        place: format!("127.0.0.1:1/acme/app:{}", "ab".repeat(20)),
    };
    let digest = format!("sha256:{}", "ab".repeat(32));
    let whole = Proof { links: vec![link("built", &digest, &digest), link("on the board", "1-2", "1-2")] };
    assert_eq!(
        plain().text(&Event::Proof(whole)),
        "\nproof\n  built            sha256:abababababab…      127.0.0.1:1/acme/app:abababababab\n  \
         on the board     1-2                       127.0.0.1:1/acme/app:abababababab\n\
         The image that was built is the one that runs.\n"
    );
    let broken = Proof { links: vec![link("built", &digest, &digest), link("on Render", "", &digest)] };
    let text = plain().text(&Event::Proof(broken.clone()));
    assert!(text.contains("  on Render        does not match") && !text.contains("is the one"), "{text}");
    let narrow = on_screen(60, &Event::Proof(broken));
    let place = "\n                   127.0.0.1:1/acme/app:abababababab\n";
    assert!(narrow.contains(&format!("  built            sha256:abababababab…{place}")), "{narrow}");
}

#[test]
fn a_failed_test_stands_alone() {
    let place = Finding {
        source: Some("    assert_eq!(sum, 4);".to_owned()),
        ..Finding::new("app/src/lib.rs", 12, "adds: assertion failed")
    };
    let test = FailedTest {
        name: "tests::adds".to_owned(),
        message: "assertion `left == right` failed\n  left: 3\n right: 4".to_owned(),
        place: Some(place.clone()),
        output: vec!["GET /".to_owned()],
        again: Some("cargo test -p app --lib -- --exact tests::adds".to_owned()),
    };
    let message = "1 test failed".to_owned();
    let step = Some("test-coverage".to_owned());
    let failed = Failed { step, message, findings: vec![place], tests: vec![test], ..failed() };
    let expected = [
        "",
        "test-coverage: 1 test failed",
        "",
        "  tests::adds",
        "    assertion `left == right` failed",
        "      left: 3",
        "     right: 4",
        "  at app/src/lib.rs:12",
        "    12 |     assert_eq!(sum, 4);",
        "  printed",
        "    GET /",
        "  alone  cargo test -p app --lib -- --exact tests::adds",
        "",
        "  log    target/xtask/logs/lint.log",
        "  again  cargo xtask lint",
        "  guide  docs/guide.md#exit-codes",
        "  exit 1: a check failed (lint, tests, coverage)",
        "",
    ];
    assert_eq!(plain().text(&Event::Failed(failed.clone())), expected.join("\n"));
    let many = Failed {
        tests: vec![failed.tests[0].clone(); 40],
        findings: (1..40).map(|line| Finding::new("a.rs", line, "x")).collect(),
        ..failed
    };
    let shown = plain().text(&Event::Failed(many));
    assert!(shown.contains("and 37 more tests\n") && shown.lines().count() < 60, "{shown}");
}

#[test]
fn on_a_narrow_screen_a_failure_can_be_copied() {
    let test = FailedTest {
        name: "adds".to_owned(),
        message: (0..12).map(|line| format!("line {line}")).collect::<Vec<_>>().join("\n"),
        place: Some(Finding {
            source: Some("    assert!(\n        sum == 4,\n    );".to_owned()),
            ..Finding::new("app/src/lib.rs", 12, "")
        }),
        output: Vec::new(),
        again: Some("cargo test -p app --lib -- --exact tests::adds".to_owned()),
    };
    let again = Some("cargo xtask rehearse --job build --job deploy".to_owned());
    let message = "no match: run `cargo xtask workflow` now\n@@ -1,2 +1,2 @@ jobs: of the whole pipeline\n-    a line that is longer than the screen\n… and 3 more lines".to_owned();
    let shown = on_screen(40, &Event::Failed(Failed { message, tests: vec![test], again, ..failed() }));
    for part in [
        "lint: no match: run `cargo xtask\n",
        "  @@ -1,2 +1,2 @@ jobs: of the whole pipeline\n",
        "  -    a line that is longer than the screen\n",
        "    line 9\n    … 2 more lines\n  at app/src/lib.rs:12\n",
        "    12 |     assert!(\n    13 |         sum == 4,\n    14 |     );\n",
        "  alone  cargo test -p app --lib -- \\\n    --exact tests::adds\n",
        "  again  cargo xtask rehearse --job \\\n    build --job deploy\n",
    ] {
        assert!(shown.contains(part), "{part}\n-- is not in\n{shown}");
    }
}

#[test]
fn the_summary_names_what_was_skipped() {
    let row = |job: &str, step: &str, outcome, milliseconds, remark: &str| Row {
        job: job.to_owned(),
        step: step.to_owned(),
        outcome,
        milliseconds,
        remark: remark.to_owned(),
    };
    let summary = Summary {
        rehearsal: false,
        rows: vec![
            row("test", "lint", Outcome::Passed, 12_340, "without zizmor"),
            row("test", "test-coverage", Outcome::Failed, 125_000, ""),
            row("build", "push", Outcome::Skipped, 0, "runs on push to `main`"),
        ],
        facts: vec![("coverage".to_owned(), "91.2 %".to_owned())],
        run_state: String::new(),
        ..Summary::default()
    };
    let expected = [
        "",
        "  test    lint           passed        12.4 s  without zizmor",
        "  test    test-coverage  failed      2 min 5 s",
        "  build   push           skipped               runs on push to `main`",
        "  coverage   91.2 %",
        "",
    ];
    assert_eq!(plain().text(&Event::Summary(summary.clone())), expected.join("\n"));
    let narrow = on_screen(60, &Event::Summary(Summary { facts: Vec::new(), ..summary.clone() }));
    assert!(
        narrow.contains(
            "skipped               runs on push\n                                               to `main`\n"
        ),
        "{narrow}"
    );
    let terminal = plain();
    let painter = Painter { terminal: &terminal, has_colour: true, width: usize::MAX, columns: usize::MAX };
    let coloured = painter.text(&Event::Summary(summary));
    assert!(coloured.contains("\x1b[33mskipped    \x1b[0m"), "{coloured}");
}

#[test]
fn every_event_has_its_form() {
    let text = |event: Event| plain().text(&event);
    assert_eq!(text(Event::Started { title: "ci".to_owned() }), "ci\n");
    assert_eq!(
        text(Event::JobStarted { job: "test".to_owned(), title: "lint, tests, coverage".to_owned() }),
        "\ntest: lint, tests, coverage\n"
    );
    assert_eq!(
        text(Event::JobSkipped {
            job: "deploy".to_owned(),
            title: "the image live on Render".to_owned(),
            reason: "because".to_owned()
        }),
        "\ndeploy: the image live on Render\n  skipped: because\n"
    );
    assert_eq!(
        text(Event::StepSkipped { step: "push".to_owned(), reason: "because".to_owned() }),
        "  push\n    skipped: because\n"
    );
    assert_eq!(
        text(Event::CheckSkipped { check: "zizmor".to_owned(), reason: "absent".to_owned() }),
        "    skipped zizmor: absent\n"
    );
    assert_eq!(text(Event::Note { text: "a\nb".to_owned() }), "    a\n    b\n");
    assert_eq!(text(Event::Planned { step: "lint".to_owned(), lines: vec!["a".to_owned()] }), "lint\n  a\n");
    assert_eq!(
        text(Event::StepFinished {
            step: "lint".to_owned(),
            outcome: Outcome::Interrupted,
            milliseconds: 40
        }),
        "  lint interrupted in 0.4 s\n".replace("0.4", "0.1").as_str()
    );
    assert_eq!(text(Event::Output { line: "Compiling".to_owned() }), "");
}

#[test]
fn digests_and_commits_are_short_in_sentences() {
    let digits = "0123456789abcdef".repeat(4);
    let note = Event::Note { text: format!("a@sha256:{digits}: b sha256:short sha256:{digits}") };
    let expected = "    a@sha256:0123456789ab…: b sha256:short sha256:0123456789ab…\n";
    assert_eq!(plain().text(&note), expected);
    let verbose = Terminal::new(Verbosity::Verbose, Look::default());
    assert!(verbose.text(&note).contains(&digits));
}

#[test]
fn a_page_wraps_and_text_to_be_copied_does_not() {
    let text = || "one two three".to_owned();
    assert_eq!(on_screen(9, &Event::Page { text: text() }), "one two\n  three\n");
    assert_eq!(on_screen(9, &Event::Text { text: text() }), "one two three\n");
}

#[test]
fn a_plan_fits_the_width_and_shows_a_command_as_it_is_typed() {
    let lines = [
        "in /w/target/source: A_B=/w/target C='-D warnings' D=$'x\u{1f}y z' cargo build --locked",
        "write 2 = two files",
    ];
    let planned = Event::Planned { step: "lint".to_owned(), lines: lines.map(str::to_owned).into() };
    let mut terminal = plain();
    terminal.set_root(Path::new("/w"));
    let expected = "lint\n  in target/source: cargo build --locked\n  write 2 = two files\n";
    assert_eq!(terminal.text(&planned), expected);
    assert!(on_screen(20, &planned).lines().all(|line| line.chars().count() <= 20 || line.contains("/w/")));
    let verbose = Terminal::new(Verbosity::Verbose, Look::default()).text(&planned);
    assert!(lines.iter().all(|line| verbose.contains(line)), "{verbose}");
}

#[test]
fn a_drill_is_a_row_with_its_page() {
    let end = |image: &str| DrillEnd {
        exit: Some(5),
        image: image.to_owned(),
        variables: "earlier".to_owned(),
        latest: "new".to_owned(),
    };
    let drilled = Drilled {
        drill: "referrers-refused".to_owned(),
        passed: true,
        expected: end("earlier"),
        observed: end("earlier"),
        milliseconds: 125_000,
        before: "a".to_owned(),
        after: "b".to_owned(),
        page: "drills/referrers-refused.log".to_owned(),
        remarks: Vec::new(),
    };
    assert_eq!(
        plain().text(&Event::Drill(drilled.clone())),
        "  passed  referrers-refused    2 min 5 s     5  earlier  earlier   new\n          drills/referrers-refused.log\n"
    );
    let failed =
        Drilled { passed: false, observed: end("another"), remarks: vec!["so".to_owned()], ..drilled };
    let text = plain().text(&Event::Drill(failed));
    assert!(
        text.contains("  expected     5  earlier  earlier   new\n") && text.ends_with("          so\n"),
        "{text}"
    );
}
