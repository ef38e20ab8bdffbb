//! What a run has done so far, for the process that continues it: on GitHub, every step is a separate process and every
//! job a separate machine.
//!
//! It contains no secret and no repository name: GitHub drops an output that contains the value of a secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;
use launchway_report::{Attestation, Coverage, Step, StepOutcome, Tests, Time};
use serde::{Deserialize, Serialize};

use crate::git::Git;
use crate::table::{RUN_STATE, StepId};
use launchway_core::environment::Environment;
use launchway_core::events::Reporter;
use launchway_core::secret::random_word;
use launchway_registry::Digest;

/// What a run has done so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunState {
    /// Unique for each run.
    pub(crate) id: String,
    /// The tag of the commit's image.
    commit: String,
    pub(crate) started: Time,
    pub(crate) steps: Vec<Step>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tests: Option<Tests>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) coverage: Option<Coverage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<Image>,
    /// The checks inside each step that did not run, by the step's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) skipped: BTreeMap<String, Vec<String>>,
    /// Fields of another version, passed on to the next process.
    #[serde(flatten)]
    more: serde_json::Map<String, serde_json::Value>,
}

/// The image, without its repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Image {
    digest: String,
    bytes: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attestations: Vec<Attestation>,
}

impl Image {
    pub(crate) fn new(digest: &Digest, bytes: u64) -> Self {
        Self { digest: digest.to_string(), bytes, attestations: Vec::new() }
    }

    /// Adds an attestation that was attached in the registry.
    pub(crate) fn attach(&mut self, artifact_type: &str, digest: &Digest) {
        self.attestations
            .push(Attestation { artifact_type: artifact_type.to_owned(), digest: digest.to_string() });
    }

    /// The sum of its compressed layers.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn named(self, repository: &str) -> launchway_report::Image {
        let Self { digest, bytes, attestations } = self;
        launchway_report::Image { repository: repository.to_owned(), digest, bytes, attestations }
    }
}

impl RunState {
    /// Continues the run that an earlier process started, or starts one.
    ///
    /// A step that runs alone continues a run of the same commit (on GitHub: the same run) that does not have that step
    /// yet; otherwise it starts its own.
    pub(crate) fn begin(
        output: &Path,
        git: &Git,
        environment: &Environment,
        alone: Option<StepId>,
    ) -> Result<Self> {
        let given = environment.get(RUN_STATE).and_then(|text| serde_json::from_str(text).ok());
        let on_github = run_on_github(environment);
        let earlier = match alone {
            Some(step) => {
                let goes_on = |earlier: &Self| {
                    earlier.commit == git.tag()
                        && on_github.as_ref().is_none_or(|id| *id == earlier.id)
                        && earlier.steps.iter().all(|done| done.name != step.name())
                };
                read(&path(output)).filter(goes_on).or(given.filter(goes_on))
            }
            None => None,
        };
        if let Some(earlier) = earlier {
            return Ok(earlier);
        }
        match on_github {
            Some(id) => Ok(Self::of(git, id)),
            None => Self::new(git),
        }
    }

    /// A new run that continues nothing.
    pub(crate) fn new(git: &Git) -> Result<Self> {
        let word = random_word()?;
        Ok(Self::of(git, format!("{}-{}", git.short(), word.get(..12).unwrap_or_default())))
    }

    fn of(git: &Git, id: String) -> Self {
        Self {
            id,
            commit: git.tag(),
            started: SystemTime::now().into(),
            steps: Vec::new(),
            tests: None,
            coverage: None,
            image: None,
            skipped: BTreeMap::new(),
            more: serde_json::Map::new(),
        }
    }

    /// Adds a step that ended.
    pub(crate) fn add(&mut self, step: StepId, outcome: StepOutcome, milliseconds: u64) {
        self.steps.push(Step { name: step.name().to_owned(), outcome, milliseconds });
    }

    /// Leaves it for the next process, in `target/xtask`.
    pub(crate) fn leave(&self, output: &Path, reporter: &Reporter) -> Result<()> {
        reporter.leave_json(&path(output), &self.to_line()?)
    }

    /// One line of JSON.
    pub(crate) fn to_line(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

fn path(output: &Path) -> PathBuf {
    output.join("run-state.json")
}

fn read(path: &Path) -> Option<RunState> {
    serde_json::from_slice(&fs_err::read(path).ok()?).ok()
}

/// The id of the run on GitHub; a second attempt is a separate run.
fn run_on_github(environment: &Environment) -> Option<String> {
    let get = |name: &str| environment.get(name);
    Some(format!("github-{}-{}", get("GITHUB_RUN_ID")?, get("GITHUB_RUN_ATTEMPT").unwrap_or("1")))
}

#[cfg(test)]
mod tests;
