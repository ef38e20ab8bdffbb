//! Step: docker-build. Compiles the binary statically, and builds the image that the Dockerfile's final stage
//! describes.

mod builtin;
mod cargo_settings;
mod compile;
mod docker;
mod output;
pub(crate) mod reproducible;
pub(crate) mod sources;
mod toolchain;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Result;
use serde::Serialize;

use crate::config::Config;
use crate::context::Context;
use crate::git::Git;
use crate::project::Project;
use crate::workspace;
use builtin::BuiltinBuild;
use docker::DockerBuild;
use launchway_core::exit::{Exit, OrExit as _};
use launchway_core::runner::Runner;
use launchway_core::{file, size};
use launchway_image::Engine;
use launchway_image::base_image;
use launchway_image::binary::Platform;
use launchway_image::docker_engine;
use launchway_image::final_stage::{Arguments, BaseName};
use launchway_image::smoke::Service;
use launchway_registry::{Access, Digest};
use output::{Export, Output};
use sources::{Checkout, Sources};
use toolchain::Toolchain;
pub(crate) use toolchain::sysroot;

/// The engine that builds the image, and where the image goes besides the layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) engine: Engine,
    /// The image in one file.
    pub(crate) output: Option<PathBuf>,
    /// Load the image into the running Docker engine.
    pub(crate) load: bool,
}

impl From<Engine> for Options {
    fn from(engine: Engine) -> Self {
        Self { engine, output: None, load: false }
    }
}

/// What the step does; its `Display` is what `--explain` shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DockerBuildPlan {
    /// Whether a Docker engine must respond; otherwise compiling would be in vain.
    needs_docker: bool,
    /// Checks the sources out into their own folder; absent if they are used in place.
    checkout: Option<Checkout>,
    build: Build,
    output: Output,
    /// Copies the image elsewhere.
    export: Option<Export>,
}

/// How the image is built.
#[derive(Debug, PartialEq, Eq)]
enum Build {
    Builtin(Box<BuiltinBuild>),
    Docker(Box<DockerBuild>),
}

/// The step's results, for the run record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Built {
    /// The repository, without a tag.
    pub(crate) repository: String,
    /// The commit's tag, then `latest` unless the tree was dirty.
    pub(crate) tags: Vec<String>,
    /// The digest of the manifest, which identifies the image everywhere.
    pub(crate) digest: Digest,
    pub(crate) config: Digest,
    /// The compressed sizes of the layers in bytes, the lowest first.
    pub(crate) layers: Vec<u64>,
    /// Everything that a registry stores of it, in bytes.
    pub(crate) bytes: u64,
}

/// What the step will do.
///
/// Reads the final stage and finds its files here, so that a bad one fails before anything is compiled.
pub(crate) fn plan(ctx: &Context, options: &Options) -> Result<DockerBuildPlan> {
    let sources = Sources::read(&ctx.root, &ctx.git)?;
    sources.context.needed("Cargo.lock")?;
    let toolchain = Toolchain::read(&ctx.root, &ctx.config, &ctx.environment, &sources)?;
    plan_with(ctx, options, sources, &toolchain)
}

fn plan_with(
    ctx: &Context,
    options: &Options,
    sources: Sources,
    toolchain: &Toolchain,
) -> Result<DockerBuildPlan> {
    if let Some(output) = &options.output {
        file::check(output).or_exit(Exit::Usage)?;
    }
    let project = ctx.project();
    let output = Output::of(project, ctx.image(), Platform::of_target(&ctx.config.target)?);
    let build = match options.engine {
        Engine::Builtin => {
            let find_base = |name: &BaseName, platform| {
                let (client, folder) = (ctx.registry(Access::Pull)?, ctx.output().join("base"));
                base_image::find(&client, &ctx.runner(), folder, name, platform, ctx.is_rehearsal())
            };
            Build::Builtin(Box::new(BuiltinBuild::plan(project, &sources, toolchain, find_base)?))
        }
        Engine::Docker => {
            let name = format!("{}:{}", ctx.image(), ctx.git.tag());
            let mirror = ctx.environment.get("PIPELINE_RUST_IMAGE");
            Build::Docker(Box::new(DockerBuild::plan(project, &sources, toolchain, name, mirror)?))
        }
    };
    Ok(DockerBuildPlan {
        needs_docker: options.engine == Engine::Docker || options.load,
        checkout: (!sources.checkout.is_in_place()).then_some(sources.checkout),
        build,
        export: Export::of(&ctx.output(), options, &output),
        output,
    })
}

