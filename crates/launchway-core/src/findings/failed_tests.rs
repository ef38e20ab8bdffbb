//! Failed tests, read from what cargo, libtest and cargo-nextest print.

use std::path::Path;

use super::nextest::{Ended, summary};
use super::place_in;
use crate::events::{FailedTest, Finding};

/// Reads lines one by one and keeps the tests that failed.
#[derive(Debug, Default)]
pub struct FailedTests {
    /// The failed tests of each test program that had some.
    programs: Vec<Vec<Section>>,
    /// Those of the program that runs.
    sections: Vec<Section>,
    /// Whether the lines belong to the last section.
    is_inside: bool,
    /// What cargo prints to run each of the programs that failed again: `-p app --lib`.
    targets: Vec<String>,
    /// What cargo-nextest prints.
    nextest: Nextest,
}

/// The last failed try of each test, by test program.
#[derive(Debug, Default)]
struct Nextest {
    failed: Vec<(String, Section)>,
    /// Whether the lines are those of the last of them.
    is_inside: bool,
    /// Whether what follows repeats what was said.
    is_over: bool,
}

/// What a failed test printed.
#[derive(Debug)]
struct Section {
    test: String,
    lines: Vec<String>,
}

impl FailedTests {
    /// How many lines of a section are kept.
    const LONGEST: usize = 1000;

    /// Reads one line.
    pub fn read(&mut self, line: &str) {
        self.nextest.read(line);
        let heading = line
            .strip_prefix("---- ")
            .and_then(|line| line.strip_suffix(" ----"))
            .and_then(|heading| heading.strip_suffix(" stdout").or_else(|| heading.strip_suffix(" stderr")));
        if let Some(test) = heading {
            self.sections.push(Section { test: test.to_owned(), lines: Vec::new() });
            self.is_inside = true;
        } else if line == "failures:" {
            self.is_inside = false;
        } else if line.starts_with("test result: FAILED") {
            self.is_inside = false;
            self.programs.push(std::mem::take(&mut self.sections));
        } else if let Some(target) = line.strip_prefix("error: test failed, to rerun pass `") {
            self.targets.push(target.trim_end_matches('`').to_owned());
        } else if line == "Caused by:" {
            // A program that was killed has no list of failures.
            self.targets.pop();
        } else if self.is_inside
            && let Some(section) = self.sections.last_mut()
            && section.lines.len() < Self::LONGEST
        {
            section.lines.push(line.to_owned());
        }
    }

    /// Returns the tests in the order in which they failed, with their places in the sources in `root`.
    pub fn into_tests(self, root: &Path) -> Vec<FailedTest> {
        // The two streams of cargo are read side by side, yet each in its order.
        let targets = self.targets.into_iter().map(Some).chain(std::iter::repeat(None));
        let programs = self.programs.into_iter().zip(targets);
        let of_libtest = programs
            .flat_map(|(sections, target)| sections.into_iter().map(move |section| (section, target.clone())))
            .map(|(section, target)| {
                let again = target.map(|target| format!("cargo test {target} -- --exact {}", section.test));
                section.into_test(root, again)
            });
        let of_nextest = self.nextest.failed.into_iter().map(|(program, section)| {
            let again = format!("cargo nextest run -E 'binary_id(={program}) & test(={})'", section.test);
            section.into_test(root, Some(again))
        });
        of_libtest.chain(of_nextest).collect()
    }
}

impl Nextest {
    fn read(&mut self, line: &str) {
        self.is_over |= summary(line).is_some();
        if self.is_over {
            return;
        }
        if let Some(ended) = Ended::read(line) {
            self.is_inside = ended.has_failed();
            // A test that is tried again fails once at most.
            self.failed.retain(|(program, section)| program != ended.program || section.test != ended.test);
            if ended.has_failed() {
                let section = Section { test: ended.test.to_owned(), lines: Vec::new() };
                self.failed.push((ended.program.to_owned(), section));
            }
        } else if self.is_inside
            && let Some((_, section)) = self.failed.last_mut()
            && section.lines.len() < FailedTests::LONGEST
            // The headings of the two streams are not indented as far.
            && let Some(line) = line.strip_prefix("    ").or_else(|| line.is_empty().then_some(line))
            && !is_of_libtest(line, &section.test)
        {
            section.lines.push(line.to_owned());
        }
    }
}

/// Whether libtest printed a line and not its only test.
fn is_of_libtest(line: &str, test: &str) -> bool {
    ["running 1 test", "failures:"].contains(&line)
        || line.starts_with("test result: ")
        || line.strip_prefix("test ").is_some_and(|line| line.starts_with(test))
        || line.trim_start() == test
}

