//! Docker's credential helpers: programs that keep logins, asked over standard input.
//!
//! <https://github.com/docker/docker-credential-helpers#development>: `docker-credential-NAME get` reads a registry's
//! address and prints `{"ServerURL","Username","Secret"}`, or a sentence with "credentials not found".
//! Nothing that a helper prints is shown: it may hold the secret.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;

use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::pipeline::VARIABLES;
use crate::secret::Secret;

/// How long a helper may take: it may ask for the key of a store.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer, in bytes; a cloud's token has a few thousand.
const LONGEST: u64 = 64 << 10;

/// What a helper keeps for a registry.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Kept {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// The program of a helper, in `PATH`; a name that is no name of a program has none.
pub(super) fn find(ctx: &Context, name: &str) -> Option<PathBuf> {
    let program = format!("docker-credential-{name}");
    let path = ctx.environment.get("PATH").filter(|_| !name.contains('/'))?;
    std::env::split_paths(path).map(|folder| folder.join(&program)).find(|file| file.is_file())
}

/// The user name and secret that a helper keeps for `server`, or `None` where it keeps none.
pub(super) fn get(
    ctx: &Context,
    program: &Path,
    server: &str,
    patience: Duration,
) -> Result<Option<(String, Secret)>> {
    ctx.interrupt.check()?;
    let deadline = Instant::now() + patience;
    let mut running = Running(start(program)?);
    if let Some(mut stdin) = running.0.stdin.take() {
        // A helper that does not read it has ended, or will not find anything.
        stdin.write_all(server.as_bytes()).ok();
    }
    let output = running.output(&ctx.interrupt, deadline)?;
    let status = running.status(&ctx.interrupt, deadline)?;
    if !status.success() {
        let output = String::from_utf8_lossy(&output);
        // The one way of the protocol to say so.
        ensure!(
            output.contains("credentials not found"),
            "ended with {status}; what it printed is not shown, as it may hold a secret"
        );
        return Ok(None);
    }
    // The parser's message might quote the secret.
    let kept: Kept = serde_json::from_slice(&output).ok().context("did not answer as one")?;
    Ok((!kept.secret.is_empty()).then(|| (kept.username, Secret::new(kept.secret))))
}

#[expect(
    clippy::disallowed_methods,
    reason = "`Call` gives a child no input; the pipeline's secrets are removed here too"
)]
fn start(program: &Path) -> Result<Child> {
    let mut command = Command::new(program);
    for variable in VARIABLES {
        command.env_remove(variable.name);
    }
    let command = command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.process_group(0).spawn().context("cannot be started")
}

/// A helper in a process group of its own, ended as a whole when it is dropped.
struct Running(Child);

impl Running {
    /// All that it prints.
    fn output(&mut self, interrupt: &Interrupt, deadline: Instant) -> Result<Vec<u8>> {
        let stdout = self.0.stdout.take().context("has no output")?;
        let (sender, receiver) = mpsc::channel();
        // Ended with the pipe, which ends with the process group.
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = stdout.take(LONGEST + 1).read_to_end(&mut bytes);
            sender.send(read.map(|_| bytes)).ok();
        });
        loop {
            match receiver.recv_timeout(Interrupt::TICK) {
                Ok(bytes) => {
                    let bytes = bytes?;
                    ensure!(bytes.len() as u64 <= LONGEST, "printed more than {LONGEST} bytes");
                    return Ok(bytes);
                }
                Err(RecvTimeoutError::Timeout) => go_on(interrupt, deadline)?,
                Err(RecvTimeoutError::Disconnected) => bail!("could not be read"),
            }
        }
    }

    fn status(&mut self, interrupt: &Interrupt, deadline: Instant) -> Result<std::process::ExitStatus> {
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            go_on(interrupt, deadline)?;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn go_on(interrupt: &Interrupt, deadline: Instant) -> Result<()> {
    interrupt.check()?;
    ensure!(Instant::now() < deadline, "did not answer in time");
    Ok(())
}

impl Drop for Running {
    fn drop(&mut self) {
        // Once it has been waited for, its number may be another's.
        if matches!(self.0.try_wait(), Ok(None)) {
            if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
                kill_process_group(pid, Signal::KILL).ok();
            }
            drop(self.0.wait());
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
