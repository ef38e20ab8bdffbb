use super::*;
use crate::events::{Finding, Row};
use crate::exit::Exit;

fn plain() -> Terminal {
    Terminal::new(false, Look::default())
}

#[test]
fn colour_and_progress_are_for_terminals() {
    let screen = Look { is_terminal: true, ..Look::default() };
    let look = |look| {
        let terminal = Terminal::new(false, look);
        (terminal.colour, terminal.live == Live::Clear)
    };
    assert_eq!(look(screen), (true, true));
    assert_eq!(look(Look::default()), (false, false));
    assert_eq!(look(Look { no_color: true, ..screen }), (false, true));
    assert_eq!(look(Look { is_log: true, ..screen }), (false, false));
    assert_eq!(Terminal::new(true, screen).live, Live::Never);
}

#[test]
fn a_quiet_run_tells_failures_and_what_was_asked_for() {
    let quiet = Terminal::new(true, Look::default());
    assert!(!quiet.is_shown(&Event::Note { text: "x".to_owned() }));
    assert!(quiet.is_shown(&Event::Text { text: "x".to_owned() }));
    assert!(plain().is_shown(&Event::Note { text: "x".to_owned() }));
}

#[test]
fn a_failed_step_ends_with_what_to_do() {
    let failed = Failed {
        step: Some("lint".to_owned()),
        message: "`cargo fmt` ended with 1".to_owned(),
        exit: Exit::CheckFailed,
        findings: vec![Finding { file: "a.rs".to_owned(), line: 3, message: "not formatted".to_owned() }],
        tail: vec!["$ cargo fmt".to_owned(), "Diff in a.rs:3:".to_owned()],
        log: Some("target/xtask/logs/lint.log".into()),
        again: Some("cargo xtask lint".to_owned()),
    };
    let expected = [
        "",
        "    $ cargo fmt",
        "    Diff in a.rs:3:",
        "",
        "lint: `cargo fmt` ended with 1",
        "  at a.rs:3: not formatted",
        "  log    target/xtask/logs/lint.log",
        "  again  cargo xtask lint",
        "",
    ];
    assert_eq!(plain().text(&Event::Failed(failed.clone())), expected.join("\n"));
    let nothing_ran =
        Failed { step: None, findings: Vec::new(), tail: Vec::new(), log: None, again: None, ..failed };
    assert_eq!(plain().text(&Event::Failed(nothing_ran)), "error: `cargo fmt` ended with 1\n");
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
            row("build", "push", Outcome::Skipped, 0, "runs on push to `master`"),
        ],
        facts: vec![("coverage".to_owned(), "91.2 %".to_owned())],
        run_state: String::new(),
    };
    let expected = [
        "",
        "  test    lint           passed        12.4 s  without zizmor",
        "  test    test-coverage  failed      2 min 5 s",
        "  build   push           skipped               runs on push to `master`",
        "  coverage   91.2 %",
        "",
    ];
    assert_eq!(plain().text(&Event::Summary(summary.clone())), expected.join("\n"));
    let coloured = Terminal { colour: true, ..plain() }.text(&Event::Summary(summary));
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
