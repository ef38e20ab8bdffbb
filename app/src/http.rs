//! The web service: routes, the layers around them, and pages.

pub(crate) mod assets;
mod board;
pub mod canary;
mod errors;
mod guard;
mod headers;
mod health;
mod observe;
mod pages;
pub mod reports;
mod router;
mod shed;
mod signed;

pub use health::Hooks;
pub(crate) use router::{BODY_LIMIT, addresses};
pub use router::{Site, router};

/// Where a load balancer or an orchestrator asks whether the process is well.
pub(crate) const HEALTH_PATH: &str = "/healthz";
/// Where it asks whether to send requests here.
pub(crate) const READY_PATH: &str = "/readyz";

/// Whether this is asked by machines, all day, by whatever address they know: not by people.
fn is_probe(path: &str) -> bool {
    path == HEALTH_PATH || path == READY_PATH
}
