//! The tests by cargo-nextest: how it is called, and the file with a line for each test.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::counts::Counts;
use super::shard::Shard;
use crate::context::Context;
use crate::tools::NEXTEST;
use launchway_core::command::Call;
use launchway_core::events::Reporter;
use launchway_core::file::{read_at_most, write_whole};

/// How cargo-nextest runs the tests.
#[derive(Debug, PartialEq)]
pub(super) struct Nextest {
    /// Our profile. Whatever it leaves open comes from the repository's `.config/nextest.toml`, including retries.
    settings: PathBuf,
    /// The report with a line for each test.
    junit: PathBuf,
    /// The pipeline's own tools, among which cargo finds cargo-nextest.
    tools: PathBuf,
    shard: Option<Shard>,
}

impl fmt::Display for Nextest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write {}: JUnit to {}", self.settings.display(), self.junit.display())
    }
}

impl Nextest {
    /// The size limit of the report.
    const MOST_JUNIT: u64 = 256 << 20;

    pub(super) fn new(tools: &Path, reports: &Path, shard: Option<Shard>) -> Self {
        Self {
            settings: tools.with_file_name("nextest.toml"),
            junit: reports.join("junit.xml"),
            tools: tools.join("bin"),
            shard,
        }
    }

    /// Adds our arguments to cargo-llvm-cov's call of cargo-nextest.
    pub(super) fn call(&self, ctx: &Context, llvm_cov: Call) -> Call {
        // A test without its real counterpart passes; only its output says that it was skipped.
        let shown = "--success-output immediate --failure-output immediate --status-level pass \
                     --final-status-level flaky --show-progress counter";
        let partition = self.shard.map(|shard| format!("slice:{shard}"));
        let call = llvm_cov
            .args(["--profile", "launchway", "--tool-config-file"])
            .arg(format!("launchway:{}", self.settings.display()))
            .args(shown.split_whitespace())
            .arg("--no-tests=pass")
            .args(partition.iter().flat_map(|partition| ["--partition", partition]));
        if NEXTEST.pinned(ctx.machine()).starts_with(&self.tools) {
            let others = ctx.environment.get("PATH").map(|path| format!(":{path}")).unwrap_or_default();
            call.env("PATH", format!("{}{others}", self.tools.display()))
        } else {
            call
        }
    }

    pub(super) fn write(&self) -> Result<()> {
        // A string of JSON is one of TOML.
        let junit = serde_json::to_string(&self.junit)?;
        let text = format!("[profile.launchway.junit]\npath = {junit}\n");
        write_whole(&self.settings, text.as_bytes())
    }

    /// Names the flaky tests and the report, and redacts the tests' output in the report.
    pub(super) fn conclude(&self, reporter: &Reporter, counts: &Counts) -> Result<()> {
        for test in &counts.flaky {
            reporter.note(format!("flaky: {test}"));
        }
        // There is none if the tests do not compile.
        if self.junit.is_file() {
            let text = read_at_most(&self.junit, Self::MOST_JUNIT)?;
            reporter.leave(&self.junit, &text)?;
            reporter.note(format!("each test with its time: {}", self.junit.display()));
        }
        Ok(())
    }
}
