//! The builtin engine: follows the final stage without Docker.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;

use super::output::Output;
use super::sources::Sources;
use super::toolchain::Toolchain;
use super::{arguments, compile, labels, service};
use crate::project::{Project, output};
use launchway_core::command::Call;
use launchway_core::events::Reporter;
use launchway_core::exit::{Exit, Failure};
use launchway_core::runner::Runner;
use launchway_image::Engine;
use launchway_image::base_image::files::Files;
use launchway_image::base_image::{self, BaseImage, BaseLayers};
use launchway_image::binary::{self, Platform};
use launchway_image::dockerfile::Dockerfile;
use launchway_image::final_stage::{BaseName, FinalStage, Inputs, Step};
use launchway_image::layer::{self, Entry, Kind, Layer, Tar};
use launchway_image::layer_cache::LayerCache;
use launchway_image::manifest::image_config;
use launchway_image::smoke::{Contained, Service, Smoke};
use launchway_image::tree::{self, Tree};
use launchway_registry::oci::Settings;

/// A build by the builtin engine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BuiltinBuild {
    /// The image whose layers come first; read while planning.
    base: Option<BaseImage>,
    compile: Compile,
    verify: Vec<Verify>,
    /// What rarely changes; absent if the final stage copies only binaries.
    files: Option<PlannedLayer>,
    /// The binaries alone, so that a release uploads little.
    programs: PlannedLayer,
    /// An image that does not start is not written.
    smoke: SmokeRun,
    /// How a container of the image starts.
    settings: Settings,
    /// Where compressed layers are kept.
    cache: PathBuf,
}

/// Compiles the binary in the folder of the sources, with its own target folder.
#[derive(Debug, PartialEq, Eq)]
struct Compile {
    folder: PathBuf,
    call: Call,
}

/// Verifies that the binary runs on the platform with nothing beside it.
#[derive(Debug, PartialEq, Eq)]
struct Verify {
    binary: PathBuf,
    platform: Platform,
    /// Folders that a binary must not contain: they differ from machine to machine.
    folders: Vec<PathBuf>,
}

/// A layer that will be packed.
#[derive(Debug, PartialEq, Eq)]
struct PlannedLayer {
    /// The instructions that it comes from.
    origin: String,
    entries: Vec<(String, Entry)>,
}

/// The smoke run, or why there is none.
#[derive(Debug, PartialEq, Eq)]
enum SmokeRun {
    Run(Box<Smoke>),
    Skip(String),
}

impl BuiltinBuild {
    /// `find_base` reads the base image.
    pub(super) fn plan(
        project: Project<'_>,
        sources: &Sources,
        toolchain: &Toolchain,
        find_base: impl FnOnce(&BaseName, Platform) -> Result<base_image::Found>,
    ) -> Result<Self> {
        let Project { root, config, git } = project;
        let platform = Platform::of_target(&config.target)?;
        let arguments = arguments(git, toolchain);
        let file = Dockerfile::read(&sources.context, &config.dockerfile)?;
        let workspace = &toolchain.workspace;
        let binaries = workspace.binaries(&config.package, &config.binary);
        let inputs = Inputs { arguments: &arguments, binaries: &binaries, platform };
        let name = BaseName::find(&file, inputs)?;
        let base = name.map(|name| find_base(&name, platform)).transpose()?;
        let (base, mut settings, files) = match base {
            Some(found) => (Some(found.image), found.settings, found.files),
            None => (None, Settings::default(), Files::default()),
        };
        // They override the base's labels, whose revision is not this image's; a `LABEL` of the final stage overrides
        // these.
        settings.labels.extend(labels(git));
        let of_base = base.iter().flat_map(BaseImage::labels);
        settings.labels.extend(of_base.map(|(label, value)| (label.to_owned(), value)));
        let stage = FinalStage::parse(&file, inputs, &settings)?;
        let target = root.join("target/image");
        let compiled = target.join(&config.target).join(config.build.folder());
        let tree = tree::resolve(&sources.context, &stage, files, &compiled)?;
        let programs = workspace.programs(&config.package, tree.programs.values().map(String::as_str));
        let cargo_home = &toolchain.cargo_home;
        let folders = vec![
            sources.checkout.folder().to_owned(),
            target,
            cargo_home.join("registry"),
            cargo_home.join("git"),
        ];
        Ok(Self {
            compile: Compile {
                folder: sources.context.root().to_owned(),
                call: compile::call(project, sources, toolchain, &programs)?,
            },
            verify: programs
                .iter()
                .map(|program| Verify {
                    binary: compiled.join(&program.binary),
                    platform,
                    folders: folders.clone(),
                })
                .collect(),
            smoke: SmokeRun::of(
                service(config, git),
                output(root).join("smoke"),
                platform,
                &stage,
                &tree,
                base.as_ref(),
            ),
            programs: PlannedLayer::of_programs(&stage, &tree),
            files: PlannedLayer::of_files(&stage, tree),
            base,
            settings: stage.settings,
            cache: output(root).join("layers"),
        })
    }

