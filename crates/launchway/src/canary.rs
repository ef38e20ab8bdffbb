//! The canary: an error that the app raises on a signed request, to prove that errors arrive where they are reported.

use std::time::SystemTime;

use anyhow::{Context as _, Result, anyhow, bail};
use reqwest::{Method, StatusCode, Url};

use crate::sign::signed;
use launchway_core::http::Http;
use launchway_core::secret::Secret;

/// Has the app at `url` raise the error `test error <id>: raised on request`.
///
/// `id` is 1 to 64 of `A-Z a-z 0-9 . _ -`; `now` dates the signature. Done when the app answered 500, which is what a
/// request gets whose handler panicked.
pub(crate) fn raise(http: &Http, url: &Url, key: &Secret, id: &str, now: SystemTime) -> Result<()> {
    let request = http.request(Method::POST, url)?;
    let response = signed(request, key, "launchway/test-error/v1", id, now, b"")?
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

#[cfg(test)]
mod tests;
