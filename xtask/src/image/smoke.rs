//! The smoke run: what the layers hold starts, answers and ends, on this machine and without Docker.
//!
//! It runs before the image is written, so that one that does not start is never pushed. What it is not: a container.
//! The program sees this machine's files and is not the process 1, so a file that the image lacks may go unnoticed.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use reqwest::{Method, Url};
use rustix::process::Signal;
use serde::Deserialize;

use super::binary::Platform;
use super::config::Settings;
use super::layer::Layer;
use super::unpack::{Bounds, Unpacked, find, program, unpack};
use crate::command::{Group, read_lines};
use crate::context::Context;
use crate::exit::{Exit, OrExit as _};
use crate::http::{self, Http, Reach};
use crate::interrupt::Interrupt;

/// A smoke run to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Smoke {
    folder: PathBuf,
    platform: Platform,
    settings: Settings,
    /// The paths that the app answers at.
    health: String,
    version: String,
    /// How long it may take to answer, and then to end.
    patience: Duration,
}

impl Smoke {
    pub(crate) fn new(ctx: &Context, platform: Platform, settings: Settings) -> Self {
        Self {
            folder: ctx.output().join("smoke"),
            platform,
            settings,
            health: ctx.config.deploy.health.clone(),
            version: ctx.config.deploy.version.clone(),
            patience: Duration::from_secs(15),
        }
    }

    /// Starts the program of the layers, asks it, and ends it.
    ///
    /// Whatever does not go well is an error with [`Exit::CheckFailed`]; what the program printed is in the step's log.
    /// An image for another machine is skipped by name.
    pub(crate) fn run(&self, ctx: &Context, layers: &[Layer]) -> Result<()> {
        let here = (std::env::consts::OS, std::env::consts::ARCH);
        if here != ("linux", self.platform.processor()) {
            ctx.reporter.skipped(
                "smoke run",
                format!("the image is for {}, and this machine is {}/{}", self.platform, here.0, here.1),
            );
            return Ok(());
        }
        let folder = Unpacked::new(&self.folder)?;
        let started = || -> Result<Running<'_>> {
            unpack(&folder.0, layers.iter().map(|layer| layer.bytes.as_slice()), Bounds::default())?;
            self.start(ctx, &folder.0)
        };
        let result = started().and_then(|mut running| {
            let asked = running.ask(self, ctx).and_then(|up| running.stop(self.patience, up));
            running.show_rest();
            asked
        });
        // Else the error would say that the image is bad.
        ctx.interrupt.check()?;
        result.context("the image does not pass its smoke run and was not written").or_exit(Exit::CheckFailed)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the child gets the image's environment and nothing of ours"
    )]
    fn start<'a>(&self, ctx: &'a Context, folder: &Path) -> Result<Running<'a>> {
        let mut words = [&self.settings.entrypoint, &self.settings.cmd].into_iter().flatten().flatten();
        let name = words.next().context("the image has neither an `ENTRYPOINT` nor a `CMD`")?;
        let address = free_address()?;
        let mut command =
            Command::new(program(folder, &self.settings.working_dir, &self.settings.env, name)?);
        command.args(words).current_dir(find(folder, &self.settings.working_dir)?).env_clear();
        command.envs(self.settings.env.iter().filter_map(|pair| pair.split_once('=')));
        // Over those of the image: nothing here is a secret, and nobody else can reach it.
        command.env("SERVER_TYPE", "TEST").env("LISTEN", address.ip().to_string());
        command.env("PORT", address.port().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut group = Group::spawn(command).with_context(|| format!("cannot start `{name}`"))?;
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = group.child.stdout.take() {
            read_lines(stdout, sender.clone());
        }
        if let Some(stderr) = group.child.stderr.take() {
            read_lines(stderr, sender);
        }
        Ok(Running { ctx, group, lines, http: Http::new(Reach::Only(vec![address]))?, address })
    }
}

impl fmt::Display for Smoke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = [&self.settings.entrypoint, &self.settings.cmd].into_iter().flatten().flatten();
        write!(
            f,
            "start {} of the packed layers on loopback, ask it for {} and {}, end it with SIGTERM",
            words.next().map_or("the program", String::as_str),
            self.health,
            self.version
        )
    }
}

