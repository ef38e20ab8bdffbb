//! What is told about each request: a line in the log, counts, and in Sentry its session and its failure.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use sentry::Level;
use sentry::protocol::SessionStatus;
use tracing::{error, info};

use super::errors::Known;
use super::guard::RefusedHost;
use super::is_probe;
use super::router::Site;

/// Counts every request, and writes one line for it: without the query, which may hold a secret, and with no more of
/// the path than tells one from another.
///
/// Health checks would be most of the log, so they are not in it. Neither are refused hosts, which the guard tells of.
pub(super) async fn count(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    let route = route(&request);
    let path: String = request.uri().path().chars().take(256).collect();
    let response = next.run(request).await;
    let (status, time) = (response.status().as_u16(), start.elapsed());
    site.metrics.answered(method.as_str(), pattern(route.as_ref()), status, time);
    if !is_probe(&path) && response.extensions().get::<RefusedHost>().is_none() {
        info!(target: "app::request", %method, path, status, ?time);
    }
    response
}

/// Tells Sentry that a request began and ended, and of a 5xx that nobody has told of yet.
///
/// The SDK's own layers begin no sessions. The end is told by the SDK where the client goes away before the answer.
pub(super) async fn report(request: Request, next: Next) -> Response {
    let route = route(&request);
    if !is_probe(request.uri().path()) {
        sentry::start_session();
    }
    let response = next.run(request).await;
    let status = response.status();
    if status.is_server_error() && response.extensions().get::<Known>().is_none() {
        let message = format!("`{}` answered {}", pattern(route.as_ref()), status.as_u16());
        error!("{message}");
        sentry::capture_message(&message, Level::Error);
    }
    sentry::end_session_with_status(SessionStatus::Exited);
    response
}

fn route(request: &Request) -> Option<MatchedPath> {
    request.extensions().get().cloned()
}

/// The pattern that matched. Never the path itself, of which there is no end.
fn pattern(route: Option<&MatchedPath>) -> &str {
    route.map_or("none", MatchedPath::as_str)
}

#[cfg(test)]
mod tests;
