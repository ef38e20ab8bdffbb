//! Runs a container of an image that the Docker engine built, with minimal privileges.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Port, Running, Service, free_address};
use crate::binary::Platform;
use launchway_core::command::Call;
use launchway_core::runner::Runner;
use launchway_registry::Digest;

/// The exit code of `docker run` if the container was killed: 128 plus the signal's number.
pub(super) const KILLED: i32 = 128 + 9;

/// The port that a service listens on in its container if that is configurable.
const INSIDE: u16 = 8000;

/// The container to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Container {
    platform: Platform,
    image: String,
    /// One per workspace, so that the next run finds what a killed one left.
    name: String,
}

impl Container {
    pub(super) fn of(workspace: &Path, platform: Platform, image: String) -> Self {
        let root = Digest::of(workspace.as_os_str().as_encoded_bytes());
        Self {
            platform,
            image,
            name: format!("launchway-smoke-{}", root.hex().get(..12).unwrap_or_default()),
        }
    }

    #[cfg(test)]
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Passes on the running container, or says why it cannot be reached.
    pub(super) fn run(
        &self,
        runner: &Runner,
        service: &Service,
        prove: impl FnOnce(Running<'_>) -> Result<()>,
    ) -> Result<Option<String>> {
        let host = Call::new("docker").args(["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]);
        let host = host.read(&runner.folder)?;
        if !host.starts_with("unix://") {
            return Ok(Some(format!(
                "the Docker engine at {host} may be on another machine, with a loopback of its own"
            )));
        }
        let engine = Call::new("docker").args(["version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"]);
        let engine = engine.read(&runner.folder)?;
        if engine != self.platform.to_string() {
            return Ok(Some(format!(
                "the image is for {}, but the Docker engine's machine is {engine}",
                self.platform
            )));
        }
        // Left by a killed run.
        remove(runner, &self.name);
        let address = free_address()?;
        let program = match service.port {
            Port::Arguments { .. } => self.program(runner)?,
            Port::Standard | Port::Fixed(_) | Port::Variable { .. } => None,
        };
        let command = self.call(service, Some(address), program).command(&runner.folder)?;
        let _container = Removed { runner, name: &self.name };
        let running = Running::start(runner, command, address, Some(&self.name));
        prove(running.context("cannot start `docker run`")?)?;
        Ok(None)
    }

    /// The program of an image without an entry point: arguments would replace it.
    fn program(&self, runner: &Runner) -> Result<Option<String>> {
        const FIRST: &str = "{{if not .Config.Entrypoint}}{{range $place, $word := .Config.Cmd}}{{if eq $place 0}}\
            {{$word}}{{end}}{{end}}{{end}}";
        let call = Call::new("docker").args(["image", "inspect", "--format", FIRST, &self.image]);
        Ok(Some(call.read(&runner.folder)?).filter(|program| !program.is_empty()))
    }

    /// The line that starts it; no address is for people, and so is no program where the image has but a `CMD`.
    pub(super) fn call(
        &self,
        service: &Service,
        address: Option<SocketAddr>,
        program: Option<String>,
    ) -> Call {
        let place = address.map_or_else(|| "127.0.0.1:".to_owned(), |address| address.to_string());
        let inside = service.port.inside(INSIDE);
        let publish = format!("{place}:{inside}");
        let call = Call::new("docker")
            .args(["run", "--rm", "--name", &self.name, "--read-only", "--cap-drop", "ALL"])
            .args(["--security-opt", "no-new-privileges", "--publish", &publish]);
        let own = [("LISTEN", "0.0.0.0".to_owned())].into_iter().chain(service.port.variables(inside));
        let variables = service.environment.iter().map(|(name, value)| (name.as_str(), value.clone()));
        variables
            .chain(own)
            .fold(call, |call, (name, value)| call.arg("--env").arg(format!("{name}={value}")))
            .arg(&self.image)
            .args(program)
            .args(service.port.arguments(inside).unwrap_or_default())
    }
}

/// Sends the image's stop signal; kills the container if it does not exit within `timeout`.
pub(super) fn stop(runner: &Runner, name: &str, timeout: Duration) -> Result<()> {
    let seconds = timeout.as_secs().to_string();
    let call = Call::new("docker").args(["stop", "--time", &seconds, name]);
    call.run(&runner.folder, &runner.interrupt, |_| {}).map(drop)
}

/// A container that is removed when this is dropped.
struct Removed<'a> {
    runner: &'a Runner,
    name: &'a str,
}

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        remove(self.runner, self.name);
    }
}

fn remove(runner: &Runner, name: &str) {
    // Usually it is already gone.
    drop(Call::new("docker").args(["rm", "--force", name]).clean_up(&runner.folder));
}
