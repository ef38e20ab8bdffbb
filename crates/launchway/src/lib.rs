//! The pipeline that takes a Rust web service from commit to live, as a library for the service's own `xtask`.

#[cfg(feature = "init")]
mod adopted;
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
#[cfg(feature = "init")]
mod init;
mod needs;
mod overview;
mod project;
mod registry;
#[cfg(feature = "rehearsal")]
mod rehearsal;
mod reuse;
mod run_state;
mod services;
mod sign;
mod steps;
mod table;
#[cfg(feature = "rehearsal")]
mod test_error;
#[cfg(test)]
mod testing;
mod timings;
mod tools;
mod turn;
mod workflow;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use crate::cli::Cli;
use launchway_core::command::{launched, withhold};
use launchway_core::exit::Exit;
use launchway_core::secret::Redactor;

/// Runs the command line of this process and returns its exit code. An `xtask` calls only this.
pub fn main() -> ExitCode {
    launched().unwrap_or_else(|| run("cargo xtask", std::env::args_os().collect()))
}

/// Runs `cargo launchway …`, as started by cargo, and returns its exit code.
///
/// `init` runs here; every other command runs in the workspace's own `xtask`, from any folder.
#[cfg(feature = "init")]
pub fn cargo_main() -> ExitCode {
    if let Some(exit) = launched() {
        return exit;
    }
    let mut words: Vec<OsString> = std::env::args_os().collect();
    // Cargo passes the name of the subcommand as the first argument.
    if words.get(1).is_some_and(|word| word == "launchway") {
        words.remove(1);
    }
    match adopted::xtask(&words) {
        Some(exit) => exit,
        None => run("cargo launchway", words),
    }
}

fn run(name: &'static str, words: Vec<OsString>) -> ExitCode {
    withhold(table::variable_names().map(str::to_owned), Redactor::default());
    let parsed = Cli::command().name(name).bin_name(name).try_get_matches_from(words);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        // `--help` and `--version` end up here too.
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let exit = if error.print().is_ok() { exit } else { Exit::Internal };
            return exit.into();
        }
    };
    dispatch::run(&cli).into()
}
