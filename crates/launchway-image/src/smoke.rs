//! The smoke run: the image's program must start, respond and exit on this machine.
//!
//! It runs before the image is written, so that an image that does not start is never pushed. The builtin engine's
//! layers run directly (`program`), the Docker engine's image in a container of that engine (`container`).

mod container;
mod port;
mod program;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use reqwest::{Method, Url};
use rustix::process::Signal;
use serde::Deserialize;

use super::binary::Platform;
use super::layer::{Owner, Tar};
use container::Container;
use launchway_core::command::{Group, ended};
use launchway_core::exit::{Exit, OrExit as _};
use launchway_core::http::{self, Http, NetworkPolicy};
use launchway_core::interrupt::Interrupt;
use launchway_core::plain::send_lines;
use launchway_core::runner::Runner;
use launchway_registry::oci::Settings;
pub use port::Port;
pub use program::Contained;
use program::Program;

/// A smoke run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smoke {
    subject: Subject,
    service: Service,
    /// How long it may take to respond, and then to exit.
    timeout: Duration,
}

/// The service in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The path that responds with 2xx once the service is up.
    pub health: String,
    /// The path that responds with `{"commit": "…"}`; without it, the commit is not checked.
    pub version: Option<String>,
    /// The expected commit.
    pub commit: String,
    /// The variables that it is started with, which override those of the image; no secrets.
    pub environment: Vec<(String, String)>,
    /// Where these variables are set, for the error of a program that misses one.
    pub settings: String,
    /// How it learns the port to listen on.
    pub port: Port,
}

/// What is started.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    Program(Box<Program>),
    Container(Container),
}

impl Smoke {
    /// Starts the program of the packed layers, which are unpacked to `folder` first: with their files alone, or with
    /// those of this machine for the reason in the error.
    pub fn of_layers(
        service: Service,
        folder: PathBuf,
        platform: Platform,
        settings: Settings,
        alone: Result<Contained, String>,
    ) -> Self {
        Self::new(service, Subject::Program(Box::new(Program { folder, platform, settings, alone })))
    }

    /// Starts a container of an image that the Docker engine has under a name; one at a time per workspace.
    pub fn of_image(service: Service, workspace: &Path, platform: Platform, image: String) -> Self {
        Self::new(service, Subject::Container(Container::of(workspace, platform, image)))
    }

    fn new(service: Service, subject: Subject) -> Self {
        Self { subject, service, timeout: Duration::from_secs(15) }
    }

    /// Starts it, checks its responses, and stops it; `tars` are the packed layers, the lowest first.
    ///
    /// Any failure is an error with [`Exit::CheckFailed`]; the program's output is in the step's log. What cannot start
    /// on this machine is skipped by name.
    pub fn run(&self, runner: &Runner, tars: &[Arc<Tar>]) -> Result<()> {
        let result = match &self.subject {
            Subject::Program(program) => {
                program.run(runner, &self.service, tars, |running| self.prove(running))
            }
            Subject::Container(container) => {
                container.run(runner, &self.service, |running| self.prove(running))
            }
        };
        // Otherwise the error would blame the image.
        runner.interrupt.check()?;
        let skipped = result
            .context("the image failed its smoke run and was not written")
            .or_exit(Exit::CheckFailed)?;
        if let Some(reason) = skipped {
            runner.reporter.skipped("smoke run", reason);
        }
        Ok(())
    }

    fn prove(&self, mut running: Running<'_>) -> Result<()> {
        let proved = running.ask(self).and_then(|up| running.stop(self.timeout, up));
        running.show_rest();
        if proved.is_err() {
            running.runner.reporter.keep_tail();
        }
        proved
    }
}

impl fmt::Display for Smoke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = match &self.subject {
            Subject::Program(program) => {
                let alone = match &program.alone {
                    Ok(Contained { user, .. }) => {
                        let Owner { uid, gid } = user.owner;
                        format!(" as {uid}:{gid}, with no other files,")
                    }
                    Err(_) => String::new(),
                };
                (format!("start {} of the packed layers{alone} on loopback", program.name()), "SIGTERM")
            }
            Subject::Container(container) => {
                (container.call(&self.service, None, None).to_string(), "`docker stop`")
            }
        };
        write!(f, "{start}, request {}", self.service.health)?;
        self.service.version.iter().try_for_each(|version| write!(f, " and {version}"))?;
        write!(f, ", end it with {end}")
    }
}

/// The running program; dropping it ends it and everything that it started.
struct Running<'a> {
    runner: &'a Runner,
    group: Group,
    lines: Receiver<String>,
    http: Http,
    address: SocketAddr,
    /// The name of the container, if it is in one: the child is then the command that shows its output.
    container: Option<&'a str>,
}

