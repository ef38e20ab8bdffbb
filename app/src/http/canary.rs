//! `POST /canary`: the pipeline asks the live app to fail, to prove that its errors reach Sentry.
//!
//! # Contract
//!
//! The request is a Standard Webhooks message (see [`crate::sign`]) with exactly one of each header:
//!
//! | header | value |
//! |---|---|
//! | `webhook-id` | the canary's name: 1 to 64 of `[A-Za-z0-9._-]` |
//! | `webhook-timestamp` | Unix time in seconds, in decimal digits, at most 300 s from now either way |
//! | `webhook-signature` | `v1,` and the padded standard base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`; several with a space between them, of which the first 8 well-formed ones count |
//!
//! The key is HKDF-SHA256: salt `launchway`, input key material the bytes of `SECRET_KEY` as they are, info
//! `launchway/canary/v1`, 32 bytes. A key in `SECRET_KEY_FALLBACKS` counts as well. The body is empty as a rule; up to 1024 bytes are signed like any and ignored.
//! The `Host` must be an allowed one, as for every request.
//!
//! | answer | when |
//! |---|---|
//! | 500 | the canary was raised: the handler panicked with `canary {id}: raised on request` |
//! | 401 | a header is missing, repeated or malformed, the time is too far off, or no signature is right; always the same body |
//! | 413 | the body has more than 1024 bytes |
//! | 429 | the signature is right and another canary was raised less than a second ago; `Retry-After: 1` |
//!
//! The event in Sentry has the level `fatal`, that message as the value of an exception of type `panic`, the tag
//! `canary` with the id, and the release and environment of the process.
//!
//! A repeated message within its 300 s raises another event and does no other harm.

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
use super::signed::message;
use crate::settings::secret_key::SecretKey;
use crate::sign::{Refusal, Verifier};

/// What the signing key is derived for.
pub const PURPOSE: &str = "launchway/canary/v1";
/// Shortest time between two canaries: each costs an event of Sentry's quota.
const INTERVAL: Duration = Duration::from_secs(1);

/// Decides whether a canary may be raised.
#[derive(Debug)]
pub(super) struct Canary {
    verifier: Verifier,
    last: Mutex<Option<Instant>>,
}

impl Canary {
    pub(super) fn new(secret: &SecretKey, fallbacks: &[SecretKey]) -> Self {
        Self { verifier: Verifier::new(secret, fallbacks, PURPOSE), last: Mutex::new(None) }
    }

    /// The id of the canary to raise.
    fn admit<'a>(&self, headers: &'a HeaderMap, body: &'a [u8]) -> Result<&'a str, Error> {
        let message = message(headers, body);
        self.verifier.verify(message, SystemTime::now()).map_err(|refusal: Refusal| {
            warn!(target: "app::canary", "refused: {refusal}");
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
    let id = site.canary.admit(&headers, &body)?;
    sentry::configure_scope(|scope| scope.set_tag("canary", id));
    panic!("canary {id}: raised on request");
}
