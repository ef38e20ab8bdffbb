//! An image on disk: an OCI image layout with one image under one or more tags.
//!
//! OCI image specification, "Image Layout": `oci-layout`, `index.json`, `blobs/sha256/<hex>`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::binary::Platform;
use crate::Engine;
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_core::file::{self, write_whole};
use launchway_registry::Digest;
use launchway_registry::Repository;
use launchway_registry::oci::{Descriptor, ImageManifest};

/// The annotation that names an image in an index.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation with containerd's name of an image, including its tag.
const FULL_NAME: &str = "io.containerd.image.name";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// An image in a layout, with every blob verified against its digest.
#[derive(Clone, Debug)]
pub struct Layout {
    folder: PathBuf,
    /// The tags, in the order of the index: the commit's first.
    pub tags: Vec<String>,
    /// The engine that built the image.
    pub engine: Engine,
    /// The manifest: its digest is the image's.
    pub manifest: Descriptor,
    /// The exact bytes of the manifest, which a registry must get.
    pub manifest_bytes: Vec<u8>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// The base of the lowest layers.
    pub base: Option<BaseRecord>,
}

/// The base of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseRecord {
    /// As the final stage names it, in full.
    pub name: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The repository that its layers were pulled from.
    pub repository: Repository,
    /// How many of the lowest layers belong to it.
    pub layers: usize,
}

impl Layout {
    /// Reads the layout in a folder and verifies the size and the digest of every blob.
    ///
    /// Fails with [`Exit::Usage`] if there is no image, more than one, or a blob that does not match its descriptor.
    pub fn open(folder: &Path) -> Result<Self> {
        if !Self::is_in(folder) {
            let message =
                format!("{} contains no image: run `cargo xtask docker-build` first", folder.display());
            return Err(Failure::new(Exit::Usage, message).into());
        }
        Self::read(folder)
            .with_context(|| {
                format!(
                    "{} contains no complete image: run `cargo xtask docker-build` first",
                    folder.display()
                )
            })
            .or_exit(Exit::Usage)
    }

    /// Whether a folder contains a layout.
    pub fn is_in(folder: &Path) -> bool {
        folder.join("index.json").exists()
    }

    /// The index of this image alone, with its full names, which containerd reads.
    pub(super) fn index(&self, repository: &str) -> Result<Vec<u8>> {
        let mut index = Index::of(&self.manifest, None, &self.tags);
        index.annotations.engine = self.engine;
        for (entry, tag) in index.manifests.iter_mut().zip(&self.tags) {
            entry.annotations.insert(FULL_NAME.to_owned(), format!("{repository}:{tag}"));
        }
        Ok(serde_json::to_vec(&index)?)
    }

    /// The file of a blob.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        blob(&self.folder, digest)
    }

    /// The configuration and the layers, in the order in which a registry needs them: before the manifest.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.layers.iter().chain([&self.config])
    }

    /// The transfer size of the image, in bytes: layers, configuration and manifest.
    pub fn size(&self) -> u64 {
        self.blobs().map(|blob| blob.size).sum::<u64>() + self.manifest.size
    }

    fn read(folder: &Path) -> Result<Self> {
        let index: Index = serde_json::from_slice(&fs_err::read(folder.join("index.json"))?)
            .context("`index.json` is not an image index")?;
        let mut tags = Vec::new();
        let mut manifests = BTreeMap::new();
        for entry in index.manifests {
            tags.extend(entry.annotations.get(REF_NAME).cloned());
            manifests.insert(entry.descriptor.digest.clone(), entry.descriptor);
        }
        let (Some((_, manifest)), None) = (manifests.pop_first(), manifests.pop_first()) else {
            bail!("`index.json` does not name exactly one image");
        };
        let manifest_bytes = fs_err::read(blob(folder, &manifest.digest))?;
        if Descriptor::of(&manifest.media_type, &manifest_bytes) != manifest {
            bail!("the manifest does not match `index.json`: {}", manifest.digest);
        }
        let ImageManifest { config, layers, mut annotations, .. } =
            serde_json::from_slice(&manifest_bytes).context("the manifest is not valid")?;
        let IndexAnnotations { engine, base_repository, base_layers } = index.annotations;
        let mut said = |key: &str| annotations.remove(key).unwrap_or_default();
        let (name, digest) =
            (said(launchway_registry::oci::BASE_NAME), said(launchway_registry::oci::BASE_DIGEST).parse());
        let base = base_repository.zip(base_layers.and_then(|number| number.parse().ok())).zip(digest.ok());
        let base = base.map(|((repository, layers), digest)| BaseRecord { name, digest, repository, layers });
        let folder = folder.to_owned();
        let layout = Self { folder, tags, engine, manifest, manifest_bytes, config, layers, base };
        for wanted in layout.blobs() {
            let (digest, size) = Digest::of_file(&layout.blob(&wanted.digest))?;
            if (&digest, size) != (&wanted.digest, wanted.size) {
                bail!("the blob {} has different contents: {size} bytes, {digest}", wanted.digest);
            }
        }
        Ok(layout)
    }
}

