//! Step: test-coverage. One test run under cargo-llvm-cov, then the reports and the threshold.
//!
//! Several machines can share the tests: each runs a shard, and another merges their coverage.

mod counts;
mod doctests;
mod measure;
mod merge;
mod nextest;
mod shard;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use launchway_report::Tests;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::coverage::{Coverage, Lines};
use crate::project::output;
use launchway_core::events::Finding;
use launchway_core::exit::{Exit, Failure};
use launchway_core::file::write_whole;
use launchway_core::runner::Runner;
use measure::{Measure, Measured};
use merge::{Merge, Merged};
use shard::Leave;
pub(crate) use shard::{Part, Shard};

/// What the step does.
#[derive(Debug, PartialEq)]
pub(crate) enum TestCoveragePlan {
    /// Runs all tests and compares their coverage with the threshold.
    Whole(Measure, Require),
    /// Runs a part of the tests and leaves its coverage for a merge.
    Shard(Measure, Leave),
    /// Merges the coverage of the shards and compares it with the threshold.
    Merge(Merge, Require),
}

/// The comparison with the threshold.
#[derive(Debug, PartialEq)]
pub(crate) struct Require {
    /// The required coverage of every crate, in percent of lines.
    threshold: f64,
    /// The report that shows them.
    report: PathBuf,
}

impl fmt::Display for TestCoveragePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(measure, require) => write!(f, "{measure}\n{require}"),
            Self::Shard(measure, leave) => write!(f, "{measure}\n{leave}"),
            Self::Merge(merge, require) => write!(f, "{merge}\n{require}"),
        }
    }
}

impl fmt::Display for Require {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "require at least {} % of every crate's lines", self.threshold)
    }
}

/// The result of a test run.
#[derive(Debug)]
pub(crate) struct Tested {
    /// Absent if no test executable printed a result.
    pub(crate) tests: Option<Tests>,
    /// Nothing for a shard, whose coverage means little by itself.
    pub(crate) result: Result<Option<CoverageRecord>>,
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

/// The folder of the reports.
fn folder(root: &Path) -> PathBuf {
    output(root).join("coverage")
}

/// Empties a folder: an earlier run's files must not pass for this one's.
fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs_err::remove_dir_all(folder)?;
    }
    Ok(fs_err::create_dir_all(folder)?)
}

/// The plan of the step for a part of the tests.
pub(crate) fn plan(ctx: &Context, part: &Part) -> Result<TestCoveragePlan> {
    let require =
        |report: &str| Require { threshold: ctx.config.coverage, report: folder(&ctx.root).join(report) };
    Ok(match part {
        Part::Whole => TestCoveragePlan::Whole(Measure::new(ctx, None), require("html/index.html")),
        Part::Shard(shard) => {
            TestCoveragePlan::Shard(Measure::new(ctx, Some(*shard)), Leave::new(ctx, *shard)?)
        }
        Part::Merge(folders) => TestCoveragePlan::Merge(Merge::new(ctx, folders)?, require("lcov.info")),
    })
}

impl TestCoveragePlan {
    pub(crate) fn run(&self, runner: &Runner) -> Tested {
        let measured = |measure: &Measure| {
            let mut measured = Measured::default();
            let result = measure.run(runner, &mut measured);
            if let Some(tests) = measured.tests() {
                runner.reporter.note(in_words(&tests));
            }
            (measured, result)
        };
        match self {
            Self::Whole(measure, require) => {
                let (measured, result) = measured(measure);
                let compared = result.and_then(|lines| require.compare(runner, &lines).map(Some));
                Tested { tests: measured.tests(), result: compared }
            }
            Self::Shard(measure, leave) => {
                let (measured, result) = match leave.clear() {
                    Ok(()) => measured(measure),
                    Err(error) => (Measured::default(), Err(error)),
                };
                let left =
                    result.and_then(|lines| leave.run(&runner.reporter, &measured, &lines)).map(|()| None);
                Tested { tests: measured.tests(), result: left }
            }
            Self::Merge(merge, require) => match merge.run(runner) {
                Ok(Merged { tests, lines }) => {
                    runner.reporter.note(in_words(&tests));
                    let written = empty(&folder(&runner.folder))
                        .and_then(|()| write_whole(&require.report, lines.to_lcov().as_bytes()));
                    let compared = written.and_then(|()| require.compare(runner, &lines).map(Some));
                    Tested { tests: Some(tests), result: compared }
                }
                Err(error) => Tested { tests: None, result: Err(error) },
            },
        }
    }
}

/// The counts of a run in words.
pub(crate) fn in_words(Tests { passed, failed, skipped }: &Tests) -> String {
    format!("{passed} tests passed, {failed} failed, {skipped} skipped")
}

impl Require {
    /// Compares every crate with the threshold: a total would hide a crate without tests behind a larger one.
    fn compare(&self, runner: &Runner, lines: &Lines) -> Result<CoverageRecord> {
        let Self { threshold, report } = self;
        let crates = lines.by_crate(&runner.folder);
        let mut below = Vec::new();
        for (name, coverage) in &crates {
            runner.reporter.note(format!("{name}: {coverage}"));
            let short = coverage.lines_short(*threshold);
            if short > 0 {
                let lines = if short == 1 { "line" } else { "lines" };
                below.push(format!("`{name}` is {short} {lines} short of {threshold} %: {coverage}"));
                report_worst_files(runner, coverage);
            }
        }
        let total = Coverage::sum(crates.values());
        runner.reporter.note(format!("total: {total}; report: {}", report.display()));
        if below.is_empty() {
            return Ok(CoverageRecord { lines: total.lines, covered: total.covered, threshold: *threshold });
        }
        let message = format!("coverage is below the threshold\n  {}", below.join("\n  "));
        Err(Failure::new(Exit::CheckFailed, message).into())
    }
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
