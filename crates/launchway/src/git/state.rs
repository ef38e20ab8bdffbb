//! Whether the working tree matches the commit.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::Result;

use super::{bytes, call, top};
use launchway_core::command::Call;
use launchway_core::secret::random_word;

/// Whether a file differs from the commit, or is untracked and not ignored.
pub(super) fn is_dirty(root: &Path) -> Result<bool> {
    if !bytes(root, &status(call(root)))?.is_empty() {
        return Ok(true);
    }
    let hidden = hidden(root)?;
    if hidden.is_empty() {
        return Ok(false);
    }
    // Compares with an index without the marks; there is no other difference.
    let index = std::env::temp_dir().join(format!("launchway-index-{}", random_word()?));
    let call = || call(root).env("GIT_INDEX_FILE", index.display().to_string());
    let changed = bytes(root, &call().args(["-c", "core.sparseCheckout=false", "read-tree", "HEAD"]))
        .and_then(|_| bytes(root, &status(call())));
    // Only whether it could be used matters.
    drop(fs_err::remove_file(&index));
    // `XY path`
    Ok(parts(&changed?).any(|entry| entry.get(3..).is_some_and(|path| hidden.contains(path))))
}

fn status(call: Call) -> Call {
    call.args(["status", "--porcelain", "-z", "--untracked-files=normal"])
        .args(["--ignore-submodules=none", "--no-renames"])
}

/// The files that are hidden from git by the index marks `assume-unchanged` and `skip-worktree`, and that exist: a
/// sparse checkout marks the files that it leaves out.
fn hidden(root: &Path) -> Result<BTreeSet<Vec<u8>>> {
    let top = top(root).unwrap_or(root);
    // `H path`; a lower-case letter means `assume-unchanged`, an `S` `skip-worktree`.
    let listed = bytes(top, &call(root).args(["ls-files", "-v", "-z"]))?;
    let marked = parts(&listed).filter(|entry| !matches!(entry, [b'A'..=b'R' | b'T'..=b'Z' | b'?', ..]));
    let paths = marked.filter_map(|entry| entry.get(2..));
    let is_there =
        |path: &&[u8]| top.join(OsStr::from_bytes(path)).symlink_metadata().is_ok_and(|it| !it.is_dir());
    Ok(paths.filter(is_there).map(<[u8]>::to_vec).collect())
}

pub(super) fn parts(listed: &[u8]) -> impl Iterator<Item = &[u8]> {
    listed.split(|byte| *byte == 0).filter(|part| !part.is_empty())
}
