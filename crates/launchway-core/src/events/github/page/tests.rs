use super::*;
use crate::events::{Event, Finding};
use crate::exit::Exit;

/// The last event but the failure of a recorded run.
fn recorded() -> Summary {
    let Event::Summary(summary) = serde_json::from_str(include_str!("recorded.json")).unwrap() else {
        panic!("another event was recorded")
    };
    summary
}

#[test]
fn the_page_of_a_recorded_run() {
    insta::assert_snapshot!(page(&recorded()));
}

#[test]
fn the_page_of_a_failure() {
    let failed = Failed {
        step: Some("lint".to_owned()),
        message: "1 of 2 checks failed:\n  `cargo clippy`\n````\n@octocat".to_owned(),
        exit: Exit::CheckFailed,
        findings: (1..=22).map(|line| Finding::new("app/src/lib.rs", line, "unused: `x`")).collect(),
        tests: Vec::new(),
        tail: Vec::new(),
        log: Some("target/xtask/logs/lint.log".to_owned()),
        again: Some("cargo xtask lint".to_owned()),
        guide: None,
        deployment: None,
    };
    insta::assert_snapshot!(failure(&failed));
}

#[test]
fn what_is_unknown_is_left_out_or_said_to_be_unknown() {
    let mut summary = recorded();
    summary.review.slowest_tests.clear();
    summary.review.changes = None;
    let coverage = summary.review.coverage.as_mut().unwrap();
    coverage.before = None;
    coverage.lost.clear();
    let text = page(&summary);
    assert!(
        text.contains("81.2 % of lines (1999 of 2461), no earlier figures of <code>main</code>.\n"),
        "{text}"
    );
    assert!(!text.contains("Slowest") && !text.contains("What changes on the service"), "{text}");
}

#[test]
fn nothing_that_a_run_names_is_markup() {
    let words = "a|b `c` <b>d</b> *e* _f_ [g](h) @octocat #1 $x$ ![i](j) \\ ~~k~~ &amp;\nl";
    let shown = inline(words);
    for markup in ['|', '`', '<', '>', '*', '_', '[', ']', '@', '$', '!', '\\', '~', '\n'] {
        assert!(!shown.contains(markup), "{markup} in {shown}");
    }
    assert!(shown.ends_with("&#38;amp; l"), "{shown}");
    assert_eq!(inline(&"ä".repeat(500)).chars().count(), LONGEST_TEXT + 1);
    assert_eq!(fenced("text", ["a```b"].into_iter()), "````text\na```b\n````\n\n");
    let link = |url: &str| {
        let mut summary = recorded();
        summary.review.links = vec![PageLink { what: "x".into(), name: "y".into(), url: Some(url.into()) }];
        facts(&summary).contains("](<")
    };
    assert_eq!(["https://a/b?c=d", "https://a> b", "javascript:x"].map(link), [true, false, false]);
}

#[test]
fn a_page_stays_under_the_limit_of_github() {
    let mut summary = recorded();
    let slow = |n: u32| TestTime { test: format!("{n} {}", "x".repeat(300)), milliseconds: 1 };
    summary.review.slowest_tests = (0..4000).map(slow).collect();
    let text = page(&summary);
    assert!(
        text.len() < LONGEST && !text.contains("Slowest") && text.contains("What changes on the service")
    );
}
