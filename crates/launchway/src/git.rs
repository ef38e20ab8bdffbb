//! Reads from git the commit that is being released.
//!
//! Uses plumbing commands only, and overrides every setting that would change their output or what counts as clean. Git
//! gets only the variables that it needs, and starts no hook and no file system monitor.

pub(crate) mod files;
mod refusal;
mod state;

use std::path::Path;
use std::process::Output;

use anyhow::{Context as _, Result};
use launchway_report::{Commit, MAX_COMMITS, Time};

use launchway_core::command::Call;
use launchway_core::events::Reporter;
use launchway_core::exit::{Exit, OrExit as _};

/// The commit, its branch and the state of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Git {
    /// The full commit id: 40 hex digits.
    pub(crate) commit: String,
    /// The branch, unless the head is detached.
    pub(crate) branch: Option<String>,
    /// Whether files differ from the commit or are untracked.
    pub(crate) dirty: bool,
    /// The commit's time, in seconds since 1970.
    pub(crate) time: u64,
}

impl Git {
    /// Reads the checkout at `root`. Errors contain git's own words and a hint.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let commit = text(root, &["rev-parse", "--verify", "--end-of-options", "HEAD^{commit}"])?;
        // A detached HEAD is not a branch name.
        let head = text(root, &["symbolic-ref", "--quiet", "HEAD"]).unwrap_or_default();
        let object = text(root, &["cat-file", "commit", &commit])?;
        Ok(Self {
            branch: head.strip_prefix("refs/heads/").map(str::to_owned),
            dirty: state::is_dirty(root)?,
            time: time(&object)
                .with_context(|| format!("commit {commit} has no timestamp"))
                .or_exit(Exit::Usage)?,
            commit,
        })
    }

    /// The commits in this one but not in `previous`, newest first, at most `most`; only this one if there is no known
    /// previous one.
    ///
    /// Commits that git does not have, as in a shallow clone, are left out.
    pub(crate) fn since(&self, root: &Path, previous: Option<&str>, most: usize) -> Vec<Commit> {
        let previous = previous.map(|commit| commit.trim_end_matches("-dirty"));
        let is_id = |text: &&str| text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (range, most) = match previous.filter(is_id) {
            Some(commit) if commit != self.commit => (format!("{commit}..{}", self.commit), most),
            _ => (self.commit.clone(), 1),
        };
        let list = |range: &str, most: usize| -> Result<Vec<Commit>> {
            let most = format!("--max-count={most}");
            let listed = text(
                root,
                &["rev-list", &most, "--encoding=UTF-8", "--format=%H %ct %s%x09%an", range, "--"],
            )?;
            // The line of each commit follows a line `commit <id>`.
            listed.lines().filter(|line| !line.starts_with("commit ")).map(commit).collect()
        };
        list(&range, most).or_else(|_| list(&self.commit, 1)).unwrap_or_default()
    }

    /// The commits after `previous`, as [`Self::since`], redacted for reports and Sentry.
    pub(crate) fn published_since(
        &self,
        root: &Path,
        previous: Option<&str>,
        reporter: &Reporter,
    ) -> Vec<Commit> {
        // A secret in a commit message must not spread further.
        let shown = |commit: Commit| Commit {
            subject: reporter.redacted(&commit.subject),
            author: commit.author.map(|author| reporter.redacted(&author)),
            ..commit
        };
        self.since(root, previous, MAX_COMMITS).into_iter().map(shown).collect()
    }

    /// The committer's name, if git is configured with one.
    pub(crate) fn user(root: &Path) -> Option<String> {
        text(root, &["config", "--get", "user.name"]).ok()
    }

    /// The tag of the commit's image: the commit, with `-dirty` if the tree differs from it.
    pub(crate) fn tag(&self) -> String {
        if self.dirty { format!("{}-dirty", self.commit) } else { self.commit.clone() }
    }

    /// The first twelve digits of the commit.
    pub(crate) fn short(&self) -> String {
        launchway_core::short(&self.commit)
    }
}

