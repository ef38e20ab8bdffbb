//! Referrers: documents that a registry keeps beside an image and lists for it.
//!
//! OCI distribution spec 1.1, "Pushing Manifests with Subject" and "Listing Referrers"; the form of the manifest is
//! that of the image spec 1.1, "Guidelines for Artifact Usage". A registry that does not know of referrers keeps the
//! same manifests, and the list of them is an index that we keep there under a tag.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use reqwest::blocking::RequestBuilder;
use reqwest::header::ACCEPT;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::address::base;
use super::client::{Ask, Client, bytes};
use super::manifest::Manifest;
use super::reference::{Digest, Reference, Repository, Tag};
use super::retry::Trouble;
use super::upload::{Blob, Outcome};
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

/// What became of the documents about an image.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    /// What became of each blob.
    pub(crate) blobs: Vec<(Blob, Outcome)>,
    /// By place among the documents: whether this run attached it, which it did not where it was attached already.
    pub(crate) new: BTreeSet<usize>,
    /// By place among the documents: why the registry refuses to keep it.
    pub(crate) refused: BTreeMap<usize, String>,
}

impl Client<'_> {
    /// Attaches documents to an image that is there.
    ///
    /// What is attached already is not sent again. The documents are also left as files in `folder`. A registry that
    /// does not take such manifests at all, as old ones do, is no error; any other refusal is.
    pub(crate) fn attach(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifacts: &[Artifact],
        folder: &Path,
    ) -> Result<Attached> {
        let mut blobs = vec![Blob::keep(folder, "empty.json", EMPTY.1)?];
        for artifact in artifacts {
            blobs.push(Blob::keep(folder, artifact.name, &artifact.document)?);
        }
        let listed = self.referrers(repository, subject)?;
        let mut attached = Attached::default();
        let missing: Vec<(usize, &Artifact)> = artifacts
            .iter()
            .enumerate()
            .filter(|(_, artifact)| !listed.contains(&artifact.manifest.digest))
            .collect();
        if missing.is_empty() {
            attached.blobs = blobs.into_iter().map(|blob| (blob, Outcome::Present)).collect();
            return Ok(attached);
        }
        let outcomes = self.upload(repository, &blobs)?;
        attached.blobs = blobs.into_iter().zip(outcomes).collect();
        let mut unlisted = Vec::new();
        for (place, artifact) in missing {
            match self.put_artifact(repository, artifact)? {
                Put::Listed => {}
                Put::Unlisted => unlisted.push((place, artifact)),
                Put::Refused(reason) => {
                    attached.refused.insert(place, reason);
                    continue;
                }
            }
            attached.new.insert(place);
        }
        if !unlisted.is_empty()
            && let Err(failure) = self.list_under_tag(repository, subject, &unlisted)?
        {
            // Nobody would find them.
            for (place, _) in unlisted {
                attached.new.remove(&place);
                attached.refused.insert(place, failure.to_string());
            }
        }
        Ok(attached)
    }

    /// What the registry lists as referring to a manifest: by its referrers API, or where it has none (404, or it does
    /// not know the request) by the tag.
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

    /// Pushes the manifest by its digest. A registry that lists it by itself answers with `OCI-Subject`.
    fn put_artifact(&self, repository: &Repository, artifact: &Artifact) -> Result<Put> {
        let (digest, action) = (&artifact.manifest.digest, format!("attach {}", artifact.name));
        let reference = Reference::Digest(digest.clone());
        let response = match self.put_manifest(repository, &reference, &artifact.manifest, &action)? {
            Ok(response) => response,
            Err(failure) => return Ok(Put::Refused(failure.to_string())),
        };
        let lists = response.headers().contains_key("OCI-Subject");
        let named = self.digest(repository, &reference)?;
        if named.as_ref() != Some(digest) {
            let message = format!(
                "the registry at {} took {} and does not have it: push again",
                repository.registry(),
                artifact.name
            );
            return Err(Failure::new(Exit::Registry, message).into());
        }
        Ok(if lists { Put::Listed } else { Put::Unlisted })
    }

    /// Adds artifacts to the index that stands for the referrers API, and reads back that the tag names it.
    ///
    /// There is no way to do so in one step, so of two pushes of the same image at once one may fail here. The inner error
    /// is that the registry takes no index.
    fn list_under_tag(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifacts: &[(usize, &Artifact)],
    ) -> Result<Result<(), Failure>> {
        let mut index = self.index_under_tag(repository, subject)?;
        let tag = tag(subject)?;
        let manifests = index.get_mut("manifests").and_then(Value::as_array_mut).with_context(|| {
            format!("`{repository}:{tag}` should list what refers to the image and is not an index")
        });
        let manifests = manifests.or_exit(Exit::Registry)?;
        for (_, artifact) in artifacts {
            let descriptor = artifact.descriptor()?;
            if !manifests.iter().any(|known| known.get("digest") == descriptor.get("digest")) {
                manifests.push(descriptor);
            }
        }
        let bytes = serde_json::to_vec(&index)?;
        let index = Manifest { digest: Digest::of(&bytes), media_type: INDEX.to_owned(), bytes };
        self.try_tag(repository, &tag, &index)
    }

    /// The index under the fallback tag, empty where there is none yet.
    fn index_under_tag(&self, repository: &Repository, subject: &Digest) -> Result<Value> {
        let found = self.read(repository, &format!("manifests/{}", tag(subject)?))?;
        Ok(found.unwrap_or_else(|| json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] })))
    }

    /// Reads an index; `None` for a 404, or where the registry does not know the request.
    fn read(&self, repository: &Repository, path: &str) -> Result<Option<Value>> {
        let body = self.retrying(|| {
            let url = base(repository)?.join(path).map_err(anyhow::Error::from)?;
            let action = "list what refers to the image".to_owned();
            let accept = |request: RequestBuilder| Ok(request.header(ACCEPT, INDEX));
            let ask = Ask { repository, source: None, method: Method::GET, url, action, dress: &accept };
            match self.send(&ask) {
                Ok(response) if response.status() == StatusCode::NOT_FOUND => Ok(None),
                Err(Trouble::Unsupported(_)) => Ok(None),
                sent => bytes(sent?).map(Some),
            }
        })?;
        let Some(body) = body else { return Ok(None) };
        let index = serde_json::from_slice(&body)
            .with_context(|| format!("the registry at {} sent no index", repository.registry()));
        index.map(Some).or_exit(Exit::Registry)
    }
}

/// What became of an artifact's manifest.
enum Put {
    Listed,
    /// It is there, and the registry has no list of what refers to an image.
    Unlisted,
    /// The registry does not take such manifests, in its own words.
    Refused(String),
}

/// The tag of the index of what refers to a manifest (distribution spec 1.1, "Referrers Tag Schema").
fn tag(subject: &Digest) -> Result<Tag> {
    subject.as_str().replace(':', "-").parse()
}

fn entries(index: &Value) -> Option<&Vec<Value>> {
    index.get("manifests")?.as_array()
}

#[cfg(test)]
mod tests;
