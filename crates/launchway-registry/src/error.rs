//! Why a request failed, and whether another try may succeed.

use std::time::Duration;

use launchway_core::exit::{Exit, Failure};

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum Error {
    /// Another try may succeed; the registry may have said when. The hint is for when none does.
    Transient { message: String, after: Option<Duration>, hint: Option<String> },
    /// Another try would fail in the same way.
    Permanent(anyhow::Error),
}

impl Error {
    pub(crate) fn transient(message: impl Into<String>) -> Self {
        Self::Transient { message: message.into(), after: None, hint: None }
    }

    /// The registry's fault, which will not change by itself.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::Permanent(Failure::new(Exit::Registry, message).into())
    }

    /// The error of a request that is not retried.
    pub(crate) fn into_error(self) -> anyhow::Error {
        match self {
            Self::Transient { message, hint, .. } => given_up(&message, "", hint.as_deref()),
            Self::Permanent(error) => error,
        }
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Self::Permanent(error)
    }
}

/// The error of a request that is not retried.
pub(crate) fn given_up(message: &str, why: &str, hint: Option<&str>) -> anyhow::Error {
    let hint = hint.map(|hint| format!(": {hint}")).unwrap_or_default();
    Failure::new(Exit::Registry, format!("{message}{why}{hint}")).into()
}
