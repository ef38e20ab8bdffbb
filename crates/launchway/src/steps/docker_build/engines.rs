//! Which engine makes the image, and where it goes afterwards.

use std::path::PathBuf;

use anyhow::Result;

use super::sources::Sources;
use super::{Action, Options, Toolchain, arguments, builtin, check_out, created, image, service};
use crate::context::Context;
use launchway_core::exit::{Exit, OrExit as _};
use launchway_core::file;
use launchway_image::Engine;
use launchway_image::binary::Platform;
use launchway_image::docker_engine::{self, Task};
use launchway_image::dockerfile::Dockerfile;
use launchway_image::smoke::Smoke;
use launchway_registry::oci::Settings;

pub(super) fn plan(
    ctx: &Context,
    options: &Options,
    sources: &Sources,
    toolchain: &Toolchain,
) -> Result<Vec<Action>> {
    let folder = ctx.output().join("image");
    let is_docker = options.engine == Engine::Docker;
    let mut actions = Vec::new();
    if let Some(output) = &options.output {
        file::check(output).or_exit(Exit::Usage)?;
    }
    if is_docker || options.load || options.compare {
        // First: a compilation would be for nothing.
        actions.push(Action::Docker(Task::Reach));
    }
    // Once, whichever engines follow: the folder is held until the step ends.
    actions.extend(check_out(sources));
    if options.compare {
        let (docker, own) = (ctx.output().join("image-docker"), builtin(ctx, sources, toolchain)?);
        let binary = own.iter().rev().find_map(|action| match action {
            Action::Pack { entries, .. } => entries.first().map(|(path, _)| path.clone()),
            _ => None,
        });
        actions.extend(by_docker(ctx, sources, toolchain, docker.clone())?);
        // Last, so that it is the one that the step leaves.
        actions.extend(own);
        let binary = binary.unwrap_or_default();
        actions.push(Action::Compare { builtin: folder.clone(), docker, binary });
    } else if is_docker {
        actions.extend(by_docker(ctx, sources, toolchain, folder.clone())?);
    } else {
        actions.extend(builtin(ctx, sources, toolchain)?);
    }
    let archive = options.output.clone().unwrap_or_else(|| ctx.output().join("image.tar"));
    if options.output.is_some() || options.load {
        let repository = ctx.image().to_owned();
        actions.push(Action::Export { folder, repository, file: archive.clone() });
    }
    if options.load {
        actions.push(Action::Docker(Task::Load { archive, keep: options.output.is_some() }));
    }
    Ok(actions)
}

/// The Dockerfile built by the Docker engine, and its image as one of ours in `folder`.
fn by_docker(
    ctx: &Context,
    sources: &Sources,
    toolchain: &Toolchain,
    folder: PathBuf,
) -> Result<Vec<Action>> {
    let platform = Platform::of_target(&ctx.config.target)?;
    let (id, archive) = (ctx.output().join("docker.iid"), ctx.output().join("docker.tar"));
    let mut arguments = arguments(ctx, toolchain);
    arguments.extend(ctx.environment.get("PIPELINE_RUST_IMAGE").map(|base| ("RUST_IMAGE", base.to_owned())));
    let labels = [("revision", ctx.git.tag()), ("created", created(ctx))];
    let labels = labels.map(|(label, value)| (format!("org.opencontainers.image.{label}"), value));
    let file = Dockerfile::read(&sources.context, &ctx.config.dockerfile)?;
    // On the command line a label would win over the Dockerfile's own.
    let labels = labels.into_iter().filter(|(label, _)| !file.text().contains(label)).collect();
    let name = format!("{}:{}", ctx.image(), ctx.git.tag());
    Ok(vec![
        Action::Docker(Task::Build(docker_engine::Build {
            context: sources.context.root().to_owned(),
            dockerfile: sources.context.root().join(&ctx.config.dockerfile),
            buildx: docker_engine::has_buildx(&ctx.root),
            platform,
            name: name.clone(),
            arguments,
            labels,
            id: id.clone(),
        })),
        Action::Smoke(Box::new(Smoke::of_image(service(ctx), &ctx.root, platform, name))),
        Action::Docker(Task::Save { id, archive: archive.clone() }),
        Action::Import { archive, image: Box::new(image(ctx, folder, platform, Settings::default())) },
    ])
}