impl Section {
    /// How many of the lines that a test printed are kept.
    const TAIL: usize = 20;

    fn into_test(self, root: &Path, again: Option<String>) -> FailedTest {
        let Self { test: name, lines } = self;
        let panic = lines.iter().position(|line| panic_place(line).is_some());
        // Without a panic it returned an error, or should have panicked.
        let last = || lines.iter().rposition(|line| !line.starts_with("note: ") && !line.is_empty());
        let (printed, words) = lines.split_at(panic.or_else(last).unwrap_or_default());
        let place = words.first().and_then(|line| panic_place(line));
        let words = if panic.is_some() { words.get(1..).unwrap_or_default() } else { words };
        let message: Vec<&str> = words
            .iter()
            .map(String::as_str)
            .take_while(|line| !line.starts_with("note: run with ") && *line != "stack backtrace:")
            .collect();
        let message = message.join("\n").trim().to_owned();
        let place = place.and_then(|place| place_in(root, place));
        let place = place.or_else(|| place_of_doctest(root, &name)).or_else(|| place_of_test(root, &name));
        let place = place.map(|(file, line)| Finding::new(file, line, &message).with_source(root));
        let printed: Vec<String> = printed.iter().filter(|line| !line.is_empty()).cloned().collect();
        let output = printed[printed.len().saturating_sub(Self::TAIL)..].to_vec();
        FailedTest { name, message, place, output, again }
    }
}

/// The place in `thread 'name' (1234) panicked at src/lib.rs:10:5:`.
fn panic_place(line: &str) -> Option<&str> {
    let (thread, place) = line.split_once(" panicked at ")?;
    thread.starts_with("thread '").then_some(place)
}

/// The place in `src/lib.rs - module::item (line 10)`: what a doctest prints names a temporary file.
fn place_of_doctest(root: &Path, name: &str) -> Option<(String, u32)> {
    let (file, rest) = name.split_once(" - ")?;
    let line = rest.rsplit_once("(line ")?.1.split_once(')')?.0;
    place_in(root, &format!("{file}:{line}"))
}

/// Where the sources in `root` define a test whose panic lies elsewhere, if there is one such function.
fn place_of_test(root: &Path, name: &str) -> Option<(String, u32)> {
    let function = format!("fn {}(", name.rsplit("::").next()?);
    let mut places = Vec::new();
    find_function(root, root, &function, &mut places);
    match &mut places[..] {
        [place] => Some(std::mem::take(place)),
        _ => None,
    }
}

