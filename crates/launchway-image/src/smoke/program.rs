//! Unpacks the program of the packed layers and starts it without Docker.
//!
//! Where the machine allows a user namespace, the program sees the image's files and no others, with the rights of the
//! image's user. Elsewhere it sees this machine's files, so a file that the image lacks may go unnoticed.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::{Port, Running, Service};
use crate::binary::{self, Platform};
use crate::layer::Tar;
use crate::layer_reader::{Bounds, LayerReader};
use crate::unpack::{Unpacked, engine_variables, find, program, program_path, unpack, unpack_for};
use crate::user::User;
use launchway_core::command::{Namespace, bare, contained};
use launchway_core::runner::Runner;
use launchway_registry::oci::Settings;

/// What an image starts, and where its files are unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) folder: PathBuf,
    pub(super) platform: Platform,
    pub(super) settings: Settings,
    /// What it takes to run it with the image's files alone, or why it is not.
    pub(super) alone: Result<Contained, String>,
}

/// What a program needs that runs with the image's files alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contained {
    /// Who runs it.
    pub user: User,
    /// The layers of the base, the lowest first.
    pub base: Vec<PathBuf>,
}

impl Program {
    /// Passes on the running program, or says why it cannot run here.
    pub(super) fn run(
        &self,
        runner: &Runner,
        service: &Service,
        tars: &[Arc<Tar>],
        prove: impl FnOnce(Running<'_>) -> Result<()>,
    ) -> Result<Option<String>> {
        let here = (std::env::consts::OS, std::env::consts::ARCH);
        if here != ("linux", self.platform.processor()) {
            return Ok(Some(format!(
                "the image is for {}, but this machine is {}/{}",
                self.platform, here.0, here.1
            )));
        }
        let folder = Unpacked::new(&self.folder)?;
        let name = self.words().next().context("the image has neither an `ENTRYPOINT` nor a `CMD`")?;
        let (command, address) = if let Ok(alone) = &self.alone {
            unpack_all(runner, alone, folder.path(), tars)?;
            self.command_in(service, &alone.user, folder.path(), name)?
        } else {
            let reader = LayerReader::new(&runner.interrupt, Bounds::IMAGE);
            unpack(folder.path(), tars.iter().map(|tar| tar.bytes.as_slice()), reader)?;
            let file = program(folder.path(), &self.settings.working_dir, &self.settings.env, name)?;
            if binary::is_elf(&file)? && binary::verify(&file, self.platform).is_err() {
                // It would use this machine's own linker and libraries instead of the image's.
                return Ok(Some(format!(
                    "`{name}` is not a static program for {}: it starts only in a container of the image",
                    self.platform
                )));
            }
            self.command(service, folder.path(), &file)?
        };
        let running = Running::start(runner, command, address, None);
        prove(running.with_context(|| format!("cannot start `{name}`"))?)?;
        if let Err(reason) = &self.alone {
            runner
                .reporter
                .note(format!("smoke run: with the files and rights of this machine, because {reason}"));
        }
        Ok(None)
    }

    /// The program with the image's files alone.
    fn command_in(
        &self,
        service: &Service,
        user: &User,
        root: &Path,
        name: &str,
    ) -> Result<(Command, SocketAddr)> {
        let Settings { working_dir, env, .. } = &self.settings;
        let path = program_path(root, working_dir, env, name)?;
        find(root, &path)?;
        let folder = working_dir.clone();
        let namespace = Namespace { root: root.to_owned(), folder, uid: user.owner.uid, gid: user.owner.gid };
        let command = contained(&namespace, &path).context("this program cannot start itself again")?;
        self.with_environment(service, command, &engine_variables(user))
    }

    /// The program's name, for messages.
    pub(super) fn name(&self) -> &str {
        self.words().next().map_or("the program", String::as_str)
    }

    fn words(&self) -> impl Iterator<Item = &String> {
        [&self.settings.entrypoint, &self.settings.cmd].into_iter().flatten().flatten()
    }

    /// The program's arguments.
    fn arguments(&self, port: &Port, number: u16) -> Vec<String> {
        match port.arguments(number) {
            Some(of_port) => {
                let entrypoint = self.settings.entrypoint.iter().flatten().skip(1).cloned();
                entrypoint.chain(of_port).collect()
            }
            None => self.words().skip(1).cloned().collect(),
        }
    }

    fn command(&self, service: &Service, folder: &Path, file: &Path) -> Result<(Command, SocketAddr)> {
        let mut command = bare(file);
        command.current_dir(find(folder, &self.settings.working_dir)?);
        self.with_environment(service, command, &[])
    }

    /// The command with the image's arguments and environment, and what the service gets besides.
    fn with_environment(
        &self,
        service: &Service,
        mut command: Command,
        of_engine: &[(&str, &str)],
    ) -> Result<(Command, SocketAddr)> {
        let address = service.port.address()?;
        command.args(self.arguments(&service.port, address.port())).env_clear();
        command.envs(of_engine.iter().copied());
        command.envs(self.settings.env.iter().filter_map(|pair| pair.split_once('=')));
        // They override the image's.
        command.envs(service.environment.iter().map(|(name, value)| (name, value)));
        command.env("LISTEN", address.ip().to_string()).envs(service.port.variables(address.port()));
        Ok((command, address))
    }
}

/// Unpacks the layers of the base and those above it, with the rights of the image's user.
fn unpack_all(runner: &Runner, alone: &Contained, root: &Path, tars: &[Arc<Tar>]) -> Result<()> {
    let base = alone.base.iter().map(|layer| Ok(Box::new(fs_err::File::open(layer)?) as Box<dyn Read>));
    let base = base.collect::<std::io::Result<Vec<_>>>()?;
    let own = tars.iter().map(|tar| Box::new(tar.bytes.as_slice()) as Box<dyn Read>);
    let reader = LayerReader::new(&runner.interrupt, Bounds::IMAGE);
    let layers = base.into_iter().chain(own);
    unpack_for(root, layers, reader, |_| Ok(alone.user.clone()), Namespace::prepare).map(drop)
}
