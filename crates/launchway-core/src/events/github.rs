//! GitHub Actions: a group per step, annotations, a job summary, step outputs.
//!
//! The commands are those of <https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>.

mod page;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::terminal::{Look, Terminal, Verbosity};
use super::{Event, Failed, Finding, Progress, Summary};

/// The reporter on GitHub.
///
/// Writes to standard output only: GitHub reads the two streams concurrently, so their lines would have no common
/// order.
#[derive(Debug)]
pub struct GitHub {
    verbosity: Verbosity,
    plain: Terminal,
    /// `GITHUB_WORKSPACE`, the root of the checkout, from which annotations name files.
    checkout: Option<PathBuf>,
    /// The workspace's folder in it, with a trailing slash; empty if they are the same.
    folder: String,
    /// `GITHUB_STEP_SUMMARY`: Markdown is appended.
    summary: Option<PathBuf>,
    /// `GITHUB_OUTPUT`: `name=value` lines are appended.
    output: Option<PathBuf>,
    /// Whether GitHub ignores commands at the moment: it recognises commands in everything that is printed, indented or
    /// not, on both streams, and only our own are meant.
    stopped: bool,
    /// The word that makes GitHub recognise commands again. Nobody can guess it.
    token: String,
}

impl GitHub {
    /// GitHub shows ten errors of a step, and drops the others silently.
    const MOST_ANNOTATIONS: usize = 10;

    /// `token` is a random word of at least 16 characters.
    pub fn new(
        verbosity: Verbosity,
        checkout: Option<PathBuf>,
        summary: Option<PathBuf>,
        output: Option<PathBuf>,
        token: String,
    ) -> Self {
        let plain = Terminal::new(verbosity, Look::default());
        Self { verbosity, plain, checkout, folder: String::new(), summary, output, stopped: false, token }
    }

    pub(super) fn set_root(&mut self, root: &Path) {
        self.plain.set_root(root);
        let inside = self.checkout.as_ref().and_then(|checkout| root.strip_prefix(checkout).ok());
        let inside = inside.map(|inside| inside.to_string_lossy().into_owned()).unwrap_or_default();
        self.folder = if inside.is_empty() { inside } else { inside + "/" };
    }

    /// Shows the event and returns whether something was printed.
    pub(super) fn show(&mut self, event: &Event) -> io::Result<bool> {
        let text = if event.is_shown(self.verbosity) { self.text(event) } else { String::new() };
        let mut stdout = io::stdout().lock();
        let mut written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        match event {
            Event::Summary(summary) => {
                for (file, text) in [(&self.summary, page::page(summary)), (&self.output, outputs(summary))] {
                    written = written.and(append(file.as_ref(), &text));
                }
            }
            Event::Failed(failed) => {
                written = written.and(append(self.summary.as_ref(), &page::failure(failed)));
            }
            _ => {}
        }
        written.map(|()| !text.is_empty())
    }

    /// Prints the progress if nothing else has been printed for a while.
    pub(super) fn print_progress(&mut self, progress: &Progress) -> io::Result<()> {
        if self.verbosity == Verbosity::Quiet {
            return Ok(());
        }
        let text = self.words(&self.plain.progress_line(progress));
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
    }

    fn text(&mut self, event: &Event) -> String {
        match event {
            Event::StepStarted { step, .. } => self.commands(&format!("::group::{step}\n")) + &self.words(""),
            Event::StepFinished { .. } => {
                self.words(&self.plain.text(event)) + &self.commands("::endgroup::\n")
            }
            Event::Output { line } => self.words(&format!("{line}\n")),
            // A log only grows; nothing in it is overwritten.
            Event::Progress(_) | Event::Finding(_) | Event::TestFailed(_) => String::new(),
            Event::Failed(failed) => {
                let annotations = self.annotations(failed);
                self.words(&self.plain.text(event)) + &self.commands(&annotations)
            }
            _ => self.words(&self.plain.text(event)),
        }
    }

    /// The locations of a failure and the tests without a location; the failure itself if there is neither.
    fn annotations(&self, failed: &Failed) -> String {
        let title = failed.step.as_deref().unwrap_or("cargo xtask");
        let mut errors: Vec<(String, String)> = Vec::new();
        for Finding { file, line, message, .. } in &failed.findings {
            let file = property(&format!("{}{file}", self.folder));
            errors.push((format!("file={file},line={line},title={}", property(title)), message.clone()));
        }
        let unplaced = failed.tests.iter().filter(|test| test.place.is_none());
        let unplaced = unplaced.map(|test| format!("{}: {}", test.name, test.message));
        errors.extend(unplaced.map(|message| (format!("title={}", property(title)), message)));
        if errors.is_empty() {
            errors.push((format!("title={}", property(title)), failed.message.clone()));
        }
        if let more @ 1.. = errors.len().saturating_sub(Self::MOST_ANNOTATIONS) {
            errors.truncate(Self::MOST_ANNOTATIONS);
            if let Some((_, last)) = errors.last_mut() {
                let rest = format!("\nand {more} more: see the log of the step");
                last.push_str(&rest);
            }
        }
        let lines: Vec<String> =
            errors.iter().map(|(place, text)| format!("::error {place}::{}\n", data(text))).collect();
        lines.concat()
    }

