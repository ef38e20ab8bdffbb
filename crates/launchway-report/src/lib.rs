//! The wire format of run reports: what one run of the pipeline did, and how the deployment in it ended.
//!
//! The pipeline writes them and the release board shows them. A report holds no secret and no value of a variable.
//!
//! Readers and writers are of different versions: a field that a reader does not know is ignored, and an outcome that it
//! does not know is shown in the writer's own word. A report that is passed on is passed on as the bytes that came.

mod time;
mod validate;

use std::time::Duration;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

pub use time::Time;
pub use validate::Problem;

/// The version of this format. Raised only when older readers would misread a report: a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// How far the clock of the machine that wrote a report may be ahead of the reader's.
pub const SKEW: Duration = Duration::from_mins(5);

/// The most bytes that a report may have as JSON.
pub const MAX_BYTES: usize = 64 * 1024;

/// The most commits that a report may name.
pub const MAX_COMMITS: usize = 100;

/// One run of the pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Names the run, and no other: 1 to 64 of `[A-Za-z0-9._-]`.
    pub id: String,
    /// Who began the run: a login name, 1 to 100 characters.
    pub actor: String,
    /// The run's page on the CI server: `https://…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where it deploys to; absent where nobody could tell, and in reports from before there was this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// Whether it ran against stand-ins.
    pub rehearsal: bool,
    /// When the run began.
    pub started: Time,
    /// When the run ended; not before it began.
    pub finished: Time,
    /// The commit that the run was for.
    pub commit: Commit,
    /// The commits since the previous release, newest first, [`MAX_COMMITS`] at most; the run's own is among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commits: Vec<Commit>,
    /// The steps that were part of the run, in order; 20 at most.
    pub steps: Vec<Step>,
    /// What the test run counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<Tests>,
    /// The lines that the tests ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// The image that was pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// The attempt to make a release live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<Deployment>,
}

impl Report {
    /// The environment of a deployment that nobody could tell.
    pub const NO_ENVIRONMENT: &str = "unknown";
}

/// The service that a run deploys to. Several of them may share an image repository, and with it a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Tells it from every other service: [`Service::key`].
    pub key: String,
    /// What people call it, which may change: one line of 1 to 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Service {
    /// The key of the service with this id on its platform: the first 16 hexadecimal digits of the id's SHA-256.
    ///
    /// Not the id itself: it is kept among the secrets, and what shows secrets would mask it.
    #[must_use]
    pub fn key(id: &str) -> String {
        let hash = digest(&SHA256, id.trim().as_bytes());
        hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
    }
}

/// A commit of the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// 40 lower-case hexadecimal digits.
    pub sha: String,
    /// When it was committed.
    pub time: Time,
    /// The first line of its message, 200 characters at most.
    pub subject: String,
}

/// One step of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Such as `test-coverage`: 1 to 40 of `[a-z-]`.
    pub name: String,
    /// How it ended.
    pub outcome: StepOutcome,
    /// How long it took, in milliseconds; 0 when it was skipped.
    pub milliseconds: u64,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// It did all that it should.
    Passed,
    /// It did not.
    Failed,
    /// It did not run.
    Skipped,
    /// It was asked to end.
    Interrupted,
    /// Something else, in the word of the newer version that wrote it: 1 to 40 of `[a-z-]`.
    #[serde(untagged)]
    Other(String),
}

/// What a test run counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tests {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that did not run.
    pub skipped: u64,
}

/// The lines that the tests ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Lines that ran; not more than `lines`.
    pub covered: u64,
    /// Lines that could have.
    pub lines: u64,
    /// The least percentage that passes, 0 to 100.
    pub floor: u8,
}

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Without tag and digest, 1 to 255 characters.
    pub repository: String,
    /// `sha256:` and 64 lower-case hexadecimal digits.
    pub digest: String,
    /// The sum of its compressed layers, in bytes.
    pub bytes: u64,
}

/// One attempt to make a release live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// What was attempted.
    pub kind: DeploymentKind,
    /// The `SERVER_TYPE` that was deployed to, such as `PROD`, or [`Report::NO_ENVIRONMENT`]: 1 to 64 of `[A-Za-z0-9._-]`.
    pub environment: String,
    /// The platform's id of it, `dep-…`, where it took one: 1 to 64 of `[A-Za-z0-9._-]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The hash of the plan that was followed: 64 lower-case hexadecimal digits; absent when it failed before there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// When the attempt began.
    pub started: Time,
    /// When it ended; not before it began.
    pub finished: Time,
    /// How it ended.
    pub outcome: DeploymentOutcome,
    /// Why it failed, in words of the pipeline: 1 to 2000 characters; absent when it is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The release that was to become live; absent when it failed before that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// The release that was live before, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Release>,
}

/// What a deployment attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentKind {
    /// A new release goes live.
    Deploy,
    /// An earlier release goes live again.
    Rollback,
    /// Something else, in the word of the newer version that wrote it: 1 to 40 of `[a-z-]`.
    #[serde(untagged)]
    Other(String),
}

/// How a deployment ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentOutcome {
    /// The release is live, and the running app said so.
    Live,
    /// It failed before anything was written.
    Unchanged,
    /// It failed, and the previous release is live again with its environment.
    RolledBack,
    /// It failed, and what was written could not be put back.
    NotRolledBack,
    /// Somebody else's newer deployment took its place.
    Superseded,
    /// Something else, in the word of the newer version that wrote it: 1 to 40 of `[a-z-]`.
    #[serde(untagged)]
    Other(String),
}

/// One image digest with its commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// `sha256:` and 64 lower-case hexadecimal digits.
    pub digest: String,
    /// 40 lower-case hexadecimal digits, `-dirty` after them where the tree was; absent where nobody could tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

#[cfg(test)]
mod tests;