/// The variables that git needs: none is a secret, and none points to another repository.
const INHERITED: [&str; 12] = [
    "PATH",
    "HOME",
    "XDG_CONFIG_HOME",
    "TMPDIR",
    "USER",
    "LOGNAME",
    // Under sudo, git also trusts files of the user behind it.
    "SUDO_UID",
    "LD_LIBRARY_PATH",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
];

/// Overrides settings that could start a program, or change the output or what counts as clean.
const SETTINGS: [&str; 8] = [
    "core.fsmonitor=false",
    "core.fileMode=true",
    "core.symlinks=true",
    "core.ignoreCase=false",
    "core.checkStat=default",
    "core.trustctime=true",
    "core.quotePath=false",
    "color.ui=false",
];

/// Git outside of any checkout: starts no hook, and inherits only what it needs.
pub(crate) fn plain() -> Call {
    Call::new("git").args(["-c", "core.hooksPath=/dev/null"]).inherit_only(&INHERITED)
}

/// Git in the checkout that contains `root`.
pub(crate) fn call(root: &Path) -> Call {
    let call = SETTINGS.iter().fold(plain(), |call, setting| call.arg("-c").arg(*setting));
    let call = call.args(["--no-pager", "--no-optional-locks", "--no-replace-objects"]);
    let call = call.env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0").env("GIT_LITERAL_PATHSPECS", "1");
    // A partial clone would otherwise fetch missing objects, from anywhere.
    let call = call.env("GIT_NO_LAZY_FETCH", "1");
    // The files are those around the workspace, regardless of `core.worktree` and `core.bare`.
    match top(root) {
        Some(top) => call.env("GIT_WORK_TREE", top.display().to_string()),
        None => call,
    }
}

/// The top folder of the checkout that contains `root`.
pub(crate) fn top(root: &Path) -> Option<&Path> {
    root.ancestors().find(|folder| folder.join(".git").exists())
}

/// What git prints; a non-zero exit is an error.
pub(crate) fn bytes(root: &Path, call: &Call) -> Result<Vec<u8>> {
    let Output { status, stdout, stderr } = call
        .output(root)
        .context("git cannot be started: install it, or add it to `PATH`")
        .or_exit(Exit::Missing)?;
    if status.success() {
        Ok(stdout)
    } else {
        Err(refusal::error(root, status, &String::from_utf8_lossy(&stderr)))
    }
}

/// What git prints, without the last line break.
pub(crate) fn text(root: &Path, arguments: &[&str]) -> Result<String> {
    let printed = bytes(root, &call(root).args(arguments.iter().copied()))?;
    Ok(String::from_utf8_lossy(&printed).trim_end_matches('\n').to_owned())
}

/// Reads `<commit> <seconds since 1970> <subject><tab><author>`.
fn commit(line: &str) -> Result<Commit> {
    const SUBJECT: usize = 200;
    const AUTHOR: usize = 100;
    let shown =
        |text: &str, longest| -> String { text.chars().filter(|c| !c.is_control()).take(longest).collect() };
    let mut words = line.splitn(3, ' ');
    let sha = words.next().context("no commit")?.to_owned();
    let seconds: u64 = words.next().context("no time")?.parse()?;
    // A subject may contain a tab, so the author comes last.
    let (subject, author) = words.next().and_then(|rest| rest.rsplit_once('\t')).unwrap_or_default();
    Ok(Commit {
        sha,
        time: Time::from_milliseconds(seconds.saturating_mul(1000)),
        subject: shown(subject, SUBJECT),
        author: Some(shown(author, AUTHOR)).filter(|author| !author.is_empty()),
    })
}

/// The time of a commit object: `committer <name> <<address>> <seconds since 1970> <zone>`.
fn time(object: &str) -> Option<u64> {
    let committer = object.lines().find_map(|line| line.strip_prefix("committer "))?;
    committer.rsplit(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests;
