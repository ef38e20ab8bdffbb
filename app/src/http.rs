//! The web service: routes, the layers around them, and pages.

pub(crate) mod assets;
mod board;
mod body;
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

pub(crate) use body::BODY_LIMIT;
pub use health::Hooks;
pub(crate) use router::addresses;
pub use router::{Site, router};

/// Where a load balancer or an orchestrator asks whether the process is well.
pub(crate) const HEALTH_PATH: &str = "/healthz";
/// Where it asks whether to send requests here.
pub(crate) const READY_PATH: &str = "/readyz";

/// Which version runs: what a deploy asks to prove itself.
const VERSION_PATH: &str = "/version";
/// Where figures are collected.
const METRICS_PATH: &str = "/metrics";

/// Whether this is asked by machines, all day, by whatever address they know: not by people.
fn is_probe(path: &str) -> bool {
    path == HEALTH_PATH || path == READY_PATH
}
