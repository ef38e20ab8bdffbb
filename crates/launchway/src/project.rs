//! The project that the pipeline ships: its folder, its configuration and its commit.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::git::Git;

/// The project at its commit.
#[derive(Clone, Copy)]
pub(crate) struct Project<'a> {
    /// The workspace root.
    pub(crate) root: &'a Path,
    pub(crate) config: &'a Config,
    pub(crate) git: &'a Git,
}

/// `target/xtask` in a workspace root, where a run leaves its image, its logs and its records.
pub(crate) fn output(root: &Path) -> PathBuf {
    root.join("target/xtask")
}

/// `target/ci` in a workspace root, the target folder shared by clippy, the tests and the documentation.
pub(crate) fn ci_target(root: &Path) -> PathBuf {
    root.join("target/ci")
}
