//! Builds an OCI image from a Dockerfile's final stage and a compiled binary, without Docker.
//!
//! `dockerfile` and `final_stage` determine what goes into the image and how it starts, `base_image` what it starts
//! from; `build_context` and `tree` find the files, `binary` verifies that the program runs alone. `layer` and
//! `manifest` produce the bytes, `layer_cache` keeps compressed layers, `layout` writes the image to disk and reads it
//! back. `smoke` starts the program, from the packed layers that `unpack` extracts or in a container. `layer_reader`
//! reads layers within limits, `secret_scan` searches them for secrets. `docker_engine` drives a Docker engine,
//! `docker_archive` reads and writes the files exchanged with it, and `compare` finds the differences between the
//! images of two engines.

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
pub mod user;

use anyhow::Result;

use base_image::files::Files;
use binary::Platform;
use build_context::BuildContext;
use dockerfile::Dockerfile;
pub use engine::Engine;
use final_stage::{Binaries, FinalStage};

/// Checks that an engine can follow the Dockerfile at this path of the context.
///
/// For the builtin engine this concerns the final stage, including everything that it copies; earlier stages are not
/// read. The Docker engine judges the file itself when it builds: here, only an unparsable file is an error.
///
/// Contacts no registry: what only the base image decides is left to the build.
///
/// Errors have [`Exit::Usage`](launchway_core::exit::Exit::Usage) and start with the file and the line.
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
