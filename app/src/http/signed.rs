//! Signed requests: a message of Standard Webhooks in headers and body, see [`crate::sign`].

use axum::http::HeaderMap;

use crate::sign::Message;

/// The message of a request. A header that is missing or repeated is empty, which no verifier accepts.
pub(super) fn message<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Message<'a> {
    let header = |name| one(headers, name).unwrap_or_default();
    Message {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signatures: header("webhook-signature"),
        body,
    }
}

/// The header's value if there is exactly one.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
