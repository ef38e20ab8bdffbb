//! Turns off the checks that fail today and notes the number of findings, so that the first run passes and hides
//! nothing.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;

use super::detect::{Findings, has_extension};
use super::findings::Found;
use super::report::item;
use super::threshold::Threshold;
use crate::config::OwnCheck;
use crate::steps::lint::{self, Check};
use crate::tools::{self, Machine, Tool};
use launchway_core::call;
use launchway_core::command::{Call, ended};
use launchway_core::environment::Environment;
use launchway_core::exit::{Exit, Failure};
use launchway_core::runner::Runner;

/// The checks' results before a service is adopted: a sentence for each check that fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Baseline {
    pub(super) fmt: Option<String>,
    pub(super) clippy: Option<String>,
    pub(super) doc: Option<String>,
    /// The checks of the workflows that fail, by their command lines.
    pub(super) own: BTreeMap<String, String>,
    pub(super) threshold: Threshold,
}

impl Baseline {
    /// Runs the checks, in `lint`'s own target folder.
    pub(super) fn measure(runner: &Runner, findings: &Findings, threshold: Threshold) -> Result<Self> {
        let target = runner.folder.join("target/ci").to_string_lossy().into_owned();
        // A check that cannot run says nothing about the service.
        let fetch = call!("cargo fetch --locked --target x86_64-unknown-linux-gnu");
        ran(runner, &fetch.env_remove("RUSTUP_TOOLCHAIN"))?;
        let own = |call: Call| call.env_remove("RUSTUP_TOOLCHAIN").env("CARGO_TARGET_DIR", target.as_str());
        let variables = || findings.build.environment.iter().map(|found| (&found.value.0, &found.value.1));
        let compiling = |call: Call| own(call).envs(variables());
        let fmt = call!("cargo fmt --all -- --check --files-with-diff");
        let clippy = call!("cargo clippy --workspace --all-targets --locked --message-format short");
        let doc = call!("cargo doc --workspace --no-deps --locked --message-format short");
        let mut failing = BTreeMap::new();
        for Found { value: check, .. } in &findings.checks.found {
            failing.extend(tried(runner, check)?.map(|reason| (check.run.clone(), reason)));
        }
        Ok(Self {
            own: failing,
            fmt: measured(runner, &own(fmt), "files would be formatted", |line| {
                has_extension(line, &["rs"])
            })?,
            clippy: measured(runner, &compiling(clippy), "warnings", is_finding)?,
            doc: measured(runner, &compiling(doc), "warnings", is_finding)?,
            threshold,
        })
    }

    /// A line for each disabled check.
    pub(super) fn lines(&self) -> String {
        let checks = [("fmt", &self.fmt), ("clippy", &self.clippy), ("doc", &self.doc)];
        let off = |(key, failed): (&str, &Option<String>)| {
            failed.as_ref().map(|reason| format!("{key} = false  # {reason}"))
        };
        checks.into_iter().filter_map(off).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines();
        if lines.is_empty() && self.own.is_empty() {
            return f.write_str("\nfmt, clippy and doc pass\n");
        }
        writeln!(f, "\nturned off in `lint`")?;
        lines.lines().try_for_each(|line| writeln!(f, "    | {line}"))?;
        self.own.iter().try_for_each(|(run, reason)| f.write_str(&item(&format!("`{run}` {reason}"))))
    }
}

/// Runs a command that reports no findings; its error has the last lines.
pub(super) fn ran(runner: &Runner, call: &Call) -> Result<()> {
    let mut tail = Tail::default();
    runner.reporter.command(&call.to_string(), &call.short(&runner.folder));
    let status = call.run(&runner.folder, &runner.interrupt, |line| {
        tail.read(line);
        runner.reporter.output(line);
    })?;
    if status.success() { Ok(()) } else { Err(tail.error(call)) }
}

