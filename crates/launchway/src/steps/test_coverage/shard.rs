//! A shard: a part of the tests that runs on a separate machine, and what it leaves for the merge.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, bail};
use launchway_report::Tests;
use serde::{Deserialize, Serialize};

use super::empty;
use super::measure::Measured;
use crate::config::TestRunner;
use crate::context::Context;
use crate::coverage::Lines;
use crate::reuse;
use crate::table::{MERGE, SHARD};
use launchway_core::command::Call;
use launchway_core::events::Reporter;
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_core::file::write_whole;
use launchway_registry::Digest;

/// Which tests a run is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of them.
    #[default]
    Whole,
    /// One shard.
    Shard(Shard),
    /// The merge of the shards in these folders.
    Merge(Vec<PathBuf>),
}

impl Part {
    /// Reads the command line or, on GitHub, the environment of the job.
    ///
    /// A shard with a test runner that cannot run one is an error with [`Exit::Usage`].
    pub(crate) fn of(ctx: &Context, shard: Option<Shard>, merge: &[PathBuf]) -> Result<Self> {
        let read = || {
            let part = match (shard, merge) {
                (Some(shard), _) => Self::Shard(shard),
                (None, [_, ..]) => Self::Merge(merge.to_vec()),
                (None, []) => match (ctx.environment.get(SHARD), ctx.environment.get(MERGE)) {
                    (Some(_), Some(_)) => bail!("both `{SHARD}` and `{MERGE}` are set: remove one"),
                    (Some(shard), None) => Self::Shard(shard.parse()?),
                    (None, Some(folder)) => Self::Merge(vec![folder.into()]),
                    (None, None) => Self::Whole,
                },
            };
            if matches!(part, Self::Shard(_)) && ctx.config.test.runner == TestRunner::Cargo {
                bail!("`cargo test` cannot run a shard of the tests: set `test.runner = \"nextest\"`");
            }
            Ok(part)
        };
        read().or_exit(Exit::Usage)
    }
}

/// One of several shards: `2/3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Shard {
    number: u32,
    of: u32,
}

impl Shard {
    /// GitHub's limit for the jobs of a matrix.
    pub(crate) const MOST: u32 = 256;

    /// All of so many shards.
    pub(crate) fn all(of: u32) -> impl Iterator<Item = Self> {
        (1..=of).map(move |number| Self { number, of })
    }

    pub(super) fn is_first(self) -> bool {
        self.number == 1
    }

    /// How many shards there are.
    pub(super) fn count(self) -> u32 {
        self.of
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers =
            text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((number, of)) if (1..=of).contains(&number) && of <= Self::MOST => Ok(Self { number, of }),
            _ => bail!("`{text}` is not a shard such as `2/3`, of at most {}", Self::MOST),
        }
    }
}

impl TryFrom<String> for Shard {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

/// What a shard was measured from. Shards merge only if all of it is equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// The tag of the commit's image.
    pub(super) commit: String,
    /// A hash of all files in the working tree, before the tests ran.
    pub(super) files: String,
    pub(super) toolchain: String,
}

impl Origin {
    pub(super) fn of(ctx: &Context) -> Result<Self> {
        let rustc = Call::new("rustc").arg("-vV").read(&ctx.root).or_exit(Exit::Missing)?;
        let is_named = |line: &&str| ["rustc ", "host: "].iter().any(|name| line.starts_with(name));
        let toolchain: Vec<&str> = rustc.lines().filter(is_named).collect();
        Ok(Self { commit: ctx.git.tag(), files: reuse::files(&ctx.root)?, toolchain: toolchain.join(", ") })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "commit {}, {}", self.commit, self.toolchain)
    }
}

/// The file that describes a shard, next to [`LCOV`].
pub(super) const RECORD: &str = "shard.json";
/// The coverage of the shard's tests.
pub(super) const LCOV: &str = "lcov.info";

/// The description of a shard. Other versions of the pipeline ignore unknown fields.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ShardRecord {
    pub(super) shard: Shard,
    #[serde(flatten)]
    pub(super) origin: Origin,
    /// As the test runner counts: the tests of the other shards are skipped.
    pub(super) tests: Tests,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) doctests: Option<Tests>,
    /// Tests without their real counterpart, and what was missing.
    #[serde(default)]
    pub(super) unable: Vec<(String, String)>,
    /// The digest of [`LCOV`].
    pub(super) lcov: String,
}

