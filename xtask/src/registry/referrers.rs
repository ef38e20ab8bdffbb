//! Referrers: documents that a registry keeps beside an image and lists for it.
//!
//! OCI distribution spec 1.1, "Pushing Manifests with Subject" and "Listing Referrers"; the form of the manifest is
//! that of the image spec 1.1, "Guidelines for Artifact Usage". A registry that does not know of referrers keeps the
//! same manifests, and the list of them is an index that we keep there under a tag.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};
use reqwest::blocking::{RequestBuilder, Response};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Ask, Client, base, bytes};
use super::manifest::Manifest;
use super::reference::{Digest, Reference, Repository, Tag};
use super::upload::{Blob, Outcome};
use crate::context::write_whole;
use crate::exit::{Exit, Failure, OrExit as _};
use crate::image::config::{Descriptor, MANIFEST};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The configuration of an artifact that has none (image spec 1.1, "Guidance for an Empty Descriptor").
pub(super) const EMPTY: (&str, &[u8]) = ("application/vnd.oci.empty.v1+json", b"{}");

/// A document about an image, with the manifest that ties it to the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Artifact {
    /// Its media type.
    pub(crate) kind: &'static str,
    /// What its file is called.
    pub(crate) name: &'static str,
    pub(crate) document: Vec<u8>,
    pub(crate) manifest: Manifest,
}

impl Artifact {
    /// The document as an artifact whose subject is this image; the same document and image are the same bytes.
    pub(crate) fn new(
        kind: &'static str,
        name: &'static str,
        document: Vec<u8>,
        subject: &Descriptor,
    ) -> Result<Self> {
        let mut layer = serde_json::to_value(Descriptor::of(kind, &document))?;
        // What clients such as ORAS call the file.
        layer["annotations"] = json!({ "org.opencontainers.image.title": name });
        let bytes = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": Descriptor::of(EMPTY.0, EMPTY.1),
            "layers": [layer],
            "subject": subject,
        }))?;
        let manifest = Manifest { digest: Digest::of(&bytes), media_type: MANIFEST.to_owned(), bytes };
        Ok(Self { kind, name, document, manifest })
    }

    /// How an index lists it.
    fn descriptor(&self) -> Result<Value> {
        let mut descriptor = serde_json::to_value(Descriptor::of(MANIFEST, &self.manifest.bytes))?;
        descriptor["artifactType"] = self.kind.into();
        Ok(descriptor)
    }
}

