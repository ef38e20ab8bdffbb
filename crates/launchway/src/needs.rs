//! What a step needs from the machine, and how the pipeline installs it.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::process::geteuid;

use crate::config::{Config, TestService};
use crate::services;
use crate::table::StepId;
use crate::tools::{self, Found, Machine, Tool};
use launchway_core::command::{Call, ended};
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_core::plain::Printed;
use launchway_core::runner::Runner;
use launchway_image::Engine;

/// One prerequisite of a step. Its `Display` completes "install …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Tool(Tool),
    /// A component of the Rust toolchain.
    Component(&'static str),
    /// The standard library for the target of the image's program.
    Target(String),
    /// Debian packages that compiling or the tests need on a CI machine.
    Packages(Vec<String>),
    /// A service that tests need: something that responds, or an image to start.
    Service(String, TestService),
}

impl Need {
    /// The step's prerequisites; with a Docker engine, the toolchain is in the image.
    pub(crate) fn of(machine: Machine<'_>, config: &Config, step: StepId, engine: Engine) -> Vec<Self> {
        let tools = tools::all(config).into_iter().filter(|tool| tool.required && tool.step == step);
        let to_compile = || Self::packages(machine, &config.build.packages);
        let own: Vec<Self> = match step {
            StepId::Lint => [Self::Component("rustfmt"), Self::Component("clippy")]
                .into_iter()
                .chain(to_compile())
                .collect(),
            StepId::TestCoverage => {
                let services = config.test.services.iter();
                let services = services.map(|(name, service)| Self::Service(name.clone(), service.clone()));
                [Self::Component("llvm-tools")]
                    .into_iter()
                    .chain(to_compile())
                    .chain(Self::packages(machine, &config.test.packages))
                    .chain(services)
                    .collect()
            }
            StepId::DockerBuild if engine == Engine::Builtin => {
                [Self::Target(config.target.clone())].into_iter().chain(to_compile()).collect()
            }
            StepId::DockerBuild | StepId::Push | StepId::Deploy | StepId::Rollback => Vec::new(),
        };
        own.into_iter().chain(tools.map(Self::Tool)).collect()
    }

    /// Packages, on a machine that is thrown away afterwards. Elsewhere `doctor` names those that the build needs, and a
    /// test without its own is skipped by name.
    fn packages(machine: Machine<'_>, names: &[String]) -> Option<Self> {
        let is_ci = machine.environment.get("CI").is_some_and(|value| value != "false");
        let wanted = is_ci && !names.is_empty() && machine.may_install();
        let can = || {
            machine.on_path("apt-get").is_some()
                && (geteuid().is_root() || runs(machine.root, "sudo", &["-n", "true"]))
        };
        (wanted && can()).then(|| Self::Packages(names.to_owned()))
    }

    /// The prerequisites of these steps that this machine lacks.
    pub(crate) fn missing(
        machine: Machine<'_>,
        config: &Config,
        steps: &[StepId],
        engine: Engine,
    ) -> Result<Vec<Self>> {
        let mut needs: Vec<Self> = Vec::new();
        for need in steps.iter().flat_map(|step| Self::of(machine, config, *step, engine)) {
            // Several steps compile.
            if !needs.contains(&need) {
                needs.push(need);
            }
        }
        if needs.is_empty() {
            return Ok(needs);
        }
        let sysroot = sysroot(machine.root)?;
        Ok(needs.into_iter().filter(|need| !need.is_here(machine, &sysroot)).collect())
    }

    pub(crate) fn is_here(&self, machine: Machine<'_>, sysroot: &Path) -> bool {
        let all = |files: &[&str]| files.iter().all(|file| sysroot.join("bin").join(file).is_file());
        match self {
            Self::Tool(tool) => matches!(tool.find(machine), Found::Pinned(_)),
            Self::Component("rustfmt") => {
                all(&["rustfmt", "cargo-fmt"]) || answers(machine.root, "cargo-fmt")
            }
            Self::Component("clippy") => {
                all(&["clippy-driver", "cargo-clippy"]) || answers(machine.root, "cargo-clippy")
            }
            Self::Component(_) => has_llvm_tools(sysroot),
            Self::Target(target) => sysroot.join("lib/rustlib").join(target).join("lib").is_dir(),
            Self::Packages(names) => names.iter().all(|name| is_installed(machine.root, name)),
            Self::Service(_, service) => {
                services::responds(service)
                    || has_engine(machine) && services::has_image(machine.root, &service.image)
            }
        }
    }

    /// Whether the pipeline can install it.
    pub(crate) fn may_install(&self, machine: Machine<'_>) -> bool {
        let can_be_had = match self {
            Self::Tool(_) | Self::Packages(_) => true,
            Self::Component(_) => machine.on_path("rustup").is_some(),
            Self::Target(target) => machine.on_path("rustup").is_some() && is_known(machine.root, target),
            // A pull would leave the rehearsal.
            Self::Service(..) => !machine.is_rehearsal && has_engine(machine),
        };
        can_be_had && machine.may_install()
    }

    /// The command for the user.
    pub(crate) fn install_line(&self) -> String {
        match self {
            Self::Tool(tool) => tool.install_line(),
            Self::Component(name) => format!("rustup component add {name}"),
            Self::Target(target) => format!("rustup target add {target}"),
            Self::Packages(names) => format!("apt-get install {}", names.join(" ")),
            Self::Service(_, service) => format!("docker pull {}", service.image),
        }
    }

