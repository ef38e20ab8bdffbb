//! Reads a base image from its registry, or from the folder of blobs that were pulled before.

use std::path::PathBuf;

use anyhow::{Context as _, Error, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::files::Files;
use super::{BaseImage, BaseLayers, Found};
use crate::binary::Platform;
use crate::layer_reader::{Bounds, LayerReader};
use launchway_core::exit::{Exit, Failure};
use launchway_core::file::{self, write_whole};
use launchway_core::runner::Runner;
use launchway_core::size;
use launchway_registry::oci::{Descriptor, LAYER, LONGEST_CONFIG, PLAIN_LAYER};
use launchway_registry::{Client, Digest, ImageName, Reference, Repository, Tag};

/// Blobs by digest. They never change, so nothing here is ever out of date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Store {
    pub(super) folder: PathBuf,
}

impl Store {
    pub(super) fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// The bytes with this digest, if they are here and intact.
    fn read(&self, digest: &Digest) -> Option<Vec<u8>> {
        fs_err::read(self.path(digest)).ok().filter(|bytes| Digest::of(bytes) == *digest)
    }

    fn has(&self, blob: &Descriptor) -> bool {
        Digest::of_file(&self.path(&blob.digest)).is_ok_and(|found| found == (blob.digest.clone(), blob.size))
    }
}

/// A manifest or an index, of OCI or of Docker: only the names of their types differ.
#[derive(Deserialize)]
struct ManifestOrIndex {
    #[serde(default)]
    manifests: Vec<IndexEntry>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

/// An image in an index.
#[derive(Deserialize)]
struct IndexEntry {
    digest: Digest,
    platform: Option<IndexPlatform>,
}

/// The platform of an image.
#[derive(Deserialize)]
struct IndexPlatform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

impl IndexPlatform {
    fn is(&self, platform: Platform) -> bool {
        format!("{}/{}", self.os, self.architecture) == platform.to_string()
    }
}

/// The part of an image's configuration that is read.
///
/// Not flattened over [`IndexPlatform`]: serde would keep all unknown fields in memory.
#[derive(Deserialize)]
struct BaseConfig {
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

/// Reads one image.
pub(super) struct Pull<'a> {
    pub(super) client: &'a Client,
    pub(super) runner: &'a Runner,
    pub(super) store: Store,
    pub(super) repository: &'a Repository,
    /// Whether a tag may resolve to what it last resolved to.
    pub(super) last_known: bool,
}

impl Pull<'_> {
    /// Docker mounts no more than this.
    const MOST_LAYERS: usize = 127;

    /// The digest that a tag points to.
    fn tagged(&self, tag: &Reference) -> Result<Digest> {
        let name = format!("{}:{tag}", self.repository);
        let record = self.store.folder.join(format!("{}.tag", Digest::of(name.as_bytes()).hex()));
        match self.client.digest(self.repository, tag) {
            Ok(digest) => {
                let digest = digest.with_context(|| format!("`{}` has no `{tag}`", self.repository))?;
                write_whole(&record, digest.to_string().as_bytes())?;
                Ok(digest)
            }
            Err(error) => {
                let known = || fs_err::read_to_string(&record).ok()?.parse::<Digest>().ok();
                let digest = known().filter(|_| self.last_known).ok_or_else(|| unreachable(error))?;
                self.runner.reporter.note(format!("base image `{name}` as last read: {digest}"));
                Ok(digest)
            }
        }
    }

