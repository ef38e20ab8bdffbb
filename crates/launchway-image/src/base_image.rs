//! Base images: what a final stage `FROM <image>` starts from, pulled from a registry and kept by digest.
//!
//! A plan needs all of the base: its `ENV` and `WORKDIR`, and the files in its layers. A tag is resolved each time; a
//! digest never changes. So a build downloads nothing that an earlier one has downloaded, and needs no registry at all
//! for a base that is given by digest and was pulled before. Kept blobs are verified each time.

pub mod files;
mod pull;

use std::fmt;
use std::path::PathBuf;

use anyhow::{Error, Result};
use serde_json::Value;

use crate::binary::Platform;
use crate::final_stage::BaseName;
use files::Files;
use launchway_core::exit::{Exit, Failure};
use launchway_core::runner::Runner;
use launchway_core::size;
use launchway_registry::oci::{BASE_DIGEST, BASE_NAME, Descriptor, Settings};
use launchway_registry::{Client, Digest, ImageName};
use pull::{Pull, Store};

/// A base image, with all of its layers on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseImage {
    /// The name in the final stage, in full.
    pub name: ImageName,
    /// The digest of the manifest for our platform.
    pub digest: Digest,
    /// Its platform.
    pub platform: Platform,
    /// Its layers.
    pub layers: BaseLayers,
    /// Where its blobs are.
    store: Store,
}

/// The layers of a base image, and what its configuration says about them.
///
/// The default is what `FROM scratch` starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseLayers {
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// One for each layer.
    pub diff_ids: Vec<Digest>,
    /// History entries, as in the base; either as many of them made a layer as there are layers, or there are none.
    pub history: Vec<Value>,
    /// The variant of the architecture, such as `v8`.
    pub variant: Option<String>,
}

/// A base image, with what only a plan needs.
#[derive(Debug)]
pub struct Found {
    /// The image.
    pub image: BaseImage,
    /// How a container of it starts.
    pub settings: Settings,
    /// The files in its layers.
    pub files: Files,
}

/// Finds the base image of a final stage, for a platform. Pulls what is not in `folder` yet.
///
/// A tag is resolved each time. With `last_known`, if the registry cannot be contacted, it is what it last resolved to.
///
/// An error names the line, and has the exit code of its cause: [`Exit::Registry`] for a registry that does not respond
/// or refuses, [`Exit::Missing`] for a login that it requires, [`Exit::Usage`] for an image that cannot be a base.
pub fn find(
    client: &Client,
    runner: &Runner,
    folder: PathBuf,
    from: &BaseName,
    platform: Platform,
    last_known: bool,
) -> Result<Found> {
    let repository = &from.image.repository;
    let pull = Pull { client, runner, store: Store { folder }, repository, last_known };
    pull.find(&from.image, platform).map_err(|error| -> Error {
        let message = format!("{}: the base image `{}`: {error:#}", from.place, from.image);
        Failure::new(Exit::of(&error), message).into()
    })
}

impl BaseImage {
    /// The labels that identify the base (OCI image specification, "Pre-Defined Annotation Keys").
    pub fn labels(&self) -> [(&'static str, String); 2] {
        [(BASE_NAME, self.name.to_string()), (BASE_DIGEST, self.digest.to_string())]
    }

    /// The files of its layers, the lowest first.
    pub fn files(&self) -> Vec<(&Digest, PathBuf)> {
        self.layers.layers.iter().map(|layer| (&layer.digest, self.store.path(&layer.digest))).collect()
    }
}

impl fmt::Display for BaseImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, digest, platform, layers: BaseLayers { layers, .. }, .. } = self;
        let bytes = layers.iter().map(|layer| layer.size).sum();
        let noun = if layers.len() == 1 { "layer" } else { "layers" };
        write!(f, "{}@{digest}, which is {name} for {platform}: ", name.repository)?;
        write!(f, "{} {noun}, {}", layers.len(), size(bytes))
    }
}

#[cfg(test)]
mod tests;
