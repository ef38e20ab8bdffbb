//! The image on disk that a push sends.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, ensure};

use launchway_image::Engine;
use launchway_image::layout::{BaseRecord, Layout};
use launchway_image::secret_scan::Part;
use launchway_registry::{Blob, Digest, Manifest, Tag};

/// An image on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) commit_tag: Tag,
    /// Whether `latest` will point to it.
    pub(super) is_latest: bool,
    pub(super) engine: Engine,
    pub(super) base: Option<BaseRecord>,
    pub(super) manifest: Manifest,
    /// Layers, then the configuration, each once.
    pub(super) blobs: Vec<Blob>,
    /// What the secret scan reads: the layers above the base, and the configuration.
    pub(super) parts: Vec<Part>,
}

impl Image {
    /// Reads the image from an OCI image layout, which must have it under this tag.
    pub(super) fn read(folder: &Path, tag: &str) -> Result<Self> {
        let layout = Layout::open(folder)?;
        ensure!(
            layout.tags.iter().any(|found| found == tag),
            "{} has no tag `{tag}`: run `cargo xtask docker-build` first",
            folder.display()
        );
        let (source, count) = match layout.base.clone() {
            Some(BaseRecord { repository, layers, .. }) => (Some(repository), layers),
            None => (None, 0),
        };
        let of_base: BTreeSet<&Digest> =
            layout.layers.iter().take(count).map(|layer| &layer.digest).collect();
        let mut seen = BTreeSet::new();
        let mut blobs = Vec::new();
        for blob in layout.blobs() {
            if seen.insert(&blob.digest) {
                blobs.push(Blob {
                    digest: blob.digest.clone(),
                    size: blob.size,
                    path: layout.blob(&blob.digest),
                    source: source.as_ref().filter(|_| of_base.contains(&blob.digest)).cloned(),
                });
            }
        }
        // The base's layers are already in a registry, and cannot be changed here.
        let layers = layout.layers.iter().enumerate().skip(count);
        let mut parts: Vec<Part> =
            layers.map(|(place, layer)| Part::Layer(place + 1, layout.blob(&layer.digest))).collect();
        parts.push(Part::Config(layout.blob(&layout.config.digest)));
        Ok(Self {
            commit_tag: tag.parse()?,
            is_latest: layout.tags.iter().any(|found| found == "latest"),
            engine: layout.engine,
            base: layout.base.clone(),
            manifest: Manifest::new(&layout.manifest.media_type, layout.manifest_bytes.clone()),
            blobs,
            parts,
        })
    }
}
