//! Where the report of a deployment goes.

use std::time::Duration;

use crate::config::{DeployConfig, SignedPath};
use crate::timings::Timings;

/// Where the report goes once the deployment has ended, and how long that may take.
#[derive(Clone, Debug)]
pub(crate) struct ReportPlan {
    /// The repository whose tag `ledger` is the history.
    pub(crate) ledger: String,
    /// Where the service accepts reports, and the key that signs them.
    pub(crate) board: Option<SignedPath>,
    /// How long the registry may take.
    pub(crate) ledger_timeout: Duration,
    /// How long ledger and board may take together.
    pub(crate) timeout: Duration,
}

impl ReportPlan {
    pub(crate) fn new(image: &str, config: &DeployConfig, timings: &Timings) -> Self {
        Self {
            ledger: image.to_owned(),
            board: config.reports.clone(),
            ledger_timeout: timings.ledger,
            timeout: timings.report,
        }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let words = humantime::format_duration;
        let mut lines = vec![format!(
            "add the report of this run to the ledger `{}:ledger`, in up to {}",
            self.ledger,
            words(self.ledger_timeout)
        )];
        lines.push(format!(
            "keep the encrypted releases under the tag `{}:releases`, in up to {}",
            self.ledger,
            words(self.ledger_timeout)
        ));
        if let Some(SignedPath { path, .. }) = &self.board {
            lines.push(format!(
                "send the service at `{path}` the reports that it lacks, in up to {} altogether",
                words(self.timeout)
            ));
        }
        lines
    }
}
