//! Why a deploy did not go live, in Render's words.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::{Value, json};

use super::fault::ImageFault;
use super::state::PROBE_PAUSE;

/// Why a deploy did not go live.
#[derive(Debug)]
pub(crate) enum Failure {
    Pull(String),
    Start(String),
    Exit(Option<ExitStatus>),
    OutOfMemory,
    Unhealthy { after: Duration },
}

impl Failure {
    /// Render's API reference, `failureReason`.
    pub(crate) fn reason(&self) -> Value {
        let mut reason = match self {
            Self::Pull(_) => json!({}),
            // The exit code of a shell for a command that it cannot run.
            Self::Start(message) => json!({ "nonZeroExit": 127, "unhealthy": message }),
            Self::Exit(status) => match status.map(exit_code) {
                Some(0) => json!({ "earlyExit": true }),
                code => json!({ "nonZeroExit": code.unwrap_or(1) }),
            },
            Self::OutOfMemory => json!({ "oomKilled": { "memoryLimit": "512Mi" } }),
            Self::Unhealthy { after } => json!({
                "timedOutSeconds": after.as_secs(),
                "timedOutReason": "the health check did not pass in time",
                "unhealthy": "the health check did not pass in time",
            }),
        };
        reason["evicted"] = json!(false);
        reason
    }
}

/// How an instance of a faulty image ends, if it does; it has time to print something first.
pub(crate) async fn image_failure(image_fault: Option<ImageFault>) -> Failure {
    let failure = match image_fault {
        Some(ImageFault::Crashes) => Failure::Exit(Some(ExitStatus::from_raw(1 << 8))),
        Some(ImageFault::OutOfMemory) => Failure::OutOfMemory,
        Some(
            ImageFault::NotPulled
            | ImageFault::NeverHealthy
            | ImageFault::OtherCommit
            | ImageFault::FailsLater,
        )
        | None => std::future::pending().await,
    };
    tokio::time::sleep(PROBE_PAUSE).await;
    failure
}

/// A signal counts as in a shell.
fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}
