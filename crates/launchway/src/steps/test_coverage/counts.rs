//! How many tests passed, read from what libtest prints.

use launchway_report::Tests;

/// The counts so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    found: Option<Tests>,
    /// Tests without their real counterpart: libtest counts them as passed, we do not.
    unable: u64,
}

impl Counts {
    /// Reads one line, such as `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; …`.
    pub(super) fn read(&mut self, line: &str) {
        self.unable += u64::from(line.starts_with("SKIPPED: "));
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|line| line.split_once(". "))
        else {
            return;
        };
        let count = |what: &str| {
            let counted = counts.split("; ").find_map(|part| part.strip_suffix(what));
            counted.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or_default()
        };
        let tests = self.found.get_or_insert(Tests { passed: 0, failed: 0, skipped: 0 });
        tests.passed += count(" passed");
        tests.failed += count(" failed");
        tests.skipped += count(" ignored");
    }

    pub(super) fn failed(&self) -> u64 {
        self.found.map_or(0, |tests| tests.failed)
    }

    pub(super) fn into_tests(self) -> Option<Tests> {
        self.found.map(|Tests { passed, failed, skipped }| Tests {
            passed: passed.saturating_sub(self.unable),
            failed,
            skipped: skipped + self.unable,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> Option<Tests> {
        let mut counts = Counts::default();
        text.lines().for_each(|line| counts.read(line));
        counts.into_tests()
    }

    #[test]
    fn what_lacked_a_real_part_has_not_passed() {
        let text = "running 3 tests\nSKIPPED: pushes: no docker-registry\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n";
        assert_eq!(counted(text), Some(Tests { passed: 12, failed: 2, skipped: 2 }));
        assert_eq!(counted("nothing was tested"), None);
    }
}
