//! Extracts the signed message of a request; see [`crate::signature`].

use axum::http::HeaderMap;

use crate::signature::Message;

/// The message of a request. A missing or repeated header is empty, which no verifier accepts.
pub(super) fn message<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Message<'a> {
    let header = |name| one(headers, name).unwrap_or_default();
    Message {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signatures: header("webhook-signature"),
        body,
    }
}

/// The value of a header that occurs exactly once.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
