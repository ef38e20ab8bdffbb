//! The host guard: requests for hosts that are not ours get a 400, and Sentry does not hear of them.
//!
//! Scanners name wrong hosts all day. In Django each becomes an error report; here each is one line in the log.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::warn;

use super::HEALTH_PATH;
use super::errors::Error;
use super::router::Site;

/// Lets requests for allowed hosts through, and health checks for any: whoever makes those may know only an address.
pub(super) async fn check_host(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    if request.uri().path() != HEALTH_PATH {
        let named = authority(&request);
        if !named.is_some_and(|authority| site.hosts.allow(authority)) {
            let shown: String = named.unwrap_or("none, or more than one").chars().take(128).collect();
            warn!(target: "app::host", host = ?shown, "request for another host");
            return Error::Host.into_response();
        }
    }
    next.run(request).await
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
