//! `cargo xtask` without a command: the pipeline and the commands.

use clap::{Command, CommandFactory as _};

use crate::cli::Cli;
use crate::columns::{columns, folded};
use crate::config::Config;
use crate::table::PIPELINE;

/// The pipeline table, then every command with its first line of help.
pub(crate) fn text(config: &Config) -> String {
    let mut rows = vec![["job", "needs", "when", "steps"].map(str::to_owned)];
    for job in &PIPELINE {
        let steps: Vec<&str> = job.steps.iter().map(|step| step.name()).collect();
        rows.push([
            job.id.name().to_owned(),
            job.needs.map(|needs| needs.name().to_owned()).unwrap_or_default(),
            job.when.words(&config.branch),
            steps.join(", "),
        ]);
    }
    let mut text = columns(&rows);
    text.push_str("\n`cargo xtask doctor` lists the variables of each job.\n\ncargo xtask …\n");
    for [name, about] in lines("", &Cli::command()) {
        // Text that is too long for its line continues below it.
        text.push_str(&folded(&format!("  {name:<18}"), 20, &about));
    }
    text.push_str("\n`cargo xtask <command> --explain` prints what a command would do, `--help` its\noptions. `cargo xtask --help` lists the exit codes.");
    text
}

/// The commands that do something, each with its first line of help.
fn lines(before: &str, commands: &Command) -> Vec<[String; 2]> {
    let line = |command: &Command| {
        let name = format!("{before} {}", command.get_name()).trim().to_owned();
        if command.has_subcommands() {
            return lines(&name, command);
        }
        vec![[name, command.get_about().map(ToString::to_string).unwrap_or_default()]]
    };
    commands.get_subcommands().flat_map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn shows_every_job_step_and_command() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture/Cargo.toml");
        let text = text(&Config::read(&manifest).unwrap());
        for job in &PIPELINE {
            assert!(text.lines().any(|line| line.starts_with(job.id.name())), "{text}");
            for step in job.steps {
                assert!(text.contains(&format!("\n  {step} ")), "{text}");
            }
        }
        assert!(text.contains("build   test   push to `main`"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("  secrets generate  Print a new random key"), "{text}");
    }
}
