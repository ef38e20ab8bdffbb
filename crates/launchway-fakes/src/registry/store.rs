//! The registry's storage: blobs on disk, and which repository has which of them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::StatusCode;
use ring::digest::{Context, SHA256, digest};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;

use super::refusal::Refusal;
use crate::server::{Incoming, Shared, hex, random_hex};

/// Far larger than any of our images; keeps a runaway client from filling the disk.
const MAX_BLOB: u64 = 2 << 30;

/// The repositories by name. Blobs are per repository, so that a missing mount is noticed.
pub(crate) struct Store {
    folder: PathBuf,
    pub(crate) repositories: Shared<BTreeMap<String, Repository>>,
    uploads: Shared<HashMap<String, Arc<Mutex<Upload>>>>,
}

/// One repository.
#[derive(Default)]
pub(crate) struct Repository {
    /// Sizes by digest.
    pub(crate) blobs: BTreeMap<String, u64>,
    pub(crate) manifests: BTreeMap<String, Manifest>,
    pub(crate) tags: BTreeMap<String, String>,
}

/// A manifest, byte for byte as received.
#[derive(Clone)]
pub(crate) struct Manifest {
    pub(crate) media_type: String,
    pub(crate) bytes: Vec<u8>,
}

/// A blob that is still arriving.
pub(crate) struct Upload {
    repository: String,
    path: PathBuf,
    file: File,
    hash: Context,
    pub(crate) size: u64,
}

impl Store {
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        fs_err::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            repositories: Shared::new(BTreeMap::new()),
            uploads: Shared::new(HashMap::new()),
        })
    }

    /// The digest behind a tag or digest, if the repository has that manifest.
    pub(crate) fn digest_of(&self, repository: &str, reference: &str) -> Option<String> {
        self.repositories.read(|all| all.get(repository)?.resolve(reference).map(str::to_owned))
    }

    /// Where a blob's bytes are. The digest is known to be well-formed, so it is a safe file name.
    pub(crate) fn blob_path(&self, digest: &str) -> PathBuf {
        self.folder.join(digest.replace(':', "-"))
    }

    /// Opens an upload session and returns its id.
    pub(crate) async fn begin(&self, repository: &str) -> Result<String, Refusal> {
        let id = random_hex::<16>();
        let path = self.folder.join(format!("upload-{id}"));
        let file = File::create(&path).await?;
        let upload =
            Upload { repository: repository.to_owned(), path, file, hash: Context::new(&SHA256), size: 0 };
        self.uploads.change(|uploads| uploads.insert(id.clone(), Arc::new(Mutex::new(upload))));
        Ok(id)
    }

    /// An open session of this repository.
    pub(crate) async fn upload(&self, repository: &str, id: &str) -> Result<Arc<Mutex<Upload>>, Refusal> {
        let unknown = || Refusal::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "no such upload");
        let upload = self.uploads.read(|uploads| uploads.get(id).cloned()).ok_or_else(unknown)?;
        if upload.lock().await.repository == repository { Ok(upload) } else { Err(unknown()) }
    }

    /// Closes a session: its bytes become a blob of the repository if they match the client's digest.
    pub(crate) async fn commit(
        &self,
        id: &str,
        upload: &Mutex<Upload>,
        expected: &str,
    ) -> Result<(), Refusal> {
        self.uploads.change(|uploads| uploads.remove(id));
        let mut upload = upload.lock().await;
        upload.file.flush().await?;
        let actual = format!("sha256:{}", hex(upload.hash.clone().finish().as_ref()));
        if actual != expected {
            tokio::fs::remove_file(&upload.path).await?;
            let detail = serde_json::json!({ "expected": expected, "received": actual });
            return Err(Refusal::bad("DIGEST_INVALID", "the content does not match its digest").about(detail));
        }
        tokio::fs::rename(&upload.path, self.blob_path(expected)).await?;
        self.repositories.change(|all| {
            all.entry(upload.repository.clone()).or_default().blobs.insert(expected.to_owned(), upload.size);
        });
        Ok(())
    }

    /// Stores blobs and a manifest (of an OCI image, unless it says otherwise) under these tags, and returns its
    /// digest.
    pub(crate) fn keep(
        &self,
        repository: &str,
        blobs: &[&[u8]],
        manifest: &[u8],
        tags: &[&str],
    ) -> anyhow::Result<String> {
        let digests: Vec<String> = blobs.iter().map(|blob| digest_of_bytes(blob)).collect();
        for (digest, blob) in digests.iter().zip(blobs) {
            fs_err::write(self.blob_path(digest), blob)?;
        }
        let own = digest_of_bytes(manifest);
        self.repositories.change(|all| {
            let repository = all.entry(repository.to_owned()).or_default();
            let sizes = blobs.iter().map(|blob| blob.len() as u64);
            repository.blobs.extend(digests.into_iter().zip(sizes));
            let declared = serde_json::from_slice::<serde_json::Value>(manifest).unwrap_or_default();
            let media_type = declared["mediaType"].as_str();
            let media_type = media_type.unwrap_or("application/vnd.oci.image.manifest.v1+json").to_owned();
            repository.manifests.insert(own.clone(), Manifest { media_type, bytes: manifest.to_vec() });
            repository.tags.extend(tags.iter().map(|tag| ((*tag).to_owned(), own.clone())));
        });
        Ok(own)
    }

    /// Adds a blob of one repository to another; `false` if the source does not have it.
    pub(crate) fn mount(&self, source: &str, target: &str, digest: &str) -> bool {
        self.repositories.change(|all| {
            let Some(size) = all.get(source).and_then(|source| source.blobs.get(digest)).copied() else {
                return false;
            };
            all.entry(target.to_owned()).or_default().blobs.insert(digest.to_owned(), size);
            true
        })
    }
}

impl Repository {
    /// The digest of the manifest that a tag or digest points to.
    pub(crate) fn resolve(&self, reference: &str) -> Option<&str> {
        let digest = self.tags.get(reference).map_or(reference, String::as_str);
        self.manifests.get_key_value(digest).map(|(digest, _)| digest.as_str())
    }
}

impl Upload {
    /// Appends the request's body to what has arrived.
    pub(crate) async fn append(&mut self, request: &mut Incoming) -> Result<(), Refusal> {
        while let Some(chunk) = request.chunk().await? {
            self.size += chunk.len() as u64;
            if self.size > MAX_BLOB {
                return Err(crate::server::BodyError::TooLarge.into());
            }
            self.hash.update(&chunk);
            self.file.write_all(&chunk).await?;
        }
        Ok(())
    }
}

/// The `sha256:…` of some bytes.
pub(crate) fn digest_of_bytes(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(digest(&SHA256, bytes).as_ref()))
}
