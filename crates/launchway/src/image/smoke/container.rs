//! A container of an image that the Docker engine built, with as little as it can have.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Running, free_address};
use crate::context::Context;
use crate::image::binary::Platform;
use launchway_core::command::Call;
use launchway_registry::Digest;

/// What `docker run` ends with when the container was killed: 128 and the signal's number.
pub(super) const KILLED: i32 = 128 + 9;

/// A container to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Container {
    platform: Platform,
    image: String,
    /// One a workspace, so that the next run finds what a killed one left.
    name: String,
}

impl Container {
    pub(super) fn of(ctx: &Context, platform: Platform, image: String) -> Self {
        let root = Digest::of(ctx.root.as_os_str().as_encoded_bytes());
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

    /// Hands over the running container, or says why it cannot be reached.
    pub(super) fn run(
        &self,
        ctx: &Context,
        prove: impl FnOnce(Running<'_>) -> Result<()>,
    ) -> Result<Option<String>> {
        let host = Call::new("docker").args(["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]);
        let host = host.read(&ctx.root)?;
        if !host.starts_with("unix://") {
            return Ok(Some(format!(
                "the Docker engine at {host} may be another machine, whose loopback is not ours"
            )));
        }
        let engine = Call::new("docker").args(["version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"]);
        let engine = engine.read(&ctx.root)?;
        if engine != self.platform.to_string() {
            return Ok(Some(format!(
                "the image is for {}, and the Docker engine's machine is {engine}",
                self.platform
            )));
        }
        // Left by a run that was killed.
        remove(ctx, &self.name);
        let address = free_address()?;
        let command = self.call(Some(address)).command(&ctx.root)?;
        let _container = Removed { ctx, name: &self.name };
        let running = Running::start(ctx, command, address, Some(&self.name));
        prove(running.context("cannot start `docker run`")?)?;
        Ok(None)
    }

    /// The line that starts it; no address is for people.
    fn call(&self, address: Option<SocketAddr>) -> Call {
        let place = address.map_or_else(|| "127.0.0.1:".to_owned(), |address| address.to_string());
        let publish = format!("{place}:8000");
        Call::new("docker")
            .args(["run", "--rm", "--name", &self.name, "--read-only", "--cap-drop", "ALL"])
            .args([
                "--security-opt",
                "no-new-privileges",
                "--publish",
                &publish,
                "--env",
                "SERVER_TYPE=TEST",
                "--env",
                "LISTEN=0.0.0.0",
                "--env",
                "PORT=8000",
                &self.image,
            ])
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call(None).fmt(f)
    }
}

/// Sends the image's stop signal; who does not end within `patience` is killed.
pub(super) fn stop(ctx: &Context, name: &str, patience: Duration) -> Result<()> {
    let seconds = patience.as_secs().to_string();
    let call = Call::new("docker").args(["stop", "--time", &seconds, name]);
    call.run(&ctx.root, &ctx.interrupt, |_| {}).map(drop)
}

/// A container that is removed when this is dropped.
struct Removed<'a> {
    ctx: &'a Context,
    name: &'a str,
}

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        remove(self.ctx, self.name);
    }
}

fn remove(ctx: &Context, name: &str) {
    // Most often it is gone already.
    drop(Call::new("docker").args(["rm", "--force", name]).read(&ctx.root));
}