    /// The problem, with a hint.
    pub(crate) fn problem(&self, machine: Machine<'_>) -> String {
        let what = match self {
            Self::Tool(tool) => return tool.problem(&tool.find(machine)),
            Self::Target(target) if !is_known(machine.root, target) => {
                return format!(
                    "`target` is `{target}`, which this Rust toolchain does not know: see `rustc --print target-list`"
                );
            }
            Self::Component(name) => format!("the Rust toolchain has no {name}"),
            Self::Target(target) => format!("the Rust toolchain cannot build for `{target}`"),
            Self::Packages(_) => return format!("packages are missing: `{}`", self.install_line()),
            Self::Service(name, service) => {
                let addresses = services::listed(&services::addresses(service));
                let nothing = format!(
                    "the tests need the service `{name}` ({}), and nothing responds at {addresses}",
                    service.image
                );
                return if has_engine(machine) {
                    format!("{nothing}: start it, or get its image with `{}`", self.install_line())
                } else {
                    format!("{nothing}: start it, or install Docker, so that the pipeline can start it")
                };
            }
        };
        if machine.on_path("rustup").is_some() {
            return format!("{what}: `{}`", self.install_line());
        }
        format!(
            "{what}, and it is not managed by rustup: install Rust from https://rustup.rs, then `{}`",
            self.install_line()
        )
    }

    /// Installs it and verifies that it is there.
    pub(crate) fn install(&self, machine: Machine<'_>, runner: &Runner) -> Result<()> {
        let takes = match self {
            Self::Tool(_) => "; cargo downloads and compiles it, which takes some minutes",
            _ => "",
        };
        runner.reporter.note(format!("installing {self}, once{takes}"));
        // From here on there is something that a quiet minute can be about.
        runner.reporter.progress(format!("installing {self}"));
        let call = match self {
            Self::Tool(tool) => tool.install(machine),
            Self::Packages(names) => {
                let install = "apt-get install --quiet --yes --no-install-recommends";
                let script = format!("apt-get update --quiet && {install} {}", names.join(" "));
                let as_root: &[&str] = if geteuid().is_root() { &["env"] } else { &["sudo", "-n", "env"] };
                let script = ["DEBIAN_FRONTEND=noninteractive", "sh", "-c", &script];
                Call::new(as_root[0]).args(as_root[1..].iter().copied()).args(script)
            }
            Self::Component(_) | Self::Target(_) | Self::Service(..) => {
                let line = self.install_line();
                let mut words = line.split(' ');
                Call::new(words.next().unwrap_or_default()).args(words)
            }
        };
        let mut printed = Vec::new();
        let status = call.run_reading(&runner.folder, &runner.interrupt, |read| match read {
            Printed::Line(line) => {
                runner.reporter.output(line);
                printed.push(line.clone());
            }
            Printed::Bar(bar) => runner.count_crates(bar),
        })?;
        let failed = |why: String| {
            Err(Failure::new(Exit::Missing, format!("{self} cannot be installed: `{call}` {why}")).into())
        };
        if !status.success() {
            let last = printed.split_off(printed.len().saturating_sub(3)).join("; ");
            return failed(format!("{}: {last}", ended(status)));
        }
        if !self.is_here(machine, &sysroot(machine.root)?) {
            let why = match self {
                Self::Component(_) | Self::Target(_) => "the Rust on `PATH` was not installed by rustup",
                Self::Tool(_) | Self::Packages(_) | Self::Service(..) => "it is still missing",
            };
            return failed(format!("succeeded, but {why}"));
        }
        Ok(())
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tool(tool) => write!(f, "{} {} into target/xtask/tools", tool.name, tool.version),
            Self::Component(name) => write!(f, "{name} into the Rust toolchain"),
            Self::Target(target) => write!(f, "the target `{target}` into the Rust toolchain"),
            Self::Packages(names) => write!(f, "{} with apt-get", names.join(", ")),
            Self::Service(_, service) => write!(f, "{} into the Docker engine", service.image),
        }
    }
}

/// The packages that this machine lacks; `None` if it is not Debian's kind, and has other names for them.
pub(crate) fn absent<'n>(machine: Machine<'_>, names: &'n [String]) -> Option<Vec<&'n str>> {
    machine.on_path("dpkg-query")?;
    Some(names.iter().map(String::as_str).filter(|name| !is_installed(machine.root, name)).collect())
}

/// Whether a package is installed: one that was removed may have left its settings behind.
fn is_installed(root: &Path, name: &str) -> bool {
    let state =
        Call::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}\n", name]).read(root);
    state.is_ok_and(|state| state.lines().any(|state| state == "installed"))
}

/// Whether a Docker engine on this machine can start the services for tests.
fn has_engine(machine: Machine<'_>) -> bool {
    machine.on_path("docker").is_some() && services::local_engine(machine.root).is_some()
}

/// The folder of the toolchain that runs the pipeline.
pub(crate) fn sysroot(root: &Path) -> Result<PathBuf> {
    let sysroot = Call::new("rustc").args(["--print", "sysroot"]).read(root);
    Ok(sysroot.or_exit(Exit::Missing)?.into())
}

/// Whether the compiler knows a target.
fn is_known(root: &Path, target: &str) -> bool {
    let known = Call::new("rustc").args(["--print", "target-list"]).read(root).unwrap_or_default();
    known.lines().any(|known| known == target)
}

/// Whether a program of the toolchain runs: outside of rustup it may be a separate package.
fn answers(root: &Path, program: &str) -> bool {
    runs(root, program, &["--version"])
}

fn runs(root: &Path, program: &str, arguments: &[&str]) -> bool {
    Call::new(program).args(arguments.iter().copied()).read(root).is_ok()
}

/// Whether the toolchain has the component that coverage needs.
fn has_llvm_tools(sysroot: &Path) -> bool {
    let Ok(hosts) = fs_err::read_dir(sysroot.join("lib/rustlib")) else { return false };
    hosts.flatten().any(|host| host.path().join("bin/llvm-profdata").is_file())
}

#[cfg(test)]
mod tests;
