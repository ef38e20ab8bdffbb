//! What the tests covered on the release branch, so that a change can be compared with it.
//!
//! A run on the release branch leaves the figures in a file; the workflow's cache brings it to the machines of other runs,
//! which GitHub lets read what the default branch has stored.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::project::{Project, output};
use launchway_core::events::Reporter;
use launchway_core::events::review::{CoverageBefore, CoverageChange, CoveredLines, FileCoverage};

/// The figures of the release branch.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Baseline {
    /// Raised when a field changes its meaning; figures in another version are none.
    schema: u32,
    /// The commit that was measured.
    commit: String,
    files: BTreeMap<String, CoveredLines>,
}

const SCHEMA: u32 = 1;
/// Far more than a workspace has, in bytes.
const LONGEST: u64 = 64 << 20;
/// How many files that lost are named.
const MOST: usize = 10;

/// Compares what the tests of this run covered with the release branch, and keeps the figures if this is its commit.
///
/// Nothing where the tests left no figures.
pub(crate) fn compare(
    project: Project<'_>,
    kept: &Path,
    reporter: &Reporter,
) -> Result<Option<CoverageChange>> {
    let Project { root, config, git } = project;
    let lcov = output(root).join("coverage/lcov.info");
    if !lcov.is_file() {
        return Ok(None);
    }
    let files = covered(root, &read(&lcov)?);
    let path = path(kept);
    let before = if path.is_file() { serde_json::from_str(&read(&path)?).ok() } else { None };
    let before = before.filter(|before: &Baseline| before.schema == SCHEMA);
    let change = change(&config.branch, &files, before.as_ref());
    if git.branch.as_ref() == Some(&config.branch) && !git.dirty {
        let baseline = Baseline { schema: SCHEMA, commit: git.commit.clone(), files };
        reporter.leave_json(&path, &serde_json::to_string(&baseline)?)?;
    }
    Ok(Some(change))
}

/// The file of the figures, which lies alone in its folder.
fn path(kept: &Path) -> PathBuf {
    kept.join("baseline/coverage.json")
}

fn read(path: &Path) -> Result<String> {
    let mut text = String::new();
    fs_err::File::open(path)?
        .take(LONGEST)
        .read_to_string(&mut text)
        .with_context(|| format!("reading {}", path.display()))?;
    Ok(text)
}

/// The lines of each file, from the records `SF:` and `DA:` of lcov.
fn covered(root: &Path, lcov: &str) -> BTreeMap<String, CoveredLines> {
    let mut files: BTreeMap<String, CoveredLines> = BTreeMap::new();
    let mut file = None;
    for line in lcov.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            let path = Path::new(path).strip_prefix(root).unwrap_or_else(|_| Path::new(path));
            file = Some(path.to_string_lossy().into_owned());
        } else if let (Some(file), Some((_, count))) =
            (&file, line.strip_prefix("DA:").and_then(|record| record.split_once(',')))
        {
            let lines = files.entry(file.clone()).or_default();
            lines.lines += 1;
            lines.covered += u64::from(count != "0");
        }
    }
    files
}

fn change(branch: &str, files: &BTreeMap<String, CoveredLines>, before: Option<&Baseline>) -> CoverageChange {
    let total = |files: &BTreeMap<String, CoveredLines>| {
        files.values().fold(CoveredLines::default(), |sum, file| CoveredLines {
            lines: sum.lines + file.lines,
            covered: sum.covered + file.covered,
        })
    };
    let lost = before.into_iter().flat_map(|before| {
        files.iter().filter_map(|(file, now)| {
            let before = before.files.get(file)?;
            let has_lost = u128::from(now.covered) * u128::from(before.lines)
                < u128::from(before.covered) * u128::from(now.lines);
            has_lost.then(|| FileCoverage { file: file.clone(), before: *before, now: *now })
        })
    });
    let mut lost: Vec<FileCoverage> = lost.collect();
    lost.sort_by_key(|file| std::cmp::Reverse(file.now.missed().saturating_sub(file.before.missed())));
    lost.truncate(MOST);
    let before =
        before.map(|before| CoverageBefore { commit: before.commit.clone(), lines: total(&before.files) });
    CoverageChange { branch: branch.to_owned(), now: total(files), before, lost }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;
    use launchway_core::environment::Environment;

    fn compared(ctx: &Context) -> Option<CoverageChange> {
        compare(ctx.project(), &ctx.kept(), &ctx.reporter).unwrap()
    }

    fn measured(ctx: &Context, lcov: &str) -> CoverageChange {
        let path = ctx.output().join("coverage/lcov.info");
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, lcov.replace("SF:", &format!("SF:{}/", ctx.root.display()))).unwrap();
        compared(ctx).unwrap()
    }

    #[test]
    fn a_change_is_compared_with_the_release_branch() {
        let dir = tempfile::tempdir().unwrap();
        let mut ctx = Context::for_test(dir.path(), Environment::default());
        assert_eq!(compared(&ctx), None, "nothing was measured");
        let first = measured(&ctx, "SF:a.rs\nDA:1,1\nDA:2,1\nSF:b.rs\nDA:1,1\nDA:2,0\nSF:gone.rs\nDA:1,1\n");
        assert_eq!((first.before, first.lost), (None, Vec::new()));
        ctx.git.branch = Some("feature".to_owned());
        ctx.git.commit = "f".repeat(40);
        let lcov = "SF:a.rs\nDA:1,1\nDA:2,0\nDA:3,0\nSF:b.rs\nDA:1,7\nDA:2,0\nSF:new.rs\nDA:1,0\n";
        for _ in 0..2 {
            // A branch is compared, and leaves the figures alone.
            let change = measured(&ctx, lcov);
            assert_eq!(change.branch, "main");
            assert_eq!(change.now, CoveredLines { lines: 6, covered: 2 });
            let before = change.before.unwrap();
            assert_eq!((&before.commit[..4], before.lines), ("0123", CoveredLines { lines: 5, covered: 4 }));
            let lost: Vec<_> = change.lost.iter().map(|lost| (&lost.file[..], lost.now.missed())).collect();
            assert_eq!(lost, [("a.rs", 2)]);
        }
        let path = path(&ctx.kept());
        for unreadable in ["{", r#"{"schema":2,"commit":"","files":{}}"#] {
            fs_err::write(&path, unreadable).unwrap();
            assert_eq!(measured(&ctx, lcov).before, None);
        }
    }
}
