//! What a run tells: events, and the reporters that show them.

pub(crate) mod github;
pub(crate) mod json;
pub(crate) mod terminal;

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::exit::Exit;
use crate::pipeline::{JobId, StepId};
use crate::secret::{Redactor, Secret};

/// Something that a run tells. One of these is one line of `--format json`.
#[derive(Clone, Debug, Serialize)]
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
        log: PathBuf,
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

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failed {
    /// Absent when nothing was run.
    pub(crate) step: Option<StepId>,
    pub(crate) message: String,
    pub(crate) exit: Exit,
    pub(crate) findings: Vec<Finding>,
    /// The step's last lines.
    pub(crate) tail: Vec<String>,
    pub(crate) log: Option<PathBuf>,
    /// The command that runs it again.
    pub(crate) again: Option<String>,
}

/// What the end of a run shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    pub(crate) rehearsal: bool,
    pub(crate) rows: Vec<Row>,
    /// Facts of the run: `image`, `digest`, `coverage`, `url`.
    pub(crate) facts: Vec<(String, String)>,
    /// What the process that goes on with the run is given; on GitHub a step output.
    #[serde(skip)]
    pub(crate) handover: String,
}

/// One step in the summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    pub(crate) job: JobId,
    pub(crate) step: StepId,
    pub(crate) outcome: Outcome,
    pub(crate) milliseconds: u64,
    /// Why it was skipped, or what in it was.
    pub(crate) remark: String,
}

/// A drill, with what had to come of it and what did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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

/// Where events go: to one way of showing them and to the log of the step that is running.
#[derive(Clone)]
pub(crate) struct Reporter(Arc<Mutex<State>>);

struct State {
    sink: Sink,
    redactor: Redactor,
    log: Option<fs_err::File>,
    tail: Vec<String>,
    /// Whether the tail is that of a child that failed, which what runs after it must not replace.
    tail_is_kept: bool,
    findings: Vec<Finding>,
    skipped: Vec<String>,
}

/// The ways of showing events.
pub(crate) enum Sink {
    Terminal(terminal::Terminal),
    GitHub(github::GitHub),
    Json(json::Json),
    /// Tests look at what was told.
    #[cfg(test)]
    Memory(Vec<Event>),
}

impl Reporter {
    /// How many of a step's last lines the end of a failed run shows.
    const TAIL: usize = 20;

