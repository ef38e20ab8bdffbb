//! Reads which lines the tests covered from lcov, merges them, and sums them by crate and by file.
//!
//! A line is covered if any code on it ran, so measurements merge without loss: a line is covered if it is covered in one
//! of them. The totals in llvm-cov's own reports do not merge: they count a line once for every function that contains it,
//! and use the best copy of a generic function.

pub(crate) mod baseline;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;

use anyhow::{Result, bail, ensure};

/// How often each line ran, by file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines(BTreeMap<String, BTreeMap<u32, u64>>);

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

impl Lines {
    /// Reads the `SF:` and `DA:` records of lcov; other records are left alone.
    ///
    /// Paths in `root` become relative to it. Text without a file, or with a record that cannot be read, is an error.
    pub(crate) fn read(root: &Path, lcov: &str) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut file: Option<&mut BTreeMap<u32, u64>> = None;
        for (number, line) in (1..).zip(lcov.lines()) {
            if let Some(path) = line.strip_prefix("SF:") {
                file = Some(files.entry(relative(root, path)).or_default());
            } else if let Some(record) = line.strip_prefix("DA:") {
                let (Some(counts), Some((line, count))) = (file.as_deref_mut(), parse(record)) else {
                    bail!("line {number}: `{line}` is not a record of lcov");
                };
                let sum: &mut u64 = counts.entry(line).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        ensure!(!files.is_empty(), "it names no file");
        Ok(Self(files))
    }

    /// Adds what another measurement of the same sources counted.
    pub(crate) fn add(&mut self, other: Self) {
        for (file, counts) in other.0 {
            let sums = self.0.entry(file).or_default();
            for (line, count) in counts {
                let sum = sums.entry(line).or_default();
                *sum = sum.saturating_add(count);
            }
        }
    }

    /// These lines as lcov, with paths relative to the workspace root.
    pub(crate) fn to_lcov(&self) -> String {
        let mut text = String::new();
        for (file, counts) in &self.0 {
            writeln!(text, "SF:{file}").ok();
            for (line, count) in counts {
                writeln!(text, "DA:{line},{count}").ok();
            }
            text.push_str("end_of_record\n");
        }
        text
    }

    /// The coverage of each crate. The crate of a file is the nearest folder above it with a `Cargo.toml`.
    ///
    /// A crate is named by its folder; the package in the root, whose folder says nothing, by its own name.
    pub(crate) fn by_crate(&self, root: &Path) -> BTreeMap<String, Coverage> {
        let of_root = package_name(root).unwrap_or_else(|| ".".to_owned());
        let mut crates: BTreeMap<String, Coverage> = BTreeMap::new();
        for (path, counts) in &self.0 {
            let name = crate_of(root, &root.join(path)).unwrap_or_else(|| of_root.clone());
            let coverage = crates.entry(name).or_default();
            let uncovered: Vec<u32> =
                counts.iter().filter(|(_, count)| **count == 0).map(|(line, _)| *line).collect();
            let lines = counts.len() as u64;
            coverage.lines += lines;
            coverage.covered += lines - uncovered.len() as u64;
            coverage.files.push(File { path: path.clone(), lines, uncovered });
        }
        crates
    }
}

/// `line,count`, with a checksum after it in some versions of lcov.
fn parse(record: &str) -> Option<(u32, u64)> {
    let mut fields = record.split(',');
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
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

/// The name in the `Cargo.toml` of a folder.
fn package_name(folder: &Path) -> Option<String> {
    let manifest: toml::Table =
        toml::from_str(&fs_err::read_to_string(folder.join("Cargo.toml")).ok()?).ok()?;
    Some(manifest.get("package")?.get("name")?.as_str()?.to_owned())
}

/// The folder of a file's crate; `None` for the package in the root.
fn crate_of(root: &Path, file: &Path) -> Option<String> {
    let folder = file
        .ancestors()
        .skip(1)
        .take_while(|folder| *folder != root)
        .find(|folder| folder.join("Cargo.toml").is_file())
        .unwrap_or(root);
    Some(relative(root, &folder.to_string_lossy())).filter(|folder| !folder.is_empty())
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
        let lcov = format!(
            "SF:{0}/app/src/a.rs\nFN:7,main\nDA:7,0\nDA:8,1\nDA:9,3\nLF:9\nend_of_record\nSF:{0}/app/src/b.rs\n\
             DA:1,0\nDA:2,0\nDA:3,0\nDA:5,0\nDA:9,0\nDA:10,1\nend_of_record\nSF:{0}/xtask/src/c.rs\nDA:1,1\n",
            root.display()
        );
        let crates = Lines::read(root, &lcov).unwrap().by_crate(root);
        assert_eq!(crates.keys().collect::<Vec<_>>(), ["app", "xtask"]);
        assert_eq!(crate_of(root, &root.join("src/main.rs")), None);
        let of_root = Lines::read(root, "SF:src/main.rs\nDA:1,1\n").unwrap();
        let names = || of_root.by_crate(root).into_keys().collect::<Vec<_>>();
        assert_eq!(names(), ["."]);
        fs_err::write(root.join("Cargo.toml"), "[package]\nname = \"greeter\"\n").unwrap();
        assert_eq!(names(), ["greeter"]);
        let app = &crates["app"];
        assert_eq!((app.lines, app.covered, app.lines_short(80.0)), (9, 3, 5));
        let worst: Vec<String> = app
            .worst_files()
            .iter()
            .map(|file| format!("{} {}", file.path, file.uncovered_ranges()))
            .collect();
        assert_eq!(worst, ["app/src/b.rs 1-3, 5, 9", "app/src/a.rs 7"]);
        assert_eq!(Coverage::sum(crates.values()).lines, 10);
    }

    #[test]
    fn a_line_is_covered_where_a_part_ran_it() {
        let read = |lcov: &str| Lines::read(Path::new("/w"), lcov).unwrap();
        let mut sum = read("SF:/w/a.rs\nDA:1,0\nDA:2,3\nDA:3,0\nend_of_record\n");
        sum.add(read("SF:/w/a.rs\nDA:1,2\nDA:2,4\nDA:3,0\nend_of_record\nSF:/elsewhere/b.rs\nDA:9,1\n"));
        let lcov =
            "SF:/elsewhere/b.rs\nDA:9,1\nend_of_record\nSF:a.rs\nDA:1,2\nDA:2,7\nDA:3,0\nend_of_record\n";
        assert_eq!(sum.to_lcov(), lcov);
        assert_eq!(read(lcov), sum);
        sum.add(read(&format!("SF:/w/a.rs\nDA:2,{}\n", u64::MAX)));
        assert!(sum.to_lcov().contains(&format!("DA:2,{}\n", u64::MAX)));
    }

    #[test]
    fn another_format_is_an_error() {
        let error = |lcov: &str| Lines::read(Path::new("/"), lcov).unwrap_err().to_string();
        assert_eq!(error("{}"), "it names no file");
        assert_eq!(error("DA:1,1\n"), "line 1: `DA:1,1` is not a record of lcov");
        assert_eq!(error("SF:a.rs\nDA:1\n"), "line 2: `DA:1` is not a record of lcov");
        assert_eq!(error("SF:a.rs\nDA:1,-1\n"), "line 2: `DA:1,-1` is not a record of lcov");
    }
}
