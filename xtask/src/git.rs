//! What git says of the commit that is being released.

use std::path::Path;

use anyhow::{Context as _, Result};
use report::{Commit, Time};
use xshell::{Shell, cmd};

use crate::exit::{Exit, OrExit as _};

/// The commit, its branch and the state of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Git {
    /// The full commit id: 40 hex digits.
    pub(crate) commit: String,
    /// The branch, unless the head is detached.
    pub(crate) branch: Option<String>,
    /// Whether files differ from the commit or are unknown to it.
    pub(crate) dirty: bool,
    /// The commit's time, in seconds since 1970.
    pub(crate) time: u64,
}

impl Git {
    /// Asks git about the checkout at `root`.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        Self::ask(root)
            .with_context(|| format!("{} is not a git checkout with a commit", root.display()))
            .or_exit(Exit::Usage)
    }

    fn ask(root: &Path) -> Result<Self> {
        let shell = Shell::new()?;
        shell.change_dir(root);
        let read = |command: xshell::Cmd<'_>| command.quiet().ignore_stderr().read();
        Ok(Self {
            commit: read(cmd!(shell, "git rev-parse --verify HEAD"))?,
            branch: read(cmd!(shell, "git symbolic-ref --quiet --short HEAD")).ok(),
            dirty: !read(cmd!(shell, "git status --porcelain"))?.is_empty(),
            time: read(cmd!(shell, "git show --no-patch --format=%ct HEAD"))?.parse()?,
        })
    }

    /// The commits that this one has and `previous` has not, newest first, `most` at most; this one alone where nobody
    /// knows a previous one.
    ///
    /// What git cannot tell, as in a checkout without its history, is left out.
    pub(crate) fn since(&self, root: &Path, previous: Option<&str>, most: usize) -> Vec<Commit> {
        let previous = previous.map(|commit| commit.trim_end_matches("-dirty"));
        let known = previous.filter(|commit| commit.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let (range, most) = match known {
            Some(commit) if commit != self.commit => (format!("{commit}..{}", self.commit), most),
            _ => (self.commit.clone(), 1),
        };
        let log = |range: &str, most: usize| -> Result<Vec<Commit>> {
            let shell = Shell::new()?;
            shell.change_dir(root);
            let most = most.to_string();
            let format = "--format=%H %ct %s";
            let text = cmd!(shell, "git log --max-count={most} {format} {range} --").quiet().ignore_stderr();
            text.read()?.lines().map(commit).collect()
        };
        log(&range, most).or_else(|_| log(&self.commit, 1)).unwrap_or_default()
    }

    /// Who commits here, where git was told.
    pub(crate) fn user(root: &Path) -> Option<String> {
        let shell = Shell::new().ok()?;
        shell.change_dir(root);
        cmd!(shell, "git config user.name").quiet().ignore_stderr().read().ok()
    }

    /// The tag of the commit's image: the commit, with `-dirty` when the tree is not what it says.
    pub(crate) fn tag(&self) -> String {
        if self.dirty { format!("{}-dirty", self.commit) } else { self.commit.clone() }
    }

    /// The commit as people write it: its first twelve digits.
    pub(crate) fn short(&self) -> &str {
        self.commit.get(..12).unwrap_or(&self.commit)
    }
}

/// Reads `<commit> <seconds since 1970> <subject>`.
fn commit(line: &str) -> Result<Commit> {
    const LONGEST: usize = 200;
    let mut words = line.splitn(3, ' ');
    let sha = words.next().context("no commit")?.to_owned();
    let seconds: u64 = words.next().context("no time")?.parse()?;
    let subject = words.next().unwrap_or_default();
    let subject = subject.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    Ok(Commit { sha, time: Time::from_milliseconds(seconds.saturating_mul(1000)), subject })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_git_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = format!("{:#}", Git::read(dir.path()).unwrap_err());
        assert!(error.contains(&dir.path().display().to_string()), "{error}");
    }

    #[test]
    fn a_dirty_tree_has_a_tag_of_its_own() {
        let clean = Git { commit: "a".repeat(40), branch: None, dirty: false, time: 0 };
        assert_eq!(clean.tag(), clean.commit);
        assert_eq!(Git { dirty: true, ..clean.clone() }.tag(), format!("{}-dirty", clean.commit));
        assert_eq!(clean.short(), "aaaaaaaaaaaa");
    }
}
