//! The record of a push.

use std::fmt;

use serde::{Deserialize, Serialize};

use launchway_core::events::Reporter;
use launchway_core::size;
use launchway_registry::{Artifact, Attached, Attachment, Blob, Digest, Outcome, Repository, Tag};

/// What a push did: `target/xtask/push.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PushRecord {
    /// 1; another number changes the meaning of the fields.
    pub(crate) schema: u32,
    pub(crate) repository: Repository,
    /// The digest of the manifest, which is what to deploy.
    pub(crate) digest: Digest,
    pub(crate) commit_tag: Tag,
    /// Whether `latest` points to it now.
    pub(crate) latest: bool,
    /// What `latest` pointed to before.
    pub(crate) previous_latest: Option<Digest>,
    /// The bytes of the blobs that were uploaded, each counted once.
    pub(crate) bytes_sent: u64,
    /// The bytes of the blobs that were already there.
    pub(crate) bytes_skipped: u64,
    /// The bytes of the blobs that the registry mounted from another of its repositories.
    #[serde(default)]
    pub(crate) bytes_mounted: u64,
    pub(crate) blobs: Vec<BlobRecord>,
    /// What is attached to the image.
    #[serde(default)]
    pub(crate) referrers: Vec<Referrer>,
    pub(crate) milliseconds: u64,
}

/// What was done with one blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlobRecord {
    pub(crate) digest: Digest,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) outcome: Outcome,
}

/// An attestation that is attached to the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Referrer {
    /// Its media type, which identifies it.
    pub(crate) artifact_type: String,
    /// The digest of its manifest.
    pub(crate) digest: Digest,
}

impl fmt::Display for PushRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repository, digest, bytes_sent, bytes_skipped, bytes_mounted, .. } = self;
        let parts = [
            (bytes_sent, "uploaded"),
            (bytes_skipped, "already there"),
            (bytes_mounted, "mounted from the base image"),
        ];
        let parts = parts.iter().filter(|(bytes, _)| **bytes > 0);
        let parts: Vec<String> = parts.map(|(bytes, what)| format!("{} {what}", size(**bytes))).collect();
        write!(f, "{repository}@{digest}: {}", parts.join(", "))
    }
}

impl PushRecord {
    pub(super) fn new(repository: &Repository, tag: &Tag, digest: &Digest) -> Self {
        Self {
            schema: 1,
            repository: repository.clone(),
            digest: digest.clone(),
            commit_tag: tag.clone(),
            latest: false,
            previous_latest: None,
            bytes_sent: 0,
            bytes_skipped: 0,
            bytes_mounted: 0,
            blobs: Vec::new(),
            referrers: Vec::new(),
            milliseconds: 0,
        }
    }

    /// Adds the attestations. One that is not attached is reported as skipped: the image runs without it.
    pub(super) fn attach(&mut self, reporter: &Reporter, artifacts: &[Artifact], attached: Attached) {
        let (blobs, outcomes): (Vec<Blob>, Vec<Outcome>) = attached.blobs.into_iter().unzip();
        self.add(&blobs, &outcomes);
        for (Artifact { kind, name, manifest, .. }, state) in artifacts.iter().zip(attached.artifacts) {
            let word = match state {
                Attachment::New => "attached",
                Attachment::Present => "already attached",
                Attachment::Refused(reason) => {
                    reporter.skipped(name, format!("not attached to the image: {reason}"));
                    continue;
                }
            };
            let digest = manifest.digest.clone();
            reporter.note(format!("{word}: {name} {}", digest.short()));
            self.referrers.push(Referrer { artifact_type: (*kind).to_owned(), digest });
        }
    }

    pub(super) fn add(&mut self, blobs: &[Blob], outcomes: &[Outcome]) {
        for (Blob { digest, size, .. }, &outcome) in blobs.iter().zip(outcomes) {
            match outcome {
                Outcome::Uploaded => self.bytes_sent += size,
                Outcome::Present => self.bytes_skipped += size,
                Outcome::Mounted => self.bytes_mounted += size,
            }
            self.blobs.push(BlobRecord { digest: digest.clone(), size: *size, outcome });
        }
    }
}
