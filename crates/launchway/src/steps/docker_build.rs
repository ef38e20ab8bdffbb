//! Step: docker-build. The binary, compiled to run alone, and the image that the Dockerfile's final stage describes.

mod based;
mod compile;
mod engines;
pub(crate) mod reproducible;
mod settings;
pub(crate) mod sources;
mod toolchain;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::context::Context;
use launchway_core::command::Call;
use launchway_core::exit::{Exit, OrExit as _};
use launchway_core::size;
use launchway_image::Engine;
use launchway_image::base_image::{BaseImage, BaseLayers};
use launchway_image::binary::{self, Platform};
use launchway_image::docker_engine::Task;
use launchway_image::dockerfile::Dockerfile;
use launchway_image::final_stage::{Arguments, FinalStage, Step};
use launchway_image::layer::{Entry, Kind, Layer, Tar};
use launchway_image::layer_cache::LayerCache;
use launchway_image::layout::{Files, Layout, Parts};
use launchway_image::manifest::{image_config, image_manifest};
use launchway_image::smoke::{Service, Smoke};
use launchway_image::tree::{self, Tree};
use launchway_image::{compare, docker_archive};
use launchway_registry::Digest;
use launchway_registry::oci::Settings;
use sources::{Checkout, Sources};
use toolchain::Toolchain;
pub(crate) use toolchain::sysroot;

/// What makes the image, and what becomes of it beside the layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) engine: Engine,
    /// The image in one file.
    pub(crate) output: Option<PathBuf>,
    /// Put the image into the running Docker engine.
    pub(crate) load: bool,
    /// Build with both engines and compare.
    pub(crate) compare: bool,
}

impl From<Engine> for Options {
    fn from(engine: Engine) -> Self {
        Self { engine, output: None, load: false, compare: false }
    }
}

/// One thing that the step does; its `Display` is the line that `--explain` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Brings the sources to a folder of their own.
    CheckOut(Checkout),
    /// Compiles the binary in the folder of the sources, with a target folder of its own.
    Compile { folder: PathBuf, call: Call },
    /// Begins with the layers of another image, which the plan has read.
    Begin(Box<BaseImage>),
    /// Proves that the binary runs on the platform with nothing beside it.
    Verify { binary: PathBuf, platform: Platform, folders: Vec<PathBuf> },
    /// Packs files into a layer.
    Pack { origin: String, entries: Vec<(String, Entry)> },
    /// Starts what the image starts and asks it; an image that does not start is not written.
    Smoke(Box<Smoke>),
    /// Something that is not done, and why.
    Skip { check: &'static str, reason: String },
    /// Writes the packed layers with their configuration and manifest.
    Write(Box<Image>),
    /// Something that the Docker engine does.
    Docker(Task),
    /// Makes the image that the Docker engine saved into one of ours.
    Import { archive: PathBuf, image: Box<Image> },
    /// Writes the image into one file.
    Export { folder: PathBuf, repository: String, file: PathBuf },
    /// Says where the images of the two engines differ.
    Compare { builtin: PathBuf, docker: PathBuf, binary: String },
}

/// The image that a plan ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    folder: PathBuf,
    repository: String,
    tags: Vec<String>,
    platform: Platform,
    settings: Settings,
    /// RFC 3339.
    created: String,
}

/// What the step leaves, for the run record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Built {
    /// The repository, without a tag.
    pub(crate) repository: String,
    /// The commit's tag, then `latest` unless the tree was dirty.
    pub(crate) tags: Vec<String>,
    /// The digest of the manifest, which is the image's name everywhere.
    pub(crate) digest: Digest,
    pub(crate) config: Digest,
    /// The compressed sizes of the layers in bytes, the lowest first.
    pub(crate) layers: Vec<u64>,
    /// All that a registry stores of it, in bytes.
    pub(crate) bytes: u64,
}

