//! The merge of shards: one of each, all of this commit and toolchain, or an error that names what is wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use launchway_report::Tests;

use super::counts::sum;
use super::shard::{LCOV, Origin, RECORD, Shard, ShardRecord};
use crate::context::Context;
use crate::coverage::Lines;
use crate::table::NEEDS;
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_core::file::read_at_most;
use launchway_core::runner::Runner;
use launchway_registry::Digest;

/// The merge of all shards.
#[derive(Debug, PartialEq)]
pub(crate) struct Merge {
    /// Each is the folder of a shard, or contains such folders.
    folders: Vec<PathBuf>,
    /// What all of them must have been measured from.
    origin: Origin,
    /// On GitHub, the results of the jobs that this one needs.
    needs: Option<String>,
}

/// The result of all shards.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) tests: Tests,
    pub(super) lines: Lines,
}

/// A shard as it was found.
struct Found {
    folder: PathBuf,
    record: ShardRecord,
}

impl fmt::Display for Merge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(needs) = &self.needs {
            writeln!(f, "require that each job succeeded: {needs}")?;
        }
        let folders: Vec<String> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        write!(f, "merge the shards in {}, each of {}", folders.join(", "), self.origin)
    }
}

impl Merge {
    /// The size limit of a description.
    const MOST_RECORD: u64 = 4 << 20;
    /// The size limit of a shard's lcov, enough for millions of lines.
    const MOST_LCOV: u64 = 64 << 20;

    pub(super) fn new(ctx: &Context, folders: &[PathBuf]) -> Result<Self> {
        let needs = ctx.environment.get(NEEDS).map(str::to_owned);
        Ok(Self { folders: folders.to_vec(), origin: Origin::of(ctx)?, needs })
    }

    pub(super) fn run(&self, runner: &Runner) -> Result<Merged> {
        self.merge(runner).or_exit(Exit::CheckFailed)
    }

    fn merge(&self, runner: &Runner) -> Result<Merged> {
        self.succeeded()?;
        let mut found = Vec::new();
        for folder in &self.folders {
            found.extend(shards(folder)?);
        }
        let problems = self.problems(&found);
        if !problems.is_empty() {
            let message = format!("the shards cannot be merged\n  {}", problems.join("\n  "));
            return Err(Failure::new(Exit::CheckFailed, message).into());
        }
        let mut lines = Lines::default();
        for Found { folder, record } in &found {
            let path = folder.join(LCOV);
            let read = || -> Result<Lines> {
                let lcov = read_at_most(&path, Self::MOST_LCOV)?;
                ensure!(
                    Digest::of(lcov.as_bytes()).to_string() == record.lcov,
                    "it has changed since it was measured"
                );
                Lines::read(&runner.folder, &lcov)
            };
            lines.add(
                read().with_context(|| {
                    format!("shard {} cannot be read from {}", record.shard, path.display())
                })?,
            );
            for (test, reason) in &record.unable {
                runner.reporter.skipped(test, reason);
            }
        }
        Ok(Merged { tests: counted(&found), lines })
    }

    /// The artifacts are not enough: an earlier attempt of the run may have left them. So the jobs must have succeeded.
    fn succeeded(&self) -> Result<()> {
        let ended: Vec<&str> = self.needs.iter().flat_map(|needs| needs.split_whitespace()).collect();
        let others: Vec<&str> = ended.into_iter().filter(|job| !job.ends_with("=success")).collect();
        ensure!(others.is_empty(), "not every job that this one needs succeeded: {}", others.join(", "));
        Ok(())
    }

