//! A failure on one screen: what failed, where, why, and what to do.

use std::fmt::Write as _;

use super::wrap::{wrap, wrap_command};
use super::{Painter, live};
use crate::events::{DeployOutcome, Deployed, Failed, FailedTest, Finding};
use crate::exit::Exit;

/// How many locations and tests are shown, and how many lines of each; the log has the rest.
const MOST_FINDINGS: usize = 6;
const MOST_TESTS: usize = 3;
const MOST_LINES: usize = 10;
const MOST_PRINTED: usize = 5;
/// A failure's lines wrap this far to the right of their text.
const HANG: usize = 2;

impl Painter<'_> {
    /// The failure; people read its end first.
    pub(super) fn failed(self, failed: &Failed) -> String {
        let head = failed.step.as_deref().unwrap_or("error");
        let before = if failed.step.is_some() { "\n" } else { "" };
        let head = format!("{before}{}: {}\n", self.paint("31;1", head), indented(&failed.message));
        let mut text = self.wrapped_but_diffs(&head);
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
            text.push_str(&self.wrapped(&format!("  at {finding}\n")));
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
                text.push_str(&self.wrapped(&format!("    {line}\n")));
            }
        }
        let deployment = failed.deployment.as_ref();
        for (name, value) in [
            ("log", failed.log.clone()),
            ("again", failed.again.as_deref().map(|command| self.command_after(9, command))),
            ("site", deployment.and_then(Deployed::site)),
            ("next", deployment.and_then(|deployment| deployment.next.clone())),
            ("guide", failed.guide.clone()),
        ] {
            if let Some(value) = value {
                let line = format!("  {name:<6} {value}\n");
                text.push_str(&if name == "again" { line } else { self.wrapped(&line) });
            }
        }
        text + &self.wrapped(&format!("  {}\n", exit(failed)))
    }

    fn wrapped(self, text: &str) -> String {
        wrap(text, self.width, HANG)
    }

    /// A command for a line on which this many columns are taken.
    fn command_after(self, taken: usize, command: &str) -> String {
        wrap_command(command, self.width, taken, 2 + HANG)
    }

    /// The message, wrapped; but a line of a diff that wrapped would look like two.
    fn wrapped_but_diffs(self, message: &str) -> String {
        // A diff ends with the message, or where it was cut.
        let mut is_diff = false;
        let line = |line: &str| {
            let text = line.trim_start();
            is_diff = text.starts_with("@@ -") || is_diff && !text.starts_with("… and ");
            if is_diff { line.to_owned() } else { self.wrapped(line) }
        };
        message.split_inclusive('\n').map(line).collect()
    }

    fn failed_test(self, test: &FailedTest) -> String {
        let mut shown = format!("\n  {}\n", self.bold(&test.name));
        let lines = test.message.lines().count();
        for line in test.message.lines().take(MOST_LINES) {
            shown.push_str(&self.wrapped(&format!("    {line}\n")));
        }
        if let more @ 1.. = lines.saturating_sub(MOST_LINES) {
            // Writing to a string cannot fail.
            writeln!(shown, "    … {more} more {}", if more == 1 { "line" } else { "lines" }).ok();
        }
        if let Some(place) = &test.place {
            writeln!(shown, "  at {}", place.place()).ok();
            shown.push_str(&self.source(place));
        }
        if !test.output.is_empty() {
            shown.push_str("  printed\n");
        }
        for line in last(&test.output, MOST_PRINTED) {
            shown.push_str(&self.wrapped(&format!("    {line}\n")));
        }
        if let Some(again) = &test.again {
            shown.extend(["  alone  ", &self.command_after(9, again), "\n"]);
        }
        shown
    }

    /// The lines of the sources that a finding is about.
    fn source(self, finding: &Finding) -> String {
        let lines = (finding.line..).zip(finding.source.as_deref().unwrap_or_default().lines());
        let line = |(number, line): (u32, &str)| {
            let number = format!("{number:>6} |");
            // Wrapped, it would look like two lines of the file.
            let line = live::cut(line, self.width.saturating_sub(number.len() + 1));
            format!("{} {line}\n", self.paint("2", &number))
        };
        lines.map(line).collect()
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
