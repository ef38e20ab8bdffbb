//! Limits the requests in progress. Further requests are rejected at once, with a time to retry, instead of waiting in a
//! growing queue.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::SemaphorePermit;

use super::errors::Error;
use super::router::Site;
use super::{METRICS_PATH, VERSION_PATH, body, is_probe, reports};
use crate::clients::Client;

/// Most requests in progress.
pub(super) const REQUESTS: usize = 256;

/// Most lists of reports that are written at a time; others wait, without counting as in progress. A flood of requests
/// for this largest response then occupies one processor only.
pub(super) const LISTS: usize = 1;

/// Passes on a request once its body has arrived, if fewer than [`REQUESTS`] others are in progress.
///
/// Probes, metrics and the version always pass, and their bodies are not read: a busy server must not be restarted for
/// being busy, and a deploy must be able to prove itself.
pub(super) async fn limit_requests(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if is_probe(path) || path == VERSION_PATH || path == METRICS_PATH {
        return next.run(request).await;
    }
    let request = match body::read(request).await {
        Ok(request) => request,
        Err(error) => return error.into_response(),
    };
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let is_list = route == Some(reports::LIST_PATH);
    let client = request.extensions().get::<Arc<Client>>().cloned();
    let _list = if is_list { list_permit(&site, client.as_deref()).await } else { None };
    let Ok(_permit) = site.requests.try_acquire() else {
        site.metrics.rejected_requests.inc();
        return Error::Busy.into_response();
    };
    next.run(request).await
}

/// Waits for a permit to write a list. Meanwhile the client may be evicted.
async fn list_permit<'a>(site: &'a Site, client: Option<&Client>) -> Option<SemaphorePermit<'a>> {
    if let Ok(permit) = site.lists.try_acquire() {
        return Some(permit);
    }
    client.inspect(|client| client.wait());
    let permit = site.lists.acquire().await;
    client.inspect(|client| client.work());
    permit.ok()
}

#[cfg(test)]
mod tests;
