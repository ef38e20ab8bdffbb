//! The image: from the recipe in the `Dockerfile` and a compiled binary to an OCI image layout, without Docker.
//!
//! `recipe` says what goes in and how it starts, `base` what it begins with, `sources` lists the files that git has and
//! checks them out, `tree` finds those that the recipe copies, `binary` proves that the
//! binary can run alone, `layer` and `config` make the bytes, `cache` keeps those that took time, `layout` keeps the image
//! on disk and reads it back. `smoke` starts the program of the packed layers, which `unpack` makes files of, or a
//! container; `entries` reads layers within bounds; `reproducible` builds twice and compares; `guard` looks for what must not leave. `archive` is the form in
//! which a Docker engine takes and gives images, `docker` is that engine, `compare` says where the two engines disagree.

pub(crate) mod archive;
pub(crate) mod base;
pub(crate) mod binary;
pub(crate) mod cache;
pub(crate) mod compare;
pub(crate) mod config;
pub(crate) mod docker;
pub(crate) mod entries;
pub(crate) mod guard;
pub(crate) mod ignore;
pub(crate) mod layer;
pub(crate) mod layout;
pub(crate) mod recipe;
pub(crate) mod reproducible;
pub(crate) mod smoke;
pub(crate) mod sources;
pub(crate) mod tree;
pub(crate) mod unpack;

use anyhow::Result;

use crate::context::Context;
use base::files::Files;
use recipe::Recipe;
use sources::Sources;

/// Checks that both engines can follow the recipe in the `Dockerfile`, and that all that it copies is there.
///
/// No registry is asked: what only the base image decides is left to the build.
///
/// An error has [`Exit::Usage`](launchway_core::exit::Exit::Usage) and begins with `Dockerfile:LINE:`.
pub(crate) fn check(ctx: &Context) -> Result<()> {
    let (sources, config) = (Sources::read(ctx)?, &ctx.config);
    let text = recipe::read(&sources)?;
    recipe::portable::check(&text)?;
    binary::Platform::of_target(&config.target)?;
    match Recipe::parse_blind(&text, &config.app)? {
        Some(recipe) if recipe.base.is_none() => tree::resolve(&sources, &recipe, Files::default()).map(drop),
        Some(recipe) => tree::check_sources(&sources, &recipe),
        None => Ok(()),
    }
}

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;
