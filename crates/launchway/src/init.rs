//! `init`: adds the pipeline to a service's repository.
//!
//! Inspects everything first, shows one plan, and writes only what the plan shows; no file is overwritten.

mod baseline;
mod checks;
mod choose;
mod code;
mod compiled;
mod detect;
mod dockerfile;
mod findings;
mod github;
mod own_image;
mod packages;
mod plan;
mod port;
mod report;
mod repository;
mod routes;
mod settings;
mod surroundings;
mod tables;
mod test_services;
mod threshold;
mod variables;
mod write;
mod yaml;

#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::Result;

use crate::cli::Init;
use baseline::Baseline;
use detect::Findings;
use launchway_core::command::Call;
use launchway_core::events::Reporter;
use launchway_core::exit::{Exit, Failure};
use launchway_core::interrupt::Interrupt;
use launchway_core::runner::Runner;
use plan::{Origin, Plan};
use threshold::Threshold;

/// Inspects the repository and shows the plan; carries it out unless it is only explained.
pub(crate) fn run(options: &Init, explain: bool, reporter: &Reporter) -> Result<()> {
    let start = options.path.as_deref().unwrap_or(Path::new("."));
    let findings = detect::detect(start, options.package.as_deref(), options.binary.as_deref())?;
    reporter.text(report::text(&findings));
    let origin = Origin::of(options);
    let threshold =
        Threshold::skipped(&findings.missing_services(), options.no_rehearsal).unwrap_or_default();
    let unmeasured = Baseline { threshold: threshold.clone(), ..Baseline::default() };
    if !explain && findings.dirty {
        let message = "the tree has uncommitted changes: commit or stash them first, so that `git diff` shows only what `init` changed";
        return Err(Failure::new(Exit::Usage, message).into());
    }
    // Before anything that takes time.
    reporter.text(format!("\n{}", Plan::new(&findings, origin.clone(), &unmeasured)?));
    reporter.text(report::measures(&threshold));
    if explain {
        reporter.text("\nNothing was written: run it again without `--explain`.");
        return Ok(());
    }
    let runner = Runner {
        folder: findings.repository.root(),
        reporter: reporter.clone(),
        interrupt: Interrupt::install()?,
    };
    let baseline = Baseline::measure(&runner, &findings, threshold)?;
    let plan = Plan::new(&findings, origin, &baseline)?;
    reporter.text(baseline.to_string());
    write::write(&plan, &runner)?;
    reporter.text(write::note(&plan, &findings.repository.top));
    let tried = try_out(options, &findings, &plan, baseline.threshold, &runner);
    if tried.as_ref().is_err_and(|error| Exit::of(error) == Exit::Interrupted) {
        reporter.text("\nThe files are complete: go on with `cargo xtask doctor`, or undo them with git.");
    }
    tried
}

/// Runs what was written for the first time, and measures the tests.
fn try_out(
    options: &Init,
    findings: &Findings,
    plan: &Plan,
    mut threshold: Threshold,
    runner: &Runner,
) -> Result<()> {
    let reporter = &runner.reporter;
    // What is missing is up to the user, and stops nothing.
    shown(runner, &write::xtask("doctor"))?;
    if threshold == Threshold::ToMeasure {
        let call = write::xtask("test-coverage");
        reporter.text(format!("\n$ {call}"));
        threshold = Threshold::measure(runner, &call)?;
        threshold.write(&runner.folder)?;
        reporter.text(format!("\nwritten to Cargo.toml\n    | {threshold}"));
    }
    let rehearsed =
        options.no_rehearsal || shown(runner, &write::xtask("rehearse --job build --job deploy"))?;
    reporter.text(report::left(findings, plan, &threshold));
    if rehearsed {
        return Ok(());
    }
    let message = "the service is adopted, but its rehearsal does not pass yet\n  \
        If the program lacks a variable: name it in `deploy.environment`, and give it\n  \
        a value for this machine in `rehearse.environment`.\n  \
        Then run `cargo xtask rehearse --job build --job deploy`.";
    Err(Failure::new(Exit::CheckFailed, message).into())
}

/// Runs a command whose output is for the user; returns whether it succeeded.
fn shown(runner: &Runner, call: &Call) -> Result<bool> {
    runner.reporter.text(format!("\n$ {call}"));
    let status = call.run(&runner.folder, &runner.interrupt, |line| runner.reporter.text(line))?;
    Ok(status.success())
}
