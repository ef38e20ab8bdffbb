//! A limit on how many requests are answered at a time. What comes on top is turned away at once, with a time to come
//! back, instead of waiting in a queue that only grows.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::errors::Error;
use super::is_probe;
use super::router::Site;

/// Most requests that are answered at a time. Each may hold a body of [`super::BODY_LIMIT`], or of its route's own.
pub(super) const MOST: usize = 256;

/// Lets a request through while fewer than [`MOST`] others are being answered, and probes always: a server that has
/// much to do is not to be restarted for it.
pub(super) async fn limit_requests(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    if is_probe(request.uri().path()) {
        return next.run(request).await;
    }
    let Ok(_permit) = site.places.try_acquire() else {
        site.metrics.shed.add();
        return Error::Busy.into_response();
    };
    next.run(request).await
}

#[cfg(test)]
mod tests;
