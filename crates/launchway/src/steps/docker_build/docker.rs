//! The Docker engine: runs `docker build`, and converts the result into an image like the builtin engine's.

use std::fmt;

use anyhow::Result;

use super::output::Output;
use super::sources::Sources;
use super::toolchain::Toolchain;
use super::{Built, arguments, labels, service};
use crate::context::Context;
use launchway_core::exit::{Exit, OrExit as _};
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
    pub(super) fn plan(ctx: &Context, sources: &Sources, toolchain: &Toolchain) -> Result<Self> {
        let platform = Platform::of_target(&ctx.config.target)?;
        let (id, archive) = (ctx.output().join("docker.iid"), ctx.output().join("docker.tar"));
        let mut arguments = arguments(ctx, toolchain);
        let mirror = ctx.environment.get("PIPELINE_RUST_IMAGE");
        arguments.extend(mirror.map(|image| ("RUST_IMAGE", image.to_owned())));
        let file = Dockerfile::read(&sources.context, &ctx.config.dockerfile)?;
        let buildx = docker_engine::has_buildx(&ctx.root);
        if !buildx {
            docker_engine::check_without_buildx(&file)?;
        }
        // On the command line, a label would override the Dockerfile's own.
        let labels = labels(ctx).into_iter().filter(|(label, _)| !file.text().contains(label)).collect();
        let name = format!("{}:{}", ctx.image(), ctx.git.tag());
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
            smoke: Smoke::of_image(service(ctx), &ctx.root, platform, name),
            save: Save { id, archive },
        })
    }

    pub(super) fn run(&self, ctx: &Context, output: &Output) -> Result<Built> {
        let runner = ctx.runner();
        self.build.run(&runner)?;
        self.smoke.run(&runner, &[])?;
        self.import(ctx, output)
    }

    /// Converts the engine's image into one like the builtin engine's.
    fn import(&self, ctx: &Context, output: &Output) -> Result<Built> {
        self.save.run(&ctx.runner())?;
        let image = docker_archive::read(&self.save.archive, output.platform, &ctx.interrupt);
        fs_err::remove_file(&self.save.archive)?;
        let image = image.or_exit(Exit::CheckFailed)?;
        output.write(ctx, Engine::Docker, None, image.config, &image.layers, image.labels)
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
