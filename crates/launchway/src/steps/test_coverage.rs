//! Step: test-coverage. The one test run, under cargo-llvm-cov, then the reports and the gate.
//!
//! Doctests are not counted: cargo-llvm-cov needs a nightly compiler for them.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::context::Context;
use crate::coverage::{self, Coverage};
use crate::tools::{Found, LLVM_COV};
use launchway_core::command::Call;
use launchway_core::events::Finding;
use launchway_core::exit::{Exit, Failure};

/// One action of the step.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// Removes what an earlier run measured: it would count in this one's figure.
    Clean(Call),
    /// The tests; the reports are written also when one of them fails.
    Test(Call),
    Report(Call),
    /// Every crate's share of covered lines against the floor, in percent.
    Gate {
        json: PathBuf,
        lcov: PathBuf,
        floor: f64,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean(call) | Self::Test(call) | Self::Report(call) => write!(f, "{call}"),
            Self::Gate { json, floor, .. } => {
                write!(f, "require at least {floor} % of every crate's lines in {}", json.display())
            }
        }
    }
}

/// What the run record keeps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct CoverageRecord {
    pub(crate) lines: u64,
    pub(crate) covered: u64,
    pub(crate) floor: f64,
}

impl fmt::Display for CoverageRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Coverage::of(self.lines, self.covered))
    }
}

pub(crate) fn plan(ctx: &Context) -> Vec<Action> {
    let found = LLVM_COV.find(ctx);
    let folder = ctx.output().join("coverage");
    let (json, lcov) = (folder.join("coverage.json"), folder.join("lcov.info"));
    let llvm_cov = |line: &str| {
        let call = match &found {
            Found::Pinned(program) => Call::new(program.to_string_lossy()),
            // Before the step runs it is installed there.
            Found::Other(_) | Found::Nowhere => {
                Call::new(ctx.output().join("tools/bin/cargo-llvm-cov").to_string_lossy())
            }
        };
        // The folder is the one that clippy uses: only the workspace's own crates are compiled differently.
        call.arg("llvm-cov")
            .args(line.split_whitespace())
            .env("CARGO_LLVM_COV_TARGET_DIR", ctx.ci_target().to_string_lossy())
            .env_remove("CARGO_TARGET_DIR")
    };
    // A process that a test kills may leave a profile that is cut short; the others count all the same.
    let report = |line: &str| llvm_cov(&format!("report --failure-mode all {line}"));
    let path = |path: &Path| path.to_string_lossy().into_owned();
    vec![
        Action::Clean(llvm_cov("clean --profraw-only --workspace")),
        Action::Test(llvm_cov("--no-report --no-fail-fast --locked --workspace")),
        Action::Report(report("--json --skip-functions --output-path").arg(path(&json))),
        Action::Report(report("--lcov --output-path").arg(path(&lcov))),
        Action::Report(report("--html --output-dir").arg(path(&folder))),
        Action::Gate { json, lcov, floor: ctx.config.coverage },
    ]
}

pub(crate) fn run(ctx: &Context, actions: &[Action]) -> Result<CoverageRecord> {
    let folder = ctx.output().join("coverage");
    // What an earlier run left must not pass for this one's.
    if folder.exists() {
        fs_err::remove_dir_all(&folder)?;
    }
    fs_err::create_dir_all(&folder)?;
    let mut failed = None;
    let mut record = None;
    for action in actions {
        match action {
            Action::Clean(call) => {
                ctx.check(call)?;
                remove_merged_profiles(&ctx.ci_target())?;
            }
            Action::Test(call) => match ctx.check(call) {
                Err(error) if Exit::of(&error) == Exit::CheckFailed => {
                    let message = format!("the tests failed, or do not compile: {error:#}");
                    failed = Some(Failure::new(Exit::CheckFailed, message).into());
                }
                result => result?,
            },
            Action::Report(call) => {
                let written = ctx.check(call);
                // Without a single object to read there is no report; the tests' own failure is the one to tell.
                if failed.is_none() {
                    written?;
                }
            }
            Action::Gate { .. } if failed.is_some() => {
                ctx.reporter.skipped("coverage", "the tests failed, so the figure would mean nothing");
            }
            Action::Gate { json, lcov, floor } => record = Some(gate(ctx, json, lcov, *floor)?),
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    record.context("the plan has no gate")
}

/// When nothing compiles, cargo-llvm-cov would make its reports of the last run's merged profile.
fn remove_merged_profiles(target: &Path) -> Result<()> {
    if !target.is_dir() {
        return Ok(());
    }
    for entry in fs_err::read_dir(target)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "profdata") {
            fs_err::remove_file(path)?;
        }
    }
    Ok(())
}

/// Holds every crate against the floor; a total hides a crate without tests behind a larger one.
fn gate(ctx: &Context, json: &Path, lcov: &Path, floor: f64) -> Result<CoverageRecord> {
    let crates = coverage::read(&ctx.root, &fs_err::read_to_string(json)?, &fs_err::read_to_string(lcov)?)
        .with_context(|| {
            format!("{} is not what cargo-llvm-cov {} writes", json.display(), LLVM_COV.version)
        })?;
    let mut below = Vec::new();
    for (name, coverage) in &crates {
        ctx.reporter.note(format!("{name}: {coverage}"));
        let short = coverage.lines_short(floor);
        if short > 0 {
            let lines = if short == 1 { "line" } else { "lines" };
            below.push(format!("`{name}` is {short} {lines} short of {floor} %: {coverage}"));
            tell_worst_files(ctx, coverage);
        }
    }
    let total = Coverage::sum(crates.values());
    ctx.reporter.note(format!(
        "total: {total}; report: {}",
        json.with_file_name("html").join("index.html").display()
    ));
    if below.is_empty() {
        return Ok(CoverageRecord { lines: total.lines, covered: total.covered, floor });
    }
    Err(Failure::new(Exit::CheckFailed, format!("coverage is below the floor\n  {}", below.join("\n  ")))
        .into())
}

fn tell_worst_files(ctx: &Context, coverage: &Coverage) {
    for file in coverage.worst_files() {
        let ranges = file.uncovered_ranges();
        ctx.reporter.output(&format!(
            "  {}: {} of {} lines not covered: {ranges}",
            file.path,
            file.uncovered.len(),
            file.lines
        ));
        if let Some(line) = file.uncovered.first() {
            let message = format!("{} lines not covered: {ranges}", file.uncovered.len());
            ctx.reporter.finding(Finding { file: file.path.clone(), line: *line, message });
        }
    }
}

#[cfg(test)]
mod tests;
