//! OCI types and a registry client.
//!
//! `digest` and `reference` name things and are valid by construction; `oci` holds the documents of an image.

mod digest;
pub mod oci;
mod reference;

pub use digest::Digest;
pub use reference::{ImageName, Reference, Repository, Tag};
