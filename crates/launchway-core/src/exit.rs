//! How a run ends: the exit codes that scripts and people may rely on, and the error that carries one.

use std::fmt;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The exit codes of `cargo xtask`, as listed by `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// 0.
    Done,
    /// 1.
    CheckFailed,
    /// 2.
    Usage,
    /// 3.
    Missing,
    /// 4.
    Registry,
    /// 5.
    DeployFailed,
    /// 6.
    NotRolledBack,
    /// 7.
    Superseded,
    /// 70, as in `sysexits.h`.
    Internal,
    /// 130, the shell convention for SIGINT.
    Interrupted,
}

impl Exit {
    /// All exit codes, by number.
    pub const ALL: [Self; 10] = [
        Self::Done,
        Self::CheckFailed,
        Self::Usage,
        Self::Missing,
        Self::Registry,
        Self::DeployFailed,
        Self::NotRolledBack,
        Self::Superseded,
        Self::Internal,
        Self::Interrupted,
    ];

    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::CheckFailed => 1,
            Self::Usage => 2,
            Self::Missing => 3,
            Self::Registry => 4,
            Self::DeployFailed => 5,
            Self::NotRolledBack => 6,
            Self::Superseded => 7,
            Self::Internal => 70,
            Self::Interrupted => 130,
        }
    }

    /// The meaning, as in the documentation.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::CheckFailed => "a check failed (lint, tests, coverage)",
            Self::Usage => "usage or configuration",
            Self::Missing => "a tool or credential is missing",
            Self::Registry => "the registry refused or failed",
            Self::DeployFailed => "the deploy failed; the service is unchanged or was rolled back",
            Self::NotRolledBack => "the deploy failed and could not be rolled back",
            Self::Superseded => "superseded by another deploy",
            Self::Internal => "an internal error (a full disk, a broken output, a bug)",
            Self::Interrupted => "interrupted",
        }
    }

    /// Returns the exit code of an error. An error without one concerns usage or configuration, unless the machine
    /// failed.
    pub fn of(error: &anyhow::Error) -> Self {
        error
            .chain()
            .find_map(|cause| {
                let reported = || cause.downcast_ref::<Reported>().map(|reported| reported.0);
                cause.downcast_ref::<Failure>().map(|failure| failure.exit).or_else(reported)
            })
            .unwrap_or(if machine_failed(error) { Self::Internal } else { Self::Usage })
    }

    /// Whether the code reports the outcome of a deploy, which matters more than a failure of this machine.
    fn is_of_a_deploy(self) -> bool {
        matches!(self, Self::DeployFailed | Self::NotRolledBack | Self::Superseded)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error with an exit code.
#[derive(Debug)]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    message: String,
}

impl Failure {
    /// An error with a code and a message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The error of a run whose failure has been reported in full: only its exit code is left.
#[derive(Debug)]
pub struct Reported(pub Exit);

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.meaning())
    }
}

impl std::error::Error for Reported {}

/// Gives the error of a result its exit code, unless it has one already.
pub trait OrExit<T> {
    /// Returns the result, its error with this code.
    fn or_exit(self, exit: Exit) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> anyhow::Result<T> {
        self.map_err(|error| {
            let error = error.into();
            if error.chain().any(<dyn std::error::Error>::is::<Failure>) {
                error
            } else {
                let internal = machine_failed(&error) && !exit.is_of_a_deploy();
                Failure::new(if internal { Exit::Internal } else { exit }, format!("{error:#}")).into()
            }
        })
    }
}

/// Whether the machine is to blame and not the input: its disk is full or broken.
fn machine_failed(error: &anyhow::Error) -> bool {
    let of_the_disk = |error: &io::Error| {
        matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
            || error.raw_os_error() == Some(Errno::IO.raw_os_error())
    };
    error.chain().any(|cause| cause.downcast_ref().is_some_and(of_the_disk))
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn an_error_keeps_the_first_code_it_was_given() {
        let refused: anyhow::Result<()> = Err(anyhow!("refused")).or_exit(Exit::Registry).context("pushing");
        let error = refused.or_exit(Exit::DeployFailed).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Registry);
        assert_eq!(format!("{error:#}"), "pushing: refused");
    }

    #[test]
    fn an_error_without_a_code_concerns_usage() {
        assert_eq!(Exit::of(&anyhow!("no such file")), Exit::Usage);
    }

    #[test]
    fn the_end_of_a_run_keeps_its_code() {
        assert_eq!(Exit::of(&Reported(Exit::CheckFailed).into()), Exit::CheckFailed);
    }

    #[test]
    fn a_full_disk_does_not_concern_usage() {
        let full = || Err::<(), _>(io::Error::from(ErrorKind::StorageFull)).context("writing `run.json`");
        let broken = Err::<(), _>(io::Error::from_raw_os_error(Errno::IO.raw_os_error()));
        assert_eq!(Exit::of(&full().unwrap_err()), Exit::Internal);
        assert_eq!(Exit::of(&broken.context("reading `run.json`").unwrap_err()), Exit::Internal);
        for exit in [Exit::Usage, Exit::CheckFailed, Exit::Missing, Exit::Registry] {
            assert_eq!(Exit::of(&full().or_exit(exit).unwrap_err()), Exit::Internal);
        }
        for exit in [Exit::DeployFailed, Exit::NotRolledBack, Exit::Superseded] {
            assert_eq!(Exit::of(&full().or_exit(exit).unwrap_err()), exit);
        }
        let denied = Err::<(), _>(io::Error::from(ErrorKind::PermissionDenied));
        assert_eq!(Exit::of(&denied.or_exit(Exit::Usage).unwrap_err()), Exit::Usage);
    }

    #[test]
    fn codes_are_distinct() {
        let mut codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        codes.dedup();
        assert_eq!(codes.len(), Exit::ALL.len());
    }
}
