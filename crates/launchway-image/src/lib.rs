//! Makes an OCI image of a Dockerfile's final stage and a compiled binary, without Docker.
//!
//! `dockerfile` and `final_stage` read what goes into the image and how it starts, `base_image` what it begins with;
//! `build_context` and `tree` find the files, `binary` proves that the program runs alone.
//! `layer` and `manifest` make the bytes, `layer_cache` keeps those that took time, `layout` keeps the image on disk and
//! reads it back. `smoke` starts the program of the packed layers, which `unpack` makes files of, or a container.
//! `layer_reader` reads layers within bounds, `secret_scan` searches them for what must not leave.
//! `docker_engine` drives a Docker engine, `docker_archive` reads and writes the files that it exchanges, and `compare`
//! finds where the images of two engines differ.

pub mod base_image;
pub mod binary;
pub mod build_context;
pub mod compare;
pub mod docker_archive;
pub mod docker_engine;
pub mod dockerfile;
mod dockerignore;
mod engine;
pub mod final_stage;
pub mod layer;
pub mod layer_cache;
pub mod layer_reader;
pub mod layout;
pub mod manifest;
pub mod secret_scan;
pub mod smoke;
pub mod tree;
pub mod unpack;

use anyhow::Result;

use base_image::files::Files;
use build_context::BuildContext;
use dockerfile::Dockerfile;
pub use engine::Engine;
use final_stage::{FinalStage, classic_builder};

/// Checks that both engines can follow the Dockerfile at this path of the context, and that all that its final stage
/// copies is there; `binary` is the name of the binary.
///
/// No registry is contacted: what only the base image decides is left to the build.
///
/// An error has [`Exit::Usage`](launchway_core::exit::Exit::Usage) and begins with the file and the line.
pub fn check(context: &BuildContext, dockerfile: &str, binary: &str) -> Result<()> {
    let file = Dockerfile::read(context, dockerfile)?;
    classic_builder::check(&file)?;
    match FinalStage::parse_blind(&file, binary)? {
        Some(stage) if stage.base.is_none() => tree::resolve(context, &stage, Files::default()).map(drop),
        Some(stage) => tree::check_sources(context, &stage),
        None => Ok(()),
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
