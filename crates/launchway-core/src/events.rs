//! What a run reports: events, and the ways to show them.

mod activity;
mod deployment;
mod drill;
mod event;
pub mod github;
pub mod json;
pub mod review;
mod state;
pub mod terminal;
mod ticker;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{ErrorKind, Write as _};
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use anyhow::Context as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::file::write_whole;
use crate::plain::plain;
use crate::secret::{Redactor, Secret};
use activity::Activity;
pub use activity::{Count, LastRun, Progress, Unit};
pub use deployment::{DeployOutcome, Deployed, Link, Proof, Release};
pub use drill::{DrillEnd, Drilled};
pub use event::{Event, Failed, FailedTest, Finding, Outcome, Row, Summary, milliseconds};
pub use review::Review;
use state::State;
pub use state::StepEnd;

/// Receives events, redacts them, shows them, and writes the log of the running step.
#[derive(Clone)]
pub struct Reporter(Arc<Mutex<State>>);

/// The ways of showing events.
pub enum Sink {
    /// People at a terminal, or a pipe.
    Terminal(terminal::Terminal),
    /// The log of a GitHub job.
    GitHub(github::GitHub),
    /// Programs: one event a line.
    Json(json::Json),
    /// Tests, which read [`Reporter::events`].
    Memory(Vec<Event>),
}

impl Reporter {
    /// How many bytes of a child's line are kept.
    const LONGEST: usize = 64 << 10;

    /// A reporter that redacts nothing yet.
    pub fn new(sink: Sink) -> Self {
        let state = State {
            sink,
            redactor: Redactor::default(),
            log: None,
            tail: Vec::new(),
            tail_is_kept: false,
            findings: Vec::new(),
            tests: Vec::new(),
            skipped: Vec::new(),
            activity: None,
            last_run: LastRun::default(),
            printed: Instant::now(),
            lost: None,
        };
        let has_readers = !matches!(state.sink, Sink::Memory(_));
        let state = Arc::new(Mutex::new(state));
        if has_readers {
            ticker::start(&state);
        }
        Self(state)
    }

    /// Shows paths in this folder relative to it, where people read them.
    pub fn set_root(&self, root: &Path) {
        match &mut self.state().sink {
            Sink::Terminal(terminal) => terminal.set_root(root),
            Sink::GitHub(github) => github.set_root(root),
            Sink::Json(_) | Sink::Memory(_) => {}
        }
    }

    /// Sets how long steps took before, to estimate how long they will take.
    pub fn set_last_run(&self, last_run: LastRun) {
        self.state().last_run = last_run;
    }

    /// Removes the live line from the screen.
    pub fn finish(&self) {
        self.state().activity = None;
        // A screen that is gone shows no line.
        terminal::live::erase().ok();
    }

    /// Replaces these values in everything that is reported from now on.
    pub fn redact(&self, redactor: Redactor) {
        self.state().redactor = redactor;
    }

    /// Adds values to those that are replaced.
    pub fn redact_also(&self, secrets: impl IntoIterator<Item = Secret>) {
        self.state().redactor.add(secrets);
    }

    /// Reports the heading of a run.
    pub fn started(&self, title: impl Into<String>) {
        self.emit(Event::Started { title: title.into() });
    }

    /// Reports text that the user requested, which `--quiet` shows too.
    pub fn text(&self, text: impl Into<String>) {
        self.emit(Event::Text { text: text.into() });
    }

    /// Reports requested text for people, whose words wrap on a screen.
    pub fn page(&self, text: impl Into<String>) {
        self.emit(Event::Page { text: text.into() });
    }

    /// Reports a sentence for people.
    pub fn note(&self, text: impl Into<String>) {
        self.emit(Event::Note { text: text.into() });
    }

