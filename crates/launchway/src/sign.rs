//! Signs messages to the service, in the form of Standard Webhooks.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>. Each purpose has its
//! own key, derived from the service's key, so that neither the key itself nor a signature made for another purpose
//! gives access.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::blocking::RequestBuilder;
use ring::hmac;

use launchway_core::secret::{Secret, derived_key};

/// Adds the three headers that sign `body` for `purpose`, such as `launchway/test-error/v1`.
///
/// `id` has 1 to 64 characters of `A-Z a-z 0-9 . _ -`; `now` dates the signature. Does not add the body.
pub(crate) fn signed(
    request: RequestBuilder,
    key: &Secret,
    purpose: &str,
    id: &str,
    now: SystemTime,
    body: &[u8],
) -> Result<RequestBuilder> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !(1..=64).contains(&id.len()) || !id.bytes().all(known) {
        bail!("`{id}` is not a valid message id: use 1 to 64 characters from `A-Z a-z 0-9 . _ -`");
    }
    let timestamp = now.duration_since(UNIX_EPOCH).context("the clock is set before 1970")?.as_secs();
    Ok(request
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature(key, purpose, id, timestamp, body)?))
}

/// `v1,` and the MAC of `{id}.{timestamp}.{body}`.
fn signature(key: &Secret, purpose: &str, id: &str, timestamp: u64, body: &[u8]) -> Result<String> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &derived_key(key, purpose)?);
    let mac = hmac::sign(&key, &[format!("{id}.{timestamp}.").as_bytes(), body].concat());
    Ok(format!("v1,{}", BASE64_STANDARD.encode(mac)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_that_python_computes() {
        let key = Secret::new("correct horse battery staple correct horse battery staple");
        // Computed with hmac and hashlib: extract with the salt, expand by one block, sign `rehearsal-1.1767225600.`.
        let found = signature(&key, "launchway/test-error/v1", "rehearsal-1", 1_767_225_600, b"").unwrap();
        assert_eq!(found, "v1,pFJI7vdIorqi6zZdpg25zp0mjO3zFBBGvRy46b5R/cc=");
        let found = signature(&key, "launchway/report/v1", "run-1", 1_767_225_600, b"{}").unwrap();
        assert_eq!(found, "v1,ASNKV+67+VPmEmjSekBbnAwNbtg0YJTZF+hTVu3B/C0=");
    }
}
