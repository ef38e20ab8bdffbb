//! The results of a run's steps, and how they reach later processes and the run report.

use anyhow::Result;
use launchway_report::{Coverage, StepOutcome, Tests};

use super::record::StepRecord;
use crate::run_state::{Image, RunState};
use crate::steps::deploy::{Concluded, Deployment, DeploymentRecord};
use crate::steps::docker_build::Built;
use crate::steps::push::PushRecord;
use crate::steps::test_coverage::{self, CoverageRecord};
use crate::table::StepId;
use launchway_core::events::{Deployed, Outcome, Review};

/// The results of a run's steps.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// Present even if some of them failed.
    pub(crate) tests: Option<Tests>,
    pub(crate) coverage: Option<CoverageRecord>,
    pub(crate) image: Option<Built>,
    pub(crate) pushed: Option<PushRecord>,
    pub(crate) deployment: Option<Deployment>,
    /// The deployment for the history, even if it failed.
    pub(crate) deployment_record: Option<DeploymentRecord>,
    /// The reported facts of the deployment.
    pub(crate) deployed: Option<Deployed>,
    /// The size of the image that was live before the deployment, where it is known.
    pub(crate) previous_bytes: Option<u64>,
    /// What a reviewer reads of it all, gathered at the end.
    pub(crate) review: Review,
}

impl Results {
    /// Adds a deployment that ended, and returns why it failed.
    pub(super) fn conclude(&mut self, concluded: Concluded) -> Result<()> {
        let Concluded { record, facts, result } = concluded;
        self.deployment_record = Some(record);
        self.deployed = Some(facts);
        self.deployment = Some(result?);
        Ok(())
    }

    /// Adds a step and its results to the state that the next process gets.
    pub(super) fn add_to(&self, so_far: &mut RunState, step: &StepRecord) {
        let outcome = match step.outcome {
            Outcome::Passed => StepOutcome::Passed,
            Outcome::Reused => StepOutcome::Reused,
            Outcome::Failed => StepOutcome::Failed,
            Outcome::Skipped => StepOutcome::Skipped,
            Outcome::Interrupted => StepOutcome::Interrupted,
        };
        so_far.add(step.step, outcome, step.milliseconds);
        if !step.skipped.is_empty() {
            so_far.skipped.insert(step.step.to_string(), step.skipped.clone());
        }
        match step.step {
            StepId::TestCoverage => {
                so_far.tests = self.tests;
                so_far.coverage = self.coverage.as_ref().map(|coverage| Coverage {
                    covered: coverage.covered,
                    lines: coverage.lines,
                    threshold: percent(coverage.threshold),
                });
            }
            StepId::DockerBuild => {
                so_far.image =
                    self.image.as_ref().map(|built| Image::new(&built.digest, built.layers.iter().sum()));
            }
            StepId::Push => {
                if let (Some(image), Some(pushed)) = (&mut so_far.image, &self.pushed) {
                    for referrer in &pushed.referrers {
                        image.attach(&referrer.artifact_type, &referrer.digest);
                    }
                }
            }
            StepId::Lint | StepId::Deploy | StepId::Rollback => {}
        }
    }

    /// The facts shown at the end of a run; on GitHub, `image` and `digest` are the step's outputs.
    pub(super) fn facts(&self, is_rehearsal: bool) -> Vec<(String, String)> {
        let mut facts = Vec::new();
        let mut fact = |name: &str, value: String| facts.push((name.to_owned(), value));
        if let Some(tests) = &self.tests {
            fact("tests", test_coverage::in_words(tests));
        }
        if let Some(coverage) = &self.coverage {
            fact("coverage", format!("{coverage}"));
        }
        match (&self.pushed, &self.image) {
            (Some(pushed), _) => {
                fact("image", format!("{}:{}", pushed.repository, pushed.commit_tag));
                fact("digest", pushed.digest.to_string());
            }
            (None, Some(image)) => {
                fact(
                    "image",
                    format!("{}:{}", image.repository, image.tags.first().map_or("", String::as_str)),
                );
                fact("digest", image.digest.to_string());
            }
            (None, None) => {}
        }
        // The service of a rehearsal ends with it.
        if let Some(deployment) = self.deployment.as_ref().filter(|_| !is_rehearsal) {
            fact("url", deployment.url.clone());
        }
        facts
    }
}

/// Whole percent, rounded down.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to 100, as the configuration holds"
)]
fn percent(threshold: f64) -> u8 {
    threshold.clamp(0.0, 100.0) as u8
}

#[cfg(test)]
mod tests;
