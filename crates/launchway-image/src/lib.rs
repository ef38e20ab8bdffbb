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
use binary::Platform;
use build_context::BuildContext;
use dockerfile::Dockerfile;
pub use engine::Engine;
use final_stage::{Binaries, FinalStage};

/// Checks that an engine can follow the Dockerfile at this path of the context.
///
/// For the builtin engine that is the final stage, all that it copies included; of earlier stages it reads nothing. The
/// Docker engine has its own say when it builds: only a file that is none is an error here.
///
/// No registry is contacted: what only the base image decides is left to the build.
///
/// An error has [`Exit::Usage`](launchway_core::exit::Exit::Usage) and begins with the file and the line.
pub fn check(
    context: &BuildContext,
    dockerfile: &str,
    engine: Engine,
    binaries: &Binaries,
    platform: Platform,
) -> Result<()> {
    let file = Dockerfile::read(context, dockerfile)?;
    if engine == Engine::Docker {
        return file.parse().map(drop);
    }
    match FinalStage::parse_blind(&file, binaries, platform)? {
        Some(stage) if stage.base.is_none() => {
            tree::resolve(context, &stage, Files::default(), context.root()).map(drop)
        }
        Some(stage) => tree::check_sources(context, &stage),
        None => Ok(()),
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
