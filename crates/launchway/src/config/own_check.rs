//! `lint.checks`: a workspace's own checks, in addition to the pipeline's.

use anyhow::{Result, bail};
use serde::{Deserialize, Deserializer};

use super::variables::text_or_table;

/// An entry of `lint.checks`: a command line, or a table with the tool that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnCheck {
    /// Words separated by spaces; no shell reads them.
    pub(crate) run: String,
    /// The package that provides the program, as `name@version` on crates.io.
    tool: Option<String>,
}

impl OwnCheck {
    /// The program and its arguments.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.run.split_whitespace()
    }

    /// Whether it runs a subcommand of cargo.
    pub(crate) fn is_cargo(&self) -> bool {
        self.words().next() == Some("cargo")
    }

    /// The name of the program's file; for `cargo machete` that is `cargo-machete`.
    pub(crate) fn program(&self) -> String {
        let mut words = self.words();
        match (words.next().unwrap_or_default(), words.next()) {
            ("cargo", Some(subcommand)) => format!("cargo-{subcommand}"),
            (program, _) => program.to_owned(),
        }
    }

    /// The pinned package and its version.
    pub(crate) fn tool(&self) -> Option<(&str, &str)> {
        self.tool.as_deref()?.split_once('@')
    }

    /// A check with its tool; fails if it cannot work.
    #[cfg(feature = "init")]
    pub(crate) fn pinned(run: &str, tool: &str) -> Result<Self> {
        let check = Self { run: run.to_owned(), tool: Some(tool.to_owned()) };
        check.check()?;
        Ok(check)
    }

    /// Fails if the check cannot work.
    pub(super) fn check(&self) -> Result<()> {
        /// Characters that a shell would interpret.
        const SYNTAX: &str = "'\"\\$`|&;<>()*?[]{}~#!";

        let Self { run, tool } = self;
        if let Some(wrong) = run.chars().find(|c| SYNTAX.contains(*c) || c.is_control()) {
            bail!(
                "`lint.checks` contains `{run}`, but no shell reads it, so {wrong:?} would have no effect: put the line into a script, and the script's path here"
            );
        }
        match self.words().next() {
            None => bail!(
                "`lint.checks` has an empty entry: each entry must be a command line such as `cargo machete`"
            ),
            Some(program) if program.contains('=') || program.starts_with('-') => {
                bail!(
                    "`lint.checks` contains `{run}`, which must start with a program, but starts with `{program}`"
                )
            }
            Some("cargo") if self.words().nth(1).is_none_or(|name| name.starts_with(['-', '+'])) => {
                bail!("`lint.checks` contains `{run}`: `cargo` needs a subcommand, such as `machete`")
            }
            Some(_) => {}
        }
        let Some(tool) = tool else { return Ok(()) };
        let is_name = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphabetic())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
        };
        let is_version = |text: &str| {
            let (numbers, _) = text.split_once(['-', '+']).unwrap_or((text, ""));
            numbers.split('.').filter(|part| part.parse::<u64>().is_ok()).count() == 3
                && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c))
        };
        if !self.tool().is_some_and(|(name, version)| is_name(name) && is_version(version)) {
            bail!(
                "`lint.checks` contains the tool `{tool}`, which must be a package with its version, such as `sqlx-cli@0.8.2`"
            );
        }
        if self.program().contains('/') {
            bail!(
                "`lint.checks` contains the tool `{tool}` for `{run}`, which runs a file of the workspace: remove one"
            );
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for OwnCheck {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            run: String,
            #[serde(default)]
            tool: Option<String>,
        }
        text_or_table(
            deserializer,
            "a command line, or a table with `run` and `tool`",
            |run| Self { run, tool: None },
            |Table { run, tool }| Self { run, tool },
        )
    }
}

#[cfg(test)]
impl OwnCheck {
    pub(crate) fn of(run: &str, tool: Option<&str>) -> Self {
        Self { run: run.to_owned(), tool: tool.map(str::to_owned) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_program_and_its_arguments() {
        for (run, program) in [
            ("cargo machete", "cargo-machete"),
            ("cargo  sqlx prepare --check", "cargo-sqlx"),
            ("typos --config=a.toml", "typos"),
            ("scripts/check.sh", "scripts/check.sh"),
        ] {
            let check = OwnCheck::of(run, None);
            check.check().unwrap();
            assert_eq!(check.program(), program);
        }
        OwnCheck::of("cargo sqlx prepare --check", Some("sqlx-cli@0.8.2")).check().unwrap();
        OwnCheck::of("typos", Some("typos-cli@1.0.0-rc.1")).check().unwrap();
    }

    #[test]
    fn what_cannot_work_is_named_with_the_way_out() {
        for (run, tool, expected) in [
            ("cargo machete | tee log", None, "'|' would have no effect: put the line into a script"),
            ("grep 'a b' src", None, "no shell reads it"),
            ("echo $HOME", None, "'$' would have no effect"),
            ("", None, "has an empty entry"),
            ("RUST_LOG=x cargo machete", None, "must start with a program"),
            ("cargo", None, "`cargo` needs a subcommand"),
            ("cargo +nightly fmt", None, "`cargo` needs a subcommand"),
            ("cargo machete", Some("cargo-machete"), "such as `sqlx-cli@0.8.2`"),
            ("cargo machete", Some("cargo-machete@0.7"), "such as `sqlx-cli@0.8.2`"),
            ("cargo machete", Some("--git@0.7.0"), "such as `sqlx-cli@0.8.2`"),
            ("./check.sh", Some("typos-cli@1.0.0"), "runs a file of the workspace"),
        ] {
            let error = OwnCheck::of(run, tool).check().unwrap_err().to_string();
            assert!(error.contains(expected), "{run}: {error}");
        }
    }
}
