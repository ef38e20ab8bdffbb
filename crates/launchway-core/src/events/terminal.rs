//! People: calm lines on standard output, failures on standard error; colour and progress only on a screen.

mod failure;
pub(crate) mod live;
mod wrap;

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use super::{DrillEnd, Drilled, Event, Link, Outcome, Progress, Proof, Summary};
use wrap::wrap;

/// The reporter for people.
#[derive(Debug)]
pub struct Terminal {
    verbosity: Verbosity,
    look: Look,
    /// The workspace root with a slash: people read paths relative to it.
    root: Option<String>,
}

/// How much a person wants to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Requested text and failures.
    Quiet,
    /// What happens, in short form.
    #[default]
    Normal,
    /// Commands with their environment, and absolute paths.
    Verbose,
}

/// How text looks on the streams of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// Whether standard output is a screen: then text gets colour and fits its width.
    pub is_screen: bool,
    /// Whether standard error is a screen: then failures get colour, and progress is a line that is overwritten.
    pub is_error_screen: bool,
    /// The width set in `COLUMNS` for output that is not a screen; without it, lines are not wrapped.
    pub columns: Option<usize>,
    /// Whether text may have colour; `NO_COLOR` says no: <https://no-color.org>.
    pub has_colour: bool,
}

impl Look {
    /// Reads the streams and the environment of this process.
    pub fn of_process() -> Self {
        Self::of(io::stdout().is_terminal(), io::stderr().is_terminal(), |name| {
            std::env::var(name).ok().filter(|value| !value.is_empty())
        })
    }

    /// If `CI` is set or the terminal is dumb, output is a log and not a screen.
    fn of(stdout: bool, stderr: bool, value: impl Fn(&str) -> Option<String>) -> Self {
        let is_log = value("CI").is_some() || value("TERM").is_none_or(|term| term == "dumb");
        Self {
            is_screen: stdout && !is_log,
            is_error_screen: stderr && !is_log,
            columns: value("COLUMNS").and_then(|columns| columns.parse().ok()),
            has_colour: value("NO_COLOR").is_none(),
        }
    }
}

impl Terminal {
    /// Lines longer than this are hard to read, however wide the screen is.
    const WIDEST: usize = 100;

    /// Writes to standard output, and failures and the live line to standard error.
    pub fn new(verbosity: Verbosity, look: Look) -> Self {
        Self { verbosity, look, root: None }
    }

    pub(super) fn set_root(&mut self, root: &Path) {
        self.root = Some(format!("{}/", root.display()));
    }

    /// Shows the event and returns whether something permanent was printed.
    pub(super) fn show(&self, event: &Event) -> io::Result<bool> {
        let is_passing = matches!(
            event,
            Event::Output { .. } | Event::Progress(_) | Event::Finding(_) | Event::Deployed(_)
        );
        if is_passing || !event.is_shown(self.verbosity) {
            return Ok(false);
        }
        let is_failure = matches!(event, Event::Failed(_));
        let is_screen = if is_failure { self.look.is_error_screen } else { self.look.is_screen };
        let width = if is_screen { live::width() } else { self.look.columns.unwrap_or(usize::MAX) };
        // Wider only if nothing is known about the reader's screen.
        let (width, columns) = (if width == usize::MAX { width } else { width.min(Self::WIDEST) }, width);
        let has_colour = is_screen && self.look.has_colour;
        let text = Painter { terminal: self, has_colour, width, columns }.text(event);
        live::erase()?;
        if is_failure {
            io::stderr().write_all(text.as_bytes())?;
        } else {
            print(&text)?;
        }
        Ok(true)
    }

    /// Draws the progress, and returns whether there is a screen for it.
    pub(super) fn draw(&self, progress: &Progress) -> io::Result<bool> {
        let is_live = self.look.is_error_screen && self.verbosity != Verbosity::Quiet;
        if is_live {
            live::draw(&format!("  {}", self.relative(progress.to_string())))?;
        }
        Ok(is_live)
    }

