//! The threshold of coverage that a service starts with: what its tests cover today.

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::findings::Found;
use crate::coverage::{Coverage, Lines};
use crate::executor::record::last_tests;
use crate::project::output;
use launchway_core::command::{Call, ended};
use launchway_core::file::write_whole;
use launchway_core::runner::Runner;

/// The line of the configuration, before and after the tests were measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Threshold {
    /// What the plan shows, and what is left if `init` does not get that far.
    #[default]
    ToMeasure,
    /// A whole percent that every crate reaches today, and the crate that is closest to it.
    Measured { percent: u64, weakest: String },
    /// The service has no tests.
    NoTests,
    /// Why the tests say nothing.
    Unmeasured(String),
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ToMeasure => f.write_str("coverage = 0  # until `init` has measured what the tests cover"),
            Self::Measured { percent, weakest } => {
                write!(f, "coverage = {percent}  # what the tests cover today of `{weakest}`, rounded down")
            }
            Self::NoTests => f.write_str("coverage = 0  # there are no tests yet"),
            Self::Unmeasured(reason) => {
                write!(
                    f,
                    "coverage = 0  # not measured, {reason}: raise it to what `cargo xtask test-coverage` reports"
                )
            }
        }
    }
}

impl Threshold {
    /// Why the tests are not run, if they are not.
    pub(super) fn skipped(services: &[&Found<&'static str>], no_rehearsal: bool) -> Option<Self> {
        let needed = services.first().map(|found| format!("the tests need {}", found.value));
        let reason = needed.or_else(|| no_rehearsal.then(|| "`--no-rehearsal` skips the tests".to_owned()));
        reason.map(Self::Unmeasured)
    }

    /// Runs the tests of the adopted service under coverage, as its first `ci` will.
    pub(super) fn measure(runner: &Runner, call: &Call) -> Result<Self> {
        let status = call.run(&runner.folder, &runner.interrupt, |line| runner.reporter.text(line))?;
        runner.interrupt.check()?;
        Ok(match status.code() {
            Some(0) => Self::weakest(&runner.folder)?,
            Some(1) => Self::Unmeasured("the tests fail".to_owned()),
            Some(3) => Self::Unmeasured("a tool or service that the tests need is missing".to_owned()),
            _ => Self::Unmeasured(format!("`{call}` {}", ended(status))),
        })
    }

    /// Reads what the tests have left.
    fn weakest(root: &Path) -> Result<Self> {
        if last_tests(&output(root).join("run.json")) == Some(0) {
            return Ok(Self::NoTests);
        }
        let lcov = output(root).join("coverage/lcov.info");
        let lines = Lines::read(root, &fs_err::read_to_string(&lcov)?)
            .with_context(|| format!("{} is not in the format of lcov", lcov.display()))?;
        let percents = lines.by_crate(root).into_iter().filter_map(|(name, coverage)| {
            let Coverage { lines, covered, .. } = coverage;
            Some((covered.saturating_mul(100).checked_div(lines)?, name))
        });
        Ok(match percents.min() {
            Some((percent, weakest)) => Self::Measured { percent, weakest },
            None => Self::Unmeasured("no crate has a line that can be covered".to_owned()),
        })
    }

    /// Replaces the line that was written before the tests ran.
    pub(super) fn write(&self, root: &Path) -> Result<()> {
        let path = root.join("Cargo.toml");
        let text = fs_err::read_to_string(&path)?;
        let text = text.replacen(&Self::ToMeasure.to_string(), &self.to_string(), 1);
        write_whole(&path, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line after a run of this many tests that left this lcov.
    fn after(tests: u64, lcov: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("Cargo.toml", Threshold::ToMeasure.to_string()),
            ("a/Cargo.toml", String::new()),
            ("b/Cargo.toml", String::new()),
            (
                "target/xtask/run.json",
                format!("{{\"tests\":{{\"passed\":{tests},\"failed\":0,\"skipped\":0}}}}"),
            ),
            ("target/xtask/coverage/lcov.info", lcov.to_owned()),
        ] {
            write_whole(&dir.path().join(path), text.as_bytes()).unwrap();
        }
        Threshold::weakest(dir.path()).unwrap().write(dir.path()).unwrap();
        fs_err::read_to_string(dir.path().join("Cargo.toml")).unwrap()
    }

    #[test]
    fn every_crate_reaches_the_threshold() {
        let lcov = "SF:a/x.rs\nDA:1,1\nDA:2,1\nSF:b/y.rs\nDA:1,1\nDA:2,0\nDA:3,4\n";
        assert_eq!(after(3, lcov), "coverage = 66  # what the tests cover today of `b`, rounded down");
        assert_eq!(
            after(3, "SF:a/x.rs\nDA:1,0\n"),
            "coverage = 0  # what the tests cover today of `a`, rounded down"
        );
        assert_eq!(after(0, lcov), "coverage = 0  # there are no tests yet");
        let none = after(3, "SF:a/x.rs\n");
        assert!(none.starts_with("coverage = 0  # not measured, no crate has a line"), "{none}");
    }

    #[test]
    fn a_skip_has_its_reason() {
        let postgres = Found::new("PostgreSQL", super::super::findings::Place::of("tests/api.rs"));
        let skipped = |services: &[_], no| Threshold::skipped(services, no).map(|it| it.to_string());
        assert_eq!(skipped(&[], false), None);
        assert!(
            skipped(&[], true).unwrap().contains("not measured, `--no-rehearsal` skips the tests: raise")
        );
        assert!(skipped(&[&postgres], true).unwrap().contains("not measured, the tests need PostgreSQL: "));
    }
}
