//! The facts of a deployment and of a proof, as fields: for the last lines of a failure, and for readers of JSON.

use serde::{Deserialize, Serialize};

/// How a deploy or a rollback ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployed {
    /// [`Self::DEPLOY`] or [`Self::ROLLBACK`].
    pub kind: String,
    /// How it ended.
    pub outcome: DeployOutcome,
    /// The name of the environment.
    pub environment: String,
    /// The service's name, if it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The address of the site, if it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The deploy's id, `dep-…`, if one was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The release to deploy, if it was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// The release that was live before, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Release>,
    /// Whether the site responded with 2xx at its health path at the end. Absent if it could not be checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_up: Option<bool>,
    /// The commit that the site reported at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_commit: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What to do, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How long it took.
    pub milliseconds: u64,
}

/// The outcome of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeployOutcome {
    /// The release is live and proved.
    Live,
    /// It failed before it changed anything.
    Unchanged,
    /// It failed, and the service was rolled back.
    RolledBack,
    /// It failed, and the service was not fully rolled back.
    NotRolledBack,
    /// Another deploy superseded it.
    Superseded,
}

/// An image digest with its commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// `sha256:…`.
    pub digest: String,
    /// If it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// The chain from what was built to what runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The links, in order.
    pub links: Vec<Link>,
}

/// One link of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What is proved.
    pub what: String,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub wanted: String,
    /// Where it was found.
    pub place: String,
}

impl Proof {
    /// The broken links.
    pub fn broken(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(|link| link.found != link.wanted)
    }
}

impl Deployed {
    /// A deployment of a new release.
    pub const DEPLOY: &str = "deploy";
    /// One of an earlier release.
    pub const ROLLBACK: &str = "rollback";

    /// The state of the site, if it was checked.
    pub(super) fn site(&self) -> Option<String> {
        Some(match (self.is_up?, &self.live_commit) {
            (false, _) => "NOT healthy".to_owned(),
            (true, Some(commit)) => format!("up on commit {}", crate::short(commit)),
            (true, None) => "up; it does not report its commit".to_owned(),
        })
    }
}
