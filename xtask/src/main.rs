//! `cargo xtask`: the pipeline that takes the service from commit to live.

mod attest;
mod canary;
mod cli;
mod command;
mod config;
mod context;
mod coverage;
mod dispatch;
mod doctor;
mod environment;
mod exit;
mod file;
mod findings;
mod git;
mod history;
mod http;
mod image;
mod interrupt;
mod overview;
mod pipeline;
mod plain;
mod registry;
mod rehearsal;
mod render;
mod report;
mod secret;
mod sentry;
mod sign;
mod steps;
#[cfg(test)]
mod testing;
mod tools;
mod turn;
mod workflow;
mod workspace;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;
use crate::exit::Exit;

fn main() -> ExitCode {
    if let Some(exit) = command::launched() {
        return exit;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // `--help` and `--version` arrive here too.
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let exit = if error.print().is_ok() { exit } else { Exit::Internal };
            return exit.into();
        }
    };
    dispatch::run(&cli).into()
}
