//! The actions that the workflow uses, each pinned to one commit: a tag can be moved to other code, a commit cannot.
//!
//! The committed workflow overrides the defaults here, so that an update bot's change is kept.

use anyhow::{Context as _, Result, bail};
use serde_saphyr::Commented;

/// An action at a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pin<'a> {
    /// `owner/name`.
    pub(crate) action: &'a str,
    pub(crate) commit: &'a str,
    /// The commit's tag, for people and for update bots.
    pub(crate) version: &'a str,
}

/// Checks the repository out.
pub(crate) const CHECKOUT: Pin<'static> =
    Pin { action: "actions/checkout", commit: "3d3c42e5aac5ba805825da76410c181273ba90b1", version: "v7.0.1" };
/// Caches what cargo downloaded and compiled.
pub(crate) const CACHE: Pin<'static> = Pin {
    action: "Swatinem/rust-cache",
    commit: "6323deb102c322ba6fcbdcafc7e3dddab59af2b6",
    version: "v2.9.2",
};
/// Gets files that an earlier run kept.
pub(crate) const RESTORE: Pin<'static> = Pin {
    action: "actions/cache/restore",
    commit: "27d5ce7f107fe9357f9df03efb73ab90386fccae",
    version: "v5.0.5",
};
/// Keeps files for later runs.
pub(crate) const SAVE: Pin<'static> = Pin { action: "actions/cache/save", ..RESTORE };
/// Installs the pinned tools.
pub(crate) const INSTALL: Pin<'static> = Pin {
    action: "taiki-e/install-action",
    commit: "ba47c86ac325773530516bb756137ac718732518",
    version: "v2.86.5",
};
/// Uploads files of a run as artifacts.
pub(crate) const UPLOAD: Pin<'static> = Pin {
    action: "actions/upload-artifact",
    commit: "043fb46d1a93c77aae656e7c1c64a875d1fc6a0a",
    version: "v7.0.1",
};

/// Brings them to another job.
pub(crate) const DOWNLOAD: Pin<'static> = Pin {
    action: "actions/download-artifact",
    commit: "3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c",
    version: "v8.0.1",
};

/// The pins of a committed workflow.
#[derive(Debug, Default)]
pub(crate) struct Pins<'a>(Vec<Pin<'a>>);

impl<'a> Pins<'a> {
    /// Reads the lines `uses: owner/name@commit # version`.
    ///
    /// Lines without a pinned commit, and two different pins of one action, are errors: one of them would be lost.
    pub(crate) fn read(workflow: &'a str) -> Result<Self> {
        let mut pins: Vec<Pin<'a>> = Vec::new();
        for (number, line) in workflow.lines().enumerate() {
            let line = line.trim_start().trim_start_matches("- ");
            let Some(reference) = line.strip_prefix("uses:") else { continue };
            let pin = Pin::read(reference).with_context(|| {
                format!(
                    "line {}: `{}` is not `owner/name@<40 hex digits> # <version>`",
                    number + 1,
                    reference.trim()
                )
            })?;
            match pins.iter().find(|other| other.action == pin.action) {
                Some(other) if *other != pin => bail!(
                    "line {}: `{}` is pinned to `{} # {}` here and to `{} # {}` above: keep one of them",
                    number + 1,
                    pin.action,
                    pin.commit,
                    pin.version,
                    other.commit,
                    other.version,
                ),
                Some(_) => {}
                None => pins.push(pin),
            }
        }
        Ok(Self(pins))
    }

    /// The value of `uses:` for this action, at the committed pin, or else at the default one.
    pub(crate) fn uses(&self, default: Pin<'_>) -> Commented<String> {
        let read = self.0.iter().find(|pin| pin.action == default.action);
        let Pin { action, commit, version } = read.copied().unwrap_or(default);
        Commented(format!("{action}@{commit}"), version.to_owned())
    }
}

impl<'a> Pin<'a> {
    fn read(reference: &'a str) -> Option<Self> {
        let (reference, version) = reference.split_once(" #")?;
        let (action, commit) = reference.trim().split_once('@')?;
        let version = version.trim();
        let is_commit =
            commit.len() == 40 && commit.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (is_commit && !version.is_empty()).then_some(Self { action, commit, version })
    }
}

#[cfg(test)]
mod tests;
