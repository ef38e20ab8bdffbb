//! Attestations and other artifacts that refer to an image: pushes them and lists them.
//!
//! Follows OCI distribution spec 1.1, "Pushing Manifests with Subject" and "Listing Referrers"; the form of the
//! manifest is that of image spec 1.1, "Guidelines for Artifact Usage". In a registry without a referrers API, an index
//! under a tag lists the same manifests.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use reqwest::blocking::Response;
use reqwest::header::{ACCEPT, LINK};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::address::{base, is_registry};
use crate::client::{Blob, Outcome};
use crate::client::{Client, Request, bytes};
use crate::error::Error;
use crate::manifest::{KINDS, Manifest};
use crate::oci::{Descriptor, INDEX, MANIFEST};
use crate::quote::media_type;
use crate::{Digest, Reference, Repository, Tag};
use launchway_core::exit::Exit;
use launchway_core::retry::is_transient;

/// The configuration of an artifact without one (image spec 1.1, "Guidance for an Empty Descriptor").
pub(crate) const EMPTY: (&str, &[u8]) = ("application/vnd.oci.empty.v1+json", b"{}");

/// A document about an image, such as an attestation, with the manifest that links it to the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The media type of the document.
    pub kind: &'static str,
    /// The name of its file.
    pub name: &'static str,
    /// The document itself.
    pub document: Vec<u8>,
    /// The manifest with the document and its subject.
    pub manifest: Manifest,
}

impl Artifact {
    /// The document as an artifact whose subject is this image. The same document and image give the same bytes.
    pub fn new(
        kind: &'static str,
        name: &'static str,
        document: Vec<u8>,
        subject: &Descriptor,
    ) -> Result<Self> {
        let mut layer = serde_json::to_value(Descriptor::of(kind, &document))?;
        // Clients such as ORAS use it as the file name.
        layer["annotations"] = json!({ "org.opencontainers.image.title": name });
        let bytes = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": Descriptor::of(EMPTY.0, EMPTY.1),
            "layers": [layer],
            "subject": subject,
        }))?;
        let manifest = Manifest::new(MANIFEST, bytes);
        Ok(Self { kind, name, document, manifest })
    }

    /// Its entry in an index.
    fn descriptor(&self) -> Result<Value> {
        let mut descriptor = serde_json::to_value(Descriptor::of(MANIFEST, &self.manifest.bytes))?;
        descriptor["artifactType"] = self.kind.into();
        Ok(descriptor)
    }
}

/// The result of attaching artifacts to an image.
#[derive(Debug)]
pub struct Attached {
    /// What was done with each blob.
    pub blobs: Vec<(Blob, Outcome)>,
    /// What was done with each artifact, in the given order.
    pub artifacts: Vec<Attachment>,
}

/// What was done with an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// It was attached before.
    Present,
    /// It was attached now, and read back.
    New,
    /// It is not attached, for this reason.
    Refused(String),
}

/// How long all requests may take: the release waits for them.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(120);
/// How long each of them may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How many pages of a list of referrers are read.
const MOST_PAGES: usize = 20;

impl Client {
    /// Attaches artifacts to an image that is in the registry.
    ///
    /// Artifacts that are already attached are not uploaded again. The documents are also written to `folder`. No
    /// failure of a registry is an error here, because the image is complete without attestations. An artifact counts
    /// as attached once it has been read back; the others are reported as refused, in the registry's words.
    pub fn attach(
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
        let client = self.clone().with_timeout(TIMEOUT).with_deadline(Instant::now() + TOTAL_TIMEOUT);
        let (mut sent, mut known) = (Vec::new(), vec![None; artifacts.len()]);
        let all = client.try_attach(repository, subject, artifacts, blobs, &mut sent, &mut known);
        let rest = match all {
            Ok(()) => Attachment::New,
            Err(error) => Attachment::Refused(unless_interrupted(error)?),
        };
        let artifacts = known.into_iter().map(|known| known.unwrap_or_else(|| rest.clone())).collect();
        Ok(Attached { blobs: sent, artifacts })
    }

