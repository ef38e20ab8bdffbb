//! The wire format of run reports: the result of one run of the pipeline and of the deployment in it.
//!
//! The pipeline writes reports and the release board shows them. A report contains no secrets and no values of variables.
//!
//! Readers and writers may have different versions: readers ignore unknown fields and show unknown outcomes verbatim. A
//! report is always forwarded as the bytes that arrived.

pub mod links;
mod time;
mod validate;

use std::time::Duration;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

pub use time::Time;
pub use validate::Problem;

/// The version of this format. Raised only when older readers would misread a report: when a field changes its
/// meaning or is removed.
pub const SCHEMA: u32 = 1;

/// How far the writer's clock may be ahead of the reader's.
pub const SKEW: Duration = Duration::from_secs(300);

/// Largest report as JSON, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// Most commits in a report.
pub const MAX_COMMITS: usize = 100;

/// One run of the pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Unique id of the run: 1 to 64 of `[A-Za-z0-9._-]`.
    pub id: String,
    /// Who started the run: a login name, 1 to 100 characters.
    pub actor: String,
    /// The run's page on the CI server: `https://…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The service that it deploys to; absent if unknown, and in reports of early versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// Whether the run was a rehearsal against fakes.
    pub rehearsal: bool,
    /// When the run started.
    pub started: Time,
    /// When the run finished; not before `started`.
    pub finished: Time,
    /// The commit that the run tested or deployed.
    pub commit: Commit,
    /// The commits since the previous release, newest first, [`MAX_COMMITS`] at most, including the run's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commits: Vec<Commit>,
    /// The steps of the run, in order; 20 at most.
    pub steps: Vec<Step>,
    /// The results of the tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<Tests>,
    /// The coverage of the tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// The pushed image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// The deployment, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<Deployment>,
    /// The deployment that the run has started, in a report of its own: see [`Report::start_id`]. Readers of earlier
    /// versions see a run without a deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way: Option<UnderWay>,
}

impl Report {
    /// The id of the report of a deployment's start, which the run's own report follows at its end.
    #[must_use]
    pub fn start_id(run: &str) -> String {
        format!("{run}-start")
    }

    /// The environment of a deployment, if it is unknown.
    pub const NO_ENVIRONMENT: &str = "unknown";
}

/// The service that a run deploys to. Several of them may share an image repository, and with it a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Unique key of the service: see [`Service::key`].
    pub key: String,
    /// Its display name, which may change: one line of 1 to 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Service {
    /// Derives the key from the service's id on its platform: the first 16 hexadecimal digits of the id's SHA-256.
    ///
    /// Not the id itself, which is configured as a secret and would be redacted.
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
    /// The name of its author, 1 to 100 characters; absent if unknown, and in reports of early versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}

/// One step of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Such as `test-coverage`: 1 to 40 of `[a-z-]`.
    pub name: String,
    /// The outcome.
    pub outcome: StepOutcome,
    /// How long it took, in milliseconds; 0 when it was skipped.
    pub milliseconds: u64,
}

/// The outcome of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// The step succeeded.
    Passed,
    /// The step failed.
    Failed,
    /// The step did not run, because it passed on the same inputs before.
    Reused,
    /// The step did not run.
    Skipped,
    /// A signal interrupted the step.
    Interrupted,
    /// An outcome of a newer version: 1 to 40 of `[a-z-]`.
    #[serde(untagged)]
    Other(String),
}

/// The results of a test run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tests {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that did not run.
    pub skipped: u64,
}

/// Line coverage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Lines that the tests ran; at most `lines`.
    pub covered: u64,
    /// All executable lines.
    pub lines: u64,
    /// The required percentage, 0 to 100. Earlier versions wrote `floor`.
    #[serde(alias = "floor")]
    pub threshold: u8,
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
    /// The attestations attached to it in the registry; 10 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attestations: Vec<Attestation>,
}

/// An attestation in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// Its artifact type, 1 to 255 characters: [`Attestation::SBOM`], [`Attestation::PROVENANCE`] or another one.
    pub artifact_type: String,
    /// The digest of its manifest: `sha256:` and 64 lower-case hexadecimal digits.
    pub digest: String,
}

impl Attestation {
    /// The artifact type of an SBOM in `CycloneDX`.
    pub const SBOM: &str = "application/vnd.cyclonedx+json";
    /// The artifact type of provenance in in-toto.
    pub const PROVENANCE: &str = "application/vnd.in-toto+json";
}

/// One attempt to make a release live, or to roll it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// What it attempted.
    pub kind: DeploymentKind,
    /// The target environment, such as `PROD`, or [`Report::NO_ENVIRONMENT`]: 1 to 64 of `[A-Za-z0-9._-]`.
    pub environment: String,
    /// Its id on the platform, such as `dep-…`, if the platform accepted it: 1 to 64 of `[A-Za-z0-9._-]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The hash of its plan, 64 lower-case hexadecimal digits; absent if it failed before there was a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// When it started.
    pub started: Time,
    /// When it finished; not before `started`.
    pub finished: Time,
    /// The outcome.
    pub outcome: DeploymentOutcome,
    /// Why it failed: 1 to 2000 characters; absent if it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The release to make live; absent if it failed before that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// The release that was live before, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Release>,
}

/// A deployment that has started. The report of its run says how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    /// The id of the run, and of its report.
    pub run: String,
    /// What it attempts.
    pub kind: DeploymentKind,
    /// The target environment, as in [`Deployment::environment`].
    pub environment: String,
    /// When it started.
    pub since: Time,
    /// When it will have ended, whatever happens: not before `since`, and at most a day after it.
    pub until: Time,
    /// The release to make live; absent if it cannot be named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
}

/// What a deployment attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentKind {
    /// Makes a new release live.
    Deploy,
    /// Makes an earlier release live again.
    Rollback,
    /// A kind of a newer version: 1 to 40 of `[a-z-]`.
    #[serde(untagged)]
    Other(String),
}

/// The outcome of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentOutcome {
    /// The release is live, as the running app confirmed.
    Live,
    /// It failed before anything was written.
    Unchanged,
    /// It failed, and the previous release is live again with its environment.
    RolledBack,
    /// It failed and could not be rolled back.
    NotRolledBack,
    /// A newer deployment replaced it.
    Superseded,
    /// An outcome of a newer version: 1 to 40 of `[a-z-]`.
    #[serde(untagged)]
    Other(String),
}

/// An image digest with its commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// `sha256:` and 64 lower-case hexadecimal digits.
    pub digest: String,
    /// 40 lower-case hexadecimal digits, followed by `-dirty` if the tree was; absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

#[cfg(test)]
mod tests;
