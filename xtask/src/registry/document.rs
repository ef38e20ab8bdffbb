//! Small documents that a registry keeps under a tag: read whole, and replaced.

use std::path::Path;

use anyhow::{Context as _, Result};
use reqwest::blocking::RequestBuilder;
use reqwest::header::ACCEPT;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::address::base;
use super::client::{Ask, Client, bytes};
use super::manifest::Manifest;
use super::reference::{Digest, Repository, Tag};
use super::referrers::EMPTY;
use super::upload::Blob;
use crate::context::write_whole;
use crate::exit::{Exit, Failure, OrExit as _};
use crate::image::config::{Descriptor, MANIFEST};

/// The most parts that a document may have, and the most bytes that a part may have.
const MOST_PARTS: usize = 1000;
pub(crate) const LARGEST_PART: usize = 4 << 20;

impl Client<'_> {
    /// The parts of the document of this kind under the tag, in order; `None` where there is no such tag.
    ///
    /// Each part is held against its digest. Something else under the tag is an error with [`Exit::Registry`].
    pub(crate) fn document(
        &self,
        repository: &Repository,
        tag: &Tag,
        kind: &str,
    ) -> Result<Option<Vec<Vec<u8>>>> {
        let Some(manifest) = self.whole(repository, &format!("manifests/{tag}"), MANIFEST)? else {
            return Ok(None);
        };
        let descriptors = parts(&manifest, kind)
            .with_context(|| format!("`{repository}:{tag}` is not a document of ours ({kind})"))
            .or_exit(Exit::Registry)?;
        let read = |digest: &Digest| -> Result<Vec<u8>> {
            let lost = |what: &str| {
                Failure::new(Exit::Registry, format!("`{repository}:{tag}` names {digest}, which {what}"))
            };
            let part = self
                .whole(repository, &format!("blobs/{digest}"), "*/*")?
                .ok_or_else(|| lost("the registry does not have"))?;
            if Digest::of(&part) != *digest {
                return Err(lost("is not what the registry sent").into());
            }
            Ok(part)
        };
        descriptors.iter().map(read).collect::<Result<_>>().map(Some)
    }

    /// Makes the tag name a document of these parts. What the registry has of them is not sent again; files that are
    /// sent stay in `folder`.
    pub(crate) fn put_document(
        &self,
        repository: &Repository,
        tag: &Tag,
        kind: &str,
        parts: &[Vec<u8>],
        folder: &Path,
    ) -> Result<()> {
        let keep = |name: &str, bytes: &[u8]| -> Result<Blob> {
            let path = folder.join(name);
            write_whole(&path, bytes)?;
            Ok(Blob { digest: Digest::of(bytes), size: bytes.len() as u64, path, source: None })
        };
        let mut blobs = vec![keep("empty.json", EMPTY.1)?];
        for (number, part) in parts.iter().enumerate() {
            blobs.push(keep(&format!("part-{number}"), part)?);
        }
        self.upload(repository, &blobs)?;
        let layers: Vec<Descriptor> = parts.iter().map(|part| Descriptor::of(kind, part)).collect();
        let bytes = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": Descriptor::of(EMPTY.0, EMPTY.1),
            "layers": layers,
        }))?;
        let manifest = Manifest { digest: Digest::of(&bytes), media_type: MANIFEST.to_owned(), bytes };
        self.tag(repository, tag, &manifest)
    }

    /// What stands at a path of the repository; `None` for a 404.
    fn whole(&self, repository: &Repository, path: &str, accept: &str) -> Result<Option<Vec<u8>>> {
        self.retrying(|| {
            let url = base(repository)?.join(path).map_err(anyhow::Error::from)?;
            let dress = |request: RequestBuilder| Ok(request.header(ACCEPT, accept));
            let action = format!("read {path}");
            let response = self.send(&Ask {
                repository,
                source: None,
                method: Method::GET,
                url,
                action,
                dress: &dress,
            })?;
            if response.status() == StatusCode::NOT_FOUND { Ok(None) } else { bytes(response).map(Some) }
        })
    }
}

/// The digests of the parts, where the manifest is one of this kind.
fn parts(manifest: &[u8], kind: &str) -> Option<Vec<Digest>> {
    let manifest: Value = serde_json::from_slice(manifest).ok()?;
    let layers = manifest.get("layers")?.as_array()?;
    if manifest.get("artifactType")?.as_str()? != kind || layers.len() > MOST_PARTS {
        return None;
    }
    let digest = |layer: &Value| {
        let fits = layer.get("size")?.as_u64()? <= LARGEST_PART as u64;
        fits.then(|| layer.get("digest")?.as_str()?.parse().ok())?
    };
    layers.iter().map(digest).collect()
}
