//! Where the reports of a deployment go, of its start and of its end.

use std::time::Duration;

use super::Kind;
use crate::config::{DeployConfig, SignedPath};
use crate::timings::Timings;

/// Where the reports of a deployment go, and how long that may take.
#[derive(Clone, Debug)]
pub(crate) struct ReportPlan {
    /// The repository whose tag `ledger` is the history.
    pub(crate) ledger: String,
    /// Where the service accepts reports, and the key that signs them.
    pub(crate) board: Option<SignedPath>,
    /// When the deployment will have ended, counted from its start, as its first report says.
    pub(crate) longest: Duration,
    /// How long the service may take to accept the report of the start.
    pub(crate) start_timeout: Duration,
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
            longest: config.longest(),
            start_timeout: timings.start,
            ledger_timeout: timings.ledger,
            timeout: timings.report,
        }
    }

    /// Before the first write.
    pub(super) fn first_line(&self, kind: Kind) -> Option<String> {
        let SignedPath { path, .. } = self.board.as_ref()?;
        let words = humantime::format_duration;
        let what = kind.word();
        Some(format!(
            "if a release is live, report the start of this {what} to it at `{path}`, within {}; the {what} ends within {}",
            words(self.start_timeout),
            words(self.longest)
        ))
    }

    /// Once the deployment has ended.
    pub(super) fn lines(&self) -> Vec<String> {
        let words = humantime::format_duration;
        let mut lines = vec![format!(
            "add the report of this run to the ledger `{}:ledger`, within {}",
            self.ledger,
            words(self.ledger_timeout)
        )];
        lines.push(format!(
            "keep the encrypted releases under the tag `{}:releases`, within {}",
            self.ledger,
            words(self.ledger_timeout)
        ));
        if let Some(SignedPath { path, .. }) = &self.board {
            lines.push(format!(
                "send the service at `{path}` the reports that it lacks, within {}",
                words(self.timeout)
            ));
        }
        lines
    }
}