/// What the step will do.
///
/// The final stage is read and its files are found here, so that a bad one fails before anything is compiled.
pub(crate) fn plan(ctx: &Context, options: &Options) -> Result<Vec<Action>> {
    let sources = Sources::read(ctx)?;
    sources.context.needed("Cargo.lock")?;
    engines::plan(ctx, options, &sources, &Toolchain::ask(ctx, &sources)?)
}

/// Checks that both engines can follow the Dockerfile, and that all that its final stage copies is there.
///
/// No registry is contacted: what only the base image decides is left to the build.
///
/// An error has [`Exit::Usage`](launchway_core::exit::Exit::Usage) and begins with the file and the line.
pub(crate) fn check(ctx: &Context) -> Result<()> {
    Platform::of_target(&ctx.config.target)?;
    launchway_image::check(&Sources::read(ctx)?.context, &ctx.config.dockerfile, &ctx.config.binary)
}

/// Does what the plan says, and nothing else.
pub(crate) fn run(ctx: &Context, actions: &[Action]) -> Result<Built> {
    let cache = LayerCache::new(ctx.output().join("layers"));
    // The scope waits for what is being compressed, also after an error: nothing is left half written.
    let built = std::thread::scope(|scope| carry_out(ctx, actions, &cache, scope))?;
    cache.tidy();
    let tag = built.tags.first().map_or("", String::as_str);
    ctx.reporter.note(format!(
        "image {}:{tag} · {} · {} layers, {}",
        built.repository,
        built.digest,
        built.layers.len(),
        size(built.bytes)
    ));
    if ctx.git.dirty {
        ctx.reporter.note("the tree is dirty: the image has a tag of its own and is not `latest`");
    }
    Ok(built)
}

