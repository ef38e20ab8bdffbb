//! Events: what a run tells, as data.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exit::Exit;
use crate::pipeline::{JobId, StepId};
use crate::plain::plain;
use crate::secret::Redactor;

/// Something that a run tells. One of these is one line of `--format json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub(crate) enum Event {
    /// The run begins: its heading.
    Started {
        title: String,
    },
    /// Text that was asked for, shown also when the run is quiet.
    Text {
        text: String,
    },
    /// What a step would do, one line an action.
    Planned {
        step: StepId,
        lines: Vec<String>,
    },
    JobStarted {
        job: JobId,
    },
    /// A job that does not run, and why.
    JobSkipped {
        job: JobId,
        reason: String,
    },
    StepStarted {
        step: StepId,
        log: String,
    },
    /// A step that does not run, and why.
    StepSkipped {
        step: StepId,
        reason: String,
    },
    /// A check inside a step that did not run, why, and how to have it run.
    CheckSkipped {
        check: String,
        reason: String,
    },
    /// A child process is about to run.
    Command {
        line: String,
    },
    /// A line that a child printed.
    Output {
        line: String,
    },
    /// A sentence for people.
    Note {
        text: String,
    },
    /// How far a long action is; the next one replaces it.
    Progress {
        text: String,
    },
    /// A place in the sources that must be mended.
    Finding(Finding),
    StepFinished {
        step: StepId,
        outcome: Outcome,
        milliseconds: u64,
    },
    /// Why the run does not end well.
    Failed(Failed),
    /// A table of what ran, for the end.
    Summary(Summary),
    /// How one drill ended.
    Drill(Drilled),
}

impl Event {
    /// The event as it may be shown and written: no text in it holds a secret or steers a terminal.
    ///
    /// All its texts, whatever they are: a new kind of event needs nothing for that.
    pub(super) fn shown(self, redactor: &Redactor) -> Self {
        shown(&self, redactor).unwrap_or_else(|_| Self::Note {
            text: "something is not shown: a secret has the value of a word that its form needs".to_owned(),
        })
    }
}

/// The same data, every text in it made plain and redacted.
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
pub(crate) enum Outcome {
    Passed,
    Failed,
    /// Not run. A skip is not a pass.
    Skipped,
    Interrupted,
}

impl Outcome {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A place in the sources and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// Relative to the workspace root.
    pub(crate) file: String,
    /// 1 is the first line.
    pub(crate) line: u32,
    pub(crate) message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// Why a step, or the run, did not pass, and how to go on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failed {
    /// Absent when nothing was run.
    pub(crate) step: Option<StepId>,
    pub(crate) message: String,
    pub(crate) exit: Exit,
    pub(crate) findings: Vec<Finding>,
    /// The step's last lines.
    pub(crate) tail: Vec<String>,
    pub(crate) log: Option<String>,
    /// The command that runs it again.
    pub(crate) again: Option<String>,
}

/// What the end of a run shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) rehearsal: bool,
    pub(crate) rows: Vec<Row>,
    /// Facts of the run: `image`, `digest`, `coverage`, `url`.
    pub(crate) facts: Vec<(String, String)>,
    /// What the process that goes on with the run is given; on GitHub a step output.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) handover: String,
}

/// One step in the summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) job: JobId,
    pub(crate) step: StepId,
    pub(crate) outcome: Outcome,
    pub(crate) milliseconds: u64,
    /// Why it was skipped, or what in it was.
    pub(crate) remark: String,
}

/// A drill, with what had to come of it and what did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Drilled {
    pub(crate) drill: String,
    pub(crate) passed: bool,
    /// The exit code and the state of the service afterwards, in words.
    pub(crate) expected: String,
    pub(crate) observed: String,
    pub(crate) milliseconds: u64,
    /// The service as the drill found it: digest, keyed hash of the variables, what `latest` names.
    pub(crate) before: String,
    pub(crate) after: String,
    /// What else is not as it must be, and of a drill that failed the last lines.
    pub(crate) remarks: Vec<String>,
}

#[cfg(test)]
mod tests;
