//! The pipeline that takes a Rust web service from commit to live, as a library for the service's own `xtask`.

mod attestation;
mod cli;
mod columns;
mod config;
mod context;
mod coverage;
mod dispatch;
mod doctor;
mod executor;
mod git;
mod history;
mod init;
mod needs;
mod overview;
mod registry;
mod rehearsal;
mod reuse;
mod run_state;
mod sentry;
mod sign;
mod steps;
mod table;
mod test_error;
#[cfg(test)]
mod testing;
mod timings;
mod tools;
mod turn;
mod workflow;
mod workspace;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;
use launchway_core::command::{launched, withhold};
use launchway_core::exit::Exit;
use launchway_core::secret::Redactor;

/// Runs the command line of this process and returns its exit code: an `xtask` calls it and does nothing else.
pub fn main() -> ExitCode {
    if let Some(exit) = launched() {
        return exit;
    }
    withhold(table::variable_names().map(str::to_owned), Redactor::default());
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
