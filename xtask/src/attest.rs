//! What is said of an image beside it: what it is made of, and how it was made.
//!
//! Both are the same bytes for the same commit: no clock, no random number, no path of the machine.
//! Neither is signed.

pub(crate) mod provenance;
pub(crate) mod sbom;

/// A page of the project that says what a word in these documents means.
///
/// The top-level domain is reserved and never resolves (RFC 2606, section 2), so that nobody else can own the name; a
/// project with an address of its own puts it here.
pub(crate) const PROJECT: &str = "https://slipway.invalid";
