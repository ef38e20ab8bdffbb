//! Runs the `xtask` of an adopted service for the installed program, so that the version of the pipeline that the
//! service's `xtask` depends on is the one that runs.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::context::find_root;
use launchway_core::exit::Exit;

/// Finds the manifest from any folder; the path in a cargo alias works from one folder only.
///
/// Returns only if there is no `xtask`, or if it cannot be started.
pub(crate) fn xtask(words: &[OsString]) -> Option<ExitCode> {
    if is_own(words) {
        return None;
    }
    let here = std::env::current_dir().ok()?;
    let root = find_root(&here).ok()?;
    let manifest = manifest(&root)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "cargo takes the place of this process, with all that it inherited"
    )]
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--quiet", "--locked", "--manifest-path"]).arg(manifest).arg("--target-dir");
    cargo
        .arg(root.join("target/xtask-build"))
        .args(["--features", "launchway/default", "--"])
        .args(words.iter().skip(1));
    let error = cargo.exec();
    writeln!(std::io::stderr(), "error: cannot start cargo: {error}").ok();
    Some(Exit::Missing.into())
}

/// Whether a command concerns repositories without an `xtask`, or this program itself.
fn is_own(words: &[OsString]) -> bool {
    let first = words.get(1).and_then(|word| word.to_str());
    first.is_none_or(|word| matches!(word, "init" | "--help" | "-h" | "--version" | "-V"))
}

/// The manifest of an `xtask` that is a separate workspace.
fn manifest(root: &Path) -> Option<PathBuf> {
    let folder = root.join("xtask");
    folder.join("Cargo.lock").is_file().then(|| folder.join("Cargo.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_is_the_programs_own() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for own in ["cargo-launchway", "cargo-launchway init x", "cargo-launchway --help"] {
            assert!(is_own(&words(own)), "{own}");
        }
        assert!(!is_own(&words("cargo-launchway ci --keep-going")));
    }

    #[test]
    fn an_xtask_that_is_a_member_is_not_one_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("xtask")).unwrap();
        assert_eq!(manifest(dir.path()), None);
        fs_err::write(dir.path().join("xtask/Cargo.lock"), "").unwrap();
        assert_eq!(manifest(dir.path()), Some(dir.path().join("xtask/Cargo.toml")));
    }
}
