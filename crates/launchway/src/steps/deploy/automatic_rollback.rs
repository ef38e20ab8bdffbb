//! Rolls back a failed deploy: ends our deploy, restores the variables, and makes the earlier release live again, with
//! proof.

use anyhow::Result;

use launchway_core::exit::{Exit, Failure};
use launchway_render::api::ApiError;
use launchway_render::model::{Deploy, Phase};

use super::changes::Wanted;
use super::proof;
use super::release::Release;
use super::request::State;
use super::service_state::{ServiceState, value};
use super::target::Target;

/// What to roll back, and to which state.
pub(super) struct AutomaticRollback<'u, 'a> {
    pub(super) target: &'u Target<'a>,
    /// The service before the deploy.
    pub(super) before: &'u ServiceState,
    /// The variables that were or may have been written, each with its new value.
    pub(super) written: &'u Wanted,
    /// The release that was requested.
    pub(super) release: &'u Release,
    /// The state of the request.
    pub(super) state: &'u mut State,
}

/// How a rollback ended.
#[derive(Debug)]
pub(super) enum RollbackOutcome {
    /// The service is in its earlier state.
    Restored,
    /// Somebody else's newer deploy has taken over and must be left alone.
    Superseded(String),
    /// These parts could not be restored.
    Left(Vec<String>),
}

/// Whether the failed deploy serves requests.
enum Serving {
    /// It never did.
    Never,
    /// It does, or may do so later.
    Perhaps,
    /// It did, and somebody else's newer one does now.
    Superseded(String),
}

impl AutomaticRollback<'_, '_> {
    pub(super) fn run(mut self) -> RollbackOutcome {
        let mut left = Vec::new();
        let serving = match self.end_ours() {
            Ok(Serving::Superseded(newer)) => return RollbackOutcome::Superseded(newer),
            Ok(serving) => serving,
            Err(error) => {
                left.push(format!("it is unknown whether our deploy may still go live: {error:#}"));
                Serving::Perhaps
            }
        };
        if self.before.live.is_none() && !matches!(serving, Serving::Never) {
            // A first deploy has no earlier release. If its release is live, or may become so, it keeps its variables:
            // without them it would fail at its next start.
            left.push(self.stays());
            return RollbackOutcome::Left(left);
        }
        let Target { api, timings, .. } = self.target;
        if let Err(error) = api.within(timings.rollback, || self.restore_variables()) {
            left.push(format!("variables: {error:#}"));
        }
        match self.restore_release(&serving) {
            Ok(()) => {}
            Err(error) if Exit::of(&error) == Exit::Superseded && left.is_empty() => {
                return RollbackOutcome::Superseded(format!("{error:#}"));
            }
            Err(error) => left.push(format!("release: {error:#}")),
        }
        if let Err(error) = self.restore_image() {
            left.push(format!("the image in the service's settings: {error:#}"));
        }
        if left.is_empty() { RollbackOutcome::Restored } else { RollbackOutcome::Left(left) }
    }

