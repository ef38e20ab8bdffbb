//! A failure on one screen: what failed, where, why, and what to do.

use std::fmt::Write as _;

use super::{Painter, live};
use crate::events::{DeployOutcome, Deployed, Failed, FailedTest, Finding};
use crate::exit::Exit;

/// How many locations and tests are shown, and how many lines of each; the log has the rest.
const MOST_FINDINGS: usize = 6;
const MOST_TESTS: usize = 3;
const MOST_LINES: usize = 10;
const MOST_PRINTED: usize = 5;

impl Painter<'_> {
    /// The failure; people read its end first.
    pub(super) fn failed(self, failed: &Failed) -> String {
        let head = failed.step.as_deref().unwrap_or("error");
        let before = if failed.step.is_some() { "\n" } else { "" };
        let mut text = format!("{before}{}: {}\n", self.paint("31;1", head), indented(&failed.message));
        for test in failed.tests.iter().take(MOST_TESTS) {
            text.push_str(&self.failed_test(test));
        }
        if let more @ 1.. = failed.tests.len().saturating_sub(MOST_TESTS) {
            // Writing to a string cannot fail.
            writeln!(text, "\n  and {more} more tests").ok();
        }
        if !failed.tests.is_empty() {
            text.push('\n');
        }
        let is_of_a_test = |finding: &&Finding| {
            failed.tests.iter().any(|test| test.place.as_ref().is_some_and(|place| place.is_at(finding)))
        };
        let findings: Vec<&Finding> =
            failed.findings.iter().filter(|finding| !is_of_a_test(finding)).collect();
        for finding in findings.iter().take(MOST_FINDINGS) {
            text.extend(["  at ", &finding.to_string(), "\n"]);
            text.push_str(&self.source(finding));
        }
        if let more @ 1.. = findings.len().saturating_sub(MOST_FINDINGS) {
            // Writing to a string cannot fail.
            writeln!(text, "  and {more} more: see the log").ok();
        }
        // With a location, the output around it adds nothing, and an interrupt explains itself.
        if findings.is_empty() && failed.tests.is_empty() && failed.exit != Exit::Interrupted {
            let id = failed.deployment.as_ref().and_then(|deployment| deployment.id.as_ref());
            if let Some(id) = id.filter(|_| !failed.tail.is_empty()) {
                writeln!(text, "  deploy {id} printed").ok();
            }
            for line in last(&failed.tail, MOST_LINES) {
                text.extend(["    ", line, "\n"]);
            }
        }
        let deployment = failed.deployment.as_ref();
        for (name, value) in [
            ("log", failed.log.clone()),
            ("again", failed.again.clone()),
            ("site", deployment.and_then(Deployed::site)),
            ("next", deployment.and_then(|deployment| deployment.next.clone())),
            ("guide", failed.guide.clone()),
        ] {
            if let Some(value) = value {
                writeln!(text, "  {name:<6} {value}").ok();
            }
        }
        writeln!(text, "  {}", exit(failed)).ok();
        text
    }

    fn failed_test(self, test: &FailedTest) -> String {
        let mut shown = format!("\n  {}\n", self.bold(&test.name));
        for line in test.message.lines().take(MOST_LINES) {
            shown.extend(["    ", line, "\n"]);
        }
        if let Some(place) = &test.place {
            writeln!(shown, "  at {}:{}", place.file, place.line).ok();
            shown.push_str(&self.source(place));
        }
        if !test.output.is_empty() {
            shown.push_str("  printed\n");
        }
        for line in last(&test.output, MOST_PRINTED) {
            shown.extend(["    ", line, "\n"]);
        }
        if let Some(again) = &test.again {
            shown.extend(["  alone  ", again, "\n"]);
        }
        shown
    }

    /// The line of the sources that a finding is about.
    fn source(self, finding: &Finding) -> String {
        let Some(source) = &finding.source else { return String::new() };
        let number = format!("{:>6} |", finding.line);
        // Wrapped, it would look like two lines of the file.
        let source = live::cut(source, self.width.saturating_sub(number.len() + 1));
        format!("{} {source}\n", self.paint("2", &number))
    }
}

/// The exit code and what it means.
fn exit(failed: &Failed) -> String {
    let deployment = failed.deployment.as_ref();
    let is_rollback = deployment.is_some_and(|deployment| deployment.kind == Deployed::ROLLBACK);
    let meaning = match (failed.exit, deployment.map(|deployment| deployment.outcome), is_rollback) {
        (Exit::DeployFailed, Some(DeployOutcome::Unchanged), false) => {
            "the deploy failed and changed nothing"
        }
        (Exit::DeployFailed, Some(DeployOutcome::RolledBack), false) => {
            "the deploy failed and was rolled back"
        }
        (Exit::DeployFailed, Some(DeployOutcome::Unchanged), true) => {
            "the rollback failed and changed nothing"
        }
        (Exit::DeployFailed, Some(_), true) => "the rollback failed and was undone",
        (Exit::NotRolledBack, _, true) => "the rollback failed and could not be undone",
        (exit, _, _) => exit.meaning(),
    };
    format!("exit {}: {meaning}", failed.exit.code())
}

/// The message, with further lines below its first.
fn indented(message: &str) -> String {
    let (first, rest) = message.trim_end().split_once('\n').unwrap_or((message.trim_end(), ""));
    let is_flush = rest.lines().any(|line| !line.is_empty() && !line.starts_with(' '));
    let indent = if is_flush { "  " } else { "" };
    rest.lines().fold(first.to_owned(), |text, line| text + "\n" + indent + line)
}

fn last(lines: &[String], most: usize) -> &[String] {
    &lines[lines.len().saturating_sub(most)..]
}
