//! The canary: an error that the app raises on a signed request, to prove that errors arrive where they are reported.
//!
//! The signature is that of <https://www.standardwebhooks.com>, with a key derived from `SECRET_KEY`, so that neither the
//! key itself nor a signature made for another purpose opens this door.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::{Method, StatusCode, Url};
use ring::{hkdf, hmac};

use crate::http::Http;
use crate::secret::Secret;

/// Has the app at `url` raise the error `canary <id>: raised on request`.
///
/// `id` is 1 to 64 of `A-Z a-z 0-9 . _ -`; `now` dates the signature. Done when the app answered 500, which is what a
/// request gets whose handler panicked.
pub(crate) fn raise(http: &Http, url: &Url, key: &Secret, id: &str, now: SystemTime) -> Result<()> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !(1..=64).contains(&id.len()) || !id.bytes().all(known) {
        bail!("`{id}` is not the id of a canary: 1 to 64 of `A-Z a-z 0-9 . _ -`");
    }
    let timestamp = now.duration_since(UNIX_EPOCH).context("the clock stands before 1970")?.as_secs();
    let response = http
        .request(Method::POST, url)?
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature(key, id, timestamp)?)
        .send()
        .map_err(|error| anyhow!(error.without_url()))
        .with_context(|| format!("{url} does not answer"))?;
    match response.status() {
        StatusCode::INTERNAL_SERVER_ERROR => Ok(()),
        StatusCode::UNAUTHORIZED => bail!("the app refused the canary: its `SECRET_KEY` is not ours"),
        StatusCode::NOT_FOUND => bail!("the app has no canary at {url}"),
        other => bail!("the app answered the canary with {other} instead of an error of its own"),
    }
}

/// `v1,` and the MAC of `{id}.{timestamp}.{body}` for an empty body.
fn signature(key: &Secret, id: &str, timestamp: u64) -> Result<String> {
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, b"slipway")
        .extract(key.expose().as_bytes())
        .expand(&[b"slipway/canary/v1"], hmac::HMAC_SHA256)
        .map(hmac::Key::from)
        .map_err(|_| anyhow!("the key of the canary cannot be derived"))?;
    let mac = hmac::sign(&key, format!("{id}.{timestamp}.").as_bytes());
    Ok(format!("v1,{}", BASE64_STANDARD.encode(mac)))
}

#[cfg(test)]
mod tests;
