//! Finds source locations in the output of cargo and of tests.

pub mod failed_tests;
pub mod nextest;

use std::path::{Component, Path};

use crate::events::Finding;

/// Reads lines one by one and keeps the locations in them.
#[derive(Debug, Default)]
pub struct Findings {
    found: Vec<Finding>,
    /// A message whose location follows.
    message: Option<String>,
    /// The last location, while its details may follow.
    open: Option<Open>,
    /// The location of a formatting difference, before its unchanged lines.
    diff: Option<(String, u32)>,
}

/// A location whose message may yet get a lint and a help.
#[derive(Debug)]
struct Open {
    finding: Finding,
    lint: Option<String>,
    help: Option<String>,
}

impl Findings {
    /// How many locations are kept.
    const MOST: usize = 1000;

    /// Reads one line of a child that ran in `root`.
    pub fn read(&mut self, root: &Path, line: &str) {
        let message = self.message.take();
        if let Some((_, number)) = &mut self.diff {
            if line.starts_with(' ') {
                *number += 1;
                return;
            }
            self.end_diff();
        }
        if let Some(place) = line.strip_prefix("Diff in ") {
            self.close();
            self.diff = place_in(root, place);
        } else if let Some(message) = diagnostic(line) {
            self.close();
            self.message = Some(message.to_owned());
        } else if line.is_empty() {
            self.close();
        } else if let Some(message) = message {
            let text = line.trim_start();
            let place = text.strip_prefix("--> ").or_else(|| text.strip_prefix("::: "));
            match place.and_then(|place| place_in(root, place)) {
                Some((file, number)) => {
                    let finding = Finding::new(file, number, message);
                    self.open = Some(Open { finding, lint: None, help: None });
                }
                // A macro's code is elsewhere; our own line that calls it follows.
                None => self.message = Some(message),
            }
        } else if let Some(open) = &mut self.open {
            open.lint = open.lint.take().or_else(|| lint(line));
            open.help = open.help.take().or_else(|| help(line).map(str::to_owned));
        }
    }

    /// Returns the locations in order, with their lines as in `root`.
    pub fn into_found(mut self, root: &Path) -> Vec<Finding> {
        self.end_diff();
        self.close();
        self.found.into_iter().map(|finding| finding.with_source(root)).collect()
    }

    fn end_diff(&mut self) {
        if let Some((file, line)) = self.diff.take() {
            self.add(Finding::new(file, line, "not formatted: run `cargo fmt --all`"));
        }
    }

    fn close(&mut self) {
        let Some(Open { mut finding, lint, help }) = self.open.take() else { return };
        let lint = lint.map(|lint| format!(" [{lint}]")).unwrap_or_default();
        let help = help.map(|help| format!("; help: {help}")).unwrap_or_default();
        finding.message += &(lint + &help);
        self.add(finding);
    }

    fn add(&mut self, finding: Finding) {
        if self.found.len() < Self::MOST && !self.found.contains(&finding) {
            self.found.push(finding);
        }
    }
}

/// Returns the locations in one of our own errors: one per line, `file:line: what is wrong`.
pub fn named(root: &Path, error: &str) -> impl Iterator<Item = Finding> {
    error.lines().filter_map(move |line| {
        let (place, message) = line.split_once(": ")?;
        let (file, number) = place_in(root, place)?;
        Some(Finding::new(file, number, message).with_source(root)).filter(|found| found.source.is_some())
    })
}

/// `error: …`, `error[E0308]: …` or `warning: …`.
fn diagnostic(line: &str) -> Option<&str> {
    let (level, message) = line.split_once(": ")?;
    (level == "error" || level == "warning" || level.starts_with("error[")).then_some(message)
}

/// The lint that a note names: clippy links the page of each of its own, and rustc the flag `-D unused-variables` that
/// made it an error.
fn lint(line: &str) -> Option<String> {
    let text = line.trim_start();
    if let Some(url) = text.strip_prefix("= help: for further information visit ") {
        return Some(format!("clippy::{}", url.split_once("rust-clippy/")?.1.split_once('#')?.1));
    }
    let flag = text.strip_prefix("= note: `-")?;
    let (name, _) = flag.strip_prefix(['D', 'F', 'W'])?.strip_prefix(' ')?.split_once("` implied by ")?;
    Some(name.replace('-', "_"))
}

/// The words of `help: …` on a line of its own, or after the mark below the source.
fn help(line: &str) -> Option<&str> {
    let marked = || line.split_once("^ help: ").filter(|(mark, _)| mark.trim_start().starts_with('|'));
    line.strip_prefix("help: ")
        .or_else(|| marked().map(|(_, help)| help))
        .map(|help| help.trim_end_matches(':'))
}

/// Parses `file:line:column`, and makes the file relative to the root; `None` for a file outside, as in a dependency,
/// the standard library or generated code.
fn place_in(root: &Path, text: &str) -> Option<(String, u32)> {
    let mut parts = text.trim_end_matches(':').splitn(3, ':');
    let file = parts.next()?;
    let line = parts.next()?.parse().ok()?;
    let file = Path::new(file).strip_prefix(root).unwrap_or_else(|_| Path::new(file));
    let is_inside = file.components().all(|part| matches!(part, Component::Normal(_)));
    (is_inside && !is_of_others(file)).then_some(())?;
    Some((file.to_string_lossy().into_owned(), line))
}

