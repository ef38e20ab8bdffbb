//! What a deploy or a rollback knows before its first write, and keeps of it for a rollback.

use std::collections::BTreeMap;

use launchway_core::secret::Secret;
use launchway_render::model::Deploy;

use super::changes::Wanted;
use super::kept_release::{KeptRelease, Origin};
use super::release::Release;
use super::service_state::ServiceState;
use super::target::Target;

/// Everything known before the first write, and what was written since.
pub(super) struct Ready {
    pub(super) release: Release,
    pub(super) wanted: Wanted,
    /// The service before the deploy; unknown to a run that resumed another machine's deploy.
    pub(super) before: Option<ServiceState>,
    /// The variables that were or may have been written, each with its new value.
    pub(super) written: Wanted,
    /// The name of the environment.
    pub(super) environment: String,
}

impl Ready {
    /// Keeps our own release for a rollback. Failing to do so does not fail the deploy.
    pub(super) fn keep(&self, target: &Target<'_>, deploy: &Deploy, origin: Origin, commit: Option<&str>) {
        let mut release = self.release.clone();
        release.commit = release.commit.or_else(|| commit.map(str::to_owned));
        let value = |name: &String| {
            let wanted = self.wanted.iter().find(|(wanted, _)| wanted == name);
            let value = wanted.map(|(_, value)| value.clone());
            value.unwrap_or_else(|| self.before.as_ref()?.value(name).cloned())
        };
        let names = target.config.deploy.names();
        let variables = names.iter().map(|name| (name.clone(), value(name))).collect();
        keep(target, &deploy.id, origin, &release, variables);
    }
}

/// Keeps a release for a rollback, or reports why that failed.
pub(super) fn keep(
    target: &Target<'_>,
    id: &str,
    origin: Origin,
    release: &Release,
    variables: BTreeMap<String, Option<Secret>>,
) {
    let kept = KeptRelease { id: id.to_owned(), origin, release: release.clone(), variables };
    if let Err(error) = target.kept.keep(&kept) {
        target.reporter.skipped("release for a rollback", format!("{error:#}"));
    }
}