impl<'a> Running<'a> {
    fn start(
        runner: &'a Runner,
        mut command: Command,
        address: SocketAddr,
        container: Option<&'a str>,
    ) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut group = Group::spawn(command)?;
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = group.child.stdout.take() {
            send_lines(stdout, sender.clone());
        }
        if let Some(stderr) = group.child.stderr.take() {
            send_lines(stderr, sender);
        }
        Ok(Self {
            runner,
            group,
            lines,
            http: Http::new(NetworkPolicy::Only(vec![address]))?,
            address,
            container,
        })
    }

    /// Waits for the health path, then requests the version; returns how long it took to start.
    fn ask(&mut self, smoke: &Smoke) -> Result<Duration> {
        let start = Instant::now();
        let mut last = loop {
            let Err(error) = self.get(&smoke.service.health) else { break None };
            if self.pause()?.is_some() || start.elapsed() > smoke.timeout {
                break Some(error);
            }
        };
        if let Some(status) = self.pause()? {
            let Service { health, settings, .. } = &smoke.service;
            bail!(
                "it {} before it responded at {health}\n  If it lacks a setting, set it in {settings}.",
                ended(status)
            );
        }
        if let Some(error) = last.take() {
            return Err(error.context(format!(
                "{} does not respond with 2xx after {}",
                smoke.service.health,
                humantime::format_duration(smoke.timeout)
            )));
        }
        let up = start.elapsed();
        let Some(version) = &smoke.service.version else { return Ok(up) };
        let text = self.get(version).with_context(|| format!("{version} does not respond with 2xx"))?;
        let Version { commit } = serde_json::from_str(&text)
            .map_err(|_| anyhow!("{version} does not return `{{\"commit\": \"…\"}}`"))?;
        let expected = &smoke.service.commit;
        if commit != *expected {
            let commit: String = commit.chars().take(64).collect();
            bail!(
                "{version} returns commit `{commit}` instead of `{expected}`: pass on the build argument `COMMIT`, as in `ENV APP_COMMIT=$COMMIT`"
            );
        }
        Ok(up)
    }

    /// Stops the program: with `docker stop`, or in the same way.
    fn stop(&mut self, timeout: Duration, up: Duration) -> Result<()> {
        let start = Instant::now();
        match self.container {
            Some(name) => container::stop(self.runner, name, timeout)?,
            None => self.group.signal(Signal::TERM),
        }
        let end = Instant::now() + timeout;
        let status = loop {
            if let Some(status) = self.pause()? {
                break status;
            }
            if Instant::now() > end {
                bail!("it did not exit within {} of SIGTERM", humantime::format_duration(timeout));
            }
        };
        if self.container.is_some() && status.code() == Some(container::KILLED) {
            bail!(
                "it did not exit within {} of `docker stop`, and was killed: the first process of a container needs a handler for SIGTERM",
                humantime::format_duration(timeout)
            );
        }
        if status.signal() == Some(Signal::TERM.as_raw()) {
            // Only process 1 of a container ignores unhandled signals: every `docker stop` would time out and kill it.
            self.runner.reporter.note(
                "warning: the service has no handler for SIGTERM: as the first process of a container it would ignore the signal and be killed",
            );
        } else if !status.success() {
            bail!("it {} after SIGTERM instead of 0", ended(status));
        }
        self.runner.reporter.note(format!(
            "smoke run: up in {} ms, ended in {} ms",
            up.as_millis(),
            start.elapsed().as_millis()
        ));
        Ok(())
    }

    /// The body of a 2xx response.
    fn get(&self, path: &str) -> Result<String> {
        let url = Url::parse(&format!("http://{}{path}", self.address))?;
        let request = self.http.request(Method::GET, &url)?.timeout(Duration::from_secs(2));
        let response = request.send().map_err(|error| anyhow!(error.without_url()))?;
        let status = response.status();
        if !status.is_success() {
            bail!("it responds with {status}");
        }
        http::text(response)
    }

    /// Shows the latest output, and returns whether the program has ended.
    fn pause(&mut self) -> Result<Option<ExitStatus>> {
        self.runner.interrupt.check()?;
        let end = Instant::now() + Interrupt::TICK / 5;
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            self.runner.reporter.output(&line);
        }
        // Without output to wait for, the call above returns at once.
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        Ok(self.group.child.try_wait()?)
    }

    /// Shows the program's last lines, and ends what it left behind.
    fn show_rest(&mut self) {
        self.group.signal(Signal::KILL);
        let end = Instant::now() + Duration::from_secs(1);
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.runner.reporter.output(&line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

#[derive(Deserialize)]
struct Version {
    commit: String,
}

/// A loopback address that is not in use at the moment.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

#[cfg(test)]
mod tests;