/// Whether a file in the workspace folder is not one of its sources: cargo's home and the toolchain may be there too.
fn is_of_others(file: &Path) -> bool {
    let parts: Vec<&str> = file.components().filter_map(|part| part.as_os_str().to_str()).collect();
    let is_hashed = |name: &str| {
        let hash = name.rsplit_once('-').map(|(_, hash)| hash);
        hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let is_in_cargo_home = |part: &[&str]| match part {
        ["registry", "src", index] => is_hashed(index),
        ["git", "checkouts", repository] => is_hashed(repository),
        ["lib", "rustlib", _] => true,
        _ => false,
    };
    parts.first() == Some(&"target") || parts.windows(3).any(is_in_cargo_home)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let mut findings = Findings::default();
        for line in text.lines() {
            findings.read(Path::new("/w"), line);
        }
        findings.into_found(Path::new("/w")).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn places_are_read_from_what_the_tools_print() {
        let printed = "\
Diff in /w/app/src/main.rs:3:
 fn main() {
error: unused variable: `x`
 --> app/src/lib.rs:2:9
  |
2 |     let x = 1;
error[E0308]: mismatched types
  --> /w/xtask/src/main.rs:10:5
error: could not compile `app` (lib) due to 1 previous error
warning: build failed, waiting for other jobs to finish...
error: cannot find macro
  --> /home/me/.cargo/registry/src/index/serde-1.0.0/src/lib.rs:3:1
error: also elsewhere
  --> ../other/src/lib.rs:3:1
error: test failed, to rerun pass `-p app --lib`
";
        assert_eq!(
            read(printed),
            [
                "app/src/main.rs:4: not formatted: run `cargo fmt --all`",
                "app/src/lib.rs:2: unused variable: `x`",
                "xtask/src/main.rs:10: mismatched types",
            ]
        );
    }

    #[test]
    fn a_lint_has_its_name_and_its_help() {
        let printed = "\
error: length comparison to zero
 --> app/src/lib.rs:2:5
  |
2 |     v.len() == 0
  |     ^^^^^^^^^^^^ help: using `is_empty` is clearer and more explicit: `v.is_empty()`
  |
  = help: for further information visit https://rust-lang.github.io/rust-clippy/rust-1.95.0/index.html#len_zero
  = note: `-D clippy::len-zero` implied by `-D warnings`

error: unused variable: `x`
 --> app/src/lib.rs:7:9
  |
7 |     let x = 1;
  |         ^
  |
  = note: `-D unused-variables` implied by `-D warnings`
help: if this is intentional, prefix it with an underscore
  |
7 |     let _x = 1;
  |         +

help: of something else
";
        let expected = [
            "app/src/lib.rs:2: length comparison to zero [clippy::len_zero]; help: using `is_empty` is clearer and more \
             explicit: `v.is_empty()`",
            "app/src/lib.rs:7: unused variable: `x` [unused_variables]; help: if this is intentional, prefix it with an \
             underscore",
        ];
        assert_eq!(read(printed), expected);
    }

    #[test]
    fn a_place_in_the_code_of_others_is_none() {
        for file in [
            ".cargo/registry/src/index.crates.io-1949cf8c6b5b557f/serde-1.0.0/src/lib.rs",
            ".cargo/git/checkouts/serde-6ed3e2a4d8f0b1c7/c0ffee1/src/lib.rs",
            "toolchain/lib/rustlib/src/rust/library/core/src/panicking.rs",
            "target/debug/build/app-1949cf8c6b5b557f/out/generated.rs",
        ] {
            assert_eq!(place_in(Path::new("/w"), &format!("/w/{file}:3:1")), None);
        }
        for file in ["registry/src/lib.rs", "crates/registry/src/index/lib.rs", "git/checkouts/lib.rs"] {
            assert_eq!(place_in(Path::new("/w"), &format!("{file}:3:1")), Some((file.to_owned(), 3)));
        }
    }

    #[test]
    fn an_error_in_the_code_of_a_macro_is_at_the_line_that_calls_it() {
        let printed = "\
error[E0277]: `X` is not an error
   --> /home/me/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/anyhow-1.0.0/src/macros.rs:60:1
    |
60  |     ($cond:expr) => {
    |
   ::: app/src/lib.rs:7:5
    |
error: of something else

 --> app/src/lib.rs:9:5
";
        assert_eq!(read(printed), ["app/src/lib.rs:7: `X` is not an error"]);
    }

    #[test]
    fn ordinary_lines_name_no_place() {
        assert_eq!(
            read("running 3 tests\ntest a ... ok\n --> nothing\nDiff in nowhere\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn the_place_of_a_difference_in_format_is_its_first_line() {
        let printed = "Diff in /w/a.rs:3:\n fn main() {\n     let y = 1;\n-let x=1;\n+    let x = 1;\nDiff in /w/a.rs:9:\n-}\n";
        let message = "not formatted: run `cargo fmt --all`";
        assert_eq!(read(printed), [format!("a.rs:5: {message}"), format!("a.rs:9: {message}")]);
    }

    #[test]
    fn an_error_of_our_own_names_places() {
        let root = tempfile::tempdir().unwrap();
        fs_err::write(root.path().join("Dockerfile"), "FROM scratch\nRUN x\n").unwrap();
        let error = "not followed\nDockerfile:2: `RUN` in the final stage\nhttp://127.0.0.1:4000: no";
        let found: Vec<Finding> = named(root.path(), error).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].to_string(), "Dockerfile:2: `RUN` in the final stage");
        assert_eq!(found[0].source.as_deref(), Some("RUN x"));
    }

    #[test]
    fn only_the_first_are_kept() {
        let many: Vec<String> = (1..=2000).map(|line| format!("Diff in /w/a.rs:{line}:")).collect();
        assert_eq!(read(&many.join("\n")).len(), Findings::MOST);
    }
}