fn find_function(root: &Path, folder: &Path, function: &str, places: &mut Vec<(String, u32)>) {
    for entry in fs_err::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && name != "target" && !name.as_encoded_bytes().starts_with(b".") {
            find_function(root, &path, function, places);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && let Ok(text) = fs_err::read_to_string(&path)
            && let Some((number, _)) = (1..).zip(text.lines()).find(|(_, line)| line.contains(function))
            && let Ok(path) = path.strip_prefix(root)
        {
            places.push((path.to_string_lossy().into_owned(), number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
     Running unittests src/lib.rs (target/debug/deps/app-123)
running 3 tests
test fine ... ok
test tests::adds ... FAILED
test tests::reads ... FAILED

failures:

---- tests::adds stdout ----
GET /healthz
sum: 3

thread 'tests::adds' (4711) panicked at app/src/lib.rs:2:9:
assertion `left == right` failed: of the sum
  left: 3
 right: 4
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace

---- tests::reads stdout ----

thread 'tests::reads' (4712) panicked at /home/me/.cargo/registry/src/index/insta-1.0.0/src/lib.rs:7:9:
snapshot assertion failed

failures:
    tests::adds
    tests::reads

test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s

error: test failed, to rerun pass `-p app --lib`
error: test failed, to rerun pass `-p app --test abort`

Caused by:
  process didn't exit successfully: `/w/target/debug/deps/abort-1` (signal: 6, SIGABRT: process abort signal)
failures:

---- returns stdout ----
one
Error: \"not found\"

failures:
    returns

test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
error: test failed, to rerun pass `-p app --test it`
";

    #[test]
    fn a_doctest_names_its_own_place() {
        const PRINTED: &str = "\
failures:

---- app/src/lib.rs - sum (line 12) stdout ----
Test executable failed (exit status: 101).

stderr:

thread 'main' (7) panicked at /tmp/rustdoctestX/rust_out.rs:3:1:
assertion `left == right` failed
  left: 3
 right: 4

failures:
    app/src/lib.rs - sum (line 12)

test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
error: doctest failed, to rerun pass `-p app --doc`
";
        let mut failed = FailedTests::default();
        PRINTED.lines().for_each(|line| failed.read(line));
        let tests = failed.into_tests(Path::new("/w"));
        let place = tests[0].place.as_ref().unwrap();
        assert_eq!((&place.file[..], place.line), ("app/src/lib.rs", 12));
        assert_eq!(tests[0].message, "assertion `left == right` failed\n  left: 3\n right: 4");
    }

    #[test]
    fn failed_tests_have_their_message_place_output_and_command() {
        let root = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(root.path().join("app/src")).unwrap();
        let source = "#[test]\n        assert_eq!(sum, 4);\nfn reads() {}\n";
        fs_err::write(root.path().join("app/src/lib.rs"), source).unwrap();
        let mut failed = FailedTests::default();
        PRINTED.lines().for_each(|line| failed.read(line));
        let tests = failed.into_tests(root.path());
        let [adds, reads, returns] = &tests[..] else { panic!("{tests:?}") };
        assert_eq!(adds.name, "tests::adds");
        assert_eq!(adds.message, "assertion `left == right` failed: of the sum\n  left: 3\n right: 4");
        assert_eq!(adds.output, ["GET /healthz", "sum: 3"]);
        assert_eq!(adds.again.as_deref(), Some("cargo test -p app --lib -- --exact tests::adds"));
        let place = adds.place.as_ref().unwrap();
        assert_eq!((&place.file[..], place.line), ("app/src/lib.rs", 2));
        assert_eq!(place.source.as_deref(), Some("        assert_eq!(sum, 4);"));
        // The panic lies in a dependency: the test itself is the place.
        assert_eq!(reads.place.as_ref().map(|place| place.line), Some(3));
        assert_eq!((&returns.message[..], &returns.place), ("Error: \"not found\"", &None));
        assert_eq!(returns.output, ["one"]);
        assert_eq!(returns.again.as_deref(), Some("cargo test -p app --test it -- --exact returns"));
    }

    #[test]
    fn nextest_names_what_failed_in_its_last_try() {
        const PRINTED: &str = "\
    Starting 3 tests across 2 binaries
  TRY 1 FAIL [   0.527s] (───) app flaky
  stderr ───

    thread 'flaky' (16111) panicked at app/src/lib.rs:1:1:
    first

  TRY 1 FAIL [   0.555s] (───) app::it fails
  stdout ───

    running 1 test
    GET /healthz
    test fails ... FAILED

    failures:

    failures:
        fails

    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 6 filtered out; finished in 0.54s

  stderr ───

    thread 'fails' (16112) panicked at app/src/lib.rs:9:9:
    first try

  TRY 2 PASS [   0.042s] (1/3) app flaky
        PASS [   0.035s] (2/3) app fine
  TRY 2 FAIL [   0.305s] (3/3) app::it fails
  stdout ───

    running 1 test
    GET /healthz
    test fails ... FAILED

    failures:

    failures:
        fails

    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 6 filtered out; finished in 0.29s

  stderr ───

    thread 'fails' (16129) panicked at app/src/lib.rs:2:9:
    assertion `left == right` failed: arith
      left: 1
     right: 2
    stack backtrace:
       0: __rustc::rust_begin_unwind

────────────
     Summary [   0.863s] 3 tests run: 2 passed (1 flaky), 1 failed, 1 skipped
   FLAKY 2/2 [   0.042s] (1/3) app flaky
  TRY 2 FAIL [   0.305s] (3/3) app::it fails
error: test run failed
";
        let mut failed = FailedTests::default();
        PRINTED.lines().for_each(|line| failed.read(line));
        let tests = failed.into_tests(Path::new("/w"));
        let [fails] = &tests[..] else { panic!("{tests:?}") };
        assert_eq!(fails.name, "fails");
        assert_eq!(fails.message, "assertion `left == right` failed: arith\n  left: 1\n right: 2");
        assert_eq!(fails.output, ["GET /healthz"]);
        let place = fails.place.as_ref().unwrap();
        assert_eq!((&place.file[..], place.line), ("app/src/lib.rs", 2));
        let again = "cargo nextest run -E 'binary_id(=app::it) & test(=fails)'";
        assert_eq!(fails.again.as_deref(), Some(again));
    }
}
