//! The service before anything is written: the start of a plan and the goal of a rollback.

use std::collections::BTreeMap;

use anyhow::Result;

use launchway_core::secret::Secret;
use launchway_render::model::{Deploy, EnvVar, Service};

use super::changes::Wanted;
use super::proof;
use super::release::Release;
use super::target::Target;

/// The service before the deploy.
#[derive(Clone, Debug)]
pub(super) struct ServiceState {
    pub(super) service: Service,
    /// All variables, including the unmanaged ones.
    pub(super) variables: Vec<EnvVar>,
    /// The live deploy.
    pub(super) live: Option<Deploy>,
    /// The live release; its commit is the one that the service reported, or the one that was kept with it.
    pub(super) release: Option<Release>,
    /// The commit that the service reported.
    pub(super) reported: Option<String>,
}

impl ServiceState {
    pub(super) fn value(&self, name: &str) -> Option<&Secret> {
        value(&self.variables, name)
    }

    /// Those of these names whose values have changed.
    pub(super) fn differing<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
        now: &[EnvVar],
    ) -> Vec<&'n str> {
        names.into_iter().filter(|name| self.value(name) != value(now, name)).collect()
    }

    /// The service's own variables, overridden by the wanted ones.
    pub(super) fn environment_with(&self, wanted: &Wanted) -> BTreeMap<String, Secret> {
        let mut variables: BTreeMap<String, Secret> =
            self.variables.iter().map(|variable| (variable.key.clone(), variable.value.clone())).collect();
        for (name, value) in wanted {
            match value {
                Some(value) => drop(variables.insert(name.clone(), value.clone())),
                None => drop(variables.remove(name)),
            }
        }
        variables
    }
}

/// The value of a variable among these.
pub(super) fn value<'v>(variables: &'v [EnvVar], name: &str) -> Option<&'v Secret> {
    variables.iter().find(|variable| variable.key == name).map(|variable| &variable.value)
}

impl Target<'_> {
    /// Reads the service with every variable.
    pub(super) fn read(&self) -> Result<ServiceState> {
        let service = self.api.service()?;
        let variables = self.api.variables()?;
        self.hide_variables(&variables);
        let live = self.api.live()?;
        let reported = match &live {
            Some(_) => match &self.config.deploy.version {
                Some(path) => proof::glance(self, &self.address(path)?),
                None => None,
            },
            None => None,
        };
        let kept = || self.kept.commit(&live.as_ref()?.id);
        let release = live.as_ref().and_then(|live| Release::of(live, reported.clone().or_else(kept)));
        Ok(ServiceState { service, variables, live, release, reported })
    }
}