fn carry_out<'scope>(
    ctx: &Context,
    actions: &[Action],
    cache: &'scope LayerCache,
    scope: &'scope Scope<'scope, '_>,
) -> Result<Built> {
    let mut tars = Vec::new();
    // While the program of the tars is started, they are compressed.
    let mut compressing: Vec<ScopedJoinHandle<'_, Result<Layer>>> = Vec::new();
    let mut base = None;
    let mut built = None;
    // Held to the end: what is packed is what was compiled.
    let mut sources = None;
    for action in actions {
        ctx.interrupt.check()?;
        match action {
            Action::CheckOut(checkout) => sources = Some(checkout.run(&ctx.interrupt)?),
            Action::Compile { folder, call } => ctx.check_in(folder, call)?,
            Action::Begin(image) => base = Some(image.as_ref()),
            Action::Verify { binary, platform, folders } => {
                binary::verify(binary, *platform)?;
                if let Some(folder) = binary::named(binary, folders)? {
                    ctx.reporter.note(format!(
                        "warning: the binary names the folder {} of this machine, so its image differs from one that is made elsewhere: look for `CARGO_MANIFEST_DIR`, `OUT_DIR` and C code with `__FILE__`",
                        folder.display()
                    ));
                }
            }
            Action::Pack { origin, entries } => {
                let entries = entries.iter().map(|(path, entry)| (path.as_str(), entry));
                let tar = Arc::new(Tar::pack(origin.clone(), entries)?);
                tars.push(Arc::clone(&tar));
                compressing.push(scope.spawn(move || cache.compress(&tar)));
            }
            Action::Smoke(smoke) => smoke.run(&ctx.runner(), &tars)?,
            Action::Skip { check, reason } => ctx.reporter.skipped(check, reason),
            Action::Write(image) => {
                let layers = compressing
                    .drain(..)
                    .map(|layer| layer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
                built = Some(image.write(ctx, base, &layers.collect::<Result<Vec<_>>>()?)?);
            }
            Action::Docker(task) => task.run(&ctx.runner())?,
            Action::Import { archive, image } => {
                let saved = docker_archive::read(archive, image.platform, &ctx.interrupt);
                fs_err::remove_file(archive)?;
                let saved = saved.or_exit(Exit::CheckFailed)?;
                built =
                    Some(image.keep(ctx, Engine::Docker, None, saved.config, &saved.layers, saved.labels)?);
            }
            Action::Export { folder, repository, file } => {
                docker_archive::write(&Layout::open(folder)?, repository, file).or_exit(Exit::Usage)?;
            }
            Action::Compare { builtin, docker, binary } => {
                compare::check(&ctx.runner(), &Layout::open(builtin)?, &Layout::open(docker)?, binary)?;
            }
        }
    }
    drop(sources);
    built.context("the plan does not end with an image")
}

impl Image {
    fn write(&self, ctx: &Context, base: Option<&BaseImage>, layers: &[Layer]) -> Result<Built> {
        let layers_below = base.map_or_else(BaseLayers::default, |base| base.layers.clone());
        let config = image_config(&layers_below, self.platform, &self.settings, &self.created, layers)?;
        self.keep(ctx, Engine::Builtin, base, config, layers, self.settings.labels.clone())
    }

    fn keep(
        &self,
        ctx: &Context,
        engine: Engine,
        base: Option<&BaseImage>,
        config: Vec<u8>,
        layers: &[Layer],
        labels: BTreeMap<String, String>,
    ) -> Result<Built> {
        // None on the first build, or when the last one was not finished.
        let before = Layout::open(&self.folder).ok();
        let layers_below = base.map_or_else(BaseLayers::default, |base| base.layers.clone());
        let parts = Parts {
            engine,
            platform: self.platform,
            manifest: image_manifest(&layers_below, &config, layers, labels)?,
            config,
            layers: layers.iter().map(|layer| layer.bytes.as_slice()).collect(),
        };
        let files = base.map(|base| Files { repository: &base.name.repository, layers: base.files() });
        parts
            .write(files.as_ref(), &self.folder, &self.tags)
            .with_context(|| format!("the image in {} is the one that was there", self.folder.display()))?;
        // Read back: what is reported is what the next step will find.
        let layout = Layout::open(&self.folder)?;
        if let Some(before) = before {
            let reused = layout.layers.iter().filter(|layer| before.layers.contains(layer)).count();
            ctx.reporter.note(match reused {
                _ if before.manifest == layout.manifest => {
                    "the image is the one of the last build".to_owned()
                }
                reused => format!("{reused} of {} layers are those of the last build", layout.layers.len()),
            });
        }
        Ok(Built {
            repository: self.repository.clone(),
            bytes: layout.size(),
            layers: layout.layers.iter().map(|layer| layer.size).collect(),
            tags: layout.tags,
            digest: layout.manifest.digest,
            config: layout.config.digest,
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CheckOut(checkout) => checkout.fmt(f),
            Self::Compile { folder, call } => write!(f, "in {}: {call}", folder.display()),
            Self::Begin(base) => write!(f, "begin with {base}"),
            Self::Skip { check, reason } => write!(f, "skip {check}: {reason}"),
            Self::Verify { binary, platform, .. } => {
                write!(f, "check that {} is a static program for {platform}", binary.display())
            }
            Self::Pack { origin, entries } if let [(path, _)] = entries.as_slice() => {
                write!(f, "pack a layer of /{path}: {origin}")
            }
            Self::Pack { origin, entries } => {
                let files = entries.iter().filter(|(_, entry)| entry.kind != Kind::Directory).count();
                let folders = counted(entries.len() - files, "folder");
                write!(f, "pack a layer of {folders} and {}: {origin}", counted(files, "file"))
            }
            Self::Smoke(smoke) => smoke.fmt(f),
            Self::Write(image) => {
                write!(f, "write the image to {}:", image.folder.display())?;
                image.tags.iter().try_for_each(|tag| write!(f, " {}:{tag}", image.repository))
            }
            Self::Docker(task) => task.fmt(f),
            Self::Import { archive, image } => {
                write!(
                    f,
                    "make an OCI layout of {} in {}, its layers compressed anew",
                    archive.display(),
                    image.folder.display()
                )
            }
            Self::Export { file, .. } => write!(f, "write the image into {}", file.display()),
            Self::Compare { builtin, docker, .. } => {
                write!(f, "compare the images in {} and {}", builtin.display(), docker.display())
            }
        }
    }
}

/// `1 file`, `2 files`.
fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn builtin(ctx: &Context, sources: &Sources, toolchain: &Toolchain) -> Result<Vec<Action>> {
    let platform = Platform::of_target(&ctx.config.target)?;
    let arguments = arguments(ctx, toolchain);
    let file = Dockerfile::read(&sources.context, &ctx.config.dockerfile)?;
    let (base, inherited, files) = based::start(ctx, &file, &arguments, platform)?;
    let stage = FinalStage::parse(&file, &arguments, &ctx.config.binary, &inherited)?;
    let tree = tree::resolve(&sources.context, &stage, files)?;
    let target = ctx.root.join("target/image");
    let binary = target.join(&ctx.config.target).join(ctx.config.build.folder()).join(&ctx.config.binary);

    let smoke = based::smoke(ctx, platform, &stage.settings, &tree, base.is_some());
    let mut actions: Vec<Action> = base.map(|base| Action::Begin(Box::new(base))).into_iter().collect();
    let call = compile::call(ctx, sources, toolchain)?;
    actions.push(Action::Compile { folder: sources.context.root().to_owned(), call });
    let cargo_home = &toolchain.cargo_home;
    let folders = vec![
        sources.checkout.folder().to_owned(),
        target,
        cargo_home.join("registry"),
        cargo_home.join("git"),
    ];
    actions.push(Action::Verify { binary: binary.clone(), platform, folders });
    actions.extend(layers(&stage, tree, binary));
    actions.push(smoke);
    let image = image(ctx, ctx.output().join("image"), platform, stage.settings);
    actions.push(Action::Write(Box::new(image)));
    Ok(actions)
}

fn check_out(sources: &Sources) -> Option<Action> {
    (!sources.checkout.is_in_place()).then(|| Action::CheckOut(sources.checkout.clone()))
}

fn image(ctx: &Context, folder: PathBuf, platform: Platform, settings: Settings) -> Image {
    let latest = (!ctx.git.dirty).then(|| "latest".to_owned());
    Image {
        folder,
        repository: ctx.image().to_owned(),
        tags: [ctx.git.tag()].into_iter().chain(latest).collect(),
        platform,
        settings,
        created: created(ctx),
    }
}

/// The commit's time.
fn created(ctx: &Context) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(ctx.git.time)).to_string()
}

