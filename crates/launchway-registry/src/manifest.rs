//! Manifests and tags.

use anyhow::Result;
use reqwest::blocking::RequestBuilder;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::address::base;
use crate::client::{Client, Request, bytes};
use crate::error::Error;
use crate::quote;
use crate::{Digest, Reference, Repository, Tag};

/// A manifest to push: its exact bytes, and their digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The digest of the bytes.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// The manifest itself.
    pub bytes: Vec<u8>,
}

impl Manifest {
    /// The manifest with these bytes.
    pub fn new(media_type: &str, bytes: Vec<u8>) -> Self {
        Self { digest: Digest::of(&bytes), media_type: media_type.to_owned(), bytes }
    }
}

/// Every kind of manifest, so that a registry converts none for us.
pub(crate) const KINDS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

impl Client {
    /// The digest that a reference points to now, or `None` if there is no such manifest.
    ///
    /// Sends a HEAD, which Docker Hub does not count as a pull. Reads the manifest only if the registry has no HEAD, or
    /// if its response lacks `Docker-Content-Digest`, which is optional in the OCI distribution spec ("Checking if
    /// content exists in the registry").
    pub fn digest(&self, repository: &Repository, reference: &Reference) -> Result<Option<Digest>> {
        self.retrying(|| self.named(repository, reference))
    }

    /// [`Self::digest`] without retries, for information that is not worth a wait.
    pub fn digest_once(&self, repository: &Repository, reference: &Reference) -> Result<Option<Digest>> {
        self.named(repository, reference).map_err(Error::into_error)
    }

    pub(crate) fn named(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Option<Digest>, Error> {
        let url = base(repository)?.join(&format!("manifests/{reference}")).map_err(anyhow::Error::from)?;
        let request = |method: Method| Request {
            repository,
            source: None,
            method,
            url: url.clone(),
            action: format!("read `{reference}`"),
            prepare: &|request| Ok(request.header(ACCEPT, KINDS)),
        };
        let head = request(Method::HEAD);
        let response = self.exchange(&head)?;
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            return self.hash(repository, reference, &request(Method::GET));
        }
        let response = self.expect(&head, response)?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if let Some(header) = response.headers().get("Docker-Content-Digest") {
            let text = header.to_str().unwrap_or_default();
            let digest = text.parse().map_err(|error| {
                Error::refused(format!(
                    "the registry at {} returned no valid digest for `{reference}`: {error}",
                    repository.registry()
                ))
            })?;
            return Ok(Some(digest));
        }
        self.hash(repository, reference, &request(Method::GET))
    }

    /// The digest of the manifest that this request reads.
    fn hash(
        &self,
        repository: &Repository,
        reference: &Reference,
        request: &Request<'_>,
    ) -> Result<Option<Digest>, Error> {
        let response = self.send(request)?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let manifest = bytes(response)?;
        let version =
            serde_json::from_slice(&manifest).map(|manifest: Value| manifest["schemaVersion"].is_u64());
        if !version.is_ok_and(|has_one| has_one) {
            let message = format!(
                "{} did not send a manifest for `{reference}` ({}): is it a registry?",
                repository.registry(),
                quote::cut(&self.session.reporter.redacted(&quote::words(&manifest)))
            );
            return Err(Error::refused(message));
        }
        Ok(Some(Digest::of(&manifest)))
    }

    /// Makes a tag point to this manifest, then verifies that it does.
    ///
    /// The blobs must exist: a registry rejects a manifest with unknown ones.
    pub fn tag(&self, repository: &Repository, tag: &Tag, manifest: &Manifest) -> Result<()> {
        let (reference, action) =
            (Reference::Tag(tag.clone()), format!("tag {} as `{tag}`", manifest.digest.short()));
        self.retrying(|| self.put_manifest(repository, &reference, manifest, &action))?;
        // A registry with several servers may return the old state for a while.
        self.retrying(|| {
            let named = self.named(repository, &reference)?;
            if named.as_ref() == Some(&manifest.digest) {
                return Ok(());
            }
            let named = named.map_or("nothing".to_owned(), |digest| digest.to_string());
            let message = format!(
                "`{repository}:{tag}` should point to {} now, but the registry says that it points to {named}",
                manifest.digest
            );
            let hint = "push again, and do not deploy it before that succeeds".to_owned();
            Err(Error::Transient { message, after: None, hint: Some(hint) })
        })
    }

    /// Sends a manifest once.
    pub(crate) fn put_manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
        manifest: &Manifest,
        action: &str,
    ) -> Result<(), Error> {
        // `Content-Type` must be the manifest's own `mediaType` (OCI distribution spec, "Pushing Manifests").
        let prepare = |request: RequestBuilder| {
            Ok(request.header(CONTENT_TYPE, &manifest.media_type).body(manifest.bytes.clone()))
        };
        let url = base(repository)?.join(&format!("manifests/{reference}")).map_err(anyhow::Error::from)?;
        let (method, action) = (Method::PUT, action.to_owned());
        self.send(&Request { repository, source: None, method, url, action, prepare: &prepare }).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Access;
    use crate::testing::{anonymous, quick, repository, scripted, session};
    use launchway_fakes::Reply;

    /// The error of tagging `{}` if the first responses are from before.
    fn tag(late: usize) -> Option<String> {
        let server = scripted(move |request, before| {
            (request.method == "HEAD" && before < late).then(|| match before {
                0 => Reply::new(404),
                _ => Reply::new(200).header("Docker-Content-Digest", Digest::of(b"before").to_string()),
            })
        });
        let client = quick(session(anonymous()), Access::Push);
        let manifest = Manifest::new(crate::oci::MANIFEST, b"{}".to_vec());
        let tagged = client.tag(&repository(&server), &Tag::latest(), &manifest);
        assert_eq!(server.count("PUT", "manifests/latest"), 1);
        tagged.err().map(|error| error.to_string())
    }

    #[test]
    fn a_registry_may_need_a_while_to_say_what_it_took() {
        assert_eq!(tag(3), None);
        let error = tag(usize::MAX).unwrap();
        assert!(
            error.contains(&format!(
                "says that it points to {}; tried 5 times: push again",
                Digest::of(b"before")
            )),
            "{error}"
        );
    }
}
