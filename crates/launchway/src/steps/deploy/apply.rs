//! Asking for a deploy, and knowing ours among others.

use std::collections::BTreeSet;

use anyhow::Result;

use launchway_core::exit::{Exit, Failure};
use launchway_render::api::{ApiError, Requested};
use launchway_render::image;
use launchway_render::model::Deploy;

use super::remote::{Release, Remote};

/// What became of our request for a deploy.
#[derive(Clone, Debug, Default)]
pub(super) enum Fate {
    /// Nothing was asked for, or Render surely did not take it.
    #[default]
    NotAsked,
    /// Render may have taken it without saying which deploy it became. These were there before.
    Unclear { known: BTreeSet<String> },
    /// Our own deploy, as last seen.
    Ours(Deploy),
}

impl Fate {
    pub(super) fn deploy(&self) -> Option<&Deploy> {
        match self {
            Self::Ours(deploy) => Some(deploy),
            Self::NotAsked | Self::Unclear { .. } => None,
        }
    }
}

impl Remote<'_> {
    /// Asks for a deploy of the release and finds out which one that is. `fate` is right also after an error.
    ///
    /// One attempt at a release makes at most four calls of the ten a minute that Render allows for deploys and images:
    /// this one, the image's, and both once more to go back.
    pub(super) fn ask(&self, release: &Release, fate: &mut Fate) -> Result<()> {
        let known: BTreeSet<String> =
            self.api.deploys(self.since)?.into_iter().map(|deploy| deploy.id).collect();
        let pinned = image::pinned(&self.repository(), &release.digest);
        self.note(format!("asking for `{pinned}`"));
        let doubt = match self.api.create_deploy(&pinned) {
            Ok(Requested::Created(deploy)) if !deploy.id.is_empty() => {
                self.note(format!("deploy {}: {}", deploy.id, deploy.status));
                *fate = Fate::Ours(deploy);
                return Ok(());
            }
            Ok(_) => {
                self.note("Render took the deploy and did not say which it is: looking for it");
                None
            }
            // A connection that was never made, or a limit that never ended, asked for nothing.
            Err(ApiError::Unavailable { untouched: false, why, .. }) => {
                self.note(format!("whether Render took the deploy is not clear ({why}): looking for it"));
                Some(why)
            }
            Err(error) => return Err(error.into()),
        };
        *fate = Fate::Unclear { known: known.clone() };
        let Some(deploy) = self.wait_for(|| self.ours(release, &known))? else {
            let reason = doubt.map_or_else(String::new, |why| format!(" ({why})"));
            let message = format!(
                "no deploy of ours appeared within {}{reason}",
                humantime::format_duration(self.pace.patience)
            );
            return Err(Failure::new(Exit::DeployFailed, message).into());
        };
        self.note(format!("deploy {}: {}", deploy.id, deploy.status));
        *fate = Fate::Ours(deploy);
        Ok(())
    }

    /// Our own deploy among those that were not there before: asked for through the API, of exactly our image.
    pub(super) fn ours(&self, release: &Release, known: &BTreeSet<String>) -> Result<Option<Deploy>> {
        let deploys = self.api.deploys(self.since)?;
        Ok(deploys.into_iter().find(|deploy| {
            let reference = deploy.image.as_ref().and_then(|image| image.reference.as_deref());
            !known.contains(&deploy.id)
                && deploy.trigger.as_deref() == Some("api")
                && reference.is_some_and(|found| image::is_pinned(found, &self.repository(), &release.digest))
        }))
    }
}
