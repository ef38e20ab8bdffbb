//! One exchange with the Render API: what is sent, how often, and what a response means.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow};
use reqwest::blocking::{RequestBuilder, Response};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use launchway_core::exit::{Exit, Failure};
use launchway_core::http;
use launchway_core::retry::{self, Retry, Tries};

use crate::api::{Api, ApiError};

impl Api {
    /// Repeats an idempotent call until it succeeds, fails for good, or its time is up.
    pub(crate) fn retried<T>(&self, call: impl Fn() -> Result<T, ApiError>) -> Result<T, ApiError> {
        let mut tries = self.tries();
        loop {
            match call() {
                Err(error) => self.wait_after(&mut tries, error)?,
                done => return done,
            }
        }
    }

    pub(crate) fn tries(&self) -> Tries {
        Retry {
            tries: Self::ATTEMPTS,
            backoff: self.backoff,
            longest_wait: Self::LONGEST_WAIT,
            deadline: self.deadline.get(),
        }
        .begin()
    }

    /// Waits for the next try after a transient error; any other, and the last, is returned.
    pub(crate) fn wait_after(&self, tries: &mut Tries, error: ApiError) -> Result<(), ApiError> {
        let ApiError::Unavailable { after, .. } = &error else { return Err(error) };
        let Ok(wait) = tries.next_wait(*after) else { return Err(error) };
        self.interrupt.sleep(wait).map_err(ApiError::Stopped)
    }

    pub(crate) fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&serde_json::Value>,
    ) -> Result<T, ApiError> {
        let (_, text) = self.send(method, path, body)?;
        parse(&text)
    }

    pub(crate) fn send(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&serde_json::Value>,
    ) -> Result<(StatusCode, String), ApiError> {
        let mut request = self.request(method, &self.url(path)?)?;
        if let Some(body) = body {
            request = request.json(body);
        }
        self.exchange(request)
    }

    pub(crate) fn request(&self, method: Method, url: &Url) -> Result<RequestBuilder, ApiError> {
        let request = self.http.request(method, url).map_err(ApiError::Stopped)?;
        Ok(request
            .header(AUTHORIZATION, self.authorization.clone())
            .header(ACCEPT, "application/json")
            .timeout(Self::TIMEOUT))
    }

    pub(crate) fn exchange(&self, request: RequestBuilder) -> Result<(StatusCode, String), ApiError> {
        let response = request.send().map_err(|error| ApiError::Unavailable {
            untouched: error.is_connect(),
            after: None,
            why: self.http.transport_error(error).message,
        })?;
        let status = response.status();
        let after = retry_after(status, response.headers());
        let text = body(response)?;
        if status.is_success() {
            return Ok((status, text));
        }
        let why = format!("{status}{}", self.message(&text));
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            let untouched = status == StatusCode::TOO_MANY_REQUESTS;
            return Err(ApiError::Unavailable { untouched, after, why });
        }
        let failure = match status.as_u16() {
            401 => Failure::new(
                Exit::Missing,
                format!(
                    "Render rejected the key in `RENDER_API_KEY` ({why}): create one in the account settings, under API keys"
                ),
            ),
            403 => Failure::new(
                Exit::Missing,
                format!(
                    "the key in `RENDER_API_KEY` may not do this ({why}): use one of a member of the service's workspace"
                ),
            ),
            404 => Failure::new(
                Exit::Missing,
                format!(
                    "Render cannot find it ({why}): `RENDER_SERVICE_ID` must be the `srv-…` of a service that the key in `RENDER_API_KEY` can see"
                ),
            ),
            _ => Failure::new(Exit::DeployFailed, format!("Render refused: {why}")),
        };
        Err(ApiError::Refused { failure, status })
    }

    /// Render's own message in one short line: the `message`, or the body if it is not JSON.
    fn message(&self, body: &str) -> String {
        #[derive(Deserialize)]
        struct Error {
            message: String,
        }
        const LONGEST: usize = 200;
        let text = serde_json::from_str(body).map_or_else(|_| body.to_owned(), |error: Error| error.message);
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let line = self.secrets.borrow().redact(&line);
        if line.is_empty() {
            return line;
        }
        let short: String = line.chars().take(LONGEST).collect();
        format!(": {short}{}", if short.len() < line.len() { "…" } else { "" })
    }
}

/// The address of a path below another one, each segment percent-encoded.
pub(crate) fn below(base: &Url, path: &[&str]) -> Result<Url> {
    let mut url = base.clone();
    url.path_segments_mut().map_err(|()| anyhow!("`{base}` cannot have a path"))?.pop_if_empty().extend(path);
    Ok(url)
}

fn body(response: Response) -> Result<String, ApiError> {
    http::text(response).map_err(|error| ApiError::Unavailable {
        untouched: false,
        after: None,
        why: format!("its response broke off: {error:#}"),
    })
}

/// Parses a response. One that is not the expected JSON comes from a proxy or an outage.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, ApiError> {
    serde_json::from_str(text).context("its response is not the expected JSON").map_err(|error| {
        // serde's own message would quote an unexpected value, which may be a variable's.
        ApiError::Unavailable { untouched: false, after: None, why: error.to_string() }
    })
}

/// How long Render wants us to wait.
///
/// Every response has `Ratelimit-Reset`, which counts only if the limit was hit. It is the rest of the window in
/// seconds, although the documentation calls it a point in time.
pub(crate) fn retry_after(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let reset = || {
        let seconds = headers.get("ratelimit-reset")?.to_str().ok()?.trim().parse().ok()?;
        (status == StatusCode::TOO_MANY_REQUESTS).then(|| Duration::from_secs(seconds))
    };
    let asked = retry::retry_after(headers, SystemTime::now()).or_else(reset);
    asked.map(|wait| wait.min(Api::LONGEST_WAIT))
}
