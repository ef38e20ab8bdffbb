//! A run of tests under cargo-llvm-cov, with the reports of what it covered.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use launchway_report::Tests;

use super::counts::{Counts, sum};
use super::nextest::Nextest;
use super::{doctests, empty, folder, shard::Shard};
use crate::config::TestRunner;
use crate::context::Context;
use crate::coverage::Lines;
use crate::project::ci_target;
use crate::services;
use crate::tools::LLVM_COV;
use launchway_core::command::Call;
use launchway_core::exit::{Exit, Failure};
use launchway_core::runner::Runner;

/// One run of tests and its reports.
#[derive(Debug, PartialEq)]
pub(crate) struct Measure {
    /// Where cargo-nextest runs the tests.
    pub(super) nextest: Option<Nextest>,
    /// Removes the profiles of earlier runs, which would count in this run's coverage.
    pub(super) clean: Call,
    /// What tests talk to.
    pub(super) services: Vec<services::Plan>,
    pub(super) test: Call,
    /// Not measured; absent if no library can have any.
    pub(super) doctests: Option<Call>,
    /// lcov and, for all tests, HTML; written even if a test fails.
    pub(super) reports: Vec<Call>,
    /// Where the reports go.
    pub(super) folder: PathBuf,
    /// The target folder, where cargo-llvm-cov stores its profiles.
    pub(super) target: PathBuf,
}

/// The results of the tests of a run.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) counts: Counts,
    pub(super) doctests: Counts,
}

impl Measured {
    /// Absent if no test executable printed a result.
    pub(super) fn tests(&self) -> Option<Tests> {
        match (self.counts.tests(), self.doctests.tests()) {
            (tests, Some(doctests)) => Some(sum(tests, doctests)),
            (tests, None) => tests,
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(nextest) = &self.nextest {
            writeln!(f, "{nextest}")?;
        }
        writeln!(f, "{}", self.clean)?;
        self.services.iter().try_for_each(|service| writeln!(f, "{service}"))?;
        writeln!(f, "{}", self.test)?;
        let doctests = self.doctests.as_ref().map(Call::to_string);
        write!(f, "{}", doctests.as_deref().unwrap_or("no doctests: no library's documentation has code"))?;
        self.reports.iter().try_for_each(|report| write!(f, "\n{report}"))
    }
}

const LCOV: &str = "lcov.info";

impl Measure {
    /// A run of all tests, or of one shard. The first shard runs the doctests; a shard has no HTML report.
    pub(super) fn new(ctx: &Context, shard: Option<Shard>) -> Self {
        let folder = folder(&ctx.root);
        let llvm_cov = |line: &str| {
            Call::new(LLVM_COV.pinned(ctx.machine()).to_string_lossy())
                .arg("llvm-cov")
                .args(line.split_whitespace())
                // Clippy uses the same folder: only the workspace's own crates are compiled differently.
                .env("CARGO_LLVM_COV_TARGET_DIR", ci_target(&ctx.root).to_string_lossy())
                .env_remove("CARGO_TARGET_DIR")
        };
        // A process that a test kills may leave a truncated profile; the others still count.
        let report = |line: &str, to: &Path| {
            llvm_cov(&format!("report --failure-mode all {line}")).arg(to.to_string_lossy())
        };
        let nextest = (ctx.config.test.runner == TestRunner::Nextest)
            .then(|| Nextest::new(&ctx.output().join("tools"), &folder, shard));
        let test = "--no-report --no-fail-fast --locked --workspace";
        let test = match &nextest {
            Some(nextest) => nextest.call(ctx, llvm_cov(&format!("nextest {test}"))),
            None => llvm_cov(test),
        };
        let lcov = report("--lcov --output-path", &folder.join(LCOV));
        let html = shard.is_none().then(|| report("--html --output-dir", &folder));
        let has_doctests = shard.is_none_or(Shard::is_first);
        let doctests = has_doctests.then(|| doctests::call(&ctx.root, &ci_target(&ctx.root))).flatten();
        // Later ones win.
        let with_variables =
            |call: Call| call.envs(&ctx.config.build.environment).envs(&ctx.config.test.environment);
        Self {
            nextest,
            clean: llvm_cov("clean --profraw-only --workspace"),
            services: services::plan(&ctx.root, &ctx.config.test.services),
            test: with_variables(test),
            doctests: doctests.map(with_variables),
            reports: [lcov].into_iter().chain(html).collect(),
            folder,
            target: ci_target(&ctx.root),
        }
    }

    pub(super) fn run(&self, runner: &Runner, measured: &mut Measured) -> Result<Lines> {
        empty(&self.folder)?;
        if let Some(nextest) = &self.nextest {
            nextest.write()?;
        }
        runner.check(&self.clean)?;
        remove_merged_profiles(&self.target)?;
        let services = services::start(&self.services, runner)?;
        let mut compiles = true;
        let run = |call: &Call, counts: &mut Counts, compiles: &mut bool| {
            let result = runner.check_reading(call, &mut |line| {
                *compiles &= !line.starts_with("error: could not compile ");
                counts.read(line);
            });
            match result {
                Err(error) if Exit::of(&error) == Exit::CheckFailed => Ok(Some(error)),
                other => other.map(|()| None),
            }
        };
        let tested = run(&self.test, &mut measured.counts, &mut compiles)?;
        if let Some(nextest) = &self.nextest {
            nextest.conclude(&runner.reporter, &measured.counts)?;
        }
        let documented = match &self.doctests {
            Some(call) if compiles => run(call, &mut measured.doctests, &mut compiles)?,
            _ => None,
        };
        drop(services);
        if !compiles {
            return Err(Failure::new(Exit::CheckFailed, "the tests do not compile").into());
        }
        if let Some(error) = tested.or(documented) {
            for report in &self.reports {
                // The tests' own failure is what counts.
                runner.check(report).ok();
            }
            runner.interrupt.check()?;
            runner.reporter.skipped("coverage", "the tests failed, so a figure would be meaningless");
            let message = match measured.counts.failed() + measured.doctests.failed() {
                0 => format!("a test executable did not run to completion: {error:#}"),
                1 => "1 test failed".to_owned(),
                many => format!("{many} tests failed"),
            };
            return Err(Failure::new(Exit::CheckFailed, message).into());
        }
        for report in &self.reports {
            runner.check(report)?;
        }
        let lcov = self.folder.join(LCOV);
        Lines::read(&runner.folder, &fs_err::read_to_string(&lcov)?).with_context(|| {
            format!("{} is not in the format of cargo-llvm-cov {}", lcov.display(), LLVM_COV.version)
        })
    }
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
