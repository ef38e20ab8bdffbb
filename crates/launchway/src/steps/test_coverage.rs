//! Step: test-coverage. One test run under cargo-llvm-cov, then the reports and the threshold.
//!
//! Doctests are not counted: cargo-llvm-cov needs a nightly compiler for them.

mod counts;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use launchway_report::Tests;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::coverage::{self, Coverage};
use crate::project::ci_target;
use crate::services;
use crate::tools::{Found, LLVM_COV};
use counts::Counts;
use launchway_core::command::Call;
use launchway_core::events::Finding;
use launchway_core::exit::{Exit, Failure};
use launchway_core::runner::Runner;

/// What the step does: one test run, its reports, and the comparison with the threshold.
#[derive(Debug, PartialEq)]
pub(crate) struct TestCoveragePlan {
    /// Removes the profiles of earlier runs, which would count in this run's coverage.
    clean: Call,
    /// The services that tests need.
    services: Vec<services::Plan>,
    test: Call,
    /// JSON, lcov and HTML; written even if a test fails.
    reports: [Call; 3],
    /// Where the reports go.
    folder: PathBuf,
    /// The target folder, where cargo-llvm-cov stores its profiles.
    target: PathBuf,
    /// The required coverage of every crate, in percent of lines.
    threshold: f64,
}

impl fmt::Display for TestCoveragePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.clean)?;
        self.services.iter().try_for_each(|service| writeln!(f, "{service}"))?;
        writeln!(f, "{}", self.test)?;
        for report in &self.reports {
            writeln!(f, "{report}")?;
        }
        write!(f, "require at least {} % of every crate's lines in {}", self.threshold, self.json().display())
    }
}

/// The result of a test run.
#[derive(Debug)]
pub(crate) struct Tested {
    /// Absent if no test executable printed a result.
    pub(crate) tests: Option<Tests>,
    pub(crate) result: Result<CoverageRecord>,
}

/// What the run record keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CoverageRecord {
    pub(crate) lines: u64,
    pub(crate) covered: u64,
    pub(crate) threshold: f64,
}

impl fmt::Display for CoverageRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Coverage::of(self.lines, self.covered))
    }
}

pub(crate) fn plan(ctx: &Context) -> TestCoveragePlan {
    let found = LLVM_COV.find(ctx.machine());
    let folder = ctx.output().join("coverage");
    let llvm_cov = |line: &str| {
        let call = match &found {
            Found::Pinned(program) => Call::new(program.to_string_lossy()),
            // Preflight installs it there.
            Found::Other(_) | Found::Nowhere => {
                Call::new(ctx.output().join("tools/bin/cargo-llvm-cov").to_string_lossy())
            }
        };
        // Clippy uses the same folder: only the workspace's own crates are compiled differently.
        call.arg("llvm-cov")
            .args(line.split_whitespace())
            .env("CARGO_LLVM_COV_TARGET_DIR", ci_target(&ctx.root).to_string_lossy())
            .env_remove("CARGO_TARGET_DIR")
    };
    // A process that a test kills may leave a truncated profile; the others still count.
    let report = |line: &str, to: &Path| {
        llvm_cov(&format!("report --failure-mode all {line}")).arg(to.to_string_lossy())
    };
    TestCoveragePlan {
        clean: llvm_cov("clean --profraw-only --workspace"),
        services: services::plan(&ctx.root, &ctx.config.test.services),
        test: (ctx.config.test.environment.iter())
            .fold(llvm_cov("--no-report --no-fail-fast --locked --workspace"), |call, (name, value)| {
                call.env(name, value)
            }),
        reports: [
            report("--json --skip-functions --output-path", &folder.join(JSON)),
            report("--lcov --output-path", &folder.join(LCOV)),
            report("--html --output-dir", &folder),
        ],
        folder,
        target: ci_target(&ctx.root),
        threshold: ctx.config.coverage,
    }
}

const JSON: &str = "coverage.json";
const LCOV: &str = "lcov.info";