/// The service, as the smoke run meets it.
fn service(ctx: &Context) -> Service {
    Service {
        health: ctx.config.deploy.health.clone(),
        version: ctx.config.deploy.version.clone(),
        commit: ctx.git.tag(),
        environment: ctx.config.smoke_environment(),
    }
}

fn arguments(ctx: &Context, toolchain: &Toolchain) -> Arguments {
    Arguments::from([
        ("COMMIT", ctx.git.tag()),
        ("CREATED", created(ctx)),
        ("VERSION", toolchain.version.clone()),
    ])
}

/// What rarely changes in a layer below, the binary alone in the one above: a release uploads the latter.
fn layers(stage: &FinalStage, tree: Tree, binary: PathBuf) -> Vec<Action> {
    let copies = stage.steps.iter().filter_map(|step| match step {
        Step::Copy(copy) => Some(copy.text.as_str()),
        Step::Folder { .. } => None,
    });
    let copies: Vec<&str> = copies.collect();
    let origin = if copies.is_empty() { "folders".to_owned() } else { copies.join("; ") };
    let program = Entry { kind: Kind::File(binary), owner: tree.binary_owner, mode: tree.binary_mode };
    let files: Vec<(String, Entry)> = tree.entries.into_iter().collect();
    let files = (!files.is_empty()).then_some(Action::Pack { origin, entries: files });
    let binary = Action::Pack { origin: stage.binary.text.clone(), entries: vec![(tree.binary, program)] };
    files.into_iter().chain([binary]).collect()
}

#[cfg(test)]
mod tests;
