//! The Docker engine, through its command line. `Display` of each call is the line that `--explain` shows.
//!
//! Not through its API, because the command line supports the user's contexts, logins and buildx.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::binary::Platform;
use super::dockerfile::Dockerfile;
use super::final_stage::{Arguments, classic_builder};
use launchway_core::command::Call;
use launchway_core::exit::{Exit, Failure};
use launchway_core::runner::Runner;
use launchway_registry::Digest;

/// A `docker build` of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// The folder of the build context.
    pub context: PathBuf,
    /// The path of the Dockerfile in it.
    pub dockerfile: String,
    /// With buildx, or with the classic builder.
    pub buildx: bool,
    /// The image's platform.
    pub platform: Platform,
    /// The engine's name for the image, so that people can find it there.
    pub name: String,
    /// None of them is a secret: the image's history shows them.
    pub arguments: Arguments,
    /// Labels that the Dockerfile does not set itself.
    pub labels: Vec<(String, String)>,
    /// The file to which the image's ID is written.
    pub id: PathBuf,
}

/// A `docker save` of the image whose ID is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Save {
    /// The file with the ID, which is removed afterwards.
    pub id: PathBuf,
    /// Where the image is saved.
    pub archive: PathBuf,
}

/// A `docker load`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// The image in a file.
    pub archive: PathBuf,
    /// Whether to keep the archive.
    pub keep: bool,
}

/// Checks that an engine responds. Fails with [`Exit::Missing`] if not.
pub fn check(folder: &Path) -> Result<()> {
    check_with(folder, &|args| Call::new("docker").args(args.iter().copied()))
}

impl Build {
    /// Builds the image. A refusal of the engine is an error with [`Exit::CheckFailed`].
    pub fn run(&self, runner: &Runner) -> Result<()> {
        if let Some(folder) = self.id.parent() {
            fs_err::create_dir_all(folder)?;
        }
        runner.check(&self.call())
    }
}

impl Save {
    /// Saves the image. A refusal of the engine is an error with [`Exit::CheckFailed`].
    pub fn run(&self, runner: &Runner) -> Result<()> {
        let image = fs_err::read_to_string(&self.id)?;
        fs_err::remove_file(&self.id)?;
        let image: Digest = image.trim().parse()?;
        runner.check(&self.call(image.as_str()))
    }

    fn call(&self, image: &str) -> Call {
        Call::new("docker").args(["save", "--output"]).arg(self.archive.display().to_string()).arg(image)
    }
}

impl Load {
    /// Loads the image. A refusal of the engine is an error with [`Exit::CheckFailed`].
    pub fn run(&self, runner: &Runner) -> Result<()> {
        let loaded = runner.check(&self.call());
        if !self.keep {
            fs_err::remove_file(&self.archive)?;
        }
        loaded
    }

    fn call(&self) -> Call {
        Call::new("docker").arg("load").input(&self.archive)
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call().fmt(f)
    }
}

impl fmt::Display for Save {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, with the ID from {}", self.call("ID"), self.id.display())
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = if self.keep { "" } else { ", then remove that file" };
        write!(f, "{}{after}", self.call())
    }
}

impl Build {
    fn call(&self) -> Call {
        let call = if self.buildx {
            // An attestation would turn it into an index of two images. `--load`: not every driver keeps what it
            // builds.
            Call::new("docker").args(["buildx", "build", "--load", "--provenance=false", "--sbom=false"])
        } else {
            // Set explicitly, or the command line would look for buildx.
            Call::new("docker").arg("build").env("DOCKER_BUILDKIT", "0")
        };
        let mut call = call.args([
            "--file".to_owned(),
            self.context.join(&self.dockerfile).display().to_string(),
            "--platform".to_owned(),
            self.platform.to_string(),
            "--iidfile".to_owned(),
            self.id.display().to_string(),
            "--tag".to_owned(),
            self.name.clone(),
        ]);
        for (name, value) in &self.arguments {
            call = call.arg("--build-arg").arg(format!("{name}={value}"));
        }
        for (name, value) in &self.labels {
            call = call.arg("--label").arg(format!("{name}={value}"));
        }
        call.arg(self.context.display().to_string())
    }
}

/// Checks that a Dockerfile can be built without buildx: it uses no option and no syntax of `BuildKit` only.
///
/// Errors have [`Exit::Usage`] and a line for each problem, with its location.
pub fn check_without_buildx(file: &Dockerfile) -> Result<()> {
    classic_builder::check(file)
}

/// Whether `docker buildx` is installed.
pub fn has_buildx(folder: &Path) -> bool {
    Call::new("docker").args(["buildx", "version"]).read(folder).is_ok()
}

/// Reads the engine's version; `docker` creates the call.
fn check_with(folder: &Path, docker: &dyn Fn(&[&str]) -> Call) -> Result<()> {
    let version = docker(&["version", "--format", "{{.Server.Version}}"]);
    let Err(error) = version.read(folder) else { return Ok(()) };
    // That of the context, which is `DOCKER_HOST` if that is set.
    let host = docker(&["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]);
    let problem = match host.read(folder) {
        Ok(host) => {
            format!("no Docker engine responds at {host}: start one, or set `DOCKER_HOST` to one")
        }
        Err(_) => "the Docker command line cannot be run: install it".to_owned(),
    };
    Err(Failure::new(
        Exit::Missing,
        format!("{problem}. `--engine builtin` and `--output FILE` need no Docker ({error:#})"),
    )
    .into())
}

#[cfg(test)]
mod tests;