impl TestCoveragePlan {
    fn json(&self) -> PathBuf {
        self.folder.join(JSON)
    }

    pub(crate) fn run(&self, runner: &Runner) -> Tested {
        let mut counts = Counts::default();
        let result = self.measure(runner, &mut counts);
        let tests = counts.into_tests();
        if let Some(tests) = &tests {
            runner.reporter.note(in_words(tests));
        }
        Tested { tests, result }
    }

    fn measure(&self, runner: &Runner, counts: &mut Counts) -> Result<CoverageRecord> {
        // An earlier run's reports must not pass for this one's.
        if self.folder.exists() {
            fs_err::remove_dir_all(&self.folder)?;
        }
        fs_err::create_dir_all(&self.folder)?;
        runner.check(&self.clean)?;
        remove_merged_profiles(&self.target)?;
        let services = services::start(&self.services, runner)?;
        let mut compiles = true;
        let tested = runner.check_reading(&self.test, &mut |line| {
            compiles &= !line.starts_with("error: could not compile ");
            counts.read(line);
        });
        drop(services);
        if let Err(error) = tested {
            if Exit::of(&error) != Exit::CheckFailed {
                return Err(error);
            }
            if !compiles {
                return Err(Failure::new(Exit::CheckFailed, "the tests do not compile").into());
            }
            for report in &self.reports {
                // The tests' own failure is what counts.
                runner.check(report).ok();
            }
            runner.interrupt.check()?;
            runner.reporter.skipped("coverage", "the tests failed, so a figure would be meaningless");
            let message = match counts.failed() {
                0 => format!("a test executable did not run to completion: {error:#}"),
                1 => "1 test failed".to_owned(),
                many => format!("{many} tests failed"),
            };
            return Err(Failure::new(Exit::CheckFailed, message).into());
        }
        for report in &self.reports {
            runner.check(report)?;
        }
        compare(runner, &self.json(), &self.folder.join(LCOV), self.threshold)
    }
}

/// The counts of a run in words.
pub(crate) fn in_words(Tests { passed, failed, skipped }: &Tests) -> String {
    format!("{passed} tests passed, {failed} failed, {skipped} skipped")
}

/// If nothing compiles, cargo-llvm-cov would report on the last run's merged profile.
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

/// Compares every crate with the threshold: a total would hide a crate without tests behind a larger one.
fn compare(runner: &Runner, json: &Path, lcov: &Path, threshold: f64) -> Result<CoverageRecord> {
    let crates =
        coverage::read(&runner.folder, &fs_err::read_to_string(json)?, &fs_err::read_to_string(lcov)?)
            .with_context(|| {
                format!("{} is not in the format of cargo-llvm-cov {}", json.display(), LLVM_COV.version)
            })?;
    let mut below = Vec::new();
    for (name, coverage) in &crates {
        runner.reporter.note(format!("{name}: {coverage}"));
        let short = coverage.lines_short(threshold);
        if short > 0 {
            let lines = if short == 1 { "line" } else { "lines" };
            below.push(format!("`{name}` is {short} {lines} short of {threshold} %: {coverage}"));
            report_worst_files(runner, coverage);
        }
    }
    let total = Coverage::sum(crates.values());
    runner.reporter.note(format!(
        "total: {total}; report: {}",
        json.with_file_name("html").join("index.html").display()
    ));
    if below.is_empty() {
        return Ok(CoverageRecord { lines: total.lines, covered: total.covered, threshold });
    }
    Err(Failure::new(Exit::CheckFailed, format!("coverage is below the threshold\n  {}", below.join("\n  ")))
        .into())
}

fn report_worst_files(runner: &Runner, coverage: &Coverage) {
    for file in coverage.worst_files() {
        let ranges = file.uncovered_ranges();
        if let Some(line) = file.uncovered.first() {
            let message = format!("{} of {} lines not covered: {ranges}", file.uncovered.len(), file.lines);
            runner.reporter.finding(Finding::new(&file.path, *line, message).with_source(&runner.folder));
        }
    }
}

#[cfg(test)]
mod tests;
