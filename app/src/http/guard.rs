//! The host guard: requests for hosts that are not ours get a 400, and Sentry does not hear of them.
//!
//! Scanners name wrong hosts all day. In Django each becomes an error report; here each is counted, and so many a
//! minute are a line in the log.

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

/// Most lines about refused hosts a minute.
pub(super) const MOST_LINES: u32 = 20;

/// Marks an answer of this guard.
#[derive(Clone, Copy)]
pub(super) struct RefusedHost;

/// Lets requests for allowed hosts through, and probes for any: whoever makes those may know only an address.
pub(super) async fn check_host(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    if is_probe(request.uri().path()) {
        return next.run(request).await;
    }
    let named = authority(&request);
    if named.is_some_and(|authority| site.hosts.allow(authority)) {
        return next.run(request).await;
    }
    site.metrics.refused_hosts.add();
    if let Some(untold) = site.host_lines.admit(Instant::now()) {
        let shown: String = named.unwrap_or("none, or more than one").chars().take(128).collect();
        warn!(target: "app::host", host = ?shown, untold, "request for another host");
    }
    let mut response = Error::Host.into_response();
    response.extensions_mut().insert(RefusedHost);
    response
}

/// The host that the request is for; `None` where it is missing, repeated or not ASCII.
///
/// A host in the request line wins over the header (RFC 9112, 3.2.2), and never `X-Forwarded-Host`, which anybody
/// can send. Exactly one `Host` is required all the same (RFC 9112, 3.2).
fn authority(request: &Request) -> Option<&str> {
    let mut headers = request.headers().get_all(HOST).iter();
    let (Some(header), None) = (headers.next(), headers.next()) else { return None };
    match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => header.to_str().ok(),
    }
}
