//! A Dockerfile that the builtin engine follows, made from one that it cannot follow, or from nothing.
//!
//! It works with `docker build` too. What the final stage did and this one does not is named with the reason.

mod copies;
mod draft;
mod text;

use super::detect::Findings;
use draft::Draft;

/// The files of an image of its own, and what was left out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnImage {
    /// The Dockerfile, relative to the Cargo root.
    pub(super) path: String,
    pub(super) text: String,
    /// Files of the image, relative to the Cargo root.
    pub(super) files: Vec<(String, String)>,
    /// Whether certificates of this machine are copied into the repository.
    pub(super) certificates: bool,
    /// What was dropped, and why.
    pub(super) dropped: Vec<String>,
}

/// Where the files of the image lie in the repository.
pub(super) const ROOTFS: &str = "xtask/rootfs";

/// What a folder of the image is copied from.
pub(super) const EMPTY: &str = "xtask/empty";

/// This machine's certificates, and where programs look for them.
pub(super) const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The user of distroless images, for a service whose own has no number.
const NONROOT: u32 = 65532;

/// The image that is needed where the builtin engine cannot follow the one that is there.
pub(super) fn own_image(findings: &Findings) -> Option<OwnImage> {
    if findings.dockerfile.is_some() && findings.refusals.is_empty() {
        return None;
    }
    let mut draft = Draft::new();
    match &findings.dockerfile {
        Some(file) => draft.read(file, findings),
        None => draft.user = Some(NONROOT.to_string()),
    }
    draft.fill(findings);
    Some(draft.write(findings))
}
