//! The base of an image: what a final stage `FROM <image>` begins with, read from a registry and kept by digest.
//!
//! A plan needs all of it: what `ENV` and `WORKDIR` of the base say, and what lies where in its layers. What a name means
//! is asked each time; what a digest means never changes, so a build downloads nothing that an earlier one has, and a
//! base that is named by its digest needs no registry at all by then. What was kept is checked each time.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context as _, Error, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::context::Context;
use crate::registry;
use launchway_core::exit::{Exit, Failure};
use launchway_core::file::{self, write_whole};
use launchway_core::size;
use launchway_image::base_image::BaseLayers;
use launchway_image::base_image::files::Files;
use launchway_image::binary::Platform;
use launchway_image::final_stage::BaseName;
use launchway_image::layer_reader::{Bounds, LayerReader};
use launchway_registry::Digest;
use launchway_registry::oci::{Descriptor, LAYER, PLAIN_LAYER, Settings};
use launchway_registry::{Access, Client, ImageName, Reference, Repository, Tag};

/// A base image, all of whose layers are on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    /// As the final stage names it, in full.
    pub(crate) name: ImageName,
    /// Of the manifest of our platform's image.
    pub(crate) digest: Digest,
    pub(crate) platform: Platform,
    pub(crate) layers: BaseLayers,
    /// Where its blobs are.
    store: Store,
}

/// A base image with what only a plan needs.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) base: Base,
    /// How it starts.
    pub(crate) settings: Settings,
    pub(crate) files: Files,
}

/// Finds the base image that a final stage names, for a platform; what is not here yet is read from its registry.
///
/// An error names the line, and has the code of its cause: [`Exit::Registry`] for a registry that does not answer or
/// refuses, [`Exit::Missing`] for a login that it wants, [`Exit::Usage`] for an image that cannot be built on.
pub(crate) fn find(ctx: &Context, from: &BaseName, platform: Platform) -> Result<Found> {
    let place = |error: Error| -> Error {
        let message = format!("{}: the base image `{}`: {error:#}", from.place, from.image);
        Failure::new(Exit::of(&error), message).into()
    };
    let finder = Finder {
        ctx,
        client: registry::client(ctx, Access::Pull)?,
        store: Store { folder: ctx.output().join("base") },
        repository: &from.image.repository,
    };
    finder.find(&from.image, platform).map_err(place)
}

impl Base {
    /// The labels by which an image tells what it was built on (OCI image specification, "Pre-Defined Annotation Keys").
    pub(crate) fn labels(&self) -> [(&'static str, String); 2] {
        [
            (launchway_registry::oci::BASE_NAME, self.name.to_string()),
            (launchway_registry::oci::BASE_DIGEST, self.digest.to_string()),
        ]
    }

    /// The layers' files, the lowest first.
    pub(crate) fn files(&self) -> Vec<(&Digest, PathBuf)> {
        self.layers.layers.iter().map(|layer| (&layer.digest, self.store.path(&layer.digest))).collect()
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, digest, platform, layers, .. } = self;
        let noun = if layers.layers.len() == 1 { "layer" } else { "layers" };
        let bytes = layers.layers.iter().map(|layer| layer.size).sum();
        write!(f, "{}@{digest}, which is {name} for {platform}: ", name.repository)?;
        write!(f, "{} {noun}, {}", layers.layers.len(), size(bytes))
    }
}

/// Blobs by their digests. They never change, so nothing here is ever out of date.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Store {
    folder: PathBuf,
}

impl Store {
    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// The bytes with this digest, if they are here and whole.
    fn read(&self, digest: &Digest) -> Option<Vec<u8>> {
        fs_err::read(self.path(digest)).ok().filter(|bytes| Digest::of(bytes) == *digest)
    }

    fn has(&self, blob: &Descriptor) -> bool {
        Digest::of_file(&self.path(&blob.digest)).is_ok_and(|found| found == (blob.digest.clone(), blob.size))
    }
}

/// A manifest or an index, of OCI or of Docker: they differ in the names of their types only.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Vec<Listed>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

