//! GitHub Actions: a group a step, annotations, a job summary, step outputs.
//!
//! The commands are those of <https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;

use super::terminal::{Look, Terminal, seconds};
use super::{Event, Finding, Outcome, Summary};

/// The reporter on GitHub.
#[derive(Debug)]
pub(crate) struct GitHub {
    plain: Terminal,
    /// `GITHUB_STEP_SUMMARY`: Markdown is appended.
    summary: Option<PathBuf>,
    /// `GITHUB_OUTPUT`: `name=value` lines are appended.
    output: Option<PathBuf>,
    /// While a child prints, its lines are not commands; this word makes them so again. Nobody can guess it.
    token: String,
}

impl GitHub {
    /// GitHub drops a summary over 1 MiB as a whole.
    const LONGEST_SUMMARY: usize = 1_000_000;

    /// `token` is a random word of at least 16 characters.
    pub(crate) fn new(summary: Option<PathBuf>, output: Option<PathBuf>, token: String) -> Self {
        Self { plain: Terminal::new(false, Look::default()), summary, output, token }
    }

    pub(super) fn show(&mut self, event: &Event) -> io::Result<()> {
        let text = self.text(event);
        let mut stdout = io::stdout().lock();
        let mut written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        if let Event::Summary(summary) = event {
            for (file, text) in [(&self.summary, markdown(summary)), (&self.output, outputs(summary))] {
                written = written.and(append(file.as_ref(), &text));
            }
        }
        written
    }

    fn text(&self, event: &Event) -> String {
        match event {
            Event::StepStarted { step, .. } => format!("::group::{step}\n::stop-commands::{}\n", self.token),
            Event::StepFinished { .. } => {
                format!("{}::{}::\n::endgroup::\n", self.plain.text(event), self.token)
            }
            Event::Output { line } => format!("{line}\n"),
            // A log grows; nothing in it is written over.
            Event::Progress { .. } => String::new(),
            Event::Failed(failed) => {
                let title = failed.step.map_or("cargo xtask", |step| step.name());
                let mut text = self.plain.text(event);
                if failed.findings.is_empty() {
                    text = text + "::error title=" + title + "::" + &data(&failed.message) + "\n";
                }
                failed.findings.iter().fold(text, |text, finding| text + &annotation(title, finding))
            }
            _ => self.plain.text(event),
        }
    }
}

fn annotation(title: &str, Finding { file, line, message }: &Finding) -> String {
    format!("::error file={},line={line},title={}::{}\n", property(file), property(title), data(message))
}

/// The text of a command: its line breaks and percent signs are escaped.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a command's property: also the characters that end it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn markdown(summary: &Summary) -> String {
    let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
    let mut text = String::from("| job | step | outcome | time | |\n|---|---|---|--:|---|\n");
    for row in &summary.rows {
        let time = if row.outcome == Outcome::Skipped { String::new() } else { seconds(row.milliseconds) };
        // Writing to a string cannot fail.
        writeln!(
            text,
            "| {} | {} | {} | {time} | {} |",
            row.job,
            row.step,
            row.outcome.word(),
            cell(&row.remark)
        )
        .ok();
    }
    text.push('\n');
    for (name, value) in &summary.facts {
        writeln!(text, "- {name}: `{value}`").ok();
    }
    text.push('\n');
    if text.len() > GitHub::LONGEST_SUMMARY { String::new() } else { text }
}

/// What other jobs may read: the image, its digest, and what the run has done so far.
fn outputs(summary: &Summary) -> String {
    let read = |(name, value): &(String, String)| {
        matches!(name.as_str(), "image" | "digest").then(|| format!("{name}={}\n", value.replace('\n', " ")))
    };
    let handover = Some(format!("handover={}\n", summary.handover)).filter(|_| !summary.handover.is_empty());
    summary.facts.iter().filter_map(read).chain(handover).collect()
}

/// Appends: another step of the job may have written before.
fn append(path: Option<&PathBuf>, text: &str) -> io::Result<()> {
    let Some(path) = path else { return Ok(()) };
    fs_err::OpenOptions::new().create(true).append(true).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::pipeline::{JobId, StepId};
    use crate::report::{Failed, Row};

    fn github() -> GitHub {
        GitHub::new(None, None, "0123456789abcdef".to_owned())
    }

    #[test]
    fn a_child_cannot_give_commands() {
        let github = github();
        let started = github.text(&Event::StepStarted { step: StepId::Lint, log: PathBuf::new() });
        let finished = github.text(&Event::StepFinished {
            step: StepId::Lint,
            outcome: Outcome::Passed,
            milliseconds: 1234,
        });
        assert_eq!(started, "::group::lint\n::stop-commands::0123456789abcdef\n");
        assert_eq!(finished, "  lint passed in 1.3 s\n::0123456789abcdef::\n::endgroup::\n");
        assert_eq!(github.text(&Event::Progress { text: "50 %".to_owned() }), "");
    }

    #[test]
    fn places_become_annotations() {
        let mut failed = Failed {
            step: Some(StepId::Lint),
            message: "1 of 2 checks failed:\n  100 %".to_owned(),
            exit: Exit::CheckFailed,
            findings: Vec::new(),
            tail: Vec::new(),
            log: None,
            again: None,
        };
        let text = github().text(&Event::Failed(failed.clone()));
        assert!(text.ends_with("::error title=lint::1 of 2 checks failed:%0A  100 %25\n"), "{text}");
        failed.findings.push(Finding { file: "a,b.rs".to_owned(), line: 3, message: "x: y".to_owned() });
        let text = github().text(&Event::Failed(failed));
        assert!(text.ends_with("::error file=a%2Cb.rs,line=3,title=lint::x: y\n"), "{text}");
    }

    #[test]
    fn summaries_and_outputs_are_appended() {
        let dir = tempfile::tempdir().unwrap();
        let (summary, output) = (dir.path().join("summary"), dir.path().join("output"));
        fs_err::write(&summary, "before\n").unwrap();
        let mut github = GitHub::new(Some(summary.clone()), Some(output.clone()), String::new());
        let row = |outcome, remark: &str| Row {
            job: JobId::Build,
            step: StepId::Push,
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
                handover: r#"{"id":"run"}"#.to_owned(),
            }))
            .unwrap();
        let written = fs_err::read_to_string(&summary).unwrap();
        assert!(written.starts_with("before\n| job |"), "{written}");
        assert!(written.contains("| build | push | passed | 2 min 30 s |  |\n"), "{written}");
        assert!(written.contains("| build | push | skipped |  | a\\|b |\n"), "{written}");
        assert_eq!(
            fs_err::read_to_string(&output).unwrap(),
            "image=acme/app:c0ffee\ndigest=sha256:00\nhandover={\"id\":\"run\"}\n"
        );
    }
}