/// An image that is about to be written.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The engine that built the image.
    pub engine: Engine,
    /// The image's platform.
    pub platform: Platform,
    /// The bytes of the manifest.
    pub manifest: Vec<u8>,
    /// The bytes of the configuration.
    pub config: Vec<u8>,
    /// The compressed bytes of the layers, without those of a base.
    pub layers: Vec<&'a [u8]>,
}

/// The blobs of a base, as files.
#[derive(Debug)]
pub struct BaseBlobs<'a> {
    /// The repository that has them.
    pub repository: &'a Repository,
    /// The layers, the lowest first.
    pub layers: Vec<(&'a Digest, PathBuf)>,
}

impl Parts<'_> {
    /// Writes the image into a folder, replacing the existing one, and returns the manifest's descriptor.
    ///
    /// The index is replaced last and atomically, so that the folder always contains either the old or the new image.
    /// Blobs of neither are removed.
    pub fn write(&self, base: Option<&BaseBlobs<'_>>, folder: &Path, tags: &[String]) -> Result<Descriptor> {
        let mut kept = BTreeSet::new();
        for (digest, file) in base.into_iter().flat_map(|base| &base.layers) {
            let place = blob(folder, digest);
            take_in(file, &place)?;
            // It may have been damaged or replaced while the binary was compiled.
            if Digest::of_file(&place)?.0 != **digest {
                fs_err::remove_file(&place)?;
                bail!(
                    "a layer of the base image has changed since it was checked, {}: build again",
                    digest.short()
                );
            }
            kept.insert(digest.hex().to_owned());
        }
        for bytes in self.layers.iter().copied().chain([self.config.as_slice(), self.manifest.as_slice()]) {
            let digest = Digest::of(bytes);
            write_whole(&blob(folder, &digest), bytes)?;
            kept.insert(digest.hex().to_owned());
        }
        let manifest = Descriptor::of(launchway_registry::oci::MANIFEST, &self.manifest);
        let mut index = Index::of(&manifest, Some(self.platform), tags);
        index.annotations = IndexAnnotations {
            engine: self.engine,
            base_repository: base.map(|base| base.repository.clone()),
            base_layers: base.map(|base| base.layers.len().to_string()),
        };
        write_whole(&folder.join("oci-layout"), MARKER.as_bytes())?;
        write_whole(&folder.join("index.json"), &serde_json::to_vec(&index)?)?;
        for entry in fs_err::read_dir(folder.join("blobs/sha256"))? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| kept.contains(name)) {
                fs_err::remove_file(entry.path())?;
            }
        }
        Ok(manifest)
    }
}

/// Adds an existing file to the layout: as a hard link if possible, else as a copy.
fn take_in(blob: &Path, place: &Path) -> Result<()> {
    if let Some(folder) = place.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let beside = file::beside(place);
    if fs_err::hard_link(blob, &beside).is_err() {
        fs_err::copy(blob, &beside)?;
    }
    file::put_in_place(&beside, place)
}

fn blob(folder: &Path, digest: &Digest) -> PathBuf {
    folder.join("blobs/sha256").join(digest.hex())
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    manifests: Vec<IndexEntry>,
    #[serde(default)]
    annotations: IndexAnnotations,
}

/// Only the index contains these, so that the image's digest does not depend on them.
#[derive(Default, Serialize, Deserialize)]
struct IndexAnnotations {
    #[serde(default, rename = "launchway.engine")]
    engine: Engine,
    #[serde(default, rename = "launchway.base.repository", skip_serializing_if = "Option::is_none")]
    base_repository: Option<Repository>,
    /// A number as a string, because annotations are strings.
    #[serde(default, rename = "launchway.base.layers", skip_serializing_if = "Option::is_none")]
    base_layers: Option<String>,
}

impl Index {
    /// One image under its tags.
    fn of(manifest: &Descriptor, platform: Option<Platform>, tags: &[String]) -> Self {
        let entry = |tag: &String| IndexEntry {
            descriptor: manifest.clone(),
            platform: platform.map(|platform| IndexPlatform {
                architecture: platform.architecture().to_owned(),
                os: "linux".to_owned(),
            }),
            annotations: BTreeMap::from([(REF_NAME.to_owned(), tag.clone())]),
        };
        let manifests = tags.iter().map(entry).collect();
        Self {
            schema_version: 2,
            media_type: INDEX.to_owned(),
            manifests,
            annotations: IndexAnnotations::default(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct IndexEntry {
    #[serde(flatten)]
    descriptor: Descriptor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    platform: Option<IndexPlatform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct IndexPlatform {
    architecture: String,
    os: String,
}

#[cfg(test)]
mod tests;
