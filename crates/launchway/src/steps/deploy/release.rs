//! A release, as a deploy requests and recognises it.

use launchway_render::model::Deploy;

/// One image with its commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Release {
    /// The digest by which it is requested.
    pub(super) digest: String,
    /// The digest of the manifest for Render's platform, if `digest` is that of an index.
    pub(super) platform: Option<String>,
    /// If it is known.
    pub(super) commit: Option<String>,
}

impl Release {
    /// What a deploy runs: the digest that was requested, or else the one that Render resolved a tag to.
    pub(super) fn of(deploy: &Deploy, commit: Option<String>) -> Option<Self> {
        let reference = deploy.image.as_ref().and_then(|image| image.reference.as_deref());
        let pinned = reference.and_then(|reference| reference.split_once('@')).map(|(_, digest)| digest);
        let digest = pinned.or(deploy.sha())?.to_owned();
        let platform = deploy.sha().filter(|sha| *sha != digest).map(str::to_owned);
        Some(Self { digest, platform, commit })
    }

    /// Whether a digest that Render reports belongs to this release.
    pub(super) fn is(&self, digest: &str) -> bool {
        self.digest == digest || self.platform.as_deref() == Some(digest)
    }

    /// The digest with the commit, for people.
    pub(super) fn words(&self) -> String {
        let commit = self.commit.as_deref().map_or_else(
            || "commit unknown".to_owned(),
            |commit| format!("commit {}", launchway_core::short(commit)),
        );
        format!("{} ({commit})", self.digest)
    }
}