    /// Prints the progress on a permanent line.
    pub(super) fn print_progress(&self, progress: &Progress) -> io::Result<()> {
        if self.verbosity == Verbosity::Quiet { Ok(()) } else { print(&self.progress_line(progress)) }
    }

    pub(super) fn progress_line(&self, progress: &Progress) -> String {
        format!("    {}\n", self.relative(progress.to_string()))
    }

    /// Returns the text of an event for output without a terminal, with its line breaks.
    pub(super) fn text(&self, event: &Event) -> String {
        Painter { terminal: self, has_colour: false, width: usize::MAX, columns: usize::MAX }.text(event)
    }

    /// Makes paths relative to the workspace root, unless full paths are wanted.
    fn relative(&self, text: String) -> String {
        match &self.root {
            Some(root) if self.verbosity != Verbosity::Verbose => text.replace(root.as_str(), ""),
            _ => text,
        }
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
}

/// Lays out events for a stream.
#[derive(Clone, Copy, Debug)]
struct Painter<'a> {
    terminal: &'a Terminal,
    has_colour: bool,
    /// Where words wrap.
    width: usize,
    /// Where a line ends.
    columns: usize,
}

impl Painter<'_> {
    fn text(self, event: &Event) -> String {
        let text = match event {
            // To be copied, or read by a program.
            Event::Text { text } => return format!("{text}\n"),
            // The plan is what runs, with its exact paths.
            Event::Planned { step, lines } => {
                let lines =
                    lines.iter().map(|line| wrap(&format!("  {}\n", self.planned(line)), self.width, 2));
                return lines.fold(format!("{}\n", self.bold(step)), |text, line| text + &line);
            }
            Event::Command { line, short } => {
                format!("    {}\n", self.paint("2", &self.command(line, short)))
            }
            Event::Summary(summary) => self.summary(summary),
            Event::Drill(drilled) => self.drill(drilled),
            Event::Proof(proof) => self.proof(proof),
            Event::Failed(failed) => self.failed(failed),
            _ => wrap(&self.words(event), self.width, 2),
        };
        self.terminal.relative(text)
    }

    /// The events that are sentences.
    fn words(self, event: &Event) -> String {
        match event {
            Event::Started { title } => format!("{}\n", self.bold(title)),
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
            Event::Note { text } => {
                let text = match self.terminal.verbosity {
                    Verbosity::Verbose => text.clone(),
                    _ => short_hashes(text),
                };
                text.lines().fold(String::new(), |text, line| text + "    " + line + "\n")
            }
            Event::Page { text } => format!("{text}\n"),
            Event::StepFinished { step, outcome, milliseconds } => {
                format!("  {step} {} in {}\n", self.outcome(*outcome), seconds(*milliseconds))
            }
            _ => String::new(),
        }
    }

    /// A line of a plan: a command without its environment and with relative paths, unless everything is wanted.
    fn planned(self, line: &str) -> String {
        match self.terminal.verbosity {
            Verbosity::Verbose => line.to_owned(),
            _ => self.terminal.relative(without_environment(line)),
        }
    }

    fn command(self, line: &str, short: &str) -> String {
        match self.terminal.verbosity {
            Verbosity::Verbose => line.to_owned(),
            // Of a line that is cut, more is better.
            _ => live::cut(short, self.columns.saturating_sub(4)),
        }
    }

    fn summary(self, summary: &Summary) -> String {
        /// The column of a row's remark, from its indent.
        const REMARK: usize = 45;
        /// The column of a fact's value, from its indent.
        const FACT: usize = 11;

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
            text.push_str(&wrap(line.trim_end(), self.width, REMARK));
            text.push('\n');
        }
        for (name, value) in &summary.facts {
            let value = short_hashes(value);
            text.push_str(&wrap(&format!("  {name:<10} {value}\n"), self.width, FACT));
        }
        text
    }

    fn proof(self, proof: &Proof) -> String {
        let mut text = format!("\n{}\n", self.bold("proof"));
        for Link { what, found, wanted, place } in &proof.links {
            let found =
                if found == wanted { short_hashes(found) } else { self.paint("31", "does not match") };
            let (line, place) = (format!("  {what:<16} {found:<25}"), short_hashes(place));
            // A place is left whole, so that it can be copied: where the screen is narrow it has a line of its own.
            let gap = match live::columns(&line) + 1 + live::columns(&place) {
                width if width > self.width => format!("\n{:19}", ""),
                _ => " ".to_owned(),
            };
            let line = if gap.starts_with('\n') { line.trim_end() } else { &line };
            text.extend([line, &gap, &place, "\n"]);
        }
        if proof.broken().next().is_none() {
            text.push_str("The image that was built is the one that runs.\n");
        }
        text
    }

    /// A row in columns, the path of the page, and what is wrong.
    fn drill(self, drilled: &Drilled) -> String {
        let outcome = if drilled.passed { Outcome::Passed } else { Outcome::Failed };
        let word = self.paint(colour(outcome), &format!("{:<7}", outcome.word()));
        let time = seconds(drilled.milliseconds);
        let Drilled { drill, expected, observed, before, after, page, .. } = drilled;
        let columns = |end: &DrillEnd| {
            let code = end.exit.map_or_else(|| "-".to_owned(), |code| code.to_string());
            let [image, variables, latest] =
                [&end.image, &end.variables, &end.latest].map(|side| match side.as_str() {
                    "their" => "changed",
                    "another" => "other",
                    side => side,
                });
            format!("{code:>4}  {image:<8} {variables:<9} {latest}")
        };
        let mut text = format!("  {word} {drill:<20} {time:>9}  {}\n", columns(observed));
        if expected != observed {
            // Writing to a string cannot fail.
            writeln!(text, "  {:<7} {:<20} {:>9}  {}", "", "", "expected", columns(expected)).ok();
        }
        text.extend(["          ", &self.paint("2", page), "\n"]);
        if !drilled.passed {
            writeln!(text, "          before {before}\n          after  {after}").ok();
        }
        drilled
            .remarks
            .iter()
            .fold(text, |text, line| text + &wrap(&format!("          {line}\n"), self.width, 2))
    }

    fn outcome(self, outcome: Outcome) -> String {
        self.paint(colour(outcome), outcome.word())
    }

    fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.has_colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn colour(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed | Outcome::Reused => "32",
        Outcome::Failed | Outcome::Interrupted => "31",
        Outcome::Skipped => "33",
    }
}

