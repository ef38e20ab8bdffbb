//! The web service: routes, the layers around them, and pages.

mod assets;
pub mod canary;
mod errors;
mod guard;
mod headers;
mod pages;
mod router;

pub use router::{Site, router};

/// Where a load balancer or an orchestrator asks whether the process is well.
pub(crate) const HEALTH_PATH: &str = "/healthz";