    pub(crate) fn new(sink: Sink) -> Self {
        let state = State {
            sink,
            redactor: Redactor::default(),
            log: None,
            tail: Vec::new(),
            tail_is_kept: false,
            findings: Vec::new(),
            skipped: Vec::new(),
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// From now on these values are replaced in everything that is told.
    pub(crate) fn redact(&self, redactor: Redactor) {
        self.state().redactor = redactor;
    }

    /// The same for more values, beside those that are replaced already.
    pub(crate) fn redact_also(&self, secrets: impl IntoIterator<Item = Secret>) {
        self.state().redactor.add(secrets);
    }

    pub(crate) fn started(&self, title: impl Into<String>) {
        self.emit(Event::Started { title: title.into() });
    }

    /// Text that was asked for.
    pub(crate) fn text(&self, text: impl Into<String>) {
        self.emit(Event::Text { text: text.into() });
    }

    /// A sentence for people.
    pub(crate) fn note(&self, text: impl Into<String>) {
        self.emit(Event::Note { text: text.into() });
    }

    /// How far a long action is, in one short line.
    pub(crate) fn progress(&self, text: impl Into<String>) {
        self.emit(Event::Progress { text: text.into() });
    }

    /// A command line that is about to run.
    pub(crate) fn command(&self, line: &str) {
        self.emit(Event::Command { line: line.to_owned() });
    }

    /// A line that a child printed.
    pub(crate) fn output(&self, line: &str) {
        self.emit(Event::Output { line: line.to_owned() });
    }

    /// A check inside a step that did not run, and why.
    pub(crate) fn skipped(&self, check: &str, reason: impl Into<String>) {
        self.emit(Event::CheckSkipped { check: check.to_owned(), reason: reason.into() });
    }

    /// The text as it may be shown and written.
    pub(crate) fn redacted(&self, text: &str) -> String {
        self.state().redactor.redact(text)
    }

    /// The last lines are those of a child that failed: the end of the run shows them.
    pub(crate) fn keep_tail(&self) {
        self.state().tail_is_kept = true;
    }

    pub(crate) fn finding(&self, finding: Finding) {
        self.emit(Event::Finding(finding));
    }

    /// Opens the log of a step, in a folder, and tells that the step began.
    pub(crate) fn step_started(&self, step: StepId, folder: &Path) -> anyhow::Result<PathBuf> {
        fs_err::create_dir_all(folder)?;
        let path = folder.join(format!("{step}.log"));
        let file = fs_err::File::create(&path)?;
        {
            let mut state = self.state();
            state.log = Some(file);
            state.tail.clear();
            state.tail_is_kept = false;
            state.findings.clear();
            state.skipped.clear();
        }
        self.emit(Event::StepStarted { step, log: path.clone() });
        Ok(path)
    }

    /// Closes the log of the step and returns what its end needs.
    pub(crate) fn step_finished(&self, step: StepId, outcome: Outcome, milliseconds: u64) -> StepEnd {
        self.emit(Event::StepFinished { step, outcome, milliseconds });
        let mut state = self.state();
        state.log = None;
        let mut tail = std::mem::take(&mut state.tail);
        // A command that did not fail and printed nothing says nothing of the end.
        if !state.tail_is_kept && tail.len() == 1 {
            tail.clear();
        }
        StepEnd {
            tail,
            findings: std::mem::take(&mut state.findings),
            skipped: std::mem::take(&mut state.skipped),
        }
    }

    pub(crate) fn emit(&self, event: Event) {
        let mut state = self.state();
        let event = event.redacted(&state.redactor);
        state.log(&event);
        match &mut state.sink {
            Sink::Terminal(terminal) => terminal.show(&event),
            Sink::GitHub(github) => github.show(&event),
            Sink::Json(json) => json.show(&event),
            #[cfg(test)]
            Sink::Memory(events) => events.push(event),
        }
    }

    /// What was told, in tests.
    #[cfg(test)]
    pub(crate) fn told(&self) -> Vec<Event> {
        match &self.state().sink {
            Sink::Memory(events) => events.clone(),
            _ => Vec::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere must not silence the report of it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a finished step leaves for the end of the run.
#[derive(Debug, Default)]
pub(crate) struct StepEnd {
    pub(crate) tail: Vec<String>,
    pub(crate) findings: Vec<Finding>,
    /// The checks inside it that did not run.
    pub(crate) skipped: Vec<String>,
}

impl State {
    /// Keeps the event in the step's log, and what the end of a failed run needs.
    fn log(&mut self, event: &Event) {
        let line = match event {
            Event::Command { line } => format!("$ {line}"),
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
            _ => return,
        };
        let Some(log) = &mut self.log else { return };
        // A full disk must not end a deploy half-way; what is shown is complete.
        drop(writeln!(log, "{line}"));
        if self.tail_is_kept {
            return;
        }
        // The end of a failed run shows what the failed child printed; the rest has been shown.
        match event {
            Event::Command { .. } => self.tail = vec![line],
            Event::Output { .. } => {
                if self.tail.len() == Reporter::TAIL {
                    self.tail.remove(0);
                }
                self.tail.push(line);
            }
            _ => {}
        }
    }
}

impl Event {
    fn redacted(self, redactor: &Redactor) -> Self {
        match self {
            Self::Command { line } => Self::Command { line: redactor.redact(&line) },
            Self::Output { line } => Self::Output { line: redactor.redact(&line) },
            Self::Note { text } => Self::Note { text: redactor.redact(&text) },
            Self::Progress { text } => Self::Progress { text: redactor.redact(&text) },
            Self::CheckSkipped { check, reason } => {
                Self::CheckSkipped { check, reason: redactor.redact(&reason) }
            }
            Self::Finding(finding) => {
                Self::Finding(Finding { message: redactor.redact(&finding.message), ..finding })
            }
            Self::Drill(drilled) => {
                let remarks = drilled.remarks.iter().map(|line| redactor.redact(line)).collect();
                Self::Drill(Drilled { remarks, ..drilled })
            }
            Self::Failed(failed) => {
                Self::Failed(Failed { message: redactor.redact(&failed.message), ..failed })
            }
            other => other,
        }
    }
}