    pub(super) fn run(&self, runner: &Runner, output: &Output) -> Result<super::Built> {
        self.files.iter().try_for_each(PlannedLayer::refuse_pointers)?;
        runner.check_in(&self.compile.folder, &self.compile.call)?;
        self.verify.iter().try_for_each(|verify| verify.run(&runner.reporter))?;
        let layers = self.layers(runner)?;
        let scratch = BaseLayers::default();
        let base = self.base.as_ref().map_or(&scratch, |base| &base.layers);
        let config = image_config(base, output.platform, &self.settings, &output.created, &layers)?;
        let labels = self.settings.labels.clone();
        output.write(runner, Engine::Builtin, self.base.as_ref(), config, &layers, labels)
    }

    /// Packs and compresses the layers, and meanwhile runs the smoke run on their contents.
    fn layers(&self, runner: &Runner) -> Result<Vec<Layer>> {
        let cache = LayerCache::new(self.cache.clone());
        let tars = self.files.iter().chain([&self.programs]).map(PlannedLayer::pack);
        let tars = tars.collect::<Result<Vec<_>>>()?;
        // The scope waits for the compression, even after an error: nothing is left half-written.
        let layers = std::thread::scope(|scope| {
            let compressing: Vec<_> = tars.iter().map(|tar| scope.spawn(|| cache.compress(tar))).collect();
            match &self.smoke {
                SmokeRun::Run(smoke) => smoke.run(runner, &tars)?,
                SmokeRun::Skip(reason) => runner.reporter.skipped("smoke run", reason),
            }
            let joined = compressing
                .into_iter()
                .map(|layer| layer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            joined.collect::<Result<Vec<_>>>()
        })?;
        cache.tidy();
        Ok(layers)
    }
}

impl Verify {
    fn run(&self, reporter: &Reporter) -> Result<()> {
        binary::verify(&self.binary, self.platform)?;
        if let Some(folder) = binary::named(&self.binary, &self.folders)? {
            reporter.note(format!(
                "warning: the binary contains the path {} of this machine, so its image differs from one built elsewhere: look for `CARGO_MANIFEST_DIR`, `OUT_DIR` and C code with `__FILE__`",
                folder.display()
            ));
        }
        Ok(())
    }
}

impl PlannedLayer {
    fn of_programs(stage: &FinalStage, tree: &Tree) -> Self {
        let mut copies: Vec<&str> = stage
            .steps
            .iter()
            .filter_map(
                |step| if let Step::Program { copy, .. } = step { Some(copy.text.as_str()) } else { None },
            )
            .collect();
        copies.dedup();
        let entries = tree.entries.iter().filter(|(path, _)| tree.programs.contains_key(*path));
        let entries = entries.map(|(path, entry)| (path.clone(), entry.clone())).collect();
        Self { origin: copies.join("; "), entries }
    }

    fn of_files(stage: &FinalStage, tree: Tree) -> Option<Self> {
        let made = stage.steps.iter().filter_map(|step| match step {
            Step::Copy(copy) => Some(copy.text.as_str()),
            Step::Run { text, .. } => Some(text.as_str()),
            Step::Folder { .. } | Step::Program { .. } => None,
        });
        let made: Vec<&str> = made.collect();
        let origin = if made.is_empty() { "folders".to_owned() } else { made.join("; ") };
        let Tree { entries, programs, .. } = tree;
        let entries: Vec<(String, Entry)> =
            entries.into_iter().filter(|(path, _)| !programs.contains_key(path)).collect();
        (!entries.is_empty()).then_some(Self { origin, entries })
    }