/// A command line without the variables that it sets, `NAME=value …`, as in [`Event::Planned`].
fn without_environment(line: &str) -> String {
    // The text before the command is its working directory.
    let (place, mut command) = match line.split_once(": ") {
        Some((place, command)) if place.starts_with("in ") => (format!("{place}: "), command),
        _ => (String::new(), line),
    };
    while let Some((name, value)) = command.split_once('=')
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    {
        let mut is_quoted = false;
        let end = value.find(|c: char| {
            is_quoted ^= c == '\'';
            c == ' ' && !is_quoted
        });
        let Some(end) = end else { break };
        command = &value[end + 1..];
    }
    place + command
}

/// The text with its digests and commits shortened: the log and the record have them in full.
fn short_hashes(text: &str) -> String {
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, digits) = rest.split_at(start);
        let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
        let (digits, after) = digits.split_at(end);
        shown.push_str(before);
        let is_digest = digits.len() == 64 && shown.ends_with("sha256:");
        let is_commit = digits.len() == 40 && !shown.ends_with(char::is_alphanumeric);
        match digits.get(..12) {
            Some(first) if is_digest => shown.extend([first, "…"]),
            Some(first) if is_commit => shown.push_str(first),
            _ => shown.push_str(digits),
        }
        rest = after;
    }
    shown + rest
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
