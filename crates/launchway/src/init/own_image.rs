//! Generates a Dockerfile that the builtin engine can follow, from one that it cannot, or from nothing.
//!
//! The result works with `docker build` too. It lists what it omits from the original final stage, with reasons.

mod copies;
mod draft;
mod text;

use super::detect::Findings;
use draft::Draft;

/// The generated files of the image, and what was left out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnImage {
    /// The Dockerfile, relative to the Cargo root.
    pub(super) path: String,
    pub(super) text: String,
    /// Files of the image, relative to the Cargo root.
    pub(super) files: Vec<(String, String)>,
    /// Whether this machine's CA certificates are copied into the repository.
    pub(super) certificates: bool,
    /// What was left out, and why.
    pub(super) dropped: Vec<String>,
}

/// Where the image's files are in the repository.
pub(super) const ROOTFS: &str = "xtask/rootfs";

/// The source of empty folders in the image.
pub(super) const EMPTY: &str = "xtask/empty";

/// This machine's CA certificates, and where programs look for them.
pub(super) const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The user of distroless images, for a service whose own user has no number.
const NONROOT: u32 = 65532;

/// Generates the image if the builtin engine cannot follow the existing Dockerfile.
pub(super) fn own_image(findings: &Findings) -> Option<OwnImage> {
    if findings.dockerfile.is_some() && findings.refusals.is_empty() {
        return None;
    }
    let mut draft = Draft { dynamic: findings.dynamic().is_some(), ..Draft::new() };
    match &findings.dockerfile {
        Some(file) => draft.read(file, findings),
        None => draft.user = Some(NONROOT.to_string()),
    }
    draft.fill(findings);
    Some(draft.write(findings))
}
