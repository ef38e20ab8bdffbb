//! Events: what a run reports, as data.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::terminal::Verbosity;
use super::{Deployed, Drilled, Progress, Proof, Review};
use crate::exit::Exit;
use crate::plain::plain;
use crate::secret::Redactor;

/// Something that a run reports. Each is one line of `--format json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum Event {
    /// The run begins: its heading.
    Started {
        /// The heading.
        title: String,
    },
    /// Text that the user requested, which `--quiet` shows too.
    Text {
        /// The text, of one line or more.
        text: String,
    },
    /// Text for people that the user requested: its words wrap on a screen.
    Page {
        /// The text, of one line or more.
        text: String,
    },
    /// What a step would do, one action a line.
    Planned {
        /// The name of the step.
        step: String,
        /// The plan.
        lines: Vec<String>,
    },
    /// A job begins.
    JobStarted {
        /// The name of the job.
        job: String,
        /// What the job is for.
        title: String,
    },
    /// A job that does not run, and why.
    JobSkipped {
        /// The name of the job.
        job: String,
        /// What the job is for.
        title: String,
        /// Why it does not run.
        reason: String,
    },
    /// A step begins.
    StepStarted {
        /// The name of the step.
        step: String,
        /// The path of its log.
        log: String,
    },
    /// A step that does not run, and why.
    StepSkipped {
        /// The name of the step.
        step: String,
        /// Why it does not run.
        reason: String,
    },
    /// A step that does not run because it passed on the same inputs before.
    StepReused {
        /// The name of the step.
        step: String,
        /// When it passed, and how long it took.
        reason: String,
    },
    /// A check inside a step that did not run, with the reason and a hint.
    CheckSkipped {
        /// The name of the check.
        check: String,
        /// Why it did not run, and a hint.
        reason: String,
    },
    /// A child process is about to run.
    Command {
        /// The whole line, with its environment, to be pasted into a shell.
        line: String,
        /// The line as a person would type it.
        short: String,
    },
    /// A line that a child printed.
    Output {
        /// The line.
        line: String,
    },
    /// A sentence for people.
    Note {
        /// The sentence.
        text: String,
    },
    /// How far a long action is; the next one replaces it.
    Progress(Progress),
    /// A place in the sources that needs a fix.
    Finding(Finding),
    /// A test that failed.
    TestFailed(FailedTest),
    /// A step ended.
    StepFinished {
        /// The name of the step.
        step: String,
        /// How it ended.
        outcome: Outcome,
        /// How long it took.
        milliseconds: u64,
    },
    /// A failure.
    Failed(Failed),
    /// How a deploy or a rollback ended.
    Deployed(Deployed),
    /// What a rehearsal has proved.
    Proof(Proof),
    /// The table of steps at the end.
    Summary(Summary),
    /// The end of a drill.
    Drill(Drilled),
}

impl Event {
    /// Whether a person who wants this level of detail sees the event.
    pub(super) fn is_shown(&self, verbosity: Verbosity) -> bool {
        let is_requested = matches!(
            self,
            Self::Planned { .. } | Self::Text { .. } | Self::Page { .. } | Self::Proof(_) | Self::Drill(_)
        );
        is_requested || matches!(self, Self::Failed(_)) || verbosity != Verbosity::Quiet
    }

    /// Removes secrets and control sequences from every text in the event, whatever its kind.
    pub(super) fn shown(self, redactor: &Redactor) -> Self {
        shown(&self, redactor).unwrap_or_else(|_| Self::Note {
            text: "an event was withheld: a secret equals a word that the event's format needs".to_owned(),
        })
    }
}

/// Removes secrets and control sequences from every text in the data.
pub(crate) fn shown<T: Serialize + DeserializeOwned>(data: &T, redactor: &Redactor) -> serde_json::Result<T> {
    let mut value = serde_json::to_value(data)?;
    each_text(&mut value, &|text| redactor.redact(&plain(text)));
    serde_json::from_value(value)
}

