//! Reading an image back: its manifest, and blobs that are checked against their digests.

use std::io::Read as _;

use anyhow::{Context as _, Result};
use reqwest::header::ACCEPT;
use reqwest::{Method, StatusCode};

use super::client::{Ask, Client, base, bytes};
use super::manifest::KINDS;
use super::reference::{Digest, Repository};
use super::retry::Trouble;
use crate::exit::{Exit, OrExit as _};
use crate::image::config::Descriptor;

impl Client<'_> {
    /// The bytes of the manifest with this digest, or `None` where there is none; other bytes are an error.
    pub(crate) fn manifest(&self, repository: &Repository, digest: &Digest) -> Result<Option<Vec<u8>>> {
        let found = self.retrying(|| {
            let url = base(repository)?.join(&format!("manifests/{digest}")).map_err(anyhow::Error::from)?;
            let action = format!("read {}", digest.short());
            let dress = |request: reqwest::blocking::RequestBuilder| Ok(request.header(ACCEPT, KINDS));
            let response = self.send(&Ask { repository, method: Method::GET, url, action, dress: &dress })?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            bytes(response).map(Some)
        })?;
        found.map(|bytes| checked(bytes, digest)).transpose()
    }

    /// The bytes of a blob, which must be as many as described and have the digest.
    pub(crate) fn blob(&self, repository: &Repository, blob: &Descriptor) -> Result<Vec<u8>> {
        let bytes = self.retrying(|| {
            let url =
                base(repository)?.join(&format!("blobs/{}", blob.digest)).map_err(anyhow::Error::from)?;
            let action = format!("read {}", blob.digest.short());
            let ask = Ask { repository, method: Method::GET, url, action, dress: &|request| Ok(request) };
            let response = self.send(&ask)?;
            if response.status() == StatusCode::NOT_FOUND {
                return Err(Trouble::refused(format!("`{repository}` has no blob {}", blob.digest)));
            }
            let mut bytes = Vec::new();
            match response.take(blob.size.saturating_add(1)).read_to_end(&mut bytes) {
                Ok(_) => Ok(bytes),
                Err(error) => Err(Trouble::Passing {
                    message: format!("{} broke off its answer: {error}", repository.registry()),
                    after: None,
                }),
            }
        })?;
        checked(bytes, &blob.digest)
    }
}

fn checked(bytes: Vec<u8>, digest: &Digest) -> Result<Vec<u8>> {
    let found = Digest::of(&bytes);
    (found == *digest)
        .then_some(bytes)
        .with_context(|| format!("the registry answered {found} when asked for {digest}"))
        .or_exit(Exit::Registry)
}