/// Leaves the coverage of a shard.
#[derive(Debug, PartialEq)]
pub(crate) struct Leave {
    shard: Shard,
    origin: Origin,
    folder: PathBuf,
}

impl fmt::Display for Leave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leave shard {} of {} in {}", self.shard, self.origin, self.folder.display())
    }
}

impl Leave {
    pub(super) fn new(ctx: &Context, shard: Shard) -> Result<Self> {
        let folder = ctx.output().join("shards").join(format!("{}-of-{}", shard.number, shard.of));
        Ok(Self { shard, origin: Origin::of(ctx)?, folder })
    }

    /// Empties its folder, before the tests run.
    pub(super) fn clear(&self) -> Result<()> {
        empty(&self.folder)
    }

    pub(super) fn run(&self, reporter: &Reporter, measured: &Measured, lines: &Lines) -> Result<()> {
        let Some(tests) = measured.counts.counted() else {
            let message = "the test runner did not say how many tests it ran";
            return Err(Failure::new(Exit::CheckFailed, message).into());
        };
        let lcov = lines.to_lcov();
        let record = ShardRecord {
            shard: self.shard,
            origin: self.origin.clone(),
            tests,
            doctests: measured.doctests.counted(),
            unable: measured.counts.unable.clone(),
            lcov: Digest::of(lcov.as_bytes()).to_string(),
        };
        write_whole(&self.folder.join(LCOV), lcov.as_bytes())?;
        reporter.leave_json(&self.folder.join(RECORD), &serde_json::to_string(&record)?)?;
        reporter.note(format!("shard {} is in {}", self.shard, self.folder.display()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use launchway_core::environment::Environment;

    #[test]
    fn a_shard_is_one_of_some() {
        for text in ["1/1", "2/3", "256/256"] {
            assert_eq!(text.parse::<Shard>().unwrap().to_string(), text);
        }
        for text in ["", "1", "0/3", "4/3", "1/0", "1/257", "-1/3", "1/3/5", "a/b"] {
            let error = text.parse::<Shard>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is not a shard such as `2/3`")), "{error}");
        }
    }

    #[test]
    fn the_command_line_wins_over_the_environment() {
        let part = |variables: &[(&str, &str)], shard: Option<&str>, merge: &[PathBuf]| {
            let environment = Environment::of(variables.iter().copied());
            let mut ctx = Context::for_test(Path::new("/w"), environment);
            ctx.config.test.runner = TestRunner::Nextest;
            Part::of(&ctx, shard.map(|text| text.parse().unwrap()), merge)
        };
        let shard = |text: &str| Part::Shard(text.parse().unwrap());
        assert_eq!(part(&[], None, &[]).unwrap(), Part::Whole);
        assert_eq!(part(&[(SHARD, "2/3")], None, &[]).unwrap(), shard("2/3"));
        assert_eq!(part(&[(SHARD, "2/3")], Some("1/2"), &[]).unwrap(), shard("1/2"));
        let folders = [PathBuf::from("/a"), PathBuf::from("/b")];
        assert_eq!(part(&[(SHARD, "2/3")], None, &folders).unwrap(), Part::Merge(folders.to_vec()));
        assert_eq!(part(&[(MERGE, "/c")], None, &[]).unwrap(), Part::Merge(vec!["/c".into()]));
        for variables in [&[(SHARD, "4/3")][..], &[(SHARD, "1/3"), (MERGE, "/c")]] {
            assert_eq!(Exit::of(&part(variables, None, &[]).unwrap_err()), Exit::Usage);
        }
    }

    #[test]
    fn the_default_runner_cannot_run_a_shard() {
        let ctx = Context::for_test(Path::new("/w"), Environment::default());
        let error = Part::of(&ctx, Some("1/2".parse().unwrap()), &[]).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Usage);
        assert!(format!("{error:#}").contains("set `test.runner = \"nextest\"`"), "{error:#}");
        Part::of(&ctx, None, &["/a".into()]).unwrap();
    }
}
