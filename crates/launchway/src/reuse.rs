//! Remembers which steps passed on which inputs, so that the same tree is not tested twice.
//!
//! The key of a step covers every file that git tracks or would add, with its mode; the toolchain and the tools;
//! cargo's configuration outside of the tree; the pipeline's own program; and the environment of its children. For what
//! the key cannot cover (a server on this machine, a file that git ignores), there is `--fresh`.

pub(crate) mod github;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use launchway_core::command::Call;
use launchway_core::encode::hex;
use launchway_core::events::terminal::seconds;
use launchway_core::file::write_whole;
use launchway_report::{Tests, Time};
use ring::digest::{Context as Hash, SHA256};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::git;
use crate::git::files::{self, Content, File};
use crate::steps::lint;
use crate::steps::test_coverage::CoverageRecord;
use crate::table::rule::on_github;
use crate::table::{PASSED, StepId};
use crate::tools::{self, Machine};
use github::GitHubRun;

/// Everything that a step's result depends on, as a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key(String);

impl Key {
    /// The key of a step for the current state of the tree; `None` for a step that has effects elsewhere, or that cargo
    /// and the layer cache already make fast.
    pub(crate) fn of(machine: Machine<'_>, config: &Config, step: StepId) -> Result<Option<Self>> {
        let unread = match step {
            StepId::Lint => &config.lint.unread,
            StepId::TestCoverage => &config.test.unread,
            StepId::DockerBuild | StepId::Push | StepId::Deploy | StepId::Rollback => return Ok(None),
        };
        let mut parts = Parts::default();
        parts.add("step", step.name());
        tree(&mut parts, machine.root, unread)?;
        toolchain(&mut parts, machine, config, step)?;
        cargo_configuration(&mut parts, machine.root)?;
        // On GitHub the tree holds both: the workflow says what a step gets, and the pipeline is compiled from the tree.
        if !on_github(machine.environment) {
            environment(&mut parts, machine.root)?;
            parts.add_file("pipeline", &std::env::current_exe()?)?;
        }
        Ok(Some(parts.into_key()))
    }
}

/// Named values, each with its length, so that no two lists have the same bytes.
struct Parts(Hash);

impl Default for Parts {
    fn default() -> Self {
        Self(Hash::new(&SHA256))
    }
}

impl Parts {
    fn add(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) {
        for bytes in [name.as_ref().as_bytes(), value.as_ref().as_bytes()] {
            self.0.update(&(bytes.len() as u64).to_le_bytes());
            self.0.update(bytes);
        }
    }

    fn add_file(&mut self, name: impl AsRef<OsStr>, path: &Path) -> Result<()> {
        let mut file = fs_err::File::open(path)?;
        let mut hash = Hash::new(&SHA256);
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => hash.update(buffer.get(..read).unwrap_or_default()),
            }
        }
        self.add(name, OsStr::from_bytes(hash.finish().as_ref()));
        Ok(())
    }

    fn into_key(self) -> Key {
        Key(hex(self.0.finish().as_ref()))
    }
}

/// A hash of all files in the working tree.
pub(crate) fn files(root: &Path) -> Result<String> {
    let mut parts = Parts::default();
    tree(&mut parts, root, &[])?;
    Ok(parts.into_key().0)
}

/// The files in the working tree, committed or not: that is what the steps read.
fn tree(parts: &mut Parts, root: &Path, unread: &[String]) -> Result<()> {
    let top = git::top(root).context("not a git repository")?;
    let mut files = files::of_tree(top)?;
    files.sort_by(|one, other| one.path.cmp(&other.path));
    for File { path, kind, content } in files {
        let inside = top.join(&path);
        if inside.strip_prefix(root).is_ok_and(|path| is_one_of(path, unread)) {
            continue;
        }
        parts.add(&path, format!("{kind:?}"));
        match content {
            Content::Place(place) if place.is_symlink() => parts.add("link", fs_err::read_link(place)?),
            Content::Place(place) => parts.add_file("file", &place)?,
            Content::Blob { id, .. } => parts.add("blob", id),
        }
    }
    Ok(())
}

/// Whether a path is one of these files, or is below one of these folders (with a trailing `/`).
fn is_one_of(path: &Path, unread: &[String]) -> bool {
    unread.iter().any(|entry| match entry.strip_suffix('/') {
        Some(folder) => path.starts_with(folder),
        None => path == Path::new(entry),
    })
}

fn toolchain(parts: &mut Parts, machine: Machine<'_>, config: &Config, step: StepId) -> Result<()> {
    parts.add("rustc", Call::new("rustc").arg("-vV").read(machine.root)?);
    parts.add("cargo", Call::new("cargo").arg("-V").read(machine.root)?);
    for tool in tools::all(config).iter().filter(|tool| tool.step == step) {
        parts.add(&*tool.name, format!("{:?}", tool.find(machine)));
    }
    let checks = config.lint.checks.iter().filter(|check| step == StepId::Lint && check.tool().is_none());
    for program in checks.filter_map(|check| lint::program(machine, check)) {
        parts.add_file(&program, &program)?;
    }
    Ok(())
}

/// Cargo's configuration in the folders above the repository and in its home.
fn cargo_configuration(parts: &mut Parts, root: &Path) -> Result<()> {
    let var = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    let home = var("CARGO_HOME").or_else(|| Some(var("HOME")?.join(".cargo")));
    let above = root.ancestors().map(|folder| folder.join(".cargo"));
    // Once each: the home may be above the repository.
    let folders: BTreeSet<PathBuf> = above.chain(home).collect();
    for path in folders.iter().flat_map(|folder| [folder.join("config.toml"), folder.join("config")]) {
        if path.is_file() {
            parts.add_file(&path, &path)?;
        }
    }
    Ok(())
}