/// The program while it runs; dropping it ends it and all that it started.
struct Running<'a> {
    ctx: &'a Context,
    group: Group,
    lines: Receiver<String>,
    http: Http,
    address: SocketAddr,
}

impl Running<'_> {
    /// Waits for the health path, then asks for the version; returns how long it took to be up.
    fn ask(&mut self, smoke: &Smoke, ctx: &Context) -> Result<Duration> {
        let start = Instant::now();
        let mut last = loop {
            let Err(error) = self.get(&smoke.health) else { break None };
            if self.pause()?.is_some() || start.elapsed() > smoke.patience {
                break Some(error);
            }
        };
        if let Some(status) = self.pause()? {
            bail!("it ended with {status} instead of answering {}", smoke.health);
        }
        if let Some(error) = last.take() {
            return Err(error.context(format!(
                "{} does not answer 2xx after {}",
                smoke.health,
                humantime::format_duration(smoke.patience)
            )));
        }
        let up = start.elapsed();
        let text =
            self.get(&smoke.version).with_context(|| format!("{} does not answer 2xx", smoke.version))?;
        let Version { commit } = serde_json::from_str(&text)
            .map_err(|_| anyhow!("{} does not answer `{{\"commit\": \"…\"}}`", smoke.version))?;
        let expected = ctx.git.tag();
        if commit != expected {
            let commit: String = commit.chars().take(64).collect();
            bail!(
                "{} answers commit `{commit}` instead of `{expected}`: pass the build argument `COMMIT` on, as in `ENV APP_COMMIT=$COMMIT`",
                smoke.version
            );
        }
        Ok(up)
    }

    /// Asks the program to end, as `docker stop` would.
    fn stop(&mut self, patience: Duration, up: Duration) -> Result<()> {
        let start = Instant::now();
        self.group.signal(Signal::TERM);
        let status = loop {
            if let Some(status) = self.pause()? {
                break status;
            }
            if start.elapsed() > patience {
                bail!("it does not end within {} of SIGTERM", humantime::format_duration(patience));
            }
        };
        if status.signal() == Some(Signal::TERM.as_raw()) {
            // Nobody ignores a signal like process 1 of a container: every `docker stop` would wait and kill.
            self.ctx.reporter.note(
                "warning: the app has no handler for SIGTERM: as the first process of a container it would not end by it, and be killed",
            );
        } else if !status.success() {
            bail!("it ended with {status} after SIGTERM instead of 0");
        }
        self.ctx.reporter.note(format!(
            "smoke run: up in {} ms, ended in {} ms",
            up.as_millis(),
            start.elapsed().as_millis()
        ));
        Ok(())
    }

    /// The body of an answer with a 2xx.
    fn get(&self, path: &str) -> Result<String> {
        let url = Url::parse(&format!("http://{}{path}", self.address))?;
        let request = self.http.request(Method::GET, &url)?.timeout(Duration::from_secs(2));
        let response = request.send().map_err(|error| anyhow!(error.without_url()))?;
        let status = response.status();
        if !status.is_success() {
            bail!("it answers {status}");
        }
        http::text(response)
    }

    /// Shows what was printed meanwhile, and says whether the program has ended.
    fn pause(&mut self) -> Result<Option<ExitStatus>> {
        self.ctx.interrupt.check()?;
        let end = Instant::now() + Interrupt::TICK / 5;
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            self.ctx.reporter.output(&line);
        }
        // Without output to wait for, the call above does not wait.
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        Ok(self.group.child.try_wait()?)
    }

    /// Shows the program's last lines, and ends what it left behind.
    fn show_rest(&mut self) {
        self.group.signal(Signal::KILL);
        let end = Instant::now() + Duration::from_secs(1);
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.ctx.reporter.output(&line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

#[derive(Deserialize)]
struct Version {
    commit: String,
}

/// An address on loopback that nobody has at this moment.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

#[cfg(test)]
mod tests;
