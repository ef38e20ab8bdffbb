//! Manifests and tags.

use anyhow::Result;
use reqwest::blocking::RequestBuilder;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::address::base;
use super::client::{Ask, Client, bytes};
use super::reference::{Digest, Reference, Repository, Tag};
use super::retry::Trouble;
use super::words;
use launchway_core::exit::{Exit, Failure};

/// A manifest as it is pushed: these bytes, which the digest is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) bytes: Vec<u8>,
}

/// Every kind of manifest, so that a registry converts none for us.
pub(super) const KINDS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

impl Client<'_> {
    /// The digest that a reference names now, or `None` where there is no such manifest.
    ///
    /// It asks with HEAD, which Docker Hub does not count as a pull, and reads the manifest only where the answer
    /// lacks `Docker-Content-Digest`, which the OCI distribution spec ("Checking if content exists in the registry")
    /// leaves to the registry.
    pub(crate) fn digest(&self, repository: &Repository, reference: &Reference) -> Result<Option<Digest>> {
        self.retrying(|| self.named(repository, reference))
    }

    /// The same, asked once: for what is good to know but not worth another try.
    pub(crate) fn glance(&self, repository: &Repository, reference: &Reference) -> Result<Option<Digest>> {
        self.named(repository, reference).map_err(Trouble::into_error)
    }

    fn named(&self, repository: &Repository, reference: &Reference) -> Result<Option<Digest>, Trouble> {
        let url = base(repository)?.join(&format!("manifests/{reference}")).map_err(anyhow::Error::from)?;
        let ask = |method: Method| Ask {
            repository,
            source: None,
            method,
            url: url.clone(),
            action: format!("read `{reference}`"),
            dress: &|request| Ok(request.header(ACCEPT, KINDS)),
        };
        let response = self.send(&ask(Method::HEAD))?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if let Some(header) = response.headers().get("Docker-Content-Digest") {
            let text = header.to_str().unwrap_or_default();
            let digest = text.parse().map_err(|error| {
                Trouble::refused(format!(
                    "the registry at {} names no valid digest for `{reference}`: {error}",
                    repository.registry()
                ))
            })?;
            return Ok(Some(digest));
        }
        let response = self.send(&ask(Method::GET))?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let manifest = bytes(response)?;
        let version =
            serde_json::from_slice(&manifest).map(|manifest: Value| manifest["schemaVersion"].is_u64());
        if !version.is_ok_and(|has_one| has_one) {
            let message = format!(
                "{} answered something else than a manifest when asked for `{reference}` ({}): is it a registry?",
                repository.registry(),
                words::of(&manifest)
            );
            return Err(Trouble::refused(message));
        }
        Ok(Some(Digest::of(&manifest)))
    }

    /// Makes a tag name this manifest, then asks the registry what the tag names.
    ///
    /// The blobs must be there: a registry refuses a manifest that names unknown ones.
    pub(crate) fn tag(&self, repository: &Repository, tag: &Tag, manifest: &Manifest) -> Result<()> {
        let (reference, action) =
            (Reference::Tag(tag.clone()), format!("tag {} as `{tag}`", manifest.digest.short()));
        self.retrying(|| self.put_manifest(repository, &reference, manifest, &action))?;
        let named = self.digest(repository, &reference)?;
        if named.as_ref() != Some(&manifest.digest) {
            let named = named.map_or("nothing".to_owned(), |digest| digest.to_string());
            return Err(Failure::new(
                Exit::Registry,
                format!(
                    "`{repository}:{tag}` should name {} now, but the registry says that it names {named}: push again, \
                     and do not deploy it before that succeeds",
                    manifest.digest
                ),
            )
            .into());
        }
        Ok(())
    }

    /// Sends a manifest once.
    pub(super) fn put_manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
        manifest: &Manifest,
        action: &str,
    ) -> Result<(), Trouble> {
        // `Content-Type` must be the manifest's own `mediaType` (OCI distribution spec, "Pushing Manifests").
        let dress = |request: RequestBuilder| {
            Ok(request.header(CONTENT_TYPE, &manifest.media_type).body(manifest.bytes.clone()))
        };
        let url = base(repository)?.join(&format!("manifests/{reference}")).map_err(anyhow::Error::from)?;
        let (method, action) = (Method::PUT, action.to_owned());
        self.send(&Ask { repository, source: None, method, url, action, dress: &dress }).map(drop)
    }
}
