//! Compares what the reports say is live with the running process.

use std::time::Duration;

use launchway_report::{DeploymentOutcome, Release, Time, UnderWay};
use serde::Serialize;

use super::history::{History, Run};
use crate::identity::Identity;
use crate::settings::Settings;

/// The reports name another live release than the running one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Drift {
    /// The release that should be live.
    pub(super) reported: Release,
    /// Since when.
    pub(super) at: Time,
    /// The run that reported it.
    pub(super) run: String,
}

/// Compares the release that the newest deployment left live with the running process.
pub(super) fn drift(history: &History, identity: &Identity) -> Option<Drift> {
    let (run, deployment) = history.deployments().pop()?;
    let reported = match &deployment.outcome {
        DeploymentOutcome::Live => deployment.release.as_ref(),
        DeploymentOutcome::Unchanged | DeploymentOutcome::RolledBack => deployment.previous.as_ref(),
        // The report does not know what is live then.
        DeploymentOutcome::NotRolledBack | DeploymentOutcome::Superseded | DeploymentOutcome::Other(_) => {
            None
        }
    }?;
    let drifted = is_running(identity, reported) == Some(false);
    drifted.then(|| Drift { reported: reported.clone(), at: deployment.finished, run: run.report.id.clone() })
}

/// How long after its start a process counts as a deployment in progress, if the reports name another release and no
/// deployment has said when it will have ended: its start does not reach a board in memory, which ends with its process.
const PROGRESS: Duration = Duration::from_secs(900);

/// When a drift stops being explained by a deployment in progress; `None` without a drift, and afterwards.
///
/// The pipeline names the live release at the end of a deployment, so the process that it starts is unknown to the
/// reports until then.
pub(super) fn settled(
    drift: Option<&Drift>,
    start: Option<&UnderWay>,
    identity: &Identity,
    now: Time,
) -> Option<Time> {
    drift?;
    let is_this = |start: &&UnderWay| {
        start.release.as_ref().is_some_and(|release| is_running(identity, release) == Some(true))
    };
    let end = start.filter(is_this).map_or_else(|| identity.started.after(PROGRESS), |start| start.until);
    Some(end).filter(|end| now < *end)
}

/// The newest run that made the running release live, and that release. In a rehearsal it is a rehearsal.
pub(super) fn origin<'a>(history: &'a History, identity: &Identity) -> Option<(&'a Run, &'a Release)> {
    let made_live = |run: &'a Run| {
        let deployment = run.report.deployment.as_ref()?;
        let release = deployment.release.as_ref()?;
        let is_this =
            deployment.outcome == DeploymentOutcome::Live && is_running(identity, release) == Some(true);
        is_this.then_some((deployment.finished, run, release))
    };
    let found =
        history.runs.iter().filter_map(|run| made_live(run)).max_by_key(|(at, run, _)| (*at, run.key()));
    found.map(|(_, run, release)| (run, release))
}

/// Whether this process runs that release; `None` if they share nothing to compare.
pub(super) fn is_running(identity: &Identity, release: &Release) -> Option<bool> {
    if let Some(digest) = &identity.image_digest {
        return Some(*digest == release.digest);
    }
    let commit = release.commit.as_ref()?;
    (identity.commit != Settings::UNKNOWN_COMMIT).then(|| identity.commit == *commit)
}

#[cfg(test)]
mod tests;