    /// Keeps our own deploy from going live, unless it already has.
    fn end_ours(&mut self) -> Result<Serving> {
        if let State::Unclear { known } = &self.state
            && let Some(found) = self.target.ours(self.release, known)?
        {
            *self.state = State::Ours(Box::new(found));
        }
        let State::Ours(deploy) = &mut *self.state else {
            return Ok(match self.state {
                State::NotRequested => Serving::Never,
                _ => Serving::Perhaps,
            });
        };
        let (target, id) = (self.target, deploy.id.clone());
        let mut cancelled = !deploy.status.is_open();
        let ended = target.wait_for(|| {
            if !cancelled {
                match target.api.cancel(&id) {
                    Ok(_) => {
                        cancelled = true;
                        target.note(format!("deploy {id} is cancelled"));
                    }
                    // Often it has just ended, which the next poll shows.
                    Err(ApiError::Refused { .. } | ApiError::Unavailable { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            match target.api.deploy(&id) {
                Ok(now) => Ok((!now.status.is_open()).then_some(now.status)),
                Err(ApiError::Unavailable { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })?;
        let Some(status) = ended else { return Ok(Serving::Perhaps) };
        deploy.status = status;
        Ok(match deploy.status.phase() {
            Phase::Live => Serving::Perhaps,
            Phase::Deactivated => {
                let newer = target.newer_than(deploy).unwrap_or_else(|| "another deploy".to_owned());
                let names: Vec<&str> = self.written.iter().map(|(name, _)| name.as_str()).collect();
                let with = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                Serving::Superseded(format!(
                    "{newer} is now live, with the variables that this run wrote: {with}"
                ))
            }
            Phase::Failed | Phase::Canceled | Phase::UnderWay | Phase::Unknown => Serving::Never,
        })
    }

    /// Restores each variable that still has the value that this deploy wrote; a value written since is left alone.
    fn restore_variables(&self) -> Result<()> {
        /// A call whose response was lost may have succeeded: only another read shows that.
        const LOOKS: usize = 3;
        if self.written.is_empty() {
            return Ok(());
        }
        let mut refused = None;
        let mut touched = Vec::new();
        for _ in 0..LOOKS {
            let now = self.target.api.variables()?;
            self.target.hide_variables(&now);
            let ours: Vec<&str> = self
                .written
                .iter()
                .filter(|(name, new)| value(&now, name) == new.as_ref())
                .map(|(name, _)| name.as_str())
                .collect();
            let ours = self.before.differing(ours, &now);
            if ours.is_empty() {
                let all = self.written.iter().map(|(name, _)| name.as_str());
                for name in self.before.differing(all, &now) {
                    self.target.note(format!("{name} has been changed in the meantime: left alone"));
                }
                if !touched.is_empty() {
                    self.target.note(format!("restored: {}", touched.join(", ")));
                }
                return Ok(());
            }
            for name in ours {
                if !touched.contains(&name) {
                    touched.push(name);
                }
                let done = match self.before.value(name) {
                    Some(old) => self.target.api.put_variable(name, old),
                    None => self.target.api.delete_variable(name),
                };
                if let Err(error) = done {
                    refused = Some(anyhow::Error::from(error));
                }
            }
        }
        Err(refused.unwrap_or_else(|| anyhow::anyhow!("Render does not keep the written value")))
    }

    /// What a first deploy leaves if it could not be cancelled.
    fn stays(&self) -> String {
        let what = match &self.state {
            State::Ours(deploy) => format!("deploy {} is {}, unproved, and stays", deploy.id, deploy.status),
            _ => "the requested deploy may still start, and is left alone".to_owned(),
        };
        format!("no earlier release to roll back to: {what}, with the variables that it needs")
    }

    /// Makes the earlier release live again with the environment that it had.
    fn restore_release(&self, serving: &Serving) -> Result<()> {
        let target = self.target;
        let Some(before) = &self.before.live else { return Ok(()) };
        if matches!(serving, Serving::Never) {
            if matches!(self.state, State::NotRequested) {
                return Ok(());
            }
            // Its instances kept the variables that they were started with.
            match target.api.live()? {
                Some(mut live) if live.id == before.id => {
                    let proved = self.reports_as_before(&mut live);
                    if proved.is_ok() {
                        target.note(format!("deploy {} is still live", live.id));
                        return Ok(());
                    }
                }
                Some(other) => return Err(superseded_by(&other)),
                None => {}
            }
        } else {
            let all = target.api.deploys(target.since)?;
            let mut open = all.iter().filter(|deploy| deploy.status.is_open());
            match &self.state {
                State::Unclear { known } => {
                    if let Some(other) = open.find(|deploy| !known.contains(&deploy.id)) {
                        anyhow::bail!("the requested deploy may still start, before or after {}", other.id);
                    }
                }
                // Another request would cancel that deploy, or ours.
                State::Ours(ours) => {
                    let newer = |other: &&Deploy| other.id != ours.id && other.created_at > ours.created_at;
                    if let Some(other) = open.find(newer) {
                        return Err(superseded_by(other));
                    }
                }
                State::NotRequested => {}
            }
        }
        match self.redeploy() {
            // There is no further fallback after this.
            Err(error) if !matches!(Exit::of(&error), Exit::Superseded | Exit::Interrupted) => {
                target.note(format!("{error:#}: trying once more"));
                self.redeploy()
            }
            done => done,
        }
    }

    /// Deploys the earlier release by its digest and proves it.
    fn redeploy(&self) -> Result<()> {
        let Some(release) = &self.before.release else {
            anyhow::bail!("the digest of the earlier release is unknown");
        };
        let target = self.target;
        target.note(format!("rolling back to {}", release.words()));
        let mut deploy = target.request(release).map_err(|unproved| unproved.error)?;
        target.watch(&mut deploy)?;
        proof::compare(&deploy, release)?;
        self.reports_as_before(&mut deploy)
    }

    /// Checks that the service reports the same commit as before; if it reported none, nothing can be checked.
    fn reports_as_before(&self, deploy: &mut Deploy) -> Result<()> {
        match &self.before.reported {
            Some(commit) => {
                let config = &self.target.config.deploy;
                self.target.prove(deploy, &config.health, config.version.as_deref(), Some(commit)).map(drop)
            }
            None => Ok(()),
        }
    }

    /// Restores the image in the settings: Render may have taken ours over from the deploy.
    fn restore_image(&self) -> Result<()> {
        if matches!(self.state, State::NotRequested) {
            return Ok(());
        }
        let Some(before) = &self.before.service.image_path else { return Ok(()) };
        self.target.store_image(before)
    }
}

fn superseded_by(other: &Deploy) -> anyhow::Error {
    let message =
        format!("{} is {}, which is neither this deploy nor the earlier one", other.id, other.status);
    Failure::new(Exit::Superseded, message).into()
}
