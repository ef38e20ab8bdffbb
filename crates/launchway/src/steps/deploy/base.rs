//! What a service is before anything is written: what a plan begins with and what an undo goes back to.

use anyhow::Result;

use launchway_core::secret::Secret;
use launchway_render::model::{Deploy, EnvVar, Service};

use super::proof;
use super::remote::{Release, Remote};
use super::snapshot;

/// The service as it was found.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub(super) service: Service,
    /// All of them, also those that are none of a deploy's business.
    pub(super) variables: Vec<EnvVar>,
    /// The deploy that served.
    pub(super) live: Option<Deploy>,
    /// What it runs; its commit is the one that the app answered, or the one that was kept with it.
    pub(super) release: Option<Release>,
    /// The commit that the app answered.
    pub(super) answered: Option<String>,
}

impl Base {
    pub(super) fn value(&self, name: &str) -> Option<&Secret> {
        value(&self.variables, name)
    }
}

/// The value of a variable among these.
pub(super) fn value<'v>(variables: &'v [EnvVar], name: &str) -> Option<&'v Secret> {
    variables.iter().find(|variable| variable.key == name).map(|variable| &variable.value)
}

impl Remote<'_> {
    /// Reads the service anew, with every variable.
    pub(super) fn base(&self) -> Result<Base> {
        let service = self.api.service()?;
        let variables = self.api.variables()?;
        self.hide_variables(&variables);
        let live = self.api.live()?;
        let answered = match &live {
            Some(_) => match &self.ctx.config.deploy.version {
                Some(path) => proof::glance(self, &self.address(path)?),
                None => None,
            },
            None => None,
        };
        let kept = || snapshot::commit(self.ctx, &live.as_ref()?.id);
        let release = live.as_ref().and_then(|live| Release::of(live, answered.clone().or_else(kept)));
        Ok(Base { service, variables, live, release, answered })
    }
}
