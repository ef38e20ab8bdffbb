//! Where an image goes: an OCI image layout, and from there a file or a Docker engine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{Built, Options, created};
use crate::project::{self, Project};
use launchway_core::exit::{Exit, OrExit as _};
use launchway_core::runner::Runner;
use launchway_image::base_image::{BaseImage, BaseLayers};
use launchway_image::binary::Platform;
use launchway_image::docker_engine::Load;
use launchway_image::layer::Layer;
use launchway_image::layout::{BaseBlobs, Layout, Parts};
use launchway_image::manifest::image_manifest;
use launchway_image::{Engine, docker_archive};

/// The layout that a build writes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Output {
    folder: PathBuf,
    repository: String,
    tags: Vec<String>,
    /// Whether the tree was dirty: then `latest` does not move.
    pub(super) is_dirty: bool,
    pub(super) platform: Platform,
    /// RFC 3339.
    pub(super) created: String,
}

impl Output {
    /// The tags of the project's commit, in a repository.
    pub(super) fn of(project: Project<'_>, repository: &str, platform: Platform) -> Self {
        let Project { root, git, .. } = project;
        let latest = (!git.dirty).then(|| "latest".to_owned());
        Self {
            folder: project::output(root).join("image"),
            repository: repository.to_owned(),
            tags: [git.tag()].into_iter().chain(latest).collect(),
            is_dirty: git.dirty,
            platform,
            created: created(git),
        }
    }

    /// Writes the layers on top of the base's, with their configuration and manifest.
    pub(super) fn write(
        &self,
        runner: &Runner,
        engine: Engine,
        base: Option<&BaseImage>,
        config: Vec<u8>,
        layers: &[Layer],
        labels: BTreeMap<String, String>,
    ) -> Result<Built> {
        runner.interrupt.check()?;
        // Absent on the first build, or if the last one did not finish.
        let before = Layout::open(&self.folder).ok();
        let scratch = BaseLayers::default();
        let base_layers = base.map_or(&scratch, |base| &base.layers);
        let parts = Parts {
            engine,
            platform: self.platform,
            manifest: image_manifest(base_layers, &config, layers, labels)?,
            config,
            layers: layers.iter().map(|layer| layer.bytes.as_slice()).collect(),
        };
        let blobs = base.map(|base| BaseBlobs { repository: &base.name.repository, layers: base.files() });
        parts
            .write(blobs.as_ref(), &self.folder, &self.tags)
            .with_context(|| format!("the image in {} was not replaced", self.folder.display()))?;
        // Read back, so that what is reported is what the next step will find.
        let layout = Layout::open(&self.folder)?;
        if let Some(before) = before {
            let reused = layout.layers.iter().filter(|layer| before.layers.contains(layer)).count();
            runner.reporter.note(if before.manifest == layout.manifest {
                "the image is unchanged since the last build".to_owned()
            } else {
                format!("{reused} of {} layers are unchanged since the last build", layout.layers.len())
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

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, repository, tags, .. } = self;
        write!(f, "the image to {}:", folder.display())?;
        tags.iter().try_for_each(|tag| write!(f, " {repository}:{tag}"))
    }
}

/// A copy of the image in one file, optionally loaded into the Docker engine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Export {
    /// The layout.
    folder: PathBuf,
    repository: String,
    file: PathBuf,
    load: Option<Load>,
}

impl Export {
    pub(super) fn of(folder: &Path, options: &Options, output: &Output) -> Option<Self> {
        if options.output.is_none() && !options.load {
            return None;
        }
        let file = options.output.clone().unwrap_or_else(|| folder.join("image.tar"));
        let load = options.load.then(|| Load { archive: file.clone(), keep: options.output.is_some() });
        Some(Self { folder: output.folder.clone(), repository: output.repository.clone(), file, load })
    }

    pub(super) fn run(&self, runner: &Runner) -> Result<()> {
        docker_archive::write(&Layout::open(&self.folder)?, &self.repository, &self.file)
            .or_exit(Exit::Usage)?;
        self.load.iter().try_for_each(|load| load.run(runner))
    }
}

impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write the image into {}", self.file.display())?;
        self.load.iter().try_for_each(|load| write!(f, "\n{load}"))
    }
}
