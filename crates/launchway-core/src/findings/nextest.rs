//! What cargo-nextest prints of tests when it shows every test and what each printed.

/// The end of a test, or of one try of it: `  TRY 2 FAIL [   0.305s] (6/6) app::it runs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended<'a> {
    /// `PASS`, `FAIL`, `SIGABRT`, `FLAKY 2/2`, …
    status: &'a str,
    /// How many tests have ended and how many will, once no other try follows.
    pub(crate) progress: Option<(u64, u64)>,
    /// nextest's name of the test program.
    pub(crate) program: &'a str,
    pub(crate) test: &'a str,
}

impl<'a> Ended<'a> {
    pub(crate) fn read(line: &'a str) -> Option<Self> {
        let (status, rest) = line.trim_start().split_once(" [")?;
        let (seconds, rest) = rest.split_once("] (")?;
        let (progress, rest) = rest.split_once(") ")?;
        let (program, test) = rest.split_once(' ')?;
        let is_status = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || " /-".contains(c);
        let is_time = seconds.trim_start_matches(['>', ' ']).ends_with('s');
        if !status.chars().all(is_status) || !is_time {
            return None;
        }
        let numbers = progress.split_once('/').map(|(done, total)| (done.trim().parse(), total.parse()));
        let progress = numbers.and_then(|(done, total)| Some((done.ok()?, total.ok()?)));
        Some(Self { status, progress, program, test })
    }

    /// Whether the try failed: by an assertion, a signal or its time.
    pub(crate) fn has_failed(&self) -> bool {
        let word = self.status.rsplit(' ').next().unwrap_or_default();
        !self.status.starts_with("FLAKY ") && !matches!(word, "PASS" | "LEAK" | "SLOW" | "SKIP")
    }
}

/// How many tests passed, failed and were skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Those that passed at last.
    pub passed: u64,
    /// Those that failed, by whatever cause.
    pub failed: u64,
    /// Those that were listed and not run: ignored, or left to another partition.
    pub skipped: u64,
}

/// Reads `     Summary [   0.863s] 6/9 tests run: 5 passed (1 flaky), 1 failed, 1 timed out, 1 skipped`.
pub fn summary(line: &str) -> Option<Counted> {
    let (_, counts) = line.trim_start().strip_prefix("Summary [")?.split_once("] ")?;
    let (_, counts) = counts.split_once(" run: ")?;
    let mut counted = Counted { passed: 0, failed: 0, skipped: 0 };
    // What is in parentheses has commas of its own.
    let plain: String = counts.split('(').map(|part| part.rsplit(')').next().unwrap_or_default()).collect();
    for part in plain.split(',') {
        let (number, what) = part.trim().split_once(' ')?;
        let number: u64 = number.parse().ok()?;
        match what.trim() {
            "passed" => counted.passed += number,
            "skipped" => counted.skipped += number,
            _ => counted.failed += number,
        }
    }
    Some(counted)
}

/// The test that passed only when it was tried again, with `2/3`: the second of three tries.
pub fn flaky(line: &str) -> Option<(String, &str)> {
    let Ended { status, program, test, .. } = Ended::read(line)?;
    Some((format!("{program} {test}"), status.strip_prefix("FLAKY ")?))
}

/// How many tests will run: `    Starting 6 tests across 2 binaries (1 test skipped)`.
pub(crate) fn announced(line: &str) -> Option<u64> {
    let (number, rest) = line.trim_start().strip_prefix("Starting ")?.split_once(" test")?;
    rest.contains(" across ").then(|| number.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_test_is_read() {
        let ended = |line| Ended::read(line).unwrap();
        let last = ended("  TRY 2 FAIL [   0.305s] (  6/106) app::it runs");
        assert_eq!((last.program, last.test, last.progress), ("app::it", "runs", Some((6, 106))));
        for line in [
            "        FAIL [   0.305s] (6/6) app fails",
            "  TRY 1 FAIL [   0.305s] (───) app fails",
            "     SIGABRT [   0.305s] (6/6) app fails",
            "     TIMEOUT [ 120.305s] (6/6) app fails",
        ] {
            assert!(ended(line).has_failed(), "{line}");
        }
        for line in [
            "        PASS [   0.026s] (1/2) app runs",
            "        LEAK [   0.026s] (1/2) app runs",
            "  TRY 2 PASS [   0.026s] (1/2) app runs",
            "        SLOW [>  60.000s] (───) app runs",
            "   FLAKY 2/3 [   0.014s] (1/6) app runs",
        ] {
            assert!(!ended(line).has_failed(), "{line}");
        }
        assert_eq!(flaky("   FLAKY 2/3 [   0.014s] (1/6) app runs"), Some(("app runs".to_owned(), "2/3")));
        for line in
            ["test a ... ok", "error [1] (2) three four", "     Summary [   0.1s] 6 tests run: 6 passed"]
        {
            assert_eq!(Ended::read(line), None);
        }
    }

    #[test]
    fn the_summary_is_read() {
        let counted =
            |line| summary(line).map(|Counted { passed, failed, skipped }| (passed, failed, skipped));
        assert_eq!(
            counted("     Summary [   0.863s] 6 tests run: 5 passed (1 slow, 1 flaky), 1 failed, 1 skipped"),
            Some((5, 1, 1))
        );
        let line = "     Summary [   0.863s] 3/9 tests run: 0 passed, 1 failed, 1 timed out, 1 exec failed, 6 skipped";
        assert_eq!(counted(line), Some((0, 3, 6)));
        assert_eq!(counted("     Summary [   0.001s] 0 tests run: 0 passed, 4 skipped"), Some((0, 0, 4)));
        assert_eq!(counted("test result: ok. 1 passed"), None);
        assert_eq!(announced("    Starting 6 tests across 2 binaries (1 test skipped)"), Some(6));
        assert_eq!(announced("    Starting 1 test across 1 binary"), Some(1));
        assert_eq!(announced("Starting the server"), None);
    }
}
