//! The facts of a deployment and of a proof, as fields: for the last lines of a failure, and for whoever reads JSON.

use serde::{Deserialize, Serialize};

/// How a deploy or a rollback ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployed {
    /// `deploy` or `rollback`.
    pub kind: String,
    /// How it ended.
    pub outcome: DeployOutcome,
    /// The name of the environment.
    pub environment: String,
    /// The service's name, where it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The address of the site, where it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The deploy's id, `dep-…`, where one was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What was to go live, where it was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// What was live before, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Release>,
    /// Whether the site responded with 2xx at its health path at the end. Absent where it could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_up: Option<bool>,
    /// The commit that the site reported at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_commit: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What to do, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How long it took.
    pub milliseconds: u64,
}

/// What a deployment left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeployOutcome {
    /// The release is live and proved.
    Live,
    /// It failed before it changed anything.
    Unchanged,
    /// It failed, and the service is as it was.
    RolledBack,
    /// It failed, and something of it is left.
    NotRolledBack,
    /// Another deploy took its place.
    Superseded,
}

/// An image digest with its commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// `sha256:…`.
    pub digest: String,
    /// Where it is known.
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
    /// What had to be found.
    pub wanted: String,
    /// Where it was found.
    pub place: String,
}

impl Proof {
    /// The links that do not hold.
    pub fn broken(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(|link| link.found != link.wanted)
    }
}

impl Deployed {
    /// The state of the site, where it was asked.
    pub(super) fn site(&self) -> Option<String> {
        Some(match (self.is_up?, &self.live_commit) {
            (false, _) => "the site does NOT respond as healthy".to_owned(),
            (true, Some(commit)) => format!("the site is up on commit {}", crate::short(commit)),
            (true, None) => "the site is up, and does not say on which commit".to_owned(),
        })
    }
}