    /// Text in which no line is a command.
    fn words(&mut self, text: &str) -> String {
        let stop = if self.stopped { String::new() } else { format!("::stop-commands::{}\n", self.token) };
        self.stopped = true;
        stop + text
    }

    /// Lines that are commands.
    fn commands(&mut self, lines: &str) -> String {
        let resume = if self.stopped { format!("::{}::\n", self.token) } else { String::new() };
        self.stopped = false;
        resume + lines
    }
}

/// The text of a command: its line breaks and percent signs are escaped.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a command's property: escapes the characters that end it, too.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Outputs for other jobs: the image, its digest, and the run state.
fn outputs(summary: &Summary) -> String {
    let read = |(name, value): &(String, String)| {
        matches!(name.as_str(), "image" | "digest").then(|| format!("{name}={}\n", value.replace('\n', " ")))
    };
    let run_state =
        Some(format!("run_state={}\n", summary.run_state)).filter(|_| !summary.run_state.is_empty());
    summary.facts.iter().filter_map(read).chain(run_state).collect()
}

/// Appends: another step of the job may have written before.
fn append(path: Option<&PathBuf>, text: &str) -> io::Result<()> {
    let Some(path) = path else { return Ok(()) };
    fs_err::OpenOptions::new().create(true).append(true).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Failed, FailedTest, Outcome, Row};
    use crate::exit::Exit;

    fn github() -> GitHub {
        GitHub::new(Verbosity::Normal, Some("/repository".into()), None, None, "0123456789abcdef".to_owned())
    }

    fn failure() -> Failed {
        Failed {
            step: Some("lint".to_owned()),
            message: "1 of 2 checks failed:\n  100 %".to_owned(),
            exit: Exit::CheckFailed,
            findings: Vec::new(),
            tests: Vec::new(),
            tail: Vec::new(),
            log: None,
            again: None,
            guide: None,
            deployment: None,
        }
    }

    #[test]
    fn nothing_but_our_own_lines_are_commands() {
        const HOSTILE: &str = "::add-mask::a\n  ::error::b\n##[group]c";
        let mut github = github();
        let words = || HOSTILE.to_owned();
        let failed = Failed {
            step: Some("lint".to_owned()),
            message: words(),
            exit: Exit::CheckFailed,
            findings: Vec::new(),
            tests: Vec::new(),
            tail: vec![words()],
            log: None,
            again: Some(words()),
            guide: None,
            deployment: None,
        };
        let finding = Finding::new(words(), 1, words());
        let row = Row {
            job: "test".to_owned(),
            step: "lint".to_owned(),
            outcome: Outcome::Skipped,
            milliseconds: 0,
            remark: words(),
        };
        let (step, outcome) = ("lint".to_owned(), Outcome::Passed);
        let printed: String = [
            Event::Started { title: words() },
            Event::Text { text: words() },
            Event::JobSkipped { job: "test".to_owned(), title: words(), reason: words() },
            Event::StepStarted { step: step.clone(), log: words() },
            Event::Command { line: words(), short: words() },
            Event::Output { line: words() },
            Event::Note { text: words() },
            Event::CheckSkipped { check: words(), reason: words() },
            Event::Progress(Progress { text: words(), ..Progress::default() }),
            Event::StepFinished { step, outcome, milliseconds: 1234 },
            Event::Note { text: words() },
            Event::Failed(failed.clone()),
            Event::Failed(Failed { findings: vec![finding], ..failed }),
            Event::Summary(Summary { rows: vec![row], ..Summary::default() }),
        ]
        .iter()
        .map(|event| github.text(event))
        .collect();
        // As the runner reads them: `src/Runner.Worker/ActionCommandManager.cs` and `ActionCommand.cs`.
        let mut stopped = false;
        let mut commands = Vec::new();
        for line in printed.lines() {
            let is_command = line.trim_start().starts_with("::") || line.contains("##[");
            match line {
                "::stop-commands::0123456789abcdef" if !stopped => stopped = true,
                "::0123456789abcdef::" => stopped = false,
                _ if is_command && !stopped => commands.push(line),
                _ => {}
            }
        }
        let escaped = "::add-mask::a%0A  ::error::b%0A##[group]c";
        let property = "%3A%3Aadd-mask%3A%3Aa%0A  %3A%3Aerror%3A%3Ab%0A##[group]c";
        assert_eq!(
            commands,
            [
                "::group::lint".to_owned(),
                "::endgroup::".to_owned(),
                format!("::error title=lint::{escaped}"),
                format!("::error file={property},line=1,title=lint::{escaped}"),
            ]
        );
        // Text printed by others, such as a panic, must not act as a command either.
        assert!(stopped, "{printed}");
    }

    #[test]
    fn a_step_is_a_group() {
        let mut github = github();
        let started = github.text(&Event::StepStarted { step: "lint".to_owned(), log: String::new() });
        let finished = github.text(&Event::StepFinished {
            step: "lint".to_owned(),
            outcome: Outcome::Passed,
            milliseconds: 1234,
        });
        assert_eq!(started, "::group::lint\n::stop-commands::0123456789abcdef\n");
        assert_eq!(finished, "  lint passed in 1.3 s\n::0123456789abcdef::\n::endgroup::\n");
        assert_eq!(github.text(&Event::Progress(Progress::default())), "");
    }

    #[test]
    fn places_become_annotations() {
        let mut failed = failure();
        let text = github().text(&Event::Failed(failed.clone()));
        assert!(text.ends_with("::error title=lint::1 of 2 checks failed:%0A  100 %25\n"), "{text}");
        failed.findings.push(Finding::new("a,b.rs", 3, "x: y"));
        let text = github().text(&Event::Failed(failed.clone()));
        assert!(text.ends_with("::error file=a%2Cb.rs,line=3,title=lint::x: y\n"), "{text}");
        // GitHub names files from the root of the checkout.
        let mut github = github();
        for (root, file) in [("/repository/back,end", "back%2Cend/a%2Cb.rs"), ("/elsewhere", "a%2Cb.rs")] {
            github.set_root(Path::new(root));
            let text = github.text(&Event::Failed(failed.clone()));
            assert!(text.ends_with(&format!("::error file={file},line=3,title=lint::x: y\n")), "{text}");
        }
        // A test without a location is a failure like the others.
        let named = |name: &str| FailedTest {
            name: name.to_owned(),
            message: "no".to_owned(),
            ..FailedTest::default()
        };
        failed.tests = vec![named("a"), named("b")];
        let text = github.text(&Event::Failed(failed));
        assert!(text.ends_with("::x: y\n::error title=lint::a: no\n::error title=lint::b: no\n"), "{text}");
    }

    #[test]
    fn the_last_of_ten_annotations_counts_the_others() {
        let findings = |count| (1..=count).map(|line| Finding::new("a.rs", line, "x")).collect();
        let lines = |findings| {
            let failed = Failed { findings, ..failure() };
            let annotations = github().annotations(&failed);
            annotations.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let ten = lines(findings(10));
        assert_eq!((ten.len(), &ten[9][..]), (10, "::error file=a.rs,line=10,title=lint::x"));
        let more = lines(findings(37));
        assert_eq!(more.len(), 10);
        assert_eq!(more[9], "::error file=a.rs,line=10,title=lint::x%0Aand 27 more: see the log of the step");
    }

    #[test]
    fn summaries_and_outputs_are_appended() {
        let dir = tempfile::tempdir().unwrap();
        let (summary, output) = (dir.path().join("summary"), dir.path().join("output"));
        fs_err::write(&summary, "before\n").unwrap();
        let mut github =
            GitHub::new(Verbosity::Normal, None, Some(summary.clone()), Some(output.clone()), String::new());
        let row = |outcome, remark: &str| Row {
            job: "build".to_owned(),
            step: "push".to_owned(),
            outcome,
            milliseconds: 150_000,
            remark: remark.to_owned(),
        };
        let facts = [("image", "acme/app:c0ffee"), ("digest", "sha256:00"), ("url", "https://x")];
        github
            .show(&Event::Summary(Summary {
                rehearsal: false,
                rows: vec![row(Outcome::Passed, ""), row(Outcome::Skipped, "a|b")],
                facts: facts.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
                run_state: r#"{"id":"run"}"#.to_owned(),
                review: Box::default(),
            }))
            .unwrap();
        let written = fs_err::read_to_string(&summary).unwrap();
        assert!(written.starts_with("before\n### Pipeline\n\n| job |"), "{written}");
        assert!(written.contains("| build | push | passed | 2 min 30 s |  |\n"), "{written}");
        assert!(written.contains("| build | push | skipped |  | a&#124;b |\n"), "{written}");
        assert_eq!(
            fs_err::read_to_string(&output).unwrap(),
            "image=acme/app:c0ffee\ndigest=sha256:00\nrun_state={\"id\":\"run\"}\n"
        );
    }
}
