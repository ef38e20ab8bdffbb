//! Manifests and tags.

use anyhow::Result;
use reqwest::blocking::RequestBuilder;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::address::base;
use super::client::{Ask, Client, bytes};
use super::retry::Trouble;
use super::words;
use launchway_registry::{Digest, Reference, Repository, Tag};

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

    pub(super) fn named(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Option<Digest>, Trouble> {
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
        // A registry of several machines may answer for a while as if nothing had come.
        self.retrying(|| {
            let named = self.named(repository, &reference)?;
            if named.as_ref() == Some(&manifest.digest) {
                return Ok(());
            }
            let named = named.map_or("nothing".to_owned(), |digest| digest.to_string());
            let message = format!(
                "`{repository}:{tag}` should name {} now, but the registry says that it names {named}",
                manifest.digest
            );
            let hint = "push again, and do not deploy it before that succeeds".to_owned();
            Err(Trouble::Passing { message, after: None, hint: Some(hint) })
        })
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

#[cfg(test)]
mod tests {
    use super::super::Access;
    use super::super::testing::{Reply, Server};
    use super::*;

    /// Tags `{}` where the first answers are of the time before; what went wrong.
    fn tag(late: usize) -> Option<String> {
        let server = Server::twisted(move |request, before| {
            (request.method == "HEAD" && before < late).then(|| match before {
                0 => Reply::new(404),
                _ => Reply::new(200).header("Docker-Content-Digest", Digest::of(b"before").to_string()),
            })
        });
        let ctx = server.context(std::path::Path::new("/nonexistent"), &[]);
        let client = Client::new(&ctx, Access::Push).unwrap().hurried();
        let bytes = b"{}".to_vec();
        let manifest = Manifest { digest: Digest::of(&bytes), media_type: "a/b".to_owned(), bytes };
        let tagged = client.tag(&server.repository(), &Tag::latest(), &manifest);
        assert_eq!(server.count("PUT", "manifests/latest"), 1);
        tagged.err().map(|error| error.to_string())
    }

    #[test]
    fn a_registry_may_need_a_while_to_say_what_it_took() {
        assert_eq!(tag(3), None);
        let error = tag(usize::MAX).unwrap();
        assert!(
            error.contains(&format!(
                "says that it names {}; tried 5 times: push again",
                Digest::of(b"before")
            )),
            "{error}"
        );
    }
}
