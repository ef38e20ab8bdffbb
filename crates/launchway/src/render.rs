//! Render, the platform that runs the app: its API and what the pipeline makes of its answers.
//!
//! Nothing here decides what a deploy does; that is `steps::deploy`.

pub(crate) mod api;
mod exchange;
pub(crate) mod image;
pub(crate) mod model;
pub(crate) mod preflight;
pub(crate) mod signs;

#[cfg(test)]
pub(crate) mod stub;