impl Client<'_> {
    /// Attaches documents to an image that is there, and says of each blob of theirs what became of it.
    ///
    /// What is attached already is not sent again. The documents are also left as files in `folder`.
    pub(crate) fn attach(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifacts: &[Artifact],
        folder: &Path,
    ) -> Result<Vec<(Blob, Outcome)>> {
        let mut blobs = vec![keep(folder, "empty.json", EMPTY.1)?];
        for artifact in artifacts {
            blobs.push(keep(folder, artifact.name, &artifact.document)?);
        }
        let listed = self.referrers(repository, subject)?;
        let missing: Vec<&Artifact> =
            artifacts.iter().filter(|artifact| !listed.contains(&artifact.manifest.digest)).collect();
        if missing.is_empty() {
            return Ok(blobs.into_iter().map(|blob| (blob, Outcome::Present)).collect());
        }
        let outcomes = self.upload(repository, &blobs)?;
        let mut unlisted = Vec::new();
        for artifact in missing {
            if !self.put_artifact(repository, artifact)? {
                unlisted.push(artifact);
            }
        }
        if !unlisted.is_empty() {
            self.list_under_tag(repository, subject, &unlisted)?;
        }
        Ok(blobs.into_iter().zip(outcomes).collect())
    }

    /// What the registry lists as referring to a manifest: by its referrers API, or where it has none (404) by the tag.
    ///
    /// Only the first page: whoever has more referrers than fit in it sends ours again, which changes nothing.
    fn referrers(&self, repository: &Repository, subject: &Digest) -> Result<BTreeSet<Digest>> {
        let index = match self.read(repository, &format!("referrers/{subject}"))? {
            Some(index) => index,
            None => self.index_under_tag(repository, subject)?,
        };
        let digest = |entry: &Value| entry.get("digest")?.as_str()?.parse().ok();
        Ok(entries(&index).into_iter().flatten().filter_map(digest).collect())
    }

    /// Pushes the manifest by its digest and says whether the registry lists it by itself: then it answers with
    /// `OCI-Subject`.
    fn put_artifact(&self, repository: &Repository, artifact: &Artifact) -> Result<bool> {
        let Manifest { digest, media_type, bytes } = &artifact.manifest;
        let response: Response = self.retrying(|| {
            let dress =
                |request: RequestBuilder| Ok(request.header(CONTENT_TYPE, media_type).body(bytes.clone()));
            let url = base(repository)?.join(&format!("manifests/{digest}")).map_err(anyhow::Error::from)?;
            let action = format!("attach {}", artifact.name);
            self.send(&Ask { repository, method: Method::PUT, url, action, dress: &dress })
        })?;
        let lists = response.headers().contains_key("OCI-Subject");
        let named = self.digest(repository, &Reference::Digest(digest.clone()))?;
        if named.as_ref() != Some(digest) {
            let message = format!(
                "the registry at {} took {} and does not have it: push again",
                repository.registry(),
                artifact.name
            );
            return Err(Failure::new(Exit::Registry, message).into());
        }
        Ok(lists)
    }

    /// Adds artifacts to the index that stands for the referrers API, and reads back that the tag names it.
    ///
    /// There is no way to do so in one step, so of two pushes of the same image at once one may fail here.
    fn list_under_tag(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifacts: &[&Artifact],
    ) -> Result<()> {
        let mut index = self.index_under_tag(repository, subject)?;
        let tag = tag(subject)?;
        let manifests = index.get_mut("manifests").and_then(Value::as_array_mut).with_context(|| {
            format!("`{repository}:{tag}` should list what refers to the image and is not an index")
        });
        let manifests = manifests.or_exit(Exit::Registry)?;
        for artifact in artifacts {
            let descriptor = artifact.descriptor()?;
            if !manifests.iter().any(|known| known.get("digest") == descriptor.get("digest")) {
                manifests.push(descriptor);
            }
        }
        let bytes = serde_json::to_vec(&index)?;
        let index = Manifest { digest: Digest::of(&bytes), media_type: INDEX.to_owned(), bytes };
        self.tag(repository, &tag, &index)
    }

    /// The index under the fallback tag, empty where there is none yet.
    fn index_under_tag(&self, repository: &Repository, subject: &Digest) -> Result<Value> {
        let found = self.read(repository, &format!("manifests/{}", tag(subject)?))?;
        Ok(found.unwrap_or_else(|| json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] })))
    }

    /// Reads an index; `None` for a 404.
    fn read(&self, repository: &Repository, path: &str) -> Result<Option<Value>> {
        let body = self.retrying(|| {
            let url = base(repository)?.join(path).map_err(anyhow::Error::from)?;
            let action = "list what refers to the image".to_owned();
            let accept = |request: RequestBuilder| Ok(request.header(ACCEPT, INDEX));
            let response =
                self.send(&Ask { repository, method: Method::GET, url, action, dress: &accept })?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            bytes(response).map(Some)
        })?;
        let Some(body) = body else { return Ok(None) };
        let index = serde_json::from_slice(&body)
            .with_context(|| format!("the registry at {} sent no index", repository.registry()));
        index.map(Some).or_exit(Exit::Registry)
    }
}

/// The tag of the index of what refers to a manifest (distribution spec 1.1, "Referrers Tag Schema").
fn tag(subject: &Digest) -> Result<Tag> {
    subject.as_str().replace(':', "-").parse()
}

fn entries(index: &Value) -> Option<&Vec<Value>> {
    index.get("manifests")?.as_array()
}

/// Leaves a document as a file, from which it is sent.
fn keep(folder: &Path, name: &str, bytes: &[u8]) -> Result<Blob> {
    let path = folder.join(name);
    write_whole(&path, bytes)?;
    Ok(Blob { digest: Digest::of(bytes), size: bytes.len() as u64, path })
}

#[cfg(test)]
mod tests;
