//! A limit on how many requests are answered at a time. What comes on top is turned away at once, with a time to come
//! back, instead of waiting in a queue that only grows.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::SemaphorePermit;

use super::errors::Error;
use super::router::Site;
use super::{METRICS_PATH, VERSION_PATH, body, is_probe, reports};
use crate::clients::Client;

/// Most requests that are answered at a time.
pub(super) const MOST: usize = 256;

/// Most lists of reports that are written at a time. Others wait for their turn, without a place. With one, a rush for
/// the largest answer of all leaves the other processors to everybody else.
pub(super) const TURNS: usize = 1;

/// Lets a request through once its body is here, while fewer than [`MOST`] others are being answered.
///
/// What shows how the server is, and which, is always let through, and its body not looked at: a server that has much
/// to do is not to be restarted for it, and a deploy is to be proved all the same.
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
    let needs_turn = route == Some(reports::LIST_PATH);
    let client = request.extensions().get::<Arc<Client>>().cloned();
    let _turn = if needs_turn { turn(&site, client.as_deref()).await } else { None };
    let Ok(_permit) = site.places.try_acquire() else {
        site.metrics.shed.add();
        return Error::Busy.into_response();
    };
    next.run(request).await
}

/// Waits for a turn. Meanwhile the client may have to make room, as one who only waits.
async fn turn<'a>(site: &'a Site, client: Option<&Client>) -> Option<SemaphorePermit<'a>> {
    if let Ok(turn) = site.turns.try_acquire() {
        return Some(turn);
    }
    client.inspect(|client| client.wait());
    let turn = site.turns.acquire().await;
    client.inspect(|client| client.work());
    turn.ok()
}

#[cfg(test)]
mod tests;