    /// Records in `known` what is known about an artifact early; all others share the final result.
    fn try_attach(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifacts: &[Artifact],
        blobs: Vec<Blob>,
        sent: &mut Vec<(Blob, Outcome)>,
        known: &mut [Option<Attachment>],
    ) -> Result<()> {
        let by_registry = self.retrying(|| self.listed_by_registry(repository, subject))?;
        let listed = match &by_registry {
            Some(listed) => listed.clone(),
            None => self.retrying(|| Ok(digests(&self.index_under_tag(repository, subject)?)))?,
        };
        let (present, missing): (Vec<_>, Vec<_>) =
            artifacts.iter().zip(known).partition(|(artifact, _)| listed.contains(&artifact.manifest.digest));
        for (_, known) in present {
            *known = Some(Attachment::Present);
        }
        if missing.is_empty() {
            *sent = blobs.into_iter().map(|blob| (blob, Outcome::Present)).collect();
            return Ok(());
        }
        let outcomes = self.upload(repository, &blobs)?;
        *sent = blobs.into_iter().zip(outcomes).collect();
        let mut taken = Vec::new();
        for (artifact, known) in missing {
            match self.put_artifact(repository, artifact) {
                Ok(()) => taken.push(artifact),
                Err(error) => *known = Some(Attachment::Refused(unless_interrupted(error)?)),
            }
        }
        if by_registry.is_some() {
            self.retrying(|| {
                let listed = self.listed_by_registry(repository, subject)?.unwrap_or_default();
                all_listed(repository, &listed, &taken)
            })
        } else if taken.is_empty() {
            Ok(())
        } else {
            self.retrying(|| self.list_under_tag(repository, subject, &taken))
        }
    }