fn each_text(value: &mut Value, change: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = change(text),
        Value::Array(list) => list.iter_mut().for_each(|value| each_text(value, change)),
        Value::Object(map) => map.values_mut().for_each(|value| each_text(value, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It succeeded.
    Passed,
    /// A check failed, or something went wrong.
    Failed,
    /// It did not run, because it passed on the same inputs before.
    Reused,
    /// It did not run. A skip is not a pass.
    Skipped,
    /// The run was interrupted.
    Interrupted,
}

impl Outcome {
    /// Whether steps that need it may run.
    pub fn is_passed(self) -> bool {
        matches!(self, Self::Passed | Self::Reused)
    }

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Reused => "reused",
            Self::Skipped => "skipped",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A place in the sources and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Relative to the workspace root.
    pub file: String,
    /// 1 is the first line; 0 stands for the whole file.
    pub line: u32,
    /// What is wrong there.
    pub message: String,
    /// The line itself, if it could be read; with a few more if it only opens a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl Finding {
    /// A place with what is wrong there.
    pub fn new(file: impl Into<String>, line: u32, message: impl Into<String>) -> Self {
        Self { file: file.into(), line, message: message.into(), source: None }
    }

    /// Reads the line from the sources in `root`.
    #[must_use]
    pub fn with_source(mut self, root: &Path) -> Self {
        let number = usize::try_from(self.line).unwrap_or_default();
        let text = fs_err::read_to_string(root.join(&self.file)).unwrap_or_default();
        let lines = number.checked_sub(1).map(|index| text.lines().skip(index));
        self.source = lines.map(statement).filter(|source| !source.is_empty());
        self
    }

    /// The file, with the line if it is about one.
    pub(super) fn place(&self) -> String {
        if self.line == 0 { self.file.clone() } else { format!("{}:{}", self.file, self.line) }
    }

    /// Whether both are about the same line.
    pub(super) fn is_at(&self, other: &Self) -> bool {
        (&self.file, self.line) == (&other.file, other.line)
    }
}

/// A test that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedTest {
    /// The name, as the test program prints it.
    pub name: String,
    /// Why it failed, with both values if two were compared.
    pub message: String,
    /// The place in this workspace's own sources, never in a dependency.
    pub place: Option<Finding>,
    /// The last lines that it printed before.
    pub output: Vec<String>,
    /// The command that runs this test alone.
    pub again: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.message)
    }
}

/// The first line; with those that follow, if it ends by opening a call, until that is closed.
fn statement<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    const MOST: usize = 5;

    let (mut text, mut depth) = (String::new(), 0);
    for line in lines.take(MOST) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(line.trim_end());
        depth += line.matches('(').count();
        depth = depth.saturating_sub(line.matches(')').count());
        if depth == 0 || !text.lines().next().is_some_and(|first| first.ends_with('(')) {
            break;
        }
    }
    text
}

/// Why a step or the whole run failed, and how to go on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failed {
    /// The step; absent if none ran.
    pub step: Option<String>,
    /// What went wrong, and a hint.
    pub message: String,
    /// The exit code of the run.
    pub exit: Exit,
    /// The locations that the failed step reported.
    pub findings: Vec<Finding>,
    /// The tests that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<FailedTest>,
    /// The step's last lines.
    pub tail: Vec<String>,
    /// The path of the log.
    pub log: Option<String>,
    /// The command that runs it again.
    pub again: Option<String>,
    /// Where the guide explains the exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guide: Option<String>,
    /// The deployment that failed: whether the site is up, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<Deployed>,
}

impl Failed {
    /// An error outside of any step.
    pub fn of(error: &anyhow::Error) -> Self {
        Self {
            step: None,
            message: format!("{error:#}"),
            exit: Exit::of(error),
            findings: Vec::new(),
            tests: Vec::new(),
            tail: Vec::new(),
            log: None,
            again: None,
            guide: None,
            deployment: None,
        }
    }
}

/// What the end of a run shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Whether it was a rehearsal.
    pub rehearsal: bool,
    /// The steps, in order.
    pub rows: Vec<Row>,
    /// Facts of the run: `image`, `digest`, `coverage`, `url`.
    pub facts: Vec<(String, String)>,
    /// The run state for the next job; on GitHub a step output.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run_state: String,
    /// What a reviewer reads beside the steps.
    #[serde(default)]
    pub review: Box<Review>,
}

/// One step in the summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The name of the job.
    pub job: String,
    /// The name of the step.
    pub step: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub milliseconds: u64,
    /// Why it was skipped, or what it skipped.
    pub remark: String,
}

/// Whole milliseconds, the unit of every record.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
