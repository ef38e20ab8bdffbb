//! Runs children visibly: shows their command lines, logs their output, and reports the locations in it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::command::{Call, ended};
use crate::events::{Count, Finding, Reporter, Unit};
use crate::exit::{Exit, Failure};
use crate::findings::Findings;
use crate::findings::failed_tests::FailedTests;
use crate::findings::nextest::{self, Ended};
use crate::interrupt::Interrupt;
use crate::plain::Printed;

/// What a part of the pipeline needs to run children: a folder, a reporter, and an interrupt.
#[derive(Clone)]
pub struct Runner {
    /// The folder that children run in.
    pub folder: PathBuf,
    /// Receives what happens.
    pub reporter: Reporter,
    /// Ends a child when the run is interrupted.
    pub interrupt: Interrupt,
}

impl Runner {
    /// Runs a child in [`Self::folder`]: shows its line, logs its output.
    ///
    /// Fails with [`Exit::CheckFailed`] unless the child succeeds, after reporting the locations in its output.
    pub fn check(&self, call: &Call) -> Result<()> {
        self.check_in(&self.folder, call)
    }

    /// [`Self::check`] in another folder.
    pub fn check_in(&self, folder: &Path, call: &Call) -> Result<()> {
        self.run(folder, call, &mut |_| {})
    }

    /// Like [`Self::check`], but `read` sees every line that the child prints.
    pub fn check_reading(&self, call: &Call, read: &mut dyn FnMut(&str)) -> Result<()> {
        self.run(&self.folder, call, read)
    }

    /// Counts the crates of cargo's progress bar; other bars have none.
    pub fn count_crates(&self, bar: &str) {
        if let Some(count) = compiled_so_far(bar) {
            self.reporter.count(count);
        }
    }

    fn run(&self, folder: &Path, call: &Call, read: &mut dyn FnMut(&str)) -> Result<()> {
        let short = call.short(folder);
        self.reporter.command(&call.to_string(), &short);
        let mut findings = Findings::default();
        let mut failed_tests = FailedTests::default();
        let mut tests = TestCount::default();
        let mut compiled = Compiled::default();
        let mut is_disk_full = false;
        let status = call.run_reading(folder, &self.interrupt, |printed| {
            let line = match printed {
                Printed::Line(line) => line,
                Printed::Bar(bar) => return self.count_crates(bar),
            };
            findings.read(folder, line);
            failed_tests.read(line);
            if let Some(count) = tests.read(line) {
                self.reporter.count(count);
            }
            compiled.read(line);
            read(line);
            is_disk_full |= line.contains("No space left on device (os error 28)");
            self.reporter.output(line);
            // A test without its real counterpart says so, and would otherwise count as passed.
            if let Some((check, reason)) = lacking(line) {
                self.reporter.skipped(check, reason);
            }
        })?;
        if !status.success() {
            self.reporter.keep_tail();
            findings.into_found(folder).into_iter().for_each(|finding| self.reporter.finding(finding));
            for test in failed_tests.into_tests(folder) {
                if let Some(place) = test.place.clone() {
                    let message = format!("{}: {}", test.name, place.message);
                    self.reporter.finding(Finding { message, ..place });
                }
                self.reporter.test_failed(test);
            }
            let (exit, why) =
                if is_disk_full { (Exit::Internal, ": the disk is full") } else { (Exit::CheckFailed, "") };
            return Err(Failure::new(exit, format!("`{short}` {}{why}", ended(status))).into());
        }
        self.reporter.drop_tail();
        if let Some(words) = compiled.words() {
            self.reporter.note(words);
        }
        Ok(())
    }
}

/// The test and what was missing in `SKIPPED: pushes: no docker-registry`; cargo-nextest indents the output of tests.
pub fn lacking(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("    ").unwrap_or(line).strip_prefix("SKIPPED: ")?.split_once(": ")
}

/// Cargo's progress: `    Building [====>      ] 88/152: serde, app(bin)`.
fn compiled_so_far(bar: &str) -> Option<Count> {
    let (done, total) = bar.trim_start().strip_prefix("Building [")?.split_once("] ")?.1.split_once('/')?;
    let total = total.split(':').next()?.trim().parse().ok()?;
    Some(Count { unit: Unit::Crates, done: done.trim().parse().ok()?, total: Some(total) })
}

/// How many tests have ended, out of how many.
#[derive(Debug, Default)]
struct TestCount {
    done: u64,
    /// Known to cargo-nextest alone: an executable of `cargo test` announces its own, as it starts.
    total: Option<u64>,
}