/// Checks that an engine can follow the Dockerfile and, for the builtin one, that everything that its final stage
/// copies exists.
///
/// Contacts no registry: what only the base image decides is left to the build.
///
/// Errors have [`Exit::Usage`](launchway_core::exit::Exit::Usage) and start with the file and the line.
pub(crate) fn check(project: Project<'_>, engine: Engine) -> Result<()> {
    let Project { root, config, git } = project;
    let platform = Platform::of_target(&config.target)?;
    // If cargo cannot list them, that is reported elsewhere.
    let workspace = workspace::read(root, config).unwrap_or_default();
    let binaries = workspace.binaries(&config.package, &config.binary);
    launchway_image::check(
        &Sources::read(root, git)?.context,
        &config.dockerfile,
        engine,
        &binaries,
        platform,
    )
}

impl DockerBuildPlan {
    /// Does what the plan says, and nothing else.
    pub(crate) fn run(&self, runner: &Runner) -> Result<Built> {
        let Runner { folder: root, reporter, interrupt } = runner;
        interrupt.check()?;
        if self.needs_docker {
            docker_engine::check(root)?;
        }
        // Held to the end: what is packed must be what was compiled.
        let _sources = self.checkout.as_ref().map(|checkout| checkout.run(interrupt)).transpose()?;
        let built = match &self.build {
            Build::Builtin(build) => build.run(runner, &self.output)?,
            Build::Docker(build) => build.run(runner, &self.output)?,
        };
        if let Some(export) = &self.export {
            export.run(runner)?;
        }
        reporter.note(built.to_string());
        if self.output.is_dirty {
            reporter.note("the tree is dirty: the image gets its own tag and does not become `latest`");
        }
        Ok(built)
    }
}

impl fmt::Display for DockerBuildPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needs_docker, checkout, build, output, export } = self;
        if *needs_docker {
            writeln!(f, "check that a Docker engine responds")?;
        }
        checkout.iter().try_for_each(|checkout| writeln!(f, "{checkout}"))?;
        match build {
            Build::Builtin(build) => write!(f, "{build}\nwrite {output}")?,
            Build::Docker(build) => write!(f, "{build}, recompress its layers and write {output}")?,
        }
        export.iter().try_for_each(|export| write!(f, "\n{export}"))
    }
}

impl fmt::Display for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repository, tags, digest, layers, bytes, .. } = self;
        let tag = tags.first().map_or("", String::as_str);
        write!(f, "image {repository}:{tag} · {digest} · {} layers, {}", layers.len(), size(*bytes))
    }
}

/// The commit's time, in RFC 3339.
fn created(git: &Git) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(git.time)).to_string()
}

/// The build arguments that an image may declare.
fn arguments(git: &Git, toolchain: &Toolchain) -> Arguments {
    Arguments::from([
        ("COMMIT", git.tag()),
        ("CREATED", created(git)),
        ("VERSION", toolchain.workspace.version.clone()),
    ])
}

/// The labels that an image has unless its Dockerfile sets them.
fn labels(git: &Git) -> [(String, String); 2] {
    [("revision", git.tag()), ("created", created(git))]
        .map(|(label, value)| (format!("org.opencontainers.image.{label}"), value))
}

/// The service, as the smoke run tests it.
fn service(config: &Config, git: &Git) -> Service {
    Service {
        health: config.deploy.health.clone(),
        version: config.deploy.version.clone(),
        commit: git.tag(),
        environment: config.smoke_environment(),
        settings: format!("`[{}.rehearse.environment]` in Cargo.toml", config.table),
        port: config.deploy.port.clone(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
