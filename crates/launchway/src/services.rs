//! The services that tests need: those that respond are used; the others run in containers while the tests do.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::config::TestService;
use launchway_core::command::Call;
use launchway_core::exit::{Exit, Failure};
use launchway_core::runner::Runner;
use launchway_registry::Digest;

/// How long a service may take until it is ready.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What a test run does about one service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Something responds where tests expect it.
    Use { name: String, addresses: Vec<SocketAddr> },
    /// Nothing responds.
    Start(Container),
}

/// A container to start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Container {
    service: String,
    image: String,
    /// One per workspace and service, so that the next run finds what a killed one left.
    name: String,
    start: Call,
    addresses: Vec<SocketAddr>,
    timeout: Duration,
}

/// Where tests reach a service.
pub(crate) fn addresses(service: &TestService) -> Vec<SocketAddr> {
    service.ports.iter().map(|ports| SocketAddr::from((Ipv4Addr::LOCALHOST, ports.here))).collect()
}

/// Whether something responds at all addresses of a service.
pub(crate) fn responds(service: &TestService) -> bool {
    addresses(service).iter().all(is_open)
}

fn is_open(address: &SocketAddr) -> bool {
    TcpStream::connect_timeout(address, Duration::from_millis(500)).is_ok()
}

/// The Docker engine's version, if it responds and is on this machine: a remote one has its own loopback.
pub(crate) fn local_engine(root: &Path) -> Option<String> {
    let docker = |arguments: &[&str]| Call::new("docker").args(arguments.iter().copied()).read(root).ok();
    let host = docker(&["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"])?;
    let version = docker(&["version", "--format", "{{.Server.Version}}"])?;
    host.starts_with("unix://").then_some(version)
}

/// Whether the engine has an image, so that no pull is needed.
pub(crate) fn has_image(root: &Path, image: &str) -> bool {
    Call::new("docker").args(["image", "inspect", "--format", "{{.Id}}", image]).read(root).is_ok()
}

/// What a test run in this workspace does about its services.
pub(crate) fn plan(root: &Path, services: &BTreeMap<String, TestService>) -> Vec<Plan> {
    let plan = |(name, service): (&String, &TestService)| {
        let container = Container::of(root, name, service);
        if responds(service) && !container.exists(root) {
            Plan::Use { name: name.clone(), addresses: addresses(service) }
        } else {
            Plan::Start(container)
        }
    };
    services.iter().map(plan).collect()
}

/// Starts the containers of a plan and waits until they are ready. Dropping them removes them.
///
/// A container that does not start or become healthy is an error with [`Exit::Missing`] and its last lines.
pub(crate) fn start<'a>(plans: &'a [Plan], runner: &'a Runner) -> Result<Vec<Running<'a>>> {
    let mut running = Vec::new();
    for plan in plans {
        match plan {
            Plan::Use { .. } => runner.reporter.note(plan.to_string()),
            Plan::Start(container) => running.push(container.start(runner)?),
        }
    }
    // Waits for one after the other: they start concurrently.
    running.iter().try_for_each(Running::wait)?;
    Ok(running)
}

impl Container {
    fn of(root: &Path, service: &str, test_service: &TestService) -> Self {
        let TestService { image, environment, ports, .. } = test_service;
        let root = Digest::of(root.as_os_str().as_encoded_bytes());
        let name = format!("launchway-test-{service}-{}", root.hex().get(..12).unwrap_or_default());
        let mut start = Call::new("docker").args(["run", "--detach", "--pull", "never", "--name", &name]);
        for pair in ports {
            start = start.arg("--publish").arg(format!("127.0.0.1:{pair}"));
        }
        for (variable, value) in environment {
            start = start.arg("--env").arg(format!("{variable}={value}"));
        }
        for (option, value) in test_service.health_options().into_iter().flatten() {
            start = start.arg(option).arg(value);
        }
        let start = start.arg(image);
        Self {
            service: service.to_owned(),
            image: image.clone(),
            name,
            start,
            addresses: addresses(test_service),
            timeout: TIMEOUT,
        }
    }

    /// Whether a run that was killed left it.
    fn exists(&self, root: &Path) -> bool {
        Call::new("docker")
            .args(["container", "inspect", "--format", "{{.Id}}", &self.name])
            .read(root)
            .is_ok()
    }

    fn start<'a>(&'a self, runner: &'a Runner) -> Result<Running<'a>> {
        // Left by a killed run.
        remove(runner, &self.name);
        runner.reporter.command(&self.start.to_string(), &self.start.to_string());
        // By name, in case an interrupt comes before its id is known.
        let mut running = Running { container: self, runner, id: self.name.clone() };
        running.id = self.start.read(&runner.folder)?;
        Ok(running)
    }
}

/// A container that is removed on drop.
pub(crate) struct Running<'a> {
    container: &'a Container,
    runner: &'a Runner,
    id: String,
}

impl Running<'_> {
    fn wait(&self) -> Result<()> {
        let Container { service, addresses, timeout, .. } = self.container;
        let start = Instant::now();
        loop {
            let state = self.state()?;
            match state.split_once(' ').unwrap_or((&state, "")) {
                ("running", "healthy" | "") if addresses.iter().all(is_open) => break,
                ("created" | "running" | "restarting", _) if start.elapsed() < *timeout => {}
                ("created" | "running" | "restarting", _) => {
                    let timeout = humantime::format_duration(*timeout);
                    return Err(self.failure(&format!("was not ready after {timeout}")));
                }
                _ => return Err(self.failure("ended before it was ready")),
            }
            self.runner.interrupt.sleep(Duration::from_millis(200))?;
        }
        let seconds = start.elapsed().as_secs_f64();
        self.runner.reporter.note(format!("`{service}` was ready after {seconds:.1} s"));
        Ok(())
    }

    /// `running healthy`: the state, and the health if the engine checks it.
    fn state(&self) -> Result<String> {
        const FORMAT: &str = "{{.State.Status}} {{with .State.Health}}{{.Status}}{{end}}";
        Ok(self.docker(&["inspect", "--format", FORMAT]).read(&self.runner.folder)?.trim_end().to_owned())
    }

    fn failure(&self, what: &str) -> anyhow::Error {
        let lines = self.docker(&["logs", "--tail", "10"]).output(&self.runner.folder);
        let lines = lines.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        let lines: Vec<String> =
            String::from_utf8_lossy(&lines).lines().map(|line| format!("\n  {line}")).collect();
        let said =
            if lines.is_empty() { " and printed nothing".to_owned() } else { format!(":{}", lines.concat()) };
        let Container { service, image, .. } = self.container;
        Failure::new(Exit::Missing, format!("the test service `{service}` ({image}) {what}{said}")).into()
    }

    fn docker(&self, arguments: &[&str]) -> Call {
        Call::new("docker").args(arguments.iter().copied()).arg(&self.id)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        remove(self.runner, &self.id);
    }
}

fn remove(runner: &Runner, container: &str) {
    // Usually there is no container of that name.
    drop(Call::new("docker").args(["rm", "--force", "--volumes", container]).clean_up(&runner.folder));
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Use { name, addresses } => {
                write!(f, "use the `{name}` that responds at {}", listed(addresses))
            }
            Self::Start(Container { start, addresses, timeout, .. }) => write!(
                f,
                "{start}\nwait up to {} until it is healthy and responds at {}; remove it after the tests",
                humantime::format_duration(*timeout),
                listed(addresses)
            ),
        }
    }
}

/// The addresses in a line.
pub(crate) fn listed(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
