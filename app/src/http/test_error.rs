//! `POST /test-error`: raises an error on a signed request, to prove that errors reach Sentry.
//!
//! # Contract
//!
//! The request is a Standard Webhooks message (see [`crate::signature`]) with exactly one of each header:
//!
//! | header | value |
//! |---|---|
//! | `webhook-id` | the id of the test error: 1 to 64 of `[A-Za-z0-9._-]` |
//! | `webhook-timestamp` | Unix time in seconds, in decimal digits, at most 300 s from now |
//! | `webhook-signature` | `v1,` and the padded standard base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`; several are separated by spaces, and the first 8 well-formed ones are checked |
//!
//! The key is HKDF-SHA256: salt `launchway`, input key material the bytes of `SECRET_KEY`, info
//! `launchway/test-error/v1`, 32 bytes. A key in `SECRET_KEY_FALLBACKS` is accepted too. The body is normally empty; up to
//! 1024 bytes are accepted, signed and ignored. The `Host` must be allowed, as for every request.
//!
//! | response | when |
//! |---|---|
//! | 500 | the error was raised: the handler panicked with `test error {id}: raised on request` |
//! | 401 | a header is missing, repeated or malformed, the time is too far off, or no signature is valid; always the same body |
//! | 413 | the body has more than 1024 bytes |
//! | 429 | the signature is valid, but another error was raised less than a second ago; `Retry-After: 1` |
//!
//! The event in Sentry has the level `fatal`, that message as the value of an exception of type `panic`, the tag
//! `test_error` with the id, and the release and environment of the process.
//!
//! Replaying a message within its 300 s raises another event and does no other harm.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use tokio::time::Instant;
use tracing::warn;

use super::errors::Error;
use super::router::Site;
use super::signed_request::message;
use crate::settings::secret_key::SecretKey;
use crate::signature::{Rejection, Verifier};

/// What the signing key is derived for.
pub const PURPOSE: &str = "launchway/test-error/v1";
/// Shortest time between two test errors: each uses up an event of Sentry's quota.
const INTERVAL: Duration = Duration::from_secs(1);

/// Decides whether a test error may be raised.
#[derive(Debug)]
pub(super) struct TestErrors {
    verifier: Verifier,
    last: Mutex<Option<Instant>>,
}

impl TestErrors {
    pub(super) fn new(secret: &SecretKey, fallbacks: &[SecretKey]) -> Self {
        Self { verifier: Verifier::new(secret, fallbacks, PURPOSE), last: Mutex::new(None) }
    }

    /// The id of the test error to raise.
    fn admit<'a>(&self, headers: &'a HeaderMap, body: &'a [u8]) -> Result<&'a str, Error> {
        let message = message(headers, body);
        self.verifier.verify(message, SystemTime::now()).map_err(|rejection: Rejection| {
            warn!(target: "app::test_error", "rejected: {rejection}");
            Error::Unsigned
        })?;
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            return Err(Error::TooSoon);
        }
        *last = Some(now);
        Ok(message.id)
    }
}

/// Panics on a valid request.
pub(super) async fn raise(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Infallible, Error> {
    let id = site.test_errors.admit(&headers, &body)?;
    sentry::configure_scope(|scope| scope.set_tag("test_error", id));
    panic!("test error {id}: raised on request");
}