    pub(super) fn find(&self, image: &ImageName, platform: Platform) -> Result<Found> {
        let reference = image.reference.clone().unwrap_or_else(|| Reference::Tag(Tag::latest()));
        let digest = match &reference {
            Reference::Digest(digest) => digest.clone(),
            Reference::Tag(_) => self.tagged(&reference)?,
        };
        let (digest, manifest) = self.for_platform(digest, platform)?;
        let config = manifest.config.context("its manifest is of an old type, without a configuration")?;
        let config = self.config(&config)?;
        let BaseConfig { architecture, os, variant, config: settings, rootfs, history } =
            serde_json::from_slice(&config).context("its configuration is not an image configuration")?;
        let its_platform = IndexPlatform { architecture, os };
        ensure!(
            its_platform.is(platform),
            "it is for {}/{}, but the image is for {platform}: choose another base, or correct `target` in the pipeline's configuration",
            its_platform.os,
            its_platform.architecture
        );
        let settings = settings.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        ensure!(
            settings.get("OnBuild").is_none_or(|on_build| on_build.as_array().is_none_or(Vec::is_empty)),
            "it has `ONBUILD` instructions, which the builtin engine does not support: build with `--engine docker`"
        );
        let settings =
            serde_json::from_value(settings).context("its configuration is not an image configuration")?;
        let layers = manifest.layers.iter().map(known).collect::<Result<Vec<_>>>()?;
        let diff_ids = rootfs.diff_ids.unwrap_or_default();
        ensure!(
            layers.len() == diff_ids.len() && layers.len() <= Self::MOST_LAYERS,
            "its manifest has {} layers, its configuration {}, and the limit is {}",
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
        let image = BaseImage { name, digest, platform, layers, store: self.store.clone() };
        Ok(Found { image, settings, files })
    }

    /// The manifest with this digest, or the one for the platform in the index with this digest.
    fn for_platform(&self, digest: Digest, platform: Platform) -> Result<(Digest, ManifestOrIndex)> {
        let document = self.manifest(&digest)?;
        if document.manifests.is_empty() {
            return Ok((digest, document));
        }
        let entries =
            || document.manifests.iter().filter_map(|entry| Some((entry.platform.as_ref()?, entry)));
        let Some((_, entry)) = entries().find(|(its_platform, _)| its_platform.is(platform)) else {
            let others: Vec<String> =
                entries().map(|(other, _)| format!("{}/{}", other.os, other.architecture)).collect();
            bail!(
                "it exists only for {}, but the image is for {platform}: choose another base, or correct `target` in the pipeline's configuration",
                others.join(", ")
            );
        };
        let document = self.manifest(&entry.digest)?;
        ensure!(document.manifests.is_empty(), "its index lists an index, which is not supported");
        Ok((entry.digest.clone(), document))
    }

    fn manifest(&self, digest: &Digest) -> Result<ManifestOrIndex> {
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
        self.fetch(config, LONGEST_CONFIG)?;
        Ok(fs_err::read(self.store.path(&config.digest))?)
    }

    /// Downloads a blob, unless it is here.
    fn fetch(&self, blob: &Descriptor, longest: u64) -> Result<()> {
        ensure!(
            blob.size <= longest,
            "its blob {} has {}, but the limit is {}",
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
            self.runner.reporter.note(format!("read {} {}", blob.digest.short(), size(blob.size)));
        }
        read
    }

    /// Reads the files in the layers, and checks each layer against the configuration.
    ///
    /// The layers are unpacked each time: a stored result would have to be trusted.
    fn files(&self, layers: &[Descriptor], diff_ids: &[Digest]) -> Result<Files> {
        let mut files = Files::default();
        let mut reader = LayerReader::new(&self.runner.interrupt, Bounds::IMAGE);
        for (layer, diff_id) in layers.iter().zip(diff_ids) {
            let file = fs_err::File::open(self.store.path(&layer.digest))?;
            let found = files.add(file, &mut reader).with_context(|| {
                format!(
                    "its layer {} is not supported (choose another base, or build with `--engine docker`)",
                    layer.digest.short()
                )
            })?;
            ensure!(
                found == *diff_id,
                "its layer {} unpacks to {found}, but its configuration says {diff_id}",
                layer.digest.short()
            );
        }
        Ok(files)
    }
}

/// A layer with the OCI name of its media type. The bytes stay the same.
fn known(layer: &Descriptor) -> Result<Descriptor> {
    let media_type = match layer.media_type.as_str() {
        LAYER | "application/vnd.docker.image.rootfs.diff.tar.gzip" => LAYER,
        PLAIN_LAYER | "application/vnd.docker.image.rootfs.diff.tar" => PLAIN_LAYER,
        zstd if zstd.ends_with("zstd") => bail!(
            "its layers are compressed with zstd, which Docker Engine 20.10 cannot unpack and the builtin engine does not support: \
             choose a base with gzip, or build with `--engine docker`"
        ),
        other => bail!("its layers are `{other}`, which the builtin engine does not support"),
    };
    Ok(Descriptor { media_type: media_type.to_owned(), ..layer.clone() })
}

/// An error of the registry, with a hint that avoids it.
fn unreachable(error: Error) -> Error {
    if Exit::of(&error) == Exit::Interrupted {
        return error;
    }
    let message = format!(
        "{error:#}. Planning needs the base image: `cargo xtask doctor` downloads it, and a rehearsal then needs no registry"
    );
    Failure::new(Exit::of(&error), message).into()
}