impl TestCount {
    fn read(&mut self, line: &str) -> Option<Count> {
        if let Some(number) = nextest::announced(line) {
            self.total = Some(number);
        } else if let Some((done, _)) = Ended::read(line).and_then(|ended| ended.progress) {
            self.done = done;
        } else if line.starts_with("test ") && line.contains(" ... ") {
            self.done += 1;
        } else {
            return None;
        }
        Some(Count { unit: Unit::Tests, done: self.done, total: self.total })
    }
}

/// How much of a cargo run was work and how much was reused.
#[derive(Debug, Default)]
struct Compiled {
    crates: usize,
    finished: bool,
}

impl Compiled {
    fn read(&mut self, line: &str) {
        let line = line.trim_start();
        self.crates += usize::from(["Compiling ", "Checking "].iter().any(|word| line.starts_with(word)));
        self.finished |= line.starts_with("Finished `");
    }

    /// `None` if the child was not cargo.
    fn words(&self) -> Option<String> {
        self.finished.then(|| match self.crates {
            0 => "nothing to compile".to_owned(),
            1 => "1 crate compiled, the rest reused".to_owned(),
            many => format!("{many} crates compiled"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Sink;

    fn runner() -> Runner {
        Runner {
            folder: PathBuf::from("/"),
            reporter: Reporter::new(Sink::Memory(Vec::new())),
            interrupt: Interrupt::default(),
        }
    }

    #[test]
    fn a_test_that_could_not_run_is_named() {
        let runner = runner();
        runner.check(&Call::new("echo").arg("SKIPPED: pushes: no docker-registry")).unwrap();
        let events = format!("{:?}", runner.reporter.events());
        assert!(
            events.contains(r#"CheckSkipped { check: "pushes", reason: "no docker-registry" }"#),
            "{events}"
        );
        assert_eq!(lacking("    SKIPPED: pushes: no registry"), Some(("pushes", "no registry")));
    }

    #[test]
    fn a_full_disk_is_not_a_failed_check() {
        let runner = runner();
        let says = |line: &str| Call::new("sh").arg("-c").arg(format!("echo '{line}'; exit 101"));
        let error = runner.check(&says("error: linking failed")).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::CheckFailed);
        let error = runner.check(&says("error: No space left on device (os error 28)")).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Internal);
        assert!(error.to_string().ends_with(": the disk is full"), "{error}");
    }

    #[test]
    fn crates_and_tests_are_counted() {
        let bar = |line| compiled_so_far(line).map(|count| count.to_string());
        assert_eq!(bar("    Building [=====>   ] 88/152: serde, app(bin)").unwrap(), "crates 88/152");
        assert_eq!(bar("    Building [         ] 0/1").unwrap(), "crates 0/1");
        assert_eq!(bar(" Downloading [  ] 1/2"), None);
        let mut tests = TestCount::default();
        let mut read = |line| tests.read(line).map(|count| count.to_string());
        // Counts the tests of one executable; others follow.
        assert_eq!(read("running 2 tests"), None);
        assert_eq!(read("test a ... ok").unwrap(), "tests 1");
        assert_eq!(read("test result: ok. 2 passed"), None);
        assert_eq!(read("test b - should panic ... FAILED").unwrap(), "tests 2");
        let mut tests = TestCount::default();
        let mut read = |line| tests.read(line).map(|count| count.to_string());
        assert_eq!(read("    Starting 6 tests across 2 binaries").unwrap(), "tests 0/6");
        assert_eq!(read("  TRY 1 FAIL [   0.5s] (───) app fails"), None);
        assert_eq!(read("        PASS [   0.1s] (3/6) app runs").unwrap(), "tests 3/6");
        assert_eq!(read("    running 1 test"), None);
    }

    #[test]
    fn cargo_says_how_much_it_compiled() {
        let read = |text: &str| {
            let mut compiled = Compiled::default();
            text.lines().for_each(|line| compiled.read(line));
            compiled.words()
        };
        let finished = "    Finished `dev` profile in 0.1s";
        assert_eq!(read("running 3 tests"), None);
        assert_eq!(read(finished).unwrap(), "nothing to compile");
        assert_eq!(
            read(&format!("    Checking a v1\n{finished}")).unwrap(),
            "1 crate compiled, the rest reused"
        );
        assert_eq!(
            read(&format!("   Compiling a v1\n   Compiling b v1\n{finished}")).unwrap(),
            "2 crates compiled"
        );
    }
}
