//! OCI types and a registry client.
//!
//! `digest` and `reference` contain identifiers that are valid by construction; `oci` contains the documents of an
//! image.
//!
//! The client follows the OCI distribution spec 1.1
//! (<https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>). Comments point out what Docker Hub and
//! others do beyond it. A failure of a registry has [`Exit::Registry`], a missing login [`Exit::Missing`].
//!
//! [`Exit::Registry`]: launchway_core::exit::Exit::Registry
//! [`Exit::Missing`]: launchway_core::exit::Exit::Missing

mod address;
mod auth;
mod client;
mod credentials;
mod digest;
mod document;
mod error;
mod manifest;
pub mod oci;
mod pull;
mod quote;
mod reference;
mod referrers;
mod refusal;
mod response;
#[cfg(test)]
mod testing;

pub use auth::Access;
pub use client::{Blob, Client, Outcome, Session};
pub use credentials::{Account, Logins, Setting};
pub use digest::Digest;
pub use document::LARGEST_PART;
pub use manifest::Manifest;
pub use reference::{ImageName, Reference, Repository, Tag};
pub use referrers::{Artifact, Attached, Attachment};
