//! Carries out the plan: files, the `xtask`'s lock file, and what the `xtask` itself generates.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::baseline::ran;
use super::own_image::{CERTIFICATES, ROOTFS};
use super::plan::{Origin, Plan};
use launchway_core::call;
use launchway_core::command::Call;
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_core::file::write_whole;
use launchway_core::runner::Runner;

/// Writes everything; on failure, restores the repository, except for what cargo built.
pub(super) fn write(plan: &Plan, runner: &Runner) -> Result<()> {
    let lock = plan.root.join("Cargo.lock");
    let before = fs_err::read(&lock).ok();
    let mut undo = Undo { plan, originals: Vec::new(), done: false };
    for (path, text) in &plan.files {
        write_whole(&plan.root.join(path), text.as_bytes())?;
    }
    if plan.certificates {
        let place = plan.root.join(ROOTFS).join(CERTIFICATES.trim_start_matches('/'));
        let bytes = fs_err::read(CERTIFICATES)
            .context("the service uses the system's CA certificates, but this machine has none to copy: install ca-certificates")
            .or_exit(Exit::Missing)?;
        write_whole(&place, &bytes)?;
    }
    for change in &plan.changes {
        let path = plan.root.join(&change.path);
        undo.originals.push((path.clone(), fs_err::read(&path).ok()));
        write_whole(&path, change.text.as_bytes())?;
    }
    resolve(plan, runner)?;
    ran(runner, &xtask("workflow"))?;
    if fs_err::read(&lock).ok() != before {
        let message = "`init` has changed Cargo.lock, which it must not do: please report this";
        return Err(Failure::new(Exit::Internal, message).into());
    }
    undo.done = true;
    Ok(())
}

/// `cargo xtask …` in the adopted repository, with the repository's toolchain.
pub(super) fn xtask(arguments: &str) -> Call {
    call!("cargo xtask").args(arguments.split(' ')).env_remove("RUSTUP_TOOLCHAIN")
}

/// The `xtask`'s lock file, with the versions that this Launchway was tested with if it is a checkout.
fn resolve(plan: &Plan, runner: &Runner) -> Result<()> {
    let tested = match &plan.origin {
        Origin::Path(folder) => {
            folder.ancestors().nth(2).map(|root| root.join("Cargo.lock")).filter(|lock| lock.is_file())
        }
        Origin::Git { .. } | Origin::Version(_) => None,
    };
    if let Some(tested) = tested {
        write_whole(&plan.root.join("xtask/Cargo.lock"), &fs_err::read(tested)?)?;
    }
    // Cargo keeps the entries that it needs, and writes the file.
    let call = |offline: &[&str]| {
        let call = call!("cargo metadata --format-version 1 --filter-platform x86_64-unknown-linux-gnu --manifest-path xtask/Cargo.toml")
            .args(offline.iter().copied());
        call.env_remove("RUSTUP_TOOLCHAIN")
    };
    if call(&["--offline"]).read(&runner.folder).is_err() {
        call(&[]).read(&runner.folder)?;
    }
    Ok(())
}

/// Removes what was written, unless everything was.
struct Undo<'a> {
    plan: &'a Plan,
    originals: Vec<(std::path::PathBuf, Option<Vec<u8>>)>,
    done: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // The first error is the one to report.
        for (path, text) in &self.originals {
            match text {
                Some(text) => drop(write_whole(path, text)),
                None => drop(fs_err::remove_file(path)),
            }
        }
        for (path, _) in &self.plan.files {
            drop(fs_err::remove_file(self.plan.root.join(path)));
        }
        drop(fs_err::remove_dir_all(self.plan.root.join("xtask")));
        drop(fs_err::remove_dir(self.plan.root.join(".cargo")));
    }
}

/// Where the workflow is, relative to the Cargo root.
pub(super) fn note(plan: &Plan, top: &Path) -> String {
    let inside = plan.root.strip_prefix(top).unwrap_or(Path::new(""));
    let place = if inside.as_os_str().is_empty() {
        "the repository".to_owned()
    } else {
        format!("`{}`", inside.display())
    };
    format!("adopted: `cargo xtask` works in the root of {place}")
}