/// An image in an index.
#[derive(Deserialize)]
struct Listed {
    digest: Digest,
    platform: Option<Machine>,
}

/// What an image is for.
#[derive(Deserialize)]
struct Machine {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

impl Machine {
    fn is(&self, platform: Platform) -> bool {
        format!("{}/{}", self.os, self.architecture) == platform.to_string()
    }
}

/// The part of an image's configuration that is read.
///
/// Not flattened over [`Machine`]: serde would hold all of an unknown field in memory.
#[derive(Deserialize)]
struct Described {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    variant: Option<String>,
    #[serde(default)]
    config: Option<Value>,
    rootfs: RootFs,
    #[serde(default)]
    history: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

struct Finder<'a> {
    ctx: &'a Context,
    client: Client,
    store: Store,
    repository: &'a Repository,
}

impl Finder<'_> {
    /// Docker mounts no more.
    const MOST_LAYERS: usize = 127;

    fn find(&self, image: &ImageName, platform: Platform) -> Result<Found> {
        let reference = image.reference.clone().unwrap_or_else(|| Reference::Tag(Tag::latest()));
        let digest = match &reference {
            Reference::Digest(digest) => digest.clone(),
            Reference::Tag(_) => self
                .client
                .digest(self.repository, &reference)
                .map_err(unreachable)?
                .with_context(|| format!("`{}` has no `{reference}`", self.repository))?,
        };
        let (digest, document) = self.for_platform(digest, platform)?;
        let manifest = document.config.context("its manifest is of an old kind, without a configuration")?;
        let config = self.config(&manifest)?;
        let Described { architecture, os, variant, config: settings, rootfs, history } =
            serde_json::from_slice(&config).context("its configuration is not an image's")?;
        let machine = Machine { architecture, os };
        ensure!(
            machine.is(platform),
            "it is for {}/{}, and the image is for {platform}: choose another base, or correct `target` in the pipeline's configuration",
            machine.os,
            machine.architecture
        );
        let settings = settings.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        ensure!(
            settings.get("OnBuild").is_none_or(|on_build| on_build.as_array().is_none_or(Vec::is_empty)),
            "it has `ONBUILD` instructions, which the builtin engine does not follow: build with `--engine docker`"
        );
        let settings = serde_json::from_value(settings).context("its configuration is not an image's")?;
        let layers = document.layers.iter().map(known).collect::<Result<Vec<_>>>()?;
        let diff_ids = rootfs.diff_ids.unwrap_or_default();
        ensure!(
            layers.len() == diff_ids.len() && layers.len() <= Self::MOST_LAYERS,
            "its manifest has {} layers, its configuration {}, and more than {} are too many",
            layers.len(),
            diff_ids.len(),
            Self::MOST_LAYERS
        );
        let makes_layer = |entry: &&Value| entry.get("empty_layer").and_then(Value::as_bool) != Some(true);
        let history = history.unwrap_or_default();
        let history =
            if history.iter().filter(makes_layer).count() == layers.len() { history } else { Vec::new() };
        for layer in &layers {
            self.fetch(layer, Bounds::PACKED)?;
        }
        let files = self.files(&layers, &diff_ids)?;
        let layers = BaseLayers { layers, diff_ids, history, variant };
        let name = ImageName { repository: self.repository.clone(), reference: Some(reference) };
        let base = Base { name, digest, platform, layers, store: self.store.clone() };
        Ok(Found { base, settings, files })
    }

    /// The manifest with this digest, or the one that the index with this digest lists for the platform.
    fn for_platform(&self, digest: Digest, platform: Platform) -> Result<(Digest, Document)> {
        let document = self.document(&digest)?;
        if document.manifests.is_empty() {
            return Ok((digest, document));
        }
        let machines =
            || document.manifests.iter().filter_map(|listed| Some((listed.platform.as_ref()?, listed)));
        let Some((_, listed)) = machines().find(|(machine, _)| machine.is(platform)) else {
            let others: Vec<String> =
                machines().map(|(machine, _)| format!("{}/{}", machine.os, machine.architecture)).collect();
            bail!(
                "it is there for {} only, and the image is for {platform}: choose another base, or correct `target` in the pipeline's configuration",
                others.join(", ")
            );
        };
        let document = self.document(&listed.digest)?;
        ensure!(document.manifests.is_empty(), "its index lists an index, which is not supported");
        Ok((listed.digest.clone(), document))
    }