    /// Reports how far a long action is, in a few words.
    pub fn progress(&self, text: impl Into<String>) {
        let progress = Progress { text: text.into(), ..Progress::default() };
        let mut state = self.state();
        let now = Instant::now();
        Activity::follow(&mut state.activity, &Event::Progress(progress.clone()), &LastRun::default(), now);
        let progress = state.activity.as_ref().map_or(progress, |activity| activity.progress(now));
        drop(state);
        self.emit(Event::Progress(progress));
    }

    /// Counts the progress of a long action. Expects at least as many tests as last time.
    pub fn count(&self, mut count: Count) {
        let state = &mut *self.state();
        if count.unit == Unit::Tests {
            count.total = count.total.max(state.last_run.tests).map(|total| total.max(count.done));
        }
        if let Some(activity) = &mut state.activity {
            activity.count(count);
        }
    }

    /// Reports an action that is about to start and is not a child process.
    pub fn action(&self, line: &str) {
        self.command(line, line);
    }

    /// Reports a command that is about to run: the whole line, and its short form.
    pub fn command(&self, line: &str, short: &str) {
        self.emit(Event::Command { line: line.to_owned(), short: short.to_owned() });
    }

    /// Reports a line that a child printed.
    pub fn output(&self, line: &str) {
        self.emit(Event::Output { line: line.to_owned() });
    }

    /// Reports a skipped check of a step, with the reason.
    pub fn skipped(&self, check: &str, reason: impl Into<String>) {
        self.emit(Event::CheckSkipped { check: check.to_owned(), reason: reason.into() });
    }

    /// Removes secrets from the text.
    pub fn redacted(&self, text: &str) -> String {
        self.state().redactor.redact(text)
    }

    /// Removes secrets from every text in the data.
    pub fn shown<T: Serialize + DeserializeOwned>(&self, data: &T) -> anyhow::Result<T> {
        event::shown(data, &self.state().redactor)
            .context("a secret equals a word that the event's format needs")
    }

    /// Removes secrets from every text in the JSON.
    pub fn shown_json(&self, json: &str) -> String {
        let redactor = &self.state().redactor;
        let mut shown = String::with_capacity(json.len());
        let mut rest = json;
        while let Some((before, text)) = rest.split_once('"') {
            let mut is_escaped = false;
            let end = text.bytes().position(|byte| {
                let was_escaped = is_escaped;
                is_escaped = !was_escaped && byte == b'\\';
                byte == b'"' && !was_escaped
            });
            let end = end.unwrap_or(text.len());
            shown.extend([before, "\"", &redactor.redact(&text[..end]), "\""]);
            rest = text.get(end + 1..).unwrap_or_default();
        }
        shown + rest
    }

    /// Writes text that the run leaves for others, without secrets.
    pub fn leave(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        write_whole(path, self.redacted(text).as_bytes())
    }

    /// Writes JSON that the run leaves for others, without secrets.
    pub fn leave_json(&self, path: &Path, json: &str) -> anyhow::Result<()> {
        write_whole(path, self.shown_json(json).as_bytes())
    }

    /// Prints a panic, which may happen at any point.
    pub fn panicked(&self, panic: &PanicHookInfo<'_>) {
        let backtrace = Backtrace::capture();
        let trace = match backtrace.status() {
            BacktraceStatus::Captured => format!("\n{backtrace}"),
            _ => String::new(),
        };
        let redactor = match self.0.try_lock() {
            Ok(state) => Some(state.redactor.clone()),
            Err(TryLockError::Poisoned(state)) => Some(state.into_inner().redactor.clone()),
            // It is a panic of the reporter itself.
            Err(TryLockError::WouldBlock) => None,
        };
        let text = match (redactor, panic.location()) {
            (Some(redactor), _) => redactor.redact(&plain(&format!("{panic}{trace}"))),
            (None, Some(place)) => format!("panicked at {place}"),
            (None, None) => "panicked".to_owned(),
        };
        // There is nobody left to report a failure to.
        terminal::live::erase().ok();
        drop(writeln!(std::io::stderr(), "{text}"));
    }

    /// Keeps the last lines for the end of the run: they are from a failed child.
    pub fn keep_tail(&self) {
        self.state().tail_is_kept = true;
    }

