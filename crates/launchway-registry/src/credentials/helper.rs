//! Docker's credential helpers: programs that store logins, and get their input on standard input.
//!
//! <https://github.com/docker/docker-credential-helpers#development>: `docker-credential-NAME get` reads a registry's
//! address and prints `{"ServerURL","Username","Secret"}`, or a sentence with "credentials not found".
//! A helper's output is never shown, because it may contain the secret.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use launchway_core::command::{Bounds, Call, Group, ended};
use launchway_core::interrupt::Interrupt;
use launchway_core::secret::Secret;

/// How long a helper may take: it may ask for the key of a store.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest output, in bytes; a cloud provider's token has a few thousand.
const LONGEST: u64 = 64 << 10;

/// A registry's login in a helper.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Kept {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// The program of a helper, in one of the folders of `path`.
pub(super) fn find(path: Option<&str>, name: &str) -> Option<PathBuf> {
    let program = format!("docker-credential-{name}");
    let path = path.filter(|_| !name.contains('/'))?;
    std::env::split_paths(path).map(|folder| folder.join(&program)).find(|file| file.is_file())
}

/// The user name and secret that a helper has for `server`, or `None` if it has none.
pub(super) fn get(
    interrupt: &Interrupt,
    program: &Path,
    server: &str,
    timeout: Duration,
) -> Result<Option<(String, Secret)>> {
    let bounds = Bounds { bytes: LONGEST, deadline: Some(Instant::now() + timeout) };
    let command = Call::new(program.to_string_lossy()).arg("get").command(Path::new("/"))?;
    let Output { status, stdout: output, .. } =
        Group::collect(command, Some(server.into()), bounds, interrupt)?;
    if !status.success() {
        let output = String::from_utf8_lossy(&output);
        // The protocol's only way to say so.
        ensure!(
            output.contains("credentials not found"),
            "{}; its output is not shown, because it may contain a secret",
            ended(status)
        );
        return Ok(None);
    }
    // The parser's message might quote the secret.
    let kept: Kept = serde_json::from_slice(&output).ok().context("printed something other than a login")?;
    Ok((!kept.secret.is_empty()).then(|| (kept.username, Secret::new(kept.secret))))
}

#[cfg(test)]
pub(super) mod tests;
