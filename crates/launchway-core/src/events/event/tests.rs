//! No event holds a secret or steers a terminal.

use super::*;
use crate::events::review::PageLink;
use crate::events::{DeployOutcome, Deployed, DrillEnd, Link, Proof, Release, Reporter, Sink};
use crate::secret::Secret;

const SECRET: &str = "hunter2/hunter2";

/// One event of each kind, every text in it the same.
fn events(text: &str) -> Vec<Event> {
    let words = || text.to_owned();
    let (outcome, milliseconds) = (Outcome::Failed, 1);
    let finding = || Finding { source: Some(words()), ..Finding::new(words(), 1, words()) };
    let failed_test = || FailedTest {
        name: words(),
        message: words(),
        place: Some(finding()),
        output: vec![words()],
        again: Some(words()),
    };
    let release = || Release { digest: words(), commit: Some(words()) };
    let deployed = || Deployed {
        kind: words(),
        outcome: DeployOutcome::RolledBack,
        environment: words(),
        service: Some(words()),
        url: Some(words()),
        id: Some(words()),
        release: Some(release()),
        previous: Some(release()),
        is_up: Some(true),
        live_commit: Some(words()),
        reason: Some(words()),
        next: Some(words()),
        milliseconds,
    };
    let link = || Link { what: words(), found: words(), wanted: words(), place: words() };
    let end = || DrillEnd { exit: None, image: words(), variables: words(), latest: words() };
    let failed = Failed {
        step: Some(words()),
        message: words(),
        exit: Exit::CheckFailed,
        findings: vec![finding()],
        tests: vec![failed_test()],
        tail: vec![words()],
        log: Some(words()),
        again: Some(words()),
        guide: Some(words()),
        deployment: Some(deployed()),
    };
    let row = Row { job: words(), step: words(), outcome, milliseconds, remark: words() };
    let links = vec![PageLink { what: words(), name: words(), url: Some(words()) }];
    let review = Box::new(Review { links, ..Review::default() });
    let facts = vec![(words(), words())];
    let summary = Summary { rehearsal: false, rows: vec![row], facts, run_state: words(), review };
    let drilled = Drilled {
        drill: words(),
        passed: false,
        expected: end(),
        observed: end(),
        milliseconds,
        before: words(),
        after: words(),
        page: words(),
        remarks: vec![words()],
    };
    vec![
        Event::Started { title: words() },
        Event::Text { text: words() },
        Event::Page { text: words() },
        Event::Planned { step: words(), lines: vec![words()] },
        Event::JobStarted { job: words(), title: words() },
        Event::JobSkipped { job: words(), title: words(), reason: words() },
        Event::StepStarted { step: words(), log: words() },
        Event::StepSkipped { step: words(), reason: words() },
        Event::CheckSkipped { check: words(), reason: words() },
        Event::Command { line: words(), short: words() },
        Event::Output { line: words() },
        Event::Note { text: words() },
        Event::Progress(Progress { step: words(), text: words(), ..Progress::default() }),
        Event::Finding(finding()),
        Event::TestFailed(failed_test()),
        Event::StepFinished { step: words(), outcome, milliseconds },
        Event::Deployed(deployed()),
        Event::Proof(Proof { links: vec![link()] }),
        Event::StepReused { step: words(), reason: words() },
        Event::Failed(failed),
        Event::Summary(summary),
        Event::Drill(drilled),
    ]
}

#[test]
fn no_event_holds_a_secret_or_steers_a_terminal() {
    let shown = |text: &str| {
        let reporter = Reporter::new(Sink::Memory(Vec::new()));
        reporter.redact(Redactor::new([Secret::new(SECRET)]));
        for event in events(text) {
            reporter.emit(event);
        }
        format!("{:?}", reporter.events())
    };
    for hostile in [
        SECRET.to_owned(),
        "hunter2%2Fhunter2".to_owned(),
        format!("\u{1b}[2J{}\u{1b}]0;x\u{7}\u{1b}[0m{}\r\u{9b}31m", &SECRET[..5], &SECRET[5..]),
    ] {
        assert_eq!(shown(&hostile), shown("<redacted>"));
    }
    // Nothing else changes, and nothing is lost.
    assert!(shown("a b").contains("\"a b\"") && !shown("a b").contains("was withheld"));
}

#[test]
fn an_event_whose_form_is_a_secret_is_not_shown() {
    let redactor = Redactor::new([Secret::new("skipped")]);
    let event =
        Event::JobSkipped { job: "test".to_owned(), title: "a title".to_owned(), reason: String::new() }
            .shown(&redactor);
    assert!(matches!(&event, Event::Note { text } if text.starts_with("an event was withheld")), "{event:?}");
}

#[test]
fn a_secret_is_found_before_a_line_is_cut() {
    let reporter = Reporter::new(Sink::Memory(Vec::new()));
    reporter.redact(Redactor::new([Secret::new(SECRET)]));
    reporter.output(&format!("{}{SECRET} and more", "é".repeat((64 << 10) / 2 - 4)));
    let shown = format!("{:?}", reporter.events());
    assert!(shown.contains("é<redacte…\"") && !shown.contains("hunter"), "{shown}");
}

#[test]
fn no_text_of_a_record_holds_a_secret() {
    let reporter = Reporter::new(Sink::Memory(Vec::new()));
    reporter.redact(Redactor::new(["a\"b\\", "1234", SECRET].map(Secret::new)));
    let record = serde_json::json!({ "a\"b\\": ["x a\"b\\", "\\", 12345, { "1234": SECRET }], "end": "" });
    let shown = reporter.shown_json(&serde_json::to_string_pretty(&record).unwrap());
    let expected = serde_json::json!({ "<redacted>": ["x <redacted>", "\\", 12345, { "<redacted>": "<redacted>" }], "end": "" });
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), expected, "{shown}");
}

#[test]
fn a_place_has_the_statement_that_its_line_begins() {
    let root = tempfile::tempdir().unwrap();
    let text = "fn f() {\n    assert!(\n        g(1),\n    );\n    h(\n1,\n2,\n3,\n4,\n5,\n6)\n}\n";
    fs_err::write(root.path().join("a.rs"), text).unwrap();
    let source = |line| Finding::new("a.rs", line, "").with_source(root.path()).source;
    assert_eq!(source(1).as_deref(), Some("fn f() {"));
    assert_eq!(source(2).as_deref(), Some("    assert!(\n        g(1),\n    );"));
    assert_eq!(source(5).as_deref(), Some("    h(\n1,\n2,\n3,\n4,"));
    assert_eq!((source(0), source(99)), (None, None));
    assert_eq!(Finding::new("a.rs", 0, "not formatted").to_string(), "a.rs: not formatted");
}
