//! The test error: raised by the service on a signed request, to prove that its errors reach Sentry.

use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use reqwest::{Method, StatusCode, Url};

use crate::sign::signed;
use launchway_core::http::Http;
use launchway_core::secret::Secret;

/// Requests a test error whose message contains `id` from the service at `url`.
///
/// `id` has 1 to 64 characters of `A-Z a-z 0-9 . _ -`; `now` dates the signature. A 500 means that the error was
/// raised: that is the response when a handler panics.
pub(crate) fn raise(http: &Http, url: &Url, key: &Secret, id: &str, now: SystemTime) -> Result<()> {
    let request = http.request(Method::POST, url)?;
    let response = signed(request, key, "launchway/test-error/v1", id, now, b"")?
        .send()
        .map_err(|error| http.transport_error(error))
        .with_context(|| format!("{url} does not respond"))?;
    match response.status() {
        StatusCode::INTERNAL_SERVER_ERROR => Ok(()),
        StatusCode::UNAUTHORIZED => {
            bail!(
                "the service rejected the test error's signature: its key is not the one that this run uses"
            )
        }
        StatusCode::NOT_FOUND => bail!("the service has no test error at {url}"),
        other => bail!("the service responded with {other} instead of raising the test error"),
    }
}

#[cfg(test)]
mod tests;