/// What cargo would inherit, except for what differs from terminal to terminal.
fn environment(parts: &mut Parts, root: &Path) -> Result<()> {
    let mut inherited: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    for (name, value) in Call::new("cargo").command(root)?.get_envs() {
        match value {
            Some(value) => inherited.insert(name.to_owned(), value.to_owned()),
            None => inherited.remove(name),
        };
    }
    for (name, value) in inherited.iter().filter(|(name, _)| !is_of_a_terminal(&name.to_string_lossy())) {
        parts.add(name, value);
    }
    Ok(())
}

/// Whether a variable concerns the terminal and not what a step does.
fn is_of_a_terminal(name: &str) -> bool {
    const NAMES: [&str; 16] = [
        "_",
        "COLORTERM",
        "COLUMNS",
        "DBUS_SESSION_BUS_ADDRESS",
        "DISPLAY",
        "GPG_TTY",
        "LINES",
        "LS_COLORS",
        "OLDPWD",
        "PWD",
        "SHLVL",
        "STY",
        "TERM",
        "WAYLAND_DISPLAY",
        "WINDOWID",
        "XAUTHORITY",
    ];
    const STARTS: [&str; 6] = ["SSH_", "TERM_", "TMUX", "VSCODE_", "XDG_SESSION", "GIT_ASKPASS"];
    NAMES.contains(&name) || STARTS.iter().any(|start| name.starts_with(start))
}

/// A step that passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Passed {
    pub(crate) key: Key,
    /// The run on GitHub that it was part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<GitHubRun>,
    pub(crate) finished: Time,
    pub(crate) milliseconds: u64,
    /// The commit, as people read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<String>,
    /// The checks inside it that were skipped.
    #[serde(default)]
    pub(crate) skipped: Vec<String>,
    #[serde(default)]
    pub(crate) tests: Option<Tests>,
    #[serde(default)]
    pub(crate) coverage: Option<CoverageRecord>,
}

impl Passed {
    /// What people read while the step is reused.
    pub(crate) fn words(&self, now: Time) -> String {
        let on = self.commit.as_ref().map_or_else(String::new, |commit| format!(" on {commit}"));
        let took = seconds(self.milliseconds);
        format!("passed {}{on}, took {took}{}", ago(now.since(self.finished)), self.place())
    }

    /// What the summary says beside it.
    pub(crate) fn remark(&self, now: Time) -> String {
        format!("{}, took {}{}", ago(now.since(self.finished)), seconds(self.milliseconds), self.place())
    }

    fn place(&self) -> String {
        let run = self.run.as_ref();
        run.map_or_else(String::new, |GitHubRun { id, address, .. }| format!(", in run {id}: {address}"))
    }
}

impl fmt::Display for Passed {
    /// For the record, which is read later.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = seconds(self.milliseconds);
        write!(f, "passed on the same files at {} in {took}{}", self.finished, self.place())
    }
}

/// How long ago something was, in the unit that people would choose.
fn ago(time: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    match time.as_secs() {
        seconds @ ..MINUTE => format!("{seconds} s ago"),
        seconds @ ..HOUR => format!("{} min ago", seconds / MINUTE),
        seconds if seconds < 48 * HOUR => format!("{} h ago", seconds / HOUR),
        seconds => format!("{} days ago", seconds / (24 * HOUR)),
    }
}

/// The passes of each step, by its name.
type Passes = BTreeMap<String, Vec<Passed>>;

/// The steps that passed, by name; the last few of each, so that switching between branches keeps both.
#[derive(Debug)]
pub(crate) struct Memory {
    file: PathBuf,
    passed: Passes,
}

impl Memory {
    const KEPT: usize = 8;

    /// Reads what earlier runs left in `target/xtask`. An unreadable file counts as empty: then everything runs.
    ///
    /// On GitHub it holds the passes of the own run alone, which uploads it.
    pub(crate) fn read(output: &Path, own: Option<&GitHubRun>) -> Self {
        let file = output.join(PASSED);
        let bytes = fs_err::read(&file).unwrap_or_default();
        let mut passed: Passes = serde_json::from_slice(&bytes).unwrap_or_default();
        if own.is_some() {
            for kept in passed.values_mut() {
                kept.retain(|passed| passed.run.as_ref() == own);
            }
        }
        Self { file, passed }
    }

    pub(crate) fn find(&self, step: StepId, key: &Key) -> Option<&Passed> {
        self.passed.get(step.name())?.iter().find(|passed| passed.key == *key)
    }

    pub(crate) fn keep(&mut self, step: StepId, passed: Passed) -> Result<()> {
        let kept = self.passed.entry(step.name().to_owned()).or_default();
        kept.retain(|earlier| earlier.key != passed.key);
        kept.insert(0, passed);
        kept.truncate(Self::KEPT);
        self.write()
    }

    /// Forgets a pass: the same inputs have failed since.
    pub(crate) fn forget(&mut self, step: StepId, key: &Key) -> Result<()> {
        let Some(kept) = self.passed.get_mut(step.name()) else { return Ok(()) };
        let before = kept.len();
        kept.retain(|earlier| earlier.key != *key);
        if kept.len() == before { Ok(()) } else { self.write() }
    }

    fn write(&self) -> Result<()> {
        write_whole(&self.file, &serde_json::to_vec_pretty(&self.passed).map_err(io::Error::from)?)
    }
}

#[cfg(test)]
mod tests;
