//! The registry client: what the OCI distribution spec 1.1 asks of one that pushes.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>; what Docker Hub and others do beyond
//! it is named where it matters. Everything that a registry refuses or fails at is an error with [`Exit::Registry`].
//!
//! [`Exit::Registry`]: launchway_core::exit::Exit::Registry

mod address;
mod auth;
mod client;
mod credentials;
mod document;
mod manifest;
mod pull;
mod referrers;
mod refusal;
mod retry;
#[cfg(test)]
pub(crate) mod testing;
mod trouble;
mod upload;
mod words;

use anyhow::Result;

pub(crate) use client::{Access, Client};
pub(crate) use credentials::{LOGIN, login};
pub(crate) use document::LARGEST_PART;
use launchway_registry::{Digest, Reference, Repository};
pub(crate) use manifest::Manifest;
pub(crate) use referrers::{Artifact, Attached};
pub(crate) use upload::{Blob, Outcome};

use crate::context::Context;

/// What `docker login` has for the registry of the image, where no variable names a login; else `None`.
pub(crate) fn docker_login(ctx: &Context) -> Result<Option<String>> {
    match ctx.image().parse() {
        Ok(repository) if LOGIN.iter().all(|name| !ctx.environment.has(name)) => login(ctx, &repository),
        _ => Ok(None),
    }
}

/// The digest that a tag names now, or `None` where the repository has no such tag (or digest).
///
/// It needs no credentials for a public repository: the deploy job has none.
pub(crate) fn resolve(
    ctx: &Context,
    repository: &Repository,
    reference: &Reference,
) -> Result<Option<Digest>> {
    Client::new(ctx, Access::Pull)?.digest(repository, reference)
}
