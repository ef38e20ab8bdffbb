//! What a run has done so far, for the process that goes on with it: on GitHub every step is a process of its own, and
//! every job a machine of its own.
//!
//! It holds no secret and no name of a repository: GitHub drops an output in which a secret's value occurs.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;
use launchway_report::{Attestation, Coverage, Step, StepOutcome, Tests, Time};
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::table::{RUN_STATE, StepId};
use launchway_core::secret::random_word;
use launchway_registry::Digest;

/// What a run has done so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunState {
    /// Names the run, and no other.
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
    /// What another version has put in it, for the next process.
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

    pub(crate) fn named(self, repository: &str) -> launchway_report::Image {
        let Self { digest, bytes, attestations } = self;
        launchway_report::Image { repository: repository.to_owned(), digest, bytes, attestations }
    }
}

impl RunState {
    /// Goes on with the run that an earlier process began, or begins one.
    ///
    /// A step that runs alone goes on with what is of the same commit (on GitHub: of the same run) and has no such step yet;
    /// anything else is a run of its own.
    pub(crate) fn begin(ctx: &Context, alone: Option<StepId>) -> Result<Self> {
        let given = ctx.environment.get(RUN_STATE).and_then(|text| serde_json::from_str(text).ok());
        let earlier = match alone {
            Some(step) => {
                let goes_on = |earlier: &Self| {
                    earlier.commit == ctx.git.tag()
                        && run_on_github(ctx).is_none_or(|id| id == earlier.id)
                        && earlier.steps.iter().all(|done| done.name != step.name())
                };
                read(&path(ctx)).filter(goes_on).or(given.filter(goes_on))
            }
            None => None,
        };
        if let Some(earlier) = earlier {
            return Ok(earlier);
        }
        match run_on_github(ctx) {
            Some(id) => Ok(Self::of(ctx, id)),
            None => Self::new(ctx),
        }
    }

    /// A run that nothing else is part of.
    pub(crate) fn new(ctx: &Context) -> Result<Self> {
        let word = random_word()?;
        Ok(Self::of(ctx, format!("{}-{}", ctx.git.short(), word.get(..12).unwrap_or_default())))
    }

    fn of(ctx: &Context, id: String) -> Self {
        Self {
            id,
            commit: ctx.git.tag(),
            started: SystemTime::now().into(),
            steps: Vec::new(),
            tests: None,
            coverage: None,
            image: None,
            more: serde_json::Map::new(),
        }
    }

    /// Adds a step that ended.
    pub(crate) fn add(&mut self, step: StepId, outcome: StepOutcome, milliseconds: u64) {
        self.steps.push(Step { name: step.name().to_owned(), outcome, milliseconds });
    }

    /// Leaves it for the next process; no run continues a rehearsal.
    pub(crate) fn leave(&self, ctx: &Context) -> Result<()> {
        if ctx.is_rehearsal() { Ok(()) } else { ctx.leave_json(&path(ctx), &self.to_line()?) }
    }

    /// One line of JSON.
    pub(crate) fn to_line(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

fn path(ctx: &Context) -> PathBuf {
    ctx.output().join("run-state.json")
}

fn read(path: &Path) -> Option<RunState> {
    serde_json::from_slice(&fs_err::read(path).ok()?).ok()
}

/// The id of the run on GitHub; a second attempt is a run of its own.
fn run_on_github(ctx: &Context) -> Option<String> {
    let get = |name: &str| ctx.environment.get(name);
    Some(format!("github-{}-{}", get("GITHUB_RUN_ID")?, get("GITHUB_RUN_ATTEMPT").unwrap_or("1")))
}

#[cfg(test)]
mod tests;
