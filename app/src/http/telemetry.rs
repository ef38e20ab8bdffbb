//! What is recorded of each request: a log line, metrics, and in Sentry its session and its failure.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use sentry::Level;
use sentry::protocol::SessionStatus;
use tracing::{error, info};

use super::errors::Reported;
use super::host_check::RejectedHost;
use super::is_probe;
use super::router::Site;

/// Counts and logs every request, without its query, which may hold a secret, and with a bounded part of its path.
///
/// Probes are not logged: they would be most of the log. The host check logs rejected hosts itself.
pub(super) async fn count(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    let route = route(&request);
    let path: String = request.uri().path().chars().take(256).collect();
    let response = next.run(request).await;
    let (status, time) = (response.status().as_u16(), start.elapsed());
    site.metrics.record(method.as_str(), pattern(route.as_ref()), status, time);
    if !is_probe(&path) && response.extensions().get::<RejectedHost>().is_none() {
        info!(target: "app::request", %method, path, status, ?time);
    }
    response
}

/// Starts and ends Sentry's session of a request, and reports a 5xx that has not been reported.
///
/// The SDK's own layers start no sessions. If the client disconnects early, the SDK ends the session.
pub(super) async fn report(request: Request, next: Next) -> Response {
    let route = route(&request);
    if !is_probe(request.uri().path()) {
        sentry::start_session();
    }
    let response = next.run(request).await;
    let status = response.status();
    if status.is_server_error() && response.extensions().get::<Reported>().is_none() {
        let message = format!("`{}` returned {}", pattern(route.as_ref()), status.as_u16());
        error!("{message}");
        sentry::capture_message(&message, Level::Error);
    }
    sentry::end_session_with_status(SessionStatus::Exited);
    response
}

fn route(request: &Request) -> Option<MatchedPath> {
    request.extensions().get().cloned()
}

/// The matched pattern, never the path itself: the number of paths is unbounded.
fn pattern(route: Option<&MatchedPath>) -> &str {
    route.map_or("none", MatchedPath::as_str)
}

#[cfg(test)]
mod tests;
