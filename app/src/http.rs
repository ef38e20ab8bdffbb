//! The web service: routes, middleware and handlers.

mod board;
mod body;
mod error_page;
mod errors;
mod host_check;
mod load_limit;
mod probes;
pub mod reports;
mod router;
mod security_headers;
mod signed_request;
mod telemetry;
pub mod test_error;

pub use probes::Hooks;
pub use router::{Site, router};

/// Liveness: load balancers and orchestrators request it.
pub(crate) const HEALTH_PATH: &str = "/healthz";
/// Readiness: whether to send requests here.
pub(crate) const READY_PATH: &str = "/readyz";

/// The running release, by which a deploy proves itself.
const VERSION_PATH: &str = "/version";
/// Metrics for Prometheus.
const METRICS_PATH: &str = "/metrics";

/// Whether this path is polled by machines, which may know only an IP address.
fn is_probe(path: &str) -> bool {
    path == HEALTH_PATH || path == READY_PATH
}
