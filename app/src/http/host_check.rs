//! Rejects requests for hosts that are not allowed, with 400 and without an event in Sentry.
//!
//! Scanners send wrong hosts all day. Django reports each as an error; here they are counted, and a few a minute are
//! logged.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::warn;

use super::errors::Error;
use super::is_probe;
use super::router::Site;

/// Most log lines a minute about rejected hosts.
pub(super) const MOST_LINES: u32 = 20;

/// Marks a rejection by this check.
#[derive(Clone, Copy)]
pub(super) struct RejectedHost;

/// Passes on requests for allowed hosts, and probes for any host: a prober may know only an IP address.
pub(super) async fn check_host(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    if is_probe(request.uri().path()) {
        return next.run(request).await;
    }
    let named = authority(&request);
    if named.is_some_and(|authority| site.hosts.allow(authority)) {
        return next.run(request).await;
    }
    site.metrics.rejected_hosts.inc();
    if let Some(suppressed) = site.host_lines.admit(Instant::now()) {
        let shown: String = named.unwrap_or("none, or more than one").chars().take(128).collect();
        warn!(target: "app::host", host = ?shown, suppressed, "request for a host that is not allowed");
    }
    let mut response = Error::Host.into_response();
    response.extensions_mut().insert(RejectedHost);
    response
}

/// The host that the request names; `None` if it is missing, repeated or not ASCII.
///
/// A host in the request line overrides the header (RFC 9112, 3.2.2), but exactly one `Host` is still required (3.2).
/// `X-Forwarded-Host` is ignored: anybody can send it.
fn authority(request: &Request) -> Option<&str> {
    let mut headers = request.headers().get_all(HOST).iter();
    let (Some(header), None) = (headers.next(), headers.next()) else { return None };
    match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => header.to_str().ok(),
    }
}
