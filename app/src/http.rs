//! The web service: routes, the layers around them, and pages.

pub(crate) mod assets;
mod board;
pub mod canary;
mod errors;
mod guard;
mod headers;
mod pages;
pub mod reports;
mod router;
mod signed;

pub use router::{Site, router};

/// Where a load balancer or an orchestrator asks whether the process is well.
pub(crate) const HEALTH_PATH: &str = "/healthz";
