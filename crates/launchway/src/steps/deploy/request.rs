//! Requests a deploy, and recognises it among others.

use std::collections::BTreeSet;

use anyhow::Result;

use launchway_core::exit::{Exit, Failure};
use launchway_render::image;
use launchway_render::model::Deploy;
use launchway_render::{ApiError, Requested};

use super::release::Release;
use super::target::Target;

/// The state of the request for a deploy.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// Nothing was requested, or Render certainly did not accept it.
    NotRequested,
    /// Render may have accepted it without returning its id. These existed before.
    Unclear {
        /// The ids of the earlier deploys.
        known: BTreeSet<String>,
    },
    /// The deploy that was requested, as last seen.
    Ours(Box<Deploy>),
}

/// A failure, with the state that it leaves.
#[derive(Debug)]
pub(super) struct Unproved {
    pub(super) state: State,
    pub(super) error: anyhow::Error,
}

impl Unproved {
    fn new(state: State, error: impl Into<anyhow::Error>) -> Self {
        Self { state, error: error.into() }
    }

    /// Before any deploy was requested.
    pub(super) fn not_requested(error: impl Into<anyhow::Error>) -> Self {
        Self::new(State::NotRequested, error)
    }
}

impl Target<'_> {
    /// Requests a deploy of the release and finds its id.
    ///
    /// One deployment makes at most four of the ten calls a minute that Render allows for deploys and images: this one,
    /// the one for the image, and both again for a rollback.
    pub(super) fn request(&self, release: &Release) -> Result<Deploy, Unproved> {
        let earlier = self.api.deploys(self.since).map_err(Unproved::not_requested)?;
        let known: BTreeSet<String> = earlier.into_iter().map(|deploy| deploy.id).collect();
        let pinned = image::pinned(&self.repository(), &release.digest);
        self.note(format!("requesting a deploy of `{pinned}`"));
        let doubt = match self.api.create_deploy(&pinned) {
            Ok(Requested::Created(deploy)) if !deploy.id.is_empty() => {
                self.note(format!("deploy {}: {}", deploy.id, deploy.status));
                return Ok(deploy);
            }
            Ok(_) => {
                self.note("Render accepted the deploy without returning its id: looking for it");
                None
            }
            // Without a connection, or when rate-limited, nothing was requested.
            Err(ApiError::Unavailable { untouched: false, why, .. }) => {
                self.note(format!("whether Render accepted the deploy is unclear ({why}): looking for it"));
                Some(why)
            }
            Err(error) => return Err(Unproved::not_requested(error)),
        };
        let found = self.wait_for(|| self.ours(release, &known));
        let unclear = |error: anyhow::Error| Unproved::new(State::Unclear { known: known.clone() }, error);
        let Some(deploy) = found.map_err(unclear)? else {
            let reason = doubt.map_or_else(String::new, |why| format!(" ({why})"));
            let message = format!(
                "the requested deploy did not appear within {}{reason}",
                humantime::format_duration(self.timings.settle)
            );
            return Err(unclear(Failure::new(Exit::DeployFailed, message).into()));
        };
        self.note(format!("deploy {}: {}", deploy.id, deploy.status));
        Ok(deploy)
    }

    /// The requested deploy among the new ones: through the API, of exactly this image.
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