    /// Why these shards are not one run of all tests of this commit.
    fn problems(&self, found: &[Found]) -> Vec<String> {
        let mut problems = Vec::new();
        let mut places: BTreeMap<Shard, Vec<String>> = BTreeMap::new();
        for Found { folder, record: ShardRecord { shard, origin, .. } } in found {
            let folder = folder.display().to_string();
            let is = |what: &str, is: &str, this: &str| {
                format!("shard {shard} in {folder} is of {what} {is}, and this is {this}")
            };
            if origin.commit != self.origin.commit {
                problems.push(is("commit", &origin.commit, &self.origin.commit));
            } else if origin.files != self.origin.files {
                problems.push(format!("shard {shard} in {folder} is of this commit with other changes"));
            }
            if origin.toolchain != self.origin.toolchain {
                problems.push(is("toolchain", &origin.toolchain, &self.origin.toolchain));
            }
            places.entry(*shard).or_default().push(folder);
        }
        let mut counts: Vec<u32> = places.keys().map(|shard| shard.count()).collect();
        counts.sort_unstable();
        counts.dedup();
        if let [count] = counts[..] {
            let missing = Shard::all(count).filter(|shard| !places.contains_key(shard));
            problems.extend(missing.map(|shard| {
                format!("shard {shard} is missing: `cargo xtask test-coverage --shard {shard}` makes it")
            }));
        } else {
            let all: Vec<String> = places
                .iter()
                .map(|(shard, places)| format!("{shard} in {}", places.join(" and in ")))
                .collect();
            problems.push(format!("the shards come from different splits: {}", all.join(", ")));
        }
        let doubled = places.iter().filter(|(_, places)| places.len() > 1);
        problems.extend(doubled.map(|(shard, places)| {
            format!("shard {shard} is in more than one folder: {}", places.join(" and "))
        }));
        if let Some(first) = found.first() {
            let others = found.iter().filter(|other| listed(other) != listed(first));
            problems.extend(others.map(|other| {
                let (one, two) = (&other.record.shard, &first.record.shard);
                format!("shard {one} is of {} tests, and shard {two} of {}", listed(other), listed(first))
            }));
        }
        problems
    }
}

/// How many tests the test runner listed.
fn listed(found: &Found) -> u64 {
    let Tests { passed, failed, skipped } = found.record.tests;
    passed.saturating_add(failed).saturating_add(skipped)
}

/// The counts of all shards: a test is skipped if no shard ran it.
fn counted(found: &[Found]) -> Tests {
    let records = || found.iter().map(|found| &found.record);
    let ran = records().fold(None, |ran, record| Some(sum(ran, Tests { skipped: 0, ..record.tests })));
    let ran = sum(ran, Tests { passed: 0, failed: 0, skipped: 0 });
    let listed = found.first().map(listed).unwrap_or_default();
    let unable = records().map(|record| record.unable.len() as u64).sum::<u64>();
    let tests = Tests {
        passed: ran.passed.saturating_sub(unable),
        failed: ran.failed,
        skipped: listed.saturating_sub(ran.passed.saturating_add(ran.failed)).saturating_add(unable),
    };
    records().filter_map(|record| record.doctests).fold(tests, |tests, doctests| sum(Some(tests), doctests))
}

/// The shards in a folder: the folder itself, or those directly below it, in order.
fn shards(folder: &Path) -> Result<Vec<Found>> {
    if folder.join(RECORD).is_file() {
        return Ok(vec![Found::read(folder)?]);
    }
    let mut folders = Vec::new();
    if folder.is_dir() {
        for entry in fs_err::read_dir(folder)? {
            let folder = entry?.path();
            if folder.join(RECORD).is_file() {
                folders.push(folder);
            }
        }
    }
    ensure!(
        !folders.is_empty(),
        "no shard in {}: `cargo xtask test-coverage --shard 1/2` and `--shard 2/2` make two",
        folder.display()
    );
    let most = Shard::MOST as usize;
    ensure!(folders.len() <= most, "more than {most} shards in {}", folder.display());
    folders.sort();
    folders.iter().map(|folder| Found::read(folder)).collect()
}

impl Found {
    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(RECORD);
        let record = serde_json::from_str(&read_at_most(&path, Merge::MOST_RECORD)?)
            .with_context(|| format!("{} does not describe a shard", path.display()))?;
        Ok(Self { folder: folder.to_owned(), record })
    }
}

#[cfg(test)]
mod tests;
