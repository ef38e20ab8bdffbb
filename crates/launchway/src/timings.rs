//! How often a deploy polls and how long it waits.

use std::time::Duration;

use crate::config::DeployConfig;

/// Intervals and timeouts of one deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timings {
    /// Between two polls of a deploy. Render allows 400 reads a minute.
    pub(crate) poll: Duration,
    /// The first wait before a retry.
    pub(crate) backoff: Duration,
    /// How long an accepted deploy may be missing from Render's list, and how long traffic may take to switch.
    pub(crate) settle: Duration,
    /// How long deploys in progress may take to end.
    pub(crate) queue: Duration,
    /// How long a deploy may take before it is cancelled.
    pub(crate) timeout: Duration,
    /// How long a live release is watched before it counts as deployed.
    pub(crate) bake: Duration,
    /// How long a rollback tries to restore the variables, whatever Render responds.
    pub(crate) rollback: Duration,
    /// How long the start of a deploy waits for the service that is live to show it.
    pub(crate) start: Duration,
    /// How long the end of a run waits for the registry to store the ledger.
    pub(crate) ledger: Duration,
    /// How long the end of a run waits for ledger and board together.
    pub(crate) report: Duration,
}

impl Timings {
    /// The timings for the real Render.
    pub(crate) fn of(config: &DeployConfig) -> Self {
        Self {
            poll: Duration::from_secs(3),
            backoff: Duration::from_secs(1),
            settle: Duration::from_secs(60),
            queue: Duration::from_secs(120),
            timeout: config.timeout,
            bake: config.bake,
            // Two windows of the rate limit.
            rollback: Duration::from_secs(120),
            start: Duration::from_secs(10),
            ledger: Duration::from_secs(20),
            report: Duration::from_secs(30),
        }
    }

    /// The timings for a rehearsal, whose fakes respond within a millisecond and serve nobody else.
    pub(crate) fn of_rehearsal(config: &DeployConfig) -> Self {
        Self {
            poll: Duration::from_millis(250),
            backoff: Duration::from_millis(100),
            settle: Duration::from_secs(5),
            queue: Duration::from_secs(5),
            bake: config.bake.min(Duration::from_secs(1)),
            rollback: Duration::from_secs(5),
            ..Self::of(config)
        }
    }

    /// The same deploy, read while somebody waits at the prompt.
    pub(crate) fn hurried(self) -> Self {
        Self {
            poll: Duration::from_millis(200),
            backoff: Duration::from_millis(100),
            settle: Duration::from_secs(5),
            queue: Duration::ZERO,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::context::Context;
    use launchway_core::environment::Environment;

    #[test]
    fn a_deploy_with_its_undo_and_its_report_fits_into_the_time_of_its_job() {
        let config = Context::for_test(Path::new("/nowhere"), Environment::default()).config.deploy;
        let Timings { settle, queue, timeout, bake, rollback, start, report, .. } = Timings::of(&config);
        // Our deploy, and the earlier release twice: each is found, watched and proved. Of the calls to Render, only
        // deliberate waits count.
        let deploys = (timeout + 2 * settle) * 3;
        let cancelled = settle;
        let (variables, facts) = (rollback, rollback);
        let all = queue + start + deploys + bake + cancelled + variables + facts + report;
        assert!(all <= config.longest(), "{all:?}");
    }
}