/// Runs a check of a workflow with its tool, as `lint` will; returns how it failed.
fn tried(runner: &Runner, check: &OwnCheck) -> Result<Option<String>> {
    const LONGEST: usize = 60;

    let variables = ["PATH", "XTASK_INSTALL"].into_iter();
    let environment = Environment::of(variables.filter_map(|name| Some((name, std::env::var(name).ok()?))));
    let machine = Machine { root: &runner.folder, environment: &environment, is_rehearsal: false };
    let of_repository = |call: Call| call.env_remove("RUSTUP_TOOLCHAIN");
    let missing = Tool::of_check(check).filter(|tool| !matches!(tool.find(machine), tools::Found::Pinned(_)));
    if let Some(tool) = missing {
        let installed = machine.may_install() && ran(runner, &of_repository(tool.install(machine))).is_ok();
        runner.interrupt.check()?;
        if !installed {
            runner.reporter.note(format!("`{}` was not tried: {} cannot be installed", check.run, tool.name));
            return Ok(None);
        }
    }
    let Check::Run(call) = lint::own(machine, check) else { return Ok(None) };
    let mut last = String::new();
    let call = of_repository(call);
    runner.reporter.command(&call.to_string(), &call.short(&runner.folder));
    let status = call.run(&runner.folder, &runner.interrupt, |line| {
        if !line.trim().is_empty() {
            // It becomes a comment in TOML, which allows no control characters.
            last = line.trim().chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        }
        runner.reporter.output(line);
    })?;
    Ok((!status.success()).then(|| format!("{} today: {last}", ended(status))))
}

/// Counts the findings of a check; `None` if it passes.
fn measured(
    runner: &Runner,
    call: &Call,
    what: &str,
    is_one: impl Fn(&str) -> bool,
) -> Result<Option<String>> {
    let mut found = 0_usize;
    let mut tail = Tail::default();
    runner.reporter.command(&call.to_string(), &call.short(&runner.folder));
    let status = call.run(&runner.folder, &runner.interrupt, |line| {
        found += usize::from(is_one(line));
        tail.read(line);
        runner.reporter.output(line);
    })?;
    Ok(match found {
        0 if status.success() => None,
        // A missing tool or library says nothing about the service.
        0 => return Err(tail.error(call)),
        1 => Some(format!(
            "{} today",
            what.replacen("files", "1 file", 1).replacen("warnings", "1 warning", 1)
        )),
        many => Some(format!("{many} {what} today")),
    })
}

/// The last lines of a child, for its error.
#[derive(Debug, Default)]
pub(super) struct Tail(Vec<String>);

impl Tail {
    const LINES: usize = 12;

    pub(super) fn read(&mut self, line: &str) {
        if self.0.len() == Self::LINES {
            self.0.remove(0);
        }
        self.0.push(line.chars().take(300).collect());
    }

    /// The error for a command that cannot run on this machine.
    pub(super) fn error(&self, call: &Call) -> anyhow::Error {
        let message = format!("`{call}` cannot run on this machine:\n  {}", self.0.join("\n  "));
        Failure::new(Exit::Missing, message).into()
    }
}

/// `src/main.rs:1:2: warning: …`
fn is_finding(line: &str) -> bool {
    let mut parts = line.splitn(4, ':');
    let is_number = |part: Option<&str>| part.is_some_and(|part| part.parse::<u32>().is_ok());
    parts.next().is_some()
        && is_number(parts.next())
        && is_number(parts.next())
        && parts.next().is_some_and(|rest| [" warning", " error"].iter().any(|word| rest.starts_with(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_counted_and_summaries_are_not() {
        assert!(is_finding("src/main.rs:1:2: warning: unused import"));
        assert!(is_finding("crates/a/src/lib.rs:10:5: error[E0308]: mismatched types"));
        assert!(!is_finding("warning: `web` (bin \"web\") generated 3 warnings"));
        assert!(!is_finding("    Checking web v0.1.0 (/x:1)"));
    }

    #[test]
    fn only_what_fails_is_written() {
        assert_eq!(Baseline::default().lines(), "");
        let failed = Baseline { clippy: Some("34 warnings today".to_owned()), ..Baseline::default() };
        assert_eq!(failed.lines(), "clippy = false  # 34 warnings today");
    }
}
