//! People: calm lines on standard output, failures on standard error; colour and progress only on a terminal.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use super::{Drilled, Event, Failed, Outcome, Summary};

/// The reporter for people.
#[derive(Debug)]
pub struct Terminal {
    quiet: bool,
    colour: bool,
    live: Live,
}

/// The one line that is written over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Live {
    /// There is none: this is no screen.
    Never,
    Clear,
    /// It stands there now.
    Standing,
}

/// The environment that decides about colour and progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// Whether progress can be shown on a line that is written over.
    pub is_terminal: bool,
    /// `NO_COLOR` is set: <https://no-color.org>.
    pub no_color: bool,
    /// `CI` is set, or `TERM=dumb`: what is printed is kept as it comes.
    pub is_log: bool,
}

impl Look {
    /// As the streams and the environment of this process ask for.
    pub fn of_process() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Self {
            is_terminal: io::stdout().is_terminal(),
            no_color: set("NO_COLOR"),
            is_log: set("CI") || std::env::var_os("TERM").is_some_and(|term| term == "dumb"),
        }
    }
}

impl Terminal {
    /// The longest line that is written over: a longer one would wrap and stay.
    const LIVE_WIDTH: usize = 78;

    /// Writes to standard output; when quiet only what was asked for and what failed.
    pub fn new(quiet: bool, look: Look) -> Self {
        let screen = look.is_terminal && !look.is_log;
        let live = if screen && !quiet { Live::Clear } else { Live::Never };
        Self { quiet, colour: screen && !look.no_color, live }
    }

    pub(super) fn show(&mut self, event: &Event) -> io::Result<()> {
        let mut out = String::new();
        if self.live == Live::Standing {
            out.push_str("\r\x1b[2K");
            self.live = Live::Clear;
        }
        match event {
            Event::Output { line: passing } | Event::Progress { text: passing } => {
                if self.live == Live::Never {
                    return Ok(());
                }
                let visible = passing.trim().chars().filter(|c| !c.is_control());
                out.extend(visible.take(Self::LIVE_WIDTH));
                self.live = Live::Standing;
            }
            _ if self.is_shown(event) => out.push_str(&self.text(event)),
            _ => {}
        }
        if matches!(event, Event::Failed(_)) {
            io::stderr().write_all(out.as_bytes())
        } else {
            let mut stdout = io::stdout().lock();
            stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush())
        }
    }

    fn is_shown(&self, event: &Event) -> bool {
        !self.quiet
            || matches!(
                event,
                Event::Failed(_) | Event::Planned { .. } | Event::Text { .. } | Event::Drill(_)
            )
    }

    /// What is printed for an event, with its line breaks.
    pub(super) fn text(&self, event: &Event) -> String {
        match event {
            Event::Started { title } => format!("{}\n", self.bold(title)),
            Event::Text { text } => format!("{text}\n"),
            Event::JobStarted { job, title } => format!("\n{}\n", self.bold(&format!("{job}: {title}"))),
            Event::JobSkipped { job, title, reason } => {
                format!("\n{}\n  skipped: {reason}\n", self.bold(&format!("{job}: {title}")))
            }
            Event::StepStarted { step, .. } => format!("  {}\n", self.bold(step)),
            Event::StepSkipped { step, reason } => {
                format!("  {}\n    skipped: {reason}\n", self.bold(step))
            }
            Event::StepReused { step, reason } => {
                format!("  {}\n    reused: {reason}\n", self.bold(step))
            }
            Event::CheckSkipped { check, reason } => {
                format!("    {} {check}: {reason}\n", self.paint("33", "skipped"))
            }
            Event::Command { line } => format!("    {}\n", self.paint("2", line)),
            Event::Note { text } => {
                text.lines().fold(String::new(), |text, line| text + "    " + line + "\n")
            }
            Event::StepFinished { step, outcome, milliseconds } => {
                format!("  {step} {} in {}\n", self.outcome(*outcome), seconds(*milliseconds))
            }
            Event::Planned { step, lines } => {
                lines.iter().fold(format!("{}\n", self.bold(step)), |text, line| text + "  " + line + "\n")
            }
            Event::Failed(failed) => self.failed(failed),
            Event::Summary(summary) => self.summary(summary),
            Event::Drill(drilled) => self.drill(drilled),
            // The end of the failed step shows them.
            Event::Finding(_) | Event::Output { .. } | Event::Progress { .. } => String::new(),
        }
    }

    fn failed(&self, failed: &Failed) -> String {
        let mut text = String::new();
        let mut line = |line: &str| text.extend([line, "\n"]);
        match &failed.step {
            Some(step) => {
                line("");
                for tail in &failed.tail {
                    line(&format!("    {tail}"));
                }
                line("");
                line(&format!("{}: {}", self.paint("31;1", step), failed.message));
            }
            None => line(&format!("{}: {}", self.paint("31;1", "error"), failed.message)),
        }
        for finding in &failed.findings {
            line(&format!("  at {finding}"));
        }
        if let Some(log) = &failed.log {
            line(&format!("  log    {log}"));
        }
        if let Some(again) = &failed.again {
            line(&format!("  again  {again}"));
        }
        text
    }

    fn summary(&self, summary: &Summary) -> String {
        let mut text = String::from("\n");
        for row in &summary.rows {
            let time = if matches!(row.outcome, Outcome::Skipped | Outcome::Reused) {
                String::new()
            } else {
                seconds(row.milliseconds)
            };
            // Padded before it is painted: the escape sequences have no width.
            let outcome = format!("{:<11}", row.outcome.word());
            let line = format!(
                "  {:<7} {:<14} {} {time:>8}  {}",
                row.job,
                row.step,
                self.paint(colour(row.outcome), &outcome),
                row.remark
            );
            text.push_str(line.trim_end());
            text.push('\n');
        }
        for (name, value) in &summary.facts {
            // Writing to a string cannot fail.
            writeln!(text, "  {name:<10} {value}").ok();
        }
        text
    }

    fn drill(&self, drilled: &Drilled) -> String {
        let outcome = if drilled.passed { Outcome::Passed } else { Outcome::Failed };
        let word = self.paint(colour(outcome), &format!("{:<7}", outcome.word()));
        let time = seconds(drilled.milliseconds);
        let Drilled { drill, expected, observed, before, after, .. } = drilled;
        let mut text = format!("  {word} {drill:<20} {observed:<56} {time:>7}  {before} → {after}\n");
        if expected != observed {
            // Writing to a string cannot fail.
            writeln!(text, "  {:<7} {:>20} {expected}", "", "expected").ok();
        }
        drilled.remarks.iter().fold(text, |text, line| text + "          " + line + "\n")
    }

    fn outcome(&self, outcome: Outcome) -> String {
        self.paint(colour(outcome), outcome.word())
    }

    fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn colour(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed | Outcome::Reused => "32",
        Outcome::Failed | Outcome::Interrupted => "31",
        Outcome::Skipped => "33",
    }
}

/// Seconds as people read them: `0.4 s`, `12.3 s`, `2 min 5 s`.
pub fn seconds(milliseconds: u64) -> String {
    let tenths = milliseconds.div_ceil(100);
    let whole = milliseconds / 1000;
    if whole < 100 {
        format!("{}.{} s", tenths / 10, tenths % 10)
    } else {
        format!("{} min {} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests;
