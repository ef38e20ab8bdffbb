//! How many tests passed, read from what libtest and cargo-nextest print.

use launchway_core::findings::nextest;
use launchway_core::runner::lacking;
use launchway_report::Tests;

/// The counts so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    found: Option<Tests>,
    /// Tests without their real counterpart, and what was missing: the test runner counts them as passed, we do not.
    pub(super) unable: Vec<(String, String)>,
    /// Tests that passed only on a later try, with the number of tries.
    pub(super) flaky: Vec<String>,
}

impl Counts {
    /// Reads one line, such as `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; …`.
    pub(super) fn read(&mut self, line: &str) {
        if let Some((test, reason)) = lacking(line) {
            self.unable.push((test.to_owned(), reason.to_owned()));
        } else if let Some(counted) = libtest(line).or_else(|| nextest(line)) {
            self.found = Some(sum(self.found, counted));
        } else if let Some((test, tries)) = nextest::flaky(line) {
            self.flaky.push(format!("{test} (try {tries})"));
        }
    }

    pub(super) fn failed(&self) -> u64 {
        self.found.map_or(0, |tests| tests.failed)
    }

    /// As the test runner counts.
    pub(super) fn counted(&self) -> Option<Tests> {
        self.found
    }

    /// As we count.
    pub(super) fn tests(&self) -> Option<Tests> {
        let unable = self.unable.len() as u64;
        self.found.map(|Tests { passed, failed, skipped }| Tests {
            passed: passed.saturating_sub(unable),
            failed,
            skipped: skipped + unable,
        })
    }
}

/// The sum of two counts, of which one may be missing.
pub(super) fn sum(one: Option<Tests>, other: Tests) -> Tests {
    let Tests { passed, failed, skipped } = one.unwrap_or(Tests { passed: 0, failed: 0, skipped: 0 });
    Tests {
        passed: passed.saturating_add(other.passed),
        failed: failed.saturating_add(other.failed),
        skipped: skipped.saturating_add(other.skipped),
    }
}

fn libtest(line: &str) -> Option<Tests> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |what: &str| {
        let counted = counts.split("; ").find_map(|part| part.strip_suffix(what));
        counted.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or_default()
    };
    Some(Tests { passed: count(" passed"), failed: count(" failed"), skipped: count(" ignored") })
}

fn nextest(line: &str) -> Option<Tests> {
    let nextest::Counted { passed, failed, skipped } = nextest::summary(line)?;
    Some(Tests { passed, failed, skipped })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> Counts {
        let mut counts = Counts::default();
        text.lines().for_each(|line| counts.read(line));
        counts
    }

    #[test]
    fn what_lacked_a_real_part_has_not_passed() {
        let text = "running 3 tests\nSKIPPED: pushes: no docker-registry\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n";
        assert_eq!(counted(text).tests(), Some(Tests { passed: 12, failed: 2, skipped: 2 }));
        assert_eq!(counted("nothing was tested").tests(), None);
    }

    #[test]
    fn nextest_is_counted_once_and_names_what_is_flaky() {
        let text = "\
        PASS [   0.026s] (1/3) app pushes
  stdout ───

    running 1 test
    test pushes ... ok

    test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 6 filtered out; finished in 0.00s

  stderr ───
    SKIPPED: pushes: no docker-registry

  TRY 1 FAIL [   0.305s] (───) app::it flaky
  TRY 2 PASS [   0.305s] (3/3) app::it flaky
────────────
     Summary [   0.277s] 3 tests run: 3 passed (1 flaky), 5 skipped
   FLAKY 2/2 [   0.014s] (3/3) app::it flaky
";
        let counts = counted(text);
        assert_eq!(counts.tests(), Some(Tests { passed: 2, failed: 0, skipped: 6 }));
        assert_eq!(counts.flaky, ["app::it flaky (try 2/2)"]);
    }
}