    fn document(&self, digest: &Digest) -> Result<Document> {
        let bytes = if let Some(bytes) = self.store.read(digest) {
            bytes
        } else {
            let found = self.client.manifest(self.repository, digest).map_err(unreachable)?;
            let bytes = found.with_context(|| format!("`{}` has no {digest}", self.repository))?;
            write_whole(&self.store.path(digest), &bytes)?;
            bytes
        };
        serde_json::from_slice(&bytes).context("its manifest is not an image's")
    }

    fn config(&self, config: &Descriptor) -> Result<Vec<u8>> {
        self.fetch(config, launchway_registry::oci::LONGEST_CONFIG)?;
        Ok(fs_err::read(self.store.path(&config.digest))?)
    }

    /// Makes sure that a blob is here.
    fn fetch(&self, blob: &Descriptor, longest: u64) -> Result<()> {
        ensure!(
            blob.size <= longest,
            "its blob {} has {}, and more than {} is not read",
            blob.digest.short(),
            size(blob.size),
            size(longest)
        );
        if self.store.has(blob) {
            return Ok(());
        }
        fs_err::create_dir_all(&self.store.folder)?;
        let path = self.store.path(&blob.digest);
        let beside = file::beside(&path);
        let read = self.client.download(self.repository, blob, &beside);
        let read = read.map_err(unreachable).and_then(|()| file::put_in_place(&beside, &path));
        if read.is_err() {
            // The first error is the one to report.
            drop(fs_err::remove_file(&beside));
        } else {
            self.ctx.reporter.note(format!("read {} {}", blob.digest.short(), size(blob.size)));
        }
        read
    }

    /// What lies where in the layers, each of which must unpack to what the configuration says.
    ///
    /// They are unpacked each time: what was kept of an earlier time would have to be believed.
    fn files(&self, layers: &[Descriptor], diff_ids: &[Digest]) -> Result<Files> {
        let mut files = Files::default();
        let mut reader = LayerReader::new(&self.ctx.interrupt, Bounds::IMAGE);
        for (layer, diff_id) in layers.iter().zip(diff_ids) {
            let file = fs_err::File::open(self.store.path(&layer.digest))?;
            let found = files.add(file, &mut reader).with_context(|| {
                format!(
                    "its layer {} cannot be followed (choose another base, or build with `--engine docker`)",
                    layer.digest.short()
                )
            })?;
            ensure!(
                found == *diff_id,
                "its layer {} unpacks to {found}, and its configuration says {diff_id}",
                layer.digest.short()
            );
        }
        Ok(files)
    }
}

/// A layer under the name that OCI has for its type. The bytes stay what they are.
fn known(layer: &Descriptor) -> Result<Descriptor> {
    let media_type = match layer.media_type.as_str() {
        launchway_registry::oci::LAYER | "application/vnd.docker.image.rootfs.diff.tar.gzip" => LAYER,
        launchway_registry::oci::PLAIN_LAYER | "application/vnd.docker.image.rootfs.diff.tar" => PLAIN_LAYER,
        zstd if zstd.ends_with("zstd") => bail!(
            "its layers are compressed with zstd, which Docker Engine 20.10 cannot unpack and the builtin engine does not \
             read: choose a base with gzip, or build with `--engine docker`"
        ),
        other => bail!("its layers are `{other}`, which the builtin engine does not know"),
    };
    Ok(Descriptor { media_type: media_type.to_owned(), ..layer.clone() })
}

/// An error of the registry, with what would have made it no matter.
fn unreachable(error: Error) -> Error {
    if Exit::of(&error) == Exit::Interrupted {
        return error;
    }
    let message = format!(
        "{error:#}. A plan needs the base: one that was read before and is named by its digest is not asked for again"
    );
    Failure::new(Exit::of(&error), message).into()
}

#[cfg(test)]
mod tests;
