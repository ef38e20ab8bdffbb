//! Reads from a registry: manifests into memory, blobs into files. Everything is verified against its digest.

use std::io::{Read as _, Write as _};
use std::path::Path;

use anyhow::Result;
use reqwest::blocking::{RequestBuilder, Response};
use reqwest::header::ACCEPT;
use reqwest::{Method, StatusCode};
use ring::digest::{Context, SHA256};

use crate::address::base;
use crate::client::{Client, Request, bytes};
use crate::error::Error;
use crate::manifest::KINDS;
use crate::oci::Descriptor;
use crate::{Digest, Repository};

impl Client {
    /// The bytes of the manifest or index with this digest, or `None` if the repository does not have it.
    pub fn manifest(&self, repository: &Repository, digest: &Digest) -> Result<Option<Vec<u8>>> {
        self.retrying(|| {
            let Some(response) = self.get(repository, &format!("manifests/{digest}"), digest, 0)? else {
                return Ok(None);
            };
            let bytes = bytes(response)?;
            match Digest::of(&bytes) {
                found if found == *digest => Ok(Some(bytes)),
                found => Err(other_than_named(repository, digest, &found)),
            }
        })
    }

    /// Writes a blob to a file, piece by piece. If its length or digest is wrong, fails and leaves an unusable file.
    pub fn download(&self, repository: &Repository, blob: &Descriptor, path: &Path) -> Result<()> {
        self.retrying(|| {
            let path_there = format!("blobs/{}", blob.digest);
            let response = self.get(repository, &path_there, &blob.digest, blob.size)?.ok_or_else(|| {
                Error::refused(format!("`{repository}` lists {} but does not have it", blob.digest))
            })?;
            self.keep(repository, blob, response, path)
        })
    }

    /// The bytes of a blob that is small enough for memory.
    pub fn blob(&self, repository: &Repository, blob: &Descriptor) -> Result<Vec<u8>> {
        self.retrying(|| {
            let path = format!("blobs/{}", blob.digest);
            let response = self.get(repository, &path, &blob.digest, blob.size)?.ok_or_else(|| {
                Error::refused(format!("`{repository}` lists {} but does not have it", blob.digest))
            })?;
            let mut bytes = Vec::new();
            response.take(blob.size.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| {
                let message = format!("{} broke off {}: {error}", repository.registry(), blob.digest.short());
                Error::transient(message)
            })?;
            match Digest::of(&bytes) {
                found if found == blob.digest => Ok(bytes),
                found => Err(other_than_named(repository, &blob.digest, &found)),
            }
        })
    }

    fn keep(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        mut response: Response,
        path: &Path,
    ) -> Result<(), Error> {
        let mut file = fs_err::File::create(path).map_err(anyhow::Error::from)?;
        let (mut hash, mut size, mut piece) = (Context::new(&SHA256), 0, vec![0; 64 << 10]);
        loop {
            self.session.interrupt.check()?;
            let broken = |error| {
                let message = format!("{} broke off {}: {error}", repository.registry(), blob.digest.short());
                Error::transient(message)
            };
            let read = response.read(&mut piece).map_err(broken)?;
            let piece = piece.get(..read).unwrap_or_default();
            size += read as u64;
            if size > blob.size {
                let message = format!("is longer than the {} bytes that its manifest states", blob.size);
                return Err(Error::refused(format!("{} of `{repository}` {message}", blob.digest)));
            }
            if piece.is_empty() {
                break;
            }
            hash.update(piece);
            file.write_all(piece).map_err(anyhow::Error::from)?;
        }
        if size < blob.size {
            let message = format!("{} sent {size} of {} bytes", repository.registry(), blob.size);
            return Err(Error::transient(message));
        }
        match Digest::finish(hash) {
            found if found == blob.digest => Ok(()),
            found => Err(other_than_named(repository, &blob.digest, &found)),
        }
    }

    /// `None` is a 404.
    fn get(
        &self,
        repository: &Repository,
        path: &str,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<Response>, Error> {
        let url = base(repository)?.join(path).map_err(anyhow::Error::from)?;
        let action = format!("read {}", digest.short());
        let timeout = self.time_for(size);
        let prepare = |request: RequestBuilder| Ok(request.header(ACCEPT, KINDS).timeout(timeout));
        let request =
            Request { repository, source: None, method: Method::GET, url, action, prepare: &prepare };
        let response = self.send(&request)?;
        Ok((response.status() != StatusCode::NOT_FOUND).then_some(response))
    }
}

fn other_than_named(repository: &Repository, named: &Digest, found: &Digest) -> Error {
    Error::refused(format!("`{repository}` sent {found} instead of {named}"))
}
