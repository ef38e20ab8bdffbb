//! Explains why git refused, with its own words and a hint.

use std::path::Path;
use std::process::ExitStatus;

use super::{call, top};
use launchway_core::command::ended;
use launchway_core::exit::{Exit, Failure};

/// The error for what git printed on standard error.
pub(super) fn error(root: &Path, status: ExitStatus, words: &str) -> anyhow::Error {
    let folder = root.display();
    let words = words.trim();
    let has = |part: &str| words.contains(part);
    let hint = if has("dubious ownership") {
        // Git's own words contain the command.
        format!("git does not trust {folder}, which belongs to another user")
    } else if has("not a git repository") && top(root).is_none() {
        format!("{folder} is not in a git checkout: run `git init` there and commit, or clone the repository")
    } else if has("not a git repository") {
        format!(
            "`.git` in {folder} points to a repository that does not exist: clone it again, or try `git worktree repair`"
        )
    } else if has("index file") || has("index uses") {
        format!("the git index of {folder} cannot be read: remove `.git/index`, then run `git reset`")
    } else if has("must be run in a work tree") || is_bare(root) {
        format!("{folder} is a bare repository, which has no files to build: clone it")
    } else if let Some(branch) = unborn(root) {
        format!("branch `{branch}` has no commits yet: make one")
    } else {
        format!("git failed in {folder}")
    };
    let said =
        if words.is_empty() { format!(": git {}", ended(status)) } else { format!(". git says: {words}") };
    Failure::new(Exit::Usage, hint + &said).into()
}

fn is_bare(root: &Path) -> bool {
    let asked = call(root).args(["rev-parse", "--is-bare-repository"]).read(root);
    top(root).is_none() && asked.is_ok_and(|answer| answer == "true")
}

/// The current branch, if it has no commits.
fn unborn(root: &Path) -> Option<String> {
    let head = call(root).args(["symbolic-ref", "--quiet", "HEAD"]).read(root).ok()?;
    let exists = call(root).args(["show-ref", "--verify", "--quiet", &head]).read(root).is_ok();
    let branch = head.strip_prefix("refs/heads/")?;
    (!exists).then(|| branch.to_owned())
}
