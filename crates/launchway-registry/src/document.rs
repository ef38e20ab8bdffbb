//! Small documents that a registry stores under a tag: read and replaced as a whole.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::client::Blob;
use crate::client::Client;
use crate::manifest::Manifest;
use crate::oci::{Descriptor, MANIFEST};
use crate::referrers::EMPTY;
use crate::{Reference, Repository, Tag};
use launchway_core::exit::{Exit, OrExit as _};

/// The most parts that a document may have: all of it is held in memory.
const MOST_PARTS: usize = 1000;
/// The largest part of a document, in bytes.
pub const LARGEST_PART: usize = 512 << 10;

impl Client {
    /// The parts of the document of this kind under the tag, in order; `None` if the tag does not exist.
    ///
    /// Each part is verified against its digest. Anything else under the tag is an error with [`Exit::Registry`].
    pub fn document(&self, repository: &Repository, tag: &Tag, kind: &str) -> Result<Option<Vec<Vec<u8>>>> {
        let Some(digest) = self.digest(repository, &Reference::Tag(tag.clone()))? else { return Ok(None) };
        let manifest = self.manifest(repository, &digest)?.unwrap_or_default();
        let parts = parts(&manifest, kind)
            .with_context(|| format!("`{repository}:{tag}` was not written by Launchway ({kind})"))
            .or_exit(Exit::Registry)?;
        parts.iter().map(|part| self.blob(repository, part)).collect::<Result<_>>().map(Some)
    }

    /// Makes the tag point to a document with these parts. Uploads only parts that the registry lacks; uploaded files
    /// stay in `folder`.
    pub fn put_document(
        &self,
        repository: &Repository,
        tag: &Tag,
        kind: &str,
        parts: &[Vec<u8>],
        folder: &Path,
    ) -> Result<()> {
        let mut blobs = vec![Blob::keep(folder, "empty.json", EMPTY.1)?];
        for (number, part) in parts.iter().enumerate() {
            blobs.push(Blob::keep(folder, &format!("part-{number}"), part)?);
        }
        // They are small, and the document is what the caller reports.
        self.upload(repository, &blobs)?;
        let layers: Vec<Descriptor> = parts.iter().map(|part| Descriptor::of(kind, part)).collect();
        let bytes = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": Descriptor::of(EMPTY.0, EMPTY.1),
            "layers": layers,
        }))?;
        let manifest = Manifest::new(MANIFEST, bytes);
        self.tag(repository, tag, &manifest)
    }
}

/// The parts, if the manifest is of this kind.
fn parts(manifest: &[u8], kind: &str) -> Option<Vec<Descriptor>> {
    let manifest: Value = serde_json::from_slice(manifest).ok()?;
    let layers = manifest.get("layers")?.as_array()?;
    if manifest.get("artifactType")?.as_str()? != kind || layers.len() > MOST_PARTS {
        return None;
    }
    let part = |layer: &Value| {
        let part: Descriptor = serde_json::from_value(layer.clone()).ok()?;
        (part.size <= LARGEST_PART as u64).then_some(part)
    };
    layers.iter().map(part).collect()
}
