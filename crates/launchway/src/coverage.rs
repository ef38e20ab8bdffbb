//! Reads what cargo-llvm-cov measured, by crate and by file.

pub(crate) mod baseline;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// The lines of a crate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coverage {
    pub(crate) lines: u64,
    pub(crate) covered: u64,
    files: Vec<File>,
}

/// The lines of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// Relative to the workspace root.
    pub(crate) path: String,
    pub(crate) lines: u64,
    /// The lines that no test ran, in ascending order.
    pub(crate) uncovered: Vec<u32>,
}

/// Reads the JSON export for the totals, and the lcov export for the line numbers.
///
/// A file belongs to the nearest folder above it with a `Cargo.toml`.
pub(crate) fn read(root: &Path, json: &str, lcov: &str) -> Result<BTreeMap<String, Coverage>> {
    let export: Export = serde_json::from_str(json)?;
    let uncovered = uncovered_lines(lcov);
    let mut crates: BTreeMap<String, Coverage> = BTreeMap::new();
    for file in &export.data.first().context("it has no data")?.files {
        let coverage = crates.entry(crate_of(root, Path::new(&file.filename))).or_default();
        coverage.lines += file.summary.lines.count;
        coverage.covered += file.summary.lines.covered;
        coverage.files.push(File {
            path: relative(root, &file.filename),
            lines: file.summary.lines.count,
            uncovered: uncovered.get(file.filename.as_str()).cloned().unwrap_or_default(),
        });
    }
    Ok(crates)
}

impl Coverage {
    const WORST: usize = 5;

    pub(crate) fn of(lines: u64, covered: u64) -> Self {
        Self { lines, covered, files: Vec::new() }
    }

    pub(crate) fn sum<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        parts.into_iter().fold(Self::default(), |mut sum, part| {
            sum.lines += part.lines;
            sum.covered += part.covered;
            sum
        })
    }

    /// How many more lines must be covered to reach the threshold, given in percent.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a count of lines is exact in an f64, and a share of it is neither negative nor larger"
    )]
    pub(crate) fn lines_short(&self, threshold: f64) -> u64 {
        let needed = (self.lines as f64 * threshold / 100.0).ceil() as u64;
        needed.saturating_sub(self.covered)
    }

    /// The files with the most uncovered lines, the worst first.
    pub(crate) fn worst_files(&self) -> Vec<&File> {
        let mut files: Vec<&File> = self.files.iter().filter(|file| !file.uncovered.is_empty()).collect();
        files.sort_by_key(|file| (std::cmp::Reverse(file.uncovered.len()), &file.path));
        files.truncate(Self::WORST);
        files
    }
}

impl fmt::Display for Coverage {
    #[expect(clippy::cast_precision_loss, reason = "a count of lines is exact in an f64")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = if self.lines == 0 { 100.0 } else { 100.0 * self.covered as f64 / self.lines as f64 };
        // Rounded down: 79.96 % must not be shown as 80.0 %.
        write!(f, "{:.1} % of lines ({} of {})", (percent * 10.0).floor() / 10.0, self.covered, self.lines)
    }
}

impl File {
    /// The lines as people write them: `3, 8-12`.
    pub(crate) fn uncovered_ranges(&self) -> String {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for line in &self.uncovered {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == *line => *last = *line,
                _ => ranges.push((*line, *line)),
            }
        }
        let words: Vec<String> = ranges
            .iter()
            .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
            .collect();
        words.join(", ")
    }
}

fn relative(root: &Path, file: &str) -> String {
    Path::new(file)
        .strip_prefix(root)
        .map_or_else(|_| file.to_owned(), |path| path.to_string_lossy().into_owned())
}

fn crate_of(root: &Path, file: &Path) -> String {
    let folder = file
        .ancestors()
        .skip(1)
        .take_while(|folder| *folder != root)
        .find(|folder| folder.join("Cargo.toml").is_file())
        .unwrap_or(root);
    match relative(root, &folder.to_string_lossy()) {
        // The package in the root.
        empty if empty.is_empty() => ".".to_owned(),
        folder => folder,
    }
}

