//! `SENTRY_DSN`, validated more strictly than the SDK does.
//!
//! `https://{public key}@{host}[:{port}]/[{path}/]{project}`, with a number for the project. The SDK also
//! accepts a project that is a word, ignores a query, and sends keys over plain `http`; here each is an error. Plain
//! `http` is accepted on loopback only, where a fake may listen. The secret part, which Sentry has retired, is rejected.

use std::fmt;
use std::str::FromStr;

use sentry::types::Dsn;

use super::hosts::Host;

/// A valid DSN. `Debug` hides its key.
#[derive(Clone)]
pub struct SentryDsn(Dsn);

impl SentryDsn {
    /// The DSN with its key.
    pub(crate) fn expose(&self) -> &Dsn {
        &self.0
    }
}

impl fmt::Debug for SentryDsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl FromStr for SentryDsn {
    type Err = DsnError;

    fn from_str(text: &str) -> Result<Self, DsnError> {
        let (scheme, rest) = text.split_once("://").ok_or(DsnError::Scheme)?;
        if rest.contains(['?', '#']) {
            return Err(DsnError::Query);
        }
        let (authority, path) = rest.split_once('/').ok_or(DsnError::Project)?;
        let (key, address) = authority.split_once('@').ok_or(DsnError::Key)?;
        if key.contains(':') {
            return Err(DsnError::Secret);
        }
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(DsnError::Key);
        }
        let host = Host::of_authority(address).ok_or(DsnError::Host)?;
        match scheme {
            "https" => {}
            "http" if host.is_loopback() => {}
            "http" => return Err(DsnError::Plain),
            _ => return Err(DsnError::Scheme),
        }
        let (folders, project) =
            path.rsplit_once('/').map_or((None, path), |(folders, last)| (Some(folders), last));
        if !project.bytes().all(|byte| byte.is_ascii_digit()) || project.parse::<u64>().is_err() {
            return Err(DsnError::Project);
        }
        let is_folder = |folder: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
            !matches!(folder, "" | "." | "..") && folder.bytes().all(plain)
        };
        if !folders.is_none_or(|folders| folders.split('/').all(is_folder)) {
            return Err(DsnError::Path);
        }
        text.parse().map(Self).map_err(|_| DsnError::Host)
    }
}

/// Why a DSN is invalid. Quotes no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DsnError {
    /// Neither `https` nor `http`.
    Scheme,
    /// `http` to another machine.
    Plain,
    /// The public key is missing, or not letters and digits alone.
    Key,
    /// A secret part after the public key.
    Secret,
    /// The host or the port is missing or invalid.
    Host,
    /// A path with empty or odd parts.
    Path,
    /// No number at the end.
    Project,
    /// A query or a fragment.
    Query,
}

impl fmt::Display for DsnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "does not start with `https://`",
            Self::Plain => "would send its key over plain `http`, which is accepted on loopback only",
            Self::Key => "has no public key of letters and digits before `@`",
            Self::Secret => "has a secret part after its public key, which Sentry has retired",
            Self::Host => "has no valid host after `@`",
            Self::Path => "has an invalid path",
            Self::Project => "does not end in a project number",
            Self::Query => "has a query or a fragment",
        })
    }
}

impl std::error::Error for DsnError {}
