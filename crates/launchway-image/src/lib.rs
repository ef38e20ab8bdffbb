//! The image: from the recipe in the `Dockerfile` and a compiled binary to an OCI image layout, without Docker.
//!
//! `recipe` says what goes in and how it starts, `base` what it begins with, `sources` lists the files that git has and
//! checks them out, `tree` finds those that the recipe copies, `binary` proves that the
//! binary can run alone, `layer` and `config` make the bytes, `cache` keeps those that took time, `layout` keeps the image
//! on disk and reads it back. `smoke` starts the program of the packed layers, which `unpack` makes files of, or a
//! container; `entries` reads layers within bounds; `reproducible` builds twice and compares; `guard` looks for what must not leave. `archive` is the form in
//! which a Docker engine takes and gives images, `docker` is that engine, `compare` says where the two engines disagree.

pub mod archive;
pub mod base {
    //! Base images.

    pub mod files;
}
pub mod binary;
pub mod build_context;
pub mod cache;
pub mod compare;
pub mod config;
pub mod docker;
mod engine;
pub mod entries;
pub mod guard;
mod ignore;
pub mod layer;
pub mod layout;
pub mod recipe;
pub mod smoke;
pub mod tree;
pub mod unpack;

use anyhow::Result;

pub use engine::Engine;

use base::files::Files;
use build_context::BuildContext;
use recipe::Recipe;

/// Checks that both engines can follow the recipe in the `Dockerfile`, and that all that it copies is there.
///
/// No registry is asked: what only the base image decides is left to the build.
///
/// An error has [`Exit::Usage`](launchway_core::exit::Exit::Usage) and begins with `Dockerfile:LINE:`.
pub fn check(context: &BuildContext, binary: &str) -> Result<()> {
    let text = recipe::read(context)?;
    recipe::portable::check(&text)?;
    match Recipe::parse_blind(&text, binary)? {
        Some(recipe) if recipe.base.is_none() => tree::resolve(context, &recipe, Files::default()).map(drop),
        Some(recipe) => tree::check_sources(context, &recipe),
        None => Ok(()),
    }
}

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod random;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
