//! Unpacks the program of the packed layers and starts it without Docker.
//!
//! It is not a container: the program sees this machine's files and is not process 1, so a file that the image lacks
//! may go unnoticed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::{Port, Running, Service};
use crate::binary::{self, Platform};
use crate::layer::Tar;
use crate::layer_reader::{Bounds, LayerReader};
use crate::unpack::{Unpacked, find, program, unpack};
use launchway_core::command::bare;
use launchway_core::runner::Runner;
use launchway_registry::oci::Settings;

/// What an image starts, and where its files are unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) folder: PathBuf,
    pub(super) platform: Platform,
    pub(super) settings: Settings,
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
        let reader = LayerReader::new(&runner.interrupt, Bounds::IMAGE);
        unpack(folder.path(), tars.iter().map(|tar| tar.bytes.as_slice()), reader)?;
        let name = self.words().next().context("the image has neither an `ENTRYPOINT` nor a `CMD`")?;
        let file = program(folder.path(), &self.settings.working_dir, &self.settings.env, name)?;
        if binary::is_elf(&file)? && binary::verify(&file, self.platform).is_err() {
            // It would use this machine's own linker and libraries instead of the image's.
            return Ok(Some(format!(
                "`{name}` is not a static program for {}: it starts only in a container of the image",
                self.platform
            )));
        }
        let (command, address) = self.command(service, folder.path(), &file)?;
        let running = Running::start(runner, command, address, None);
        prove(running.with_context(|| format!("cannot start `{name}`"))?)?;
        Ok(None)
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
        let address = service.port.address()?;
        let mut command = bare(file);
        let arguments = self.arguments(&service.port, address.port());
        command.args(arguments).current_dir(find(folder, &self.settings.working_dir)?).env_clear();
        command.envs(self.settings.env.iter().filter_map(|pair| pair.split_once('=')));
        // They override the image's.
        command.envs(service.environment.iter().map(|(name, value)| (name, value)));
        command.env("LISTEN", address.ip().to_string()).envs(service.port.variables(address.port()));
        Ok((command, address))
    }
}
