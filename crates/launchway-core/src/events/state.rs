//! A reporter's state while a step runs, the step's log, and what its end shows.

use std::io::Write as _;
use std::time::Instant;

use super::activity::Activity;
use super::{Event, FailedTest, Finding, LastRun, Sink};
use crate::secret::Redactor;

/// How many of a step's last lines a failure shows.
const TAIL: usize = 20;

/// The state of a reporter, behind its lock.
pub(super) struct State {
    pub(super) sink: Sink,
    pub(super) redactor: Redactor,
    pub(super) log: Option<fs_err::File>,
    pub(super) tail: Vec<String>,
    /// Whether the tail is from a failed child: later output must not replace it.
    pub(super) tail_is_kept: bool,
    pub(super) findings: Vec<Finding>,
    pub(super) tests: Vec<FailedTest>,
    pub(super) skipped: Vec<String>,
    pub(super) activity: Option<Activity>,
    pub(super) last_run: LastRun,
    /// When something permanent was last printed.
    pub(super) printed: Instant,
    /// The first output that could not be written. The run continues: a full disk must not end a deploy halfway.
    pub(super) lost: Option<anyhow::Error>,
}

/// What the end of the run shows of a finished step.
#[derive(Debug, Default)]
pub struct StepEnd {
    /// Its last lines.
    pub tail: Vec<String>,
    /// The locations that it reported.
    pub findings: Vec<Finding>,
    /// The tests that failed.
    pub tests: Vec<FailedTest>,
    /// The checks inside it that were skipped.
    pub skipped: Vec<String>,
}

impl State {
    /// Writes the event to the step's log and keeps what the end of the run shows.
    pub(super) fn log(&mut self, event: &Event) {
        let line = match event {
            Event::Command { line, .. } => format!("$ {line}"),
            Event::Output { line } => line.clone(),
            Event::Note { text } => format!("# {text}"),
            Event::CheckSkipped { check, reason } => {
                self.skipped.push(check.clone());
                format!("# {check} skipped: {reason}")
            }
            Event::Finding(finding) => {
                self.findings.push(finding.clone());
                return;
            }
            Event::TestFailed(test) => {
                self.tests.push(test.clone());
                return;
            }
            _ => return,
        };
        let Some(log) = &mut self.log else { return };
        if let Err(error) = writeln!(log, "{line}") {
            self.lost.get_or_insert(error.into());
        }
        if self.tail_is_kept {
            return;
        }
        // A failure shows the failed child's output; the rest has been shown.
        match event {
            Event::Command { short, .. } => self.tail = vec![format!("$ {short}")],
            Event::Output { .. } => {
                if self.tail.len() == TAIL {
                    self.tail.remove(0);
                }
                self.tail.push(line);
            }
            _ => {}
        }
    }
}
