//! The Docker engine: what it is asked to do, by its command line.
//!
//! Not by its API: the command line brings the user's contexts, logins and buildx along.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::binary::Platform;
use super::final_stage::Arguments;
use launchway_core::command::Call;
use launchway_core::exit::{Exit, Failure};
use launchway_core::runner::Runner;
use launchway_registry::Digest;

/// Something that the engine does; its `Display` is the line that `--explain` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Answers at all.
    Reach,
    /// Builds an image.
    Build(Build),
    /// Saves the image whose ID is in a file.
    Save {
        /// The file with the ID, which is removed.
        id: PathBuf,
        /// Where the image is saved.
        archive: PathBuf,
    },
    /// Takes an image in; the archive is removed unless it is to be kept.
    Load {
        /// The image in a file.
        archive: PathBuf,
        /// Whether the archive stays.
        keep: bool,
    },
}

/// A `docker build` of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// The folder of the sources.
    pub context: PathBuf,
    /// The Dockerfile.
    pub dockerfile: PathBuf,
    /// By buildx, or by the classic builder.
    pub buildx: bool,
    /// What the image is for.
    pub platform: Platform,
    /// The engine's name for the image, so that people find it there.
    pub name: String,
    /// None of them a secret: the image's history shows them.
    pub arguments: Arguments,
    /// Labels that the Dockerfile does not set itself.
    pub labels: Vec<(String, String)>,
    /// Where the image's ID is written.
    pub id: PathBuf,
}

impl Task {
    /// Does it; an engine that does not answer is an error with [`Exit::Missing`], what it refuses one with
    /// [`Exit::CheckFailed`].
    pub fn run(&self, runner: &Runner) -> Result<()> {
        match self {
            Self::Reach => answer(&runner.folder, &|args| Call::new("docker").args(args.iter().copied())),
            Self::Build(build) => {
                if let Some(folder) = build.id.parent() {
                    fs_err::create_dir_all(folder)?;
                }
                runner.check(&build.call())
            }
            Self::Save { id, archive } => {
                let image = fs_err::read_to_string(id)?;
                fs_err::remove_file(id)?;
                let image: Digest = image.trim().parse()?;
                runner.check(&save(image.as_str(), archive))
            }
            Self::Load { archive, keep } => {
                let loaded = runner.check(&load(archive));
                if !keep {
                    fs_err::remove_file(archive)?;
                }
                loaded
            }
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reach => f.write_str("check that a Docker engine answers"),
            Self::Build(build) => build.call().fmt(f),
            Self::Save { id, archive } => {
                write!(f, "{}, with the ID from {}", save("ID", archive), id.display())
            }
            Self::Load { archive, keep } => {
                let after = if *keep { "" } else { ", then remove that file" };
                write!(f, "{}{after}", load(archive))
            }
        }
    }
}

impl Build {
    fn call(&self) -> Call {
        let call = if self.buildx {
            // An attestation would make it an index of two images. `--load`: not every driver keeps what it builds.
            Call::new("docker").args(["buildx", "build", "--load", "--provenance=false", "--sbom=false"])
        } else {
            // Says so, or the command line goes looking for buildx.
            Call::new("docker").arg("build").env("DOCKER_BUILDKIT", "0")
        };
        let mut call = call.args([
            "--file".to_owned(),
            self.dockerfile.display().to_string(),
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

fn save(image: &str, archive: &Path) -> Call {
    Call::new("docker").args(["save", "--output"]).arg(archive.display().to_string()).arg(image)
}

fn load(archive: &Path) -> Call {
    Call::new("docker").arg("load").input(archive)
}

/// Whether `docker buildx` is installed.
pub fn has_buildx(folder: &Path) -> bool {
    Call::new("docker").args(["buildx", "version"]).read(folder).is_ok()
}

/// Asks the engine for its version; `ask` makes the command line.
fn answer(folder: &Path, ask: &dyn Fn(&[&str]) -> Call) -> Result<()> {
    let version = ask(&["version", "--format", "{{.Server.Version}}"]);
    let Err(error) = version.read(folder) else { return Ok(()) };
    // The context's, which is `DOCKER_HOST` where that is set.
    let host = ask(&["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]);
    let place = match host.read(folder) {
        Ok(host) => format!("no Docker engine answers at {host}"),
        Err(_) => "there is no Docker command line".to_owned(),
    };
    Err(Failure::new(
        Exit::Missing,
        format!(
            "{place}: start one or name it in `DOCKER_HOST`. `--engine builtin` and `--output FILE` need none ({error:#})"
        ),
    )
    .into())
}

#[cfg(test)]
mod tests;
