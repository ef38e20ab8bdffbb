//! Resumes a deploy that an earlier run requested, with what that run kept of the one before.

use anyhow::Result;

use launchway_core::exit::{Exit, Failure};
use launchway_render::image;
use launchway_render::model::{Deploy, EnvVar, Phase};

use super::changes::Wanted;
use super::release::Release;
use super::service_state::ServiceState;
use super::target::Target;

/// A deploy to resume.
pub(super) struct Attached {
    pub(super) deploy: Deploy,
    /// The service before it; unknown if this machine kept nothing.
    pub(super) before: Option<ServiceState>,
    /// The variables that the earlier run wrote, with their values.
    pub(super) written: Wanted,
}

impl Target<'_> {
    /// Finds the deploy, which must be of this release.
    pub(super) fn attach(&self, id: &str, release: &Release) -> Result<Attached> {
        let deploy = self.api.deploy(id)?;
        let found = Release::of(&deploy, None);
        if !found.is_some_and(|found| release.is(&found.digest)) {
            let message = format!("deploy {id} does not run {}", release.words());
            return Err(Failure::new(Exit::Usage, message).into());
        }
        let mut before = self.read()?;
        let older = self.api.deploys(self.since)?.into_iter().find(|other| {
            other.created_at < deploy.created_at
                && matches!(other.status.phase(), Phase::Live | Phase::Deactivated)
        });
        let kept = match older {
            Some(older) => self.kept.open(&older.id)?.map(|kept| (kept, older)),
            None => None,
        };
        let mut written = Wanted::new();
        let before = kept.map(|(kept, older)| {
            for (name, old) in kept.variables {
                let now = before.value(&name).cloned();
                if now == old {
                    continue;
                }
                before.variables.retain(|variable| variable.key != name);
                let key = name.clone();
                before.variables.extend(old.map(|value| EnvVar { key, value }));
                written.push((name, now));
            }
            before.service.image_path = Some(image::pinned(&self.repository(), &kept.release.digest));
            before.reported.clone_from(&kept.release.commit);
            before.release = Some(kept.release);
            before.live = Some(older);
            before
        });
        if before.is_none() {
            self.note("this machine does not know what was live before, so it cannot roll back a failure");
        }
        self.note(format!("deploy {id}: {}", deploy.status));
        Ok(Attached { deploy, before, written })
    }
}
