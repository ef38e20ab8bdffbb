//! A client of the Render API for one web service that runs an image.
//!
//! It decides nothing: the caller determines what a deploy does and in which order.

pub mod api;
pub mod events;
mod exchange;
pub mod image;
pub mod model;
pub mod preflight;
pub mod telemetry;

pub use api::{Account, Api, ApiError, Requested};