    /// What the registry itself lists as referrers of a manifest. `None` if it has no such list, so that clients use
    /// the tag: after any refusal except of the account, and any response that is not an index.
    fn listed_by_registry(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Option<BTreeSet<Digest>>, Error> {
        let mut url = base(repository)?.join(&format!("referrers/{subject}")).map_err(anyhow::Error::from)?;
        let mut listed = BTreeSet::new();
        for _ in 0..MOST_PAGES {
            let request = Request {
                repository,
                source: None,
                method: Method::GET,
                url: url.clone(),
                action: "list the image's referrers".to_owned(),
                prepare: &|request| Ok(request.header(ACCEPT, INDEX)),
            };
            let response = self.logged_in(&request, &url)?;
            let is_redirected = response.status().is_redirection();
            let response = match self.follow(&request, response) {
                // A redirect that may not be followed leads to no list.
                Err(Error::Permanent(_)) if is_redirected => return Ok(None),
                followed => followed?,
            };
            let status = response.status();
            let of_account = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
                && is_registry(repository, response.url())?;
            if of_account || is_transient(status) {
                return Err(self.error(&request, response));
            }
            if !status.is_success() || media_type(&response) != INDEX {
                return Ok(None);
            }
            let next = next_page(&response).and_then(|next| response.url().join(next).ok());
            let Some(index) = index(&bytes(response)?) else { return Ok(None) };
            listed.append(&mut digests(&index));
            match next {
                Some(next) if is_registry(repository, &next)? => url = next,
                _ => break,
            }
        }
        Ok(Some(listed))
    }

    /// Pushes the manifest by its digest, and reads it back.
    fn put_artifact(&self, repository: &Repository, artifact: &Artifact) -> Result<()> {
        let (digest, action) = (&artifact.manifest.digest, format!("attach {}", artifact.name));
        let reference = Reference::Digest(digest.clone());
        self.retrying(|| self.put_manifest(repository, &reference, &artifact.manifest, &action))?;
        self.retrying(|| match self.named(repository, &reference)? {
            Some(found) if found == *digest => Ok(()),
            _ => Err(Error::transient(format!(
                "the registry at {} accepted {} but does not have it",
                repository.registry(),
                artifact.name
            ))),
        })
    }

    /// Adds artifacts to the fallback index, and reads it back.
    ///
    /// This takes several steps, which are repeated if another push of the same image interferes.
    fn list_under_tag(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifacts: &[&Artifact],
    ) -> Result<(), Error> {
        let tag = Tag::of_referrers(subject);
        let mut index = self.index_under_tag(repository, subject)?;
        let listed = digests(&index);
        if let Some(manifests) = index["manifests"].as_array_mut() {
            for artifact in artifacts.iter().filter(|artifact| !listed.contains(&artifact.manifest.digest)) {
                manifests.push(artifact.descriptor()?);
            }
        }
        let bytes = serde_json::to_vec(&index).map_err(anyhow::Error::from)?;
        let index = Manifest::new(INDEX, bytes);
        let action = format!("tag {} as `{tag}`", index.digest.short());
        self.put_manifest(repository, &Reference::Tag(tag), &index, &action)?;
        all_listed(repository, &digests(&self.index_under_tag(repository, subject)?), artifacts)
    }

    /// The index under the fallback tag; empty if there is none yet. Anything else under the tag is not ours to
    /// replace.
    fn index_under_tag(&self, repository: &Repository, subject: &Digest) -> Result<Value, Error> {
        let tag = Tag::of_referrers(subject);
        let response = self.send(&Request {
            repository,
            source: None,
            method: Method::GET,
            url: base(repository)?.join(&format!("manifests/{tag}")).map_err(anyhow::Error::from)?,
            action: "list the image's referrers".to_owned(),
            // Accepts every kind of manifest: a registry may hide one of another kind from us.
            prepare: &|request| Ok(request.header(ACCEPT, KINDS)),
        })?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }));
        }
        index(&bytes(response)?).ok_or_else(|| {
            Error::refused(format!(
                "`{repository}:{tag}` should list the image's referrers but is not an index"
            ))
        })
    }
}

/// Turns an error into a reason; an interrupt stays an error.
fn unless_interrupted(error: anyhow::Error) -> Result<String> {
    if Exit::of(&error) == Exit::Interrupted { Err(error) } else { Ok(format!("{error:#}")) }
}

/// Fails if one of the artifacts is not listed, which may only take time.
fn all_listed(
    repository: &Repository,
    listed: &BTreeSet<Digest>,
    artifacts: &[&Artifact],
) -> Result<(), Error> {
    match artifacts.iter().find(|artifact| !listed.contains(&artifact.manifest.digest)) {
        None => Ok(()),
        Some(artifact) => {
            let registry = repository.registry();
            let message =
                format!("the registry at {registry} accepted {} but does not list it", artifact.name);
            Err(Error::transient(message))
        }
    }
}

/// Parses an index. Some registries write an empty list as `null`.
fn index(body: &[u8]) -> Option<Value> {
    let mut index: Value = serde_json::from_slice(body).ok()?;
    let manifests = index.get_mut("manifests")?;
    if manifests.is_null() {
        *manifests = json!([]);
    }
    manifests.is_array().then_some(index)
}

fn digests(index: &Value) -> BTreeSet<Digest> {
    let digest = |entry: &Value| entry.get("digest")?.as_str()?.parse().ok();
    index["manifests"].as_array().into_iter().flatten().filter_map(digest).collect()
}

/// The address of the next page: `Link: <address>; rel="next"` (distribution spec 1.1, "Listing Referrers").
fn next_page(response: &Response) -> Option<&str> {
    let (address, parameters) =
        response.headers().get(LINK)?.to_str().ok()?.strip_prefix('<')?.split_once('>')?;
    parameters.contains("next").then_some(address)
}

#[cfg(test)]
mod tests;