/// The lines with a count of 0, by file, from `SF:` and `DA:` records.
fn uncovered_lines(lcov: &str) -> BTreeMap<&str, Vec<u32>> {
    let mut files: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    let mut file = "";
    for line in lcov.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            file = path;
        } else if let Some((number, count)) =
            line.strip_prefix("DA:").and_then(|record| record.split_once(','))
            && count == "0"
            && let Ok(number) = number.parse()
        {
            files.entry(file).or_default().push(number);
        }
    }
    files
}

/// The parts of llvm-cov's JSON export that are read. Its version changes with LLVM, so unknown fields are ignored.
#[derive(Deserialize)]
struct Export {
    data: Vec<Data>,
}

#[derive(Deserialize)]
struct Data {
    files: Vec<ExportedFile>,
}

#[derive(Deserialize)]
struct ExportedFile {
    filename: String,
    summary: Summary,
}

#[derive(Deserialize)]
struct Summary {
    lines: Lines,
}

#[derive(Deserialize)]
struct Lines {
    count: u64,
    covered: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_is_met_by_whole_lines() {
        let coverage = Coverage::of;
        for (lines, covered, threshold, short) in [
            (10, 8, 80.0, 0),
            (10, 7, 80.0, 1),
            (999, 799, 80.0, 1),
            (0, 0, 80.0, 0),
            (3, 0, 100.0, 3),
            (3, 0, 0.0, 0),
        ] {
            assert_eq!(coverage(lines, covered).lines_short(threshold), short, "{covered} of {lines}");
        }
        assert_eq!(coverage(2500, 1999).to_string(), "79.9 % of lines (1999 of 2500)");
        assert_eq!(coverage(0, 0).to_string(), "100.0 % of lines (0 of 0)");
    }

    #[test]
    fn files_are_counted_by_crate_and_the_worst_come_first() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for name in ["app", "xtask"] {
            fs_err::create_dir_all(root.join(name).join("src")).unwrap();
            fs_err::write(root.join(name).join("Cargo.toml"), "").unwrap();
        }
        let file = |path: &str, count: u32, covered: u32| {
            format!(
                r#"{{"filename":"{}","summary":{{"lines":{{"count":{count},"covered":{covered}}}}}}}"#,
                root.join(path).display()
            )
        };
        let json = format!(
            r#"{{"version":"3.1.0","data":[{{"files":[{},{},{}],"totals":{{}}}}]}}"#,
            file("app/src/a.rs", 10, 9),
            file("app/src/b.rs", 10, 5),
            file("xtask/src/c.rs", 4, 4)
        );
        let lcov = format!(
            "SF:{0}/app/src/a.rs\nDA:7,0\nDA:8,1\nend_of_record\nSF:{0}/app/src/b.rs\nDA:1,0\nDA:2,0\nDA:3,0\nDA:5,0\nDA:9,0\n",
            root.display()
        );
        let crates = read(root, &json, &lcov).unwrap();
        assert_eq!(crates.keys().collect::<Vec<_>>(), ["app", "xtask"]);
        assert_eq!(crate_of(root, &root.join("src/main.rs")), ".");
        let app = &crates["app"];
        assert_eq!((app.lines, app.covered, app.lines_short(80.0)), (20, 14, 2));
        let worst: Vec<String> = app
            .worst_files()
            .iter()
            .map(|file| format!("{} {}", file.path, file.uncovered_ranges()))
            .collect();
        assert_eq!(worst, ["app/src/b.rs 1-3, 5, 9", "app/src/a.rs 7"]);
        assert_eq!(Coverage::sum(crates.values()).lines, 24);
    }

    #[test]
    fn another_format_is_an_error() {
        assert!(read(Path::new("/"), "{}", "").is_err());
        assert!(read(Path::new("/"), r#"{"data":[]}"#, "").is_err());
    }
}
