//! Whether the reports and the running process agree on what is live.

use report::{DeploymentOutcome, Release, Time};
use serde::Serialize;

use super::history::{History, Run};
use crate::identity::Identity;
use crate::settings::Settings;

/// The reports say that something else is live than what runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Drift {
    /// What should be live.
    pub(super) reported: Release,
    /// Since when.
    pub(super) at: Time,
    /// The run that says so.
    pub(super) run: String,
}

/// Compares what the newest deployment left live with the running process.
pub(super) fn drift(history: &History, identity: &Identity) -> Option<Drift> {
    let (run, deployment) = history.deployments().pop()?;
    let reported = match deployment.outcome {
        DeploymentOutcome::Live => deployment.release.as_ref(),
        DeploymentOutcome::Unchanged | DeploymentOutcome::RolledBack => deployment.previous.as_ref(),
        // What is live then, the report does not know.
        DeploymentOutcome::NotRolledBack | DeploymentOutcome::Superseded => None,
    }?;
    let drifted = runs(identity, reported) == Some(false);
    drifted.then(|| Drift { reported: reported.clone(), at: deployment.finished, run: run.report.id.clone() })
}

/// The newest deployment that put live what runs here.
pub(super) fn origin<'a>(history: &'a History, identity: &Identity) -> Option<&'a Run> {
    let (run, deployment) = history.deployments().into_iter().rfind(|(_, deployment)| {
        let release = deployment.release.as_ref();
        deployment.outcome == DeploymentOutcome::Live
            && release.is_some_and(|release| runs(identity, release) == Some(true))
    })?;
    deployment.release.as_ref().map(|_| run)
}

/// Whether this process is that release; `None` where the two have nothing in common to compare.
fn runs(identity: &Identity, release: &Release) -> Option<bool> {
    if let Some(digest) = &identity.image_digest {
        return Some(*digest == release.digest);
    }
    let commit = release.commit.as_ref()?;
    (identity.commit != Settings::UNKNOWN_COMMIT).then(|| identity.commit == *commit)
}

#[cfg(test)]
mod tests;
