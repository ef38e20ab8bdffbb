//! The Docker engine: runs `docker build`, and converts the result into an image like the builtin engine's.

use std::fmt;

use anyhow::Result;

use super::output::Output;
use super::sources::Sources;
use super::toolchain::Toolchain;
use super::{Built, arguments, labels, service};
use crate::project::{Project, output};
use launchway_core::exit::{Exit, OrExit as _};
use launchway_core::runner::Runner;
use launchway_image::binary::Platform;
use launchway_image::docker_engine::{self, Save};
use launchway_image::dockerfile::Dockerfile;
use launchway_image::smoke::Smoke;
use launchway_image::{Engine, docker_archive};

/// A build by the Docker engine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DockerBuild {
    build: docker_engine::Build,
    /// An image that does not start is not written.
    smoke: Smoke,
    save: Save,
}

impl DockerBuild {
    /// The image gets the name `name`; `mirror` replaces the image that the Dockerfile compiles in.
    pub(super) fn plan(
        project: Project<'_>,
        sources: &Sources,
        toolchain: &Toolchain,
        name: String,
        mirror: Option<&str>,
    ) -> Result<Self> {
        let Project { root, config, git } = project;
        let platform = Platform::of_target(&config.target)?;
        let [id, archive] = ["docker.iid", "docker.tar"].map(|file| output(root).join(file));
        let mut arguments = arguments(git, toolchain);
        arguments.extend(mirror.map(|image| ("RUST_IMAGE", image.to_owned())));
        let file = Dockerfile::read(&sources.context, &config.dockerfile)?;
        let buildx = docker_engine::has_buildx(root);
        if !buildx {
            docker_engine::check_without_buildx(&file)?;
        }
        // On the command line, a label would override the Dockerfile's own.
        let labels = labels(git).into_iter().filter(|(label, _)| !file.text().contains(label)).collect();
        Ok(Self {
            build: docker_engine::Build {
                context: sources.context.root().to_owned(),
                dockerfile: file.path().to_owned(),
                buildx,
                platform,
                name: name.clone(),
                arguments,
                labels,
                id: id.clone(),
            },
            smoke: Smoke::of_image(service(config, git), root, platform, name),
            save: Save { id, archive },
        })
    }

    pub(super) fn run(&self, runner: &Runner, output: &Output) -> Result<Built> {
        self.build.run(runner)?;
        self.smoke.run(runner, &[])?;
        self.import(runner, output)
    }

    /// Converts the engine's image into one like the builtin engine's.
    fn import(&self, runner: &Runner, output: &Output) -> Result<Built> {
        self.save.run(runner)?;
        let image = docker_archive::read(&self.save.archive, output.platform, &runner.interrupt);
        fs_err::remove_file(&self.save.archive)?;
        let image = image.or_exit(Exit::CheckFailed)?;
        output.write(runner, Engine::Docker, None, image.config, &image.layers, image.labels)
    }
}

impl fmt::Display for DockerBuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { build, smoke, save } = self;
        write!(f, "{build}\n{smoke}\n{save}\nread {}", save.archive.display())
    }
}

#[cfg(test)]
mod tests;
