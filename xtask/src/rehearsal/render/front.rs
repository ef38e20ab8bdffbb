//! The service's fixed address: an HTTP proxy to whichever instance is live.
//!
//! Per request and not per connection: with a proxy of bytes, a client that keeps its connection open would go on
//! talking to the previous release after the switch.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::super::standin::{Incoming, Shared, StandIn};

/// Where traffic goes.
pub(super) struct Front {
    target: Shared<Option<SocketAddr>>,
    client: reqwest::Client,
}

impl Front {
    pub(super) fn new(client: reqwest::Client) -> Self {
        Self { target: Shared::new(None), client }
    }

    /// Sends the next request, and all after it, to another instance.
    pub(super) fn switch(&self, target: SocketAddr) {
        self.target.change(|current| *current = Some(target));
    }
}

impl StandIn for Front {
    async fn answer(&self, request: &mut Incoming) -> Response {
        /// The proxy holds a request's body in memory; the answer's streams through.
        const MAX_BODY: usize = 16 << 20;

        let Some(target) = self.target.read(|target| *target) else {
            return (StatusCode::BAD_GATEWAY, "no instance is live\n").into_response();
        };
        let Ok(body) = request.bytes(MAX_BODY).await else {
            return (StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n").into_response();
        };
        let url = format!("http://{target}{}", request.target());
        let mut headers = end_to_end(&request.headers);
        // Render ends TLS at its edge and says so; the front address stands for that edge.
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        headers.insert("x-forwarded-for", HeaderValue::from_static("127.0.0.1"));
        if let Some(host) = request.headers.get(HOST) {
            headers.insert(HOST, host.clone());
        }
        let sent = self.client.request(request.method.clone(), url).headers(headers).body(body).send().await;
        match sent {
            Err(_) => (StatusCode::BAD_GATEWAY, "the instance does not answer\n").into_response(),
            Ok(answer) => {
                let (status, headers) = (answer.status(), end_to_end(answer.headers()));
                (status, headers, Body::new(reqwest::Body::from(answer))).into_response()
            }
        }
    }
}

/// Without the headers that concern one connection only (RFC 9110, §7.6.1).
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    const HOP_BY_HOP: [HeaderName; 4] =
        [CONNECTION, TRANSFER_ENCODING, HOST, HeaderName::from_static("keep-alive")];
    let mut headers = headers.clone();
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers
}