    /// A file that git-LFS stores elsewhere is only a pointer in the commit, and useless in an image.
    fn refuse_pointers(&self) -> Result<()> {
        let mut pointers = Vec::new();
        for (path, entry) in &self.entries {
            if let Kind::File(file) = &entry.kind
                && layer::is_lfs_pointer(file)?
            {
                pointers.push(format!("`/{path}`"));
            }
        }
        if pointers.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the commit has git-LFS pointers in place of files that the image needs: {}. Store them in git itself \
             (`git lfs migrate export`), or exclude them from the image with `.dockerignore`",
            pointers.join(", ")
        );
        Err(Failure::new(Exit::Usage, message).into())
    }

    fn pack(&self) -> Result<Arc<Tar>> {
        let entries = self.entries.iter().map(|(path, entry)| (path.as_str(), entry));
        Ok(Arc::new(Tar::pack(self.origin.clone(), entries)?))
    }
}

impl SmokeRun {
    /// With the image's files alone, where this machine allows that.
    ///
    /// Otherwise, if the image has a base, only what the final stage adds is unpacked, so the image must start the binary
    /// itself, in a folder that the stage names.
    fn of(
        service: Service,
        folder: PathBuf,
        platform: Platform,
        stage: &FinalStage,
        tree: &Tree,
        base: Option<&BaseImage>,
    ) -> Self {
        let mut settings = stage.settings.clone();
        let files = base.into_iter().flat_map(BaseImage::files).map(|(_, path)| path);
        let alone = service
            .port
            .in_container()
            .map(|()| Contained { user: tree.user.clone(), base: files.collect() });
        if stage.base.is_some() && alone.is_err() {
            for shell in &stage.shells {
                // The base's shell would only start it.
                match shell.instruction {
                    "ENTRYPOINT" => settings.entrypoint = shell.words().or(settings.entrypoint),
                    "CMD" if settings.entrypoint.is_none() => settings.cmd = shell.words().or(settings.cmd),
                    _ => {}
                }
            }
            let words = settings.entrypoint.as_mut().or(settings.cmd.as_mut());
            let program = words.and_then(|words| words.first_mut());
            let found = program.and_then(|program| Some((tree.program(program, &stage.settings)?, program)));
            let Some((path, program)) = found else {
                return Self::Skip(
                    "the image starts a program of its base, which is not unpacked here".into(),
                );
            };
            *program = format!("/{path}");
            // A static binary needs nothing from that folder.
            if !tree.entries.contains_key(settings.working_dir.trim_matches('/')) {
                "/".clone_into(&mut settings.working_dir);
            }
        }
        Self::Run(Box::new(Smoke::of_layers(service, folder, platform, settings, alone)))
    }
}

impl fmt::Display for BuiltinBuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base, compile, verify, files, programs, smoke, .. } = self;
        base.iter().try_for_each(|base| writeln!(f, "begin with {base}"))?;
        writeln!(f, "in {}: {}", compile.folder.display(), compile.call)?;
        for Verify { binary, platform, .. } in verify {
            writeln!(f, "check that {} is a static program for {platform}", binary.display())?;
        }
        files.iter().chain([programs]).try_for_each(|layer| writeln!(f, "{layer}"))?;
        match smoke {
            SmokeRun::Run(smoke) => smoke.fmt(f),
            SmokeRun::Skip(reason) => write!(f, "skip smoke run: {reason}"),
        }
    }
}

impl fmt::Display for PlannedLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, entries } = self;
        if let [(path, _)] = entries.as_slice() {
            return write!(f, "pack a layer of /{path}: {origin}");
        }
        let files = entries.iter().filter(|(_, entry)| entry.kind != Kind::Directory).count();
        let folders = counted(entries.len() - files, "folder");
        write!(f, "pack a layer of {folders} and {}: {origin}", counted(files, "file"))
    }
}

/// `1 file`, `2 files`.
fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
