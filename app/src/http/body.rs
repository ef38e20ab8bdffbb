//! Reads the whole body of a request before it is handled, so that slow senders do not occupy the limited places.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request};
use tokio::time::{Instant, timeout_at};

use super::errors::Error;
use super::reports;
use crate::clients::{Client, worth};

/// Largest body of a request other than a report, in bytes.
const LIMIT: usize = 1024;
/// How long a body may take, in addition to what its bytes are worth.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the request's body into memory.
pub(super) async fn read(request: Request) -> Result<Request, Error> {
    let (parts, mut body) = request.into_parts();
    if body.is_end_stream() {
        return Ok(Request::from_parts(parts, body));
    }
    let limit = match parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str) {
        Some(reports::PATH) => launchway_report::MAX_BYTES,
        _ => LIMIT,
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(Error::TooLarge);
    }
    let client = parts.extensions.get::<Arc<Client>>();
    client.inspect(|client| client.wait());
    let body = whole(&mut body, limit, client).await;
    client.inspect(|client| client.work());
    Ok(Request::from_parts(parts, Body::from(body?)))
}

async fn whole(body: &mut Body, limit: usize, client: Option<&Arc<Client>>) -> Result<Bytes, Error> {
    let mut received = Vec::new();
    let mut deadline = Instant::now() + TIMEOUT;
    loop {
        let frame = timeout_at(deadline, poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)));
        let Some(frame) = frame.await.map_err(|_| Error::Timeout)? else { return Ok(received.into()) };
        let Ok(data) = frame.map_err(|_| Error::Malformed)?.into_data() else { continue };
        if received.len() + data.len() > limit {
            return Err(Error::TooLarge);
        }
        received.extend_from_slice(&data);
        deadline += worth(data.len());
        client.inspect(|client| client.sent(data.len()));
    }
}

#[cfg(test)]
mod tests;
