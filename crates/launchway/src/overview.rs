//! `cargo xtask` without a command: the pipeline and the commands.

use clap::{Command, CommandFactory as _};

use crate::cli::Cli;
use crate::columns::columns;
use crate::context::Context;
use crate::table::PIPELINE;

/// The pipeline table, then every command with its first line of help.
pub(crate) fn text(ctx: &Context) -> String {
    let mut rows = vec![["job", "needs", "when", "steps", "variables"].map(str::to_owned)];
    for job in &PIPELINE {
        let steps: Vec<&str> = job.steps.iter().map(|step| step.name()).collect();
        rows.push([
            job.id.name().to_owned(),
            job.needs.map(|needs| needs.name().to_owned()).unwrap_or_default(),
            job.when.words(&ctx.config.branch),
            steps.join(", "),
            match ctx.config.required(job).len() {
                0 => "none".to_owned(),
                many => format!("{many}: see `cargo xtask doctor`"),
            },
        ]);
    }
    let mut text = columns(&rows);
    text.push('\n');
    let commands = Cli::command();
    text.push_str(&columns(&lines("cargo xtask", &commands)));
    text.push_str("\n`cargo xtask <command> --explain` prints what a command would do; `--help` lists the options and the exit codes.");
    text
}

/// The commands that do something, each with its first line of help.
fn lines(before: &str, commands: &Command) -> Vec<[String; 2]> {
    let line = |command: &Command| {
        let name = format!("{before} {}", command.get_name());
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
    use launchway_core::environment::Environment;

    #[test]
    fn shows_every_job_step_and_command() {
        let text = text(&Context::for_test(Path::new("/w"), Environment::default()));
        for job in &PIPELINE {
            assert!(text.lines().any(|line| line.starts_with(job.id.name())), "{text}");
            for step in job.steps {
                assert!(text.contains(&format!("cargo xtask {step}")), "{text}");
            }
        }
        assert!(text.contains("build   test   push to `main`"), "{text}");
        assert!(text.contains("cargo xtask rehearse"), "{text}");
        assert!(text.contains("cargo xtask secrets generate  Print a new random key"), "{text}");
    }
}