    /// Drops the last lines: they are from a child that succeeded, and explain no failure.
    pub fn drop_tail(&self) {
        let mut state = self.state();
        if !state.tail_is_kept {
            state.tail.clear();
        }
    }

    /// Reports a location in the sources that needs a fix.
    pub fn finding(&self, finding: Finding) {
        self.emit(Event::Finding(finding));
    }

    /// Reports a test that failed.
    pub fn test_failed(&self, test: FailedTest) {
        self.emit(Event::TestFailed(test));
    }

    /// Opens the log of a step in a folder, reports that the step started, and returns the log's path.
    pub fn step_started(&self, step: &str, folder: &Path) -> anyhow::Result<PathBuf> {
        fs_err::create_dir_all(folder)?;
        let path = folder.join(format!("{step}.log"));
        let file = fs_err::File::create(&path)?;
        {
            let mut state = self.state();
            state.log = Some(file);
            state.tail.clear();
            state.tail_is_kept = false;
            state.findings.clear();
            state.tests.clear();
            state.skipped.clear();
        }
        self.emit(Event::StepStarted { step: step.to_owned(), log: path.display().to_string() });
        Ok(path)
    }

    /// Closes the log of the step and returns what its end shows.
    pub fn step_finished(&self, step: &str, outcome: Outcome, milliseconds: u64) -> StepEnd {
        self.emit(Event::StepFinished { step: step.to_owned(), outcome, milliseconds });
        let mut state = self.state();
        state.log = None;
        let mut tail = std::mem::take(&mut state.tail);
        // The command line alone explains nothing.
        if !state.tail_is_kept && tail.len() == 1 {
            tail.clear();
        }
        StepEnd {
            tail,
            findings: std::mem::take(&mut state.findings),
            tests: std::mem::take(&mut state.tests),
            skipped: std::mem::take(&mut state.skipped),
        }
    }

    /// Redacts the event, logs it and shows it.
    pub fn emit(&self, event: Event) {
        let state = &mut *self.state();
        let mut event = event.shown(&state.redactor);
        if let Event::Output { line } = &mut event
            && line.len() > Self::LONGEST
        {
            let end = (0..=Self::LONGEST).rev().find(|end| line.is_char_boundary(*end));
            line.truncate(end.unwrap_or_default());
            line.push('…');
        }
        state.log(&event);
        let now = Instant::now();
        let State { activity, last_run, .. } = state;
        Activity::follow(activity, &event, last_run, now);
        // A reader that closes the pipe has seen enough of the progress; only requested text and JSON count as cut short.
        let is_wanted = matches!(event, Event::Text { .. } | Event::Page { .. } | Event::Planned { .. });
        let is_wanted = is_wanted || matches!(state.sink, Sink::Json(_));
        let shown = match &mut state.sink {
            Sink::Terminal(terminal) => terminal.show(&event),
            Sink::GitHub(github) => github.show(&event),
            Sink::Json(json) => json.show(&event),
            Sink::Memory(events) => {
                events.push(event);
                Ok(true)
            }
        };
        match shown {
            Ok(true) => {
                state.printed = now;
                state.draw(now);
            }
            Err(error) if is_wanted || error.kind() != ErrorKind::BrokenPipe => {
                state.lost.get_or_insert(error.into());
            }
            // The next tick shows what was not printed.
            _ => {}
        }
    }

    /// Records that an output could not be written; the run continues and reports it at the end.
    pub fn lose(&self, error: anyhow::Error) {
        self.state().lost.get_or_insert(error);
    }

    /// Returns why an output could not be written, if one could not.
    pub fn lost(&self) -> Option<anyhow::Error> {
        self.state().lost.take()
    }

    /// Returns the events so far, if the sink is [`Sink::Memory`].
    pub fn events(&self) -> Vec<Event> {
        match &self.state().sink {
            Sink::Memory(events) => events.clone(),
            _ => Vec::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere must not silence the report about it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
