//! The client of the Render API, for one service.
//!
//! Endpoints, statuses and limits are those of <https://api-docs.render.com/reference>.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow};
use reqwest::blocking::{RequestBuilder, Response};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::http::{self, Http};
use crate::interrupt::Interrupt;
use crate::secret::{Redactor, Secret};

use super::model::{Deploy, EnvVar, Phase, Service};

/// One service, through the API.
pub(crate) struct Api {
    http: Http,
    /// `…/v1`.
    root: Url,
    /// `srv-…`.
    id: String,
    /// `…/v1/services/{id}`.
    base: Url,
    /// `Bearer …`, marked sensitive.
    authorization: HeaderValue,
    key: Secret,
    interrupt: Interrupt,
    /// The first wait before trying again; each next one is twice as long.
    backoff: Duration,
}

/// Why a call did not do what it should.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// Render said no, and did nothing.
    Refused(Failure),
    /// No answer to rely on: whether the call did something is not known, unless Render only asks for patience.
    Unavailable {
        /// Whether Render surely did nothing: the rate limit, or no connection.
        untouched: bool,
        /// How long Render asks to be left alone.
        after: Option<Duration>,
        why: String,
    },
    /// Not Render's doing: the run was asked to end, or the address is out of reach.
    Stopped(anyhow::Error),
}

// Not an `std::error::Error`: it becomes the error that it holds, with its exit code.
impl From<ApiError> for anyhow::Error {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Refused(failure) => failure.into(),
            ApiError::Unavailable { why, .. } => {
                Failure::new(Exit::DeployFailed, format!("the Render API is not available: {why}")).into()
            }
            ApiError::Stopped(error) => error,
        }
    }
}

/// What became of asking for a deploy.
#[derive(Debug)]
pub(crate) enum Asked {
    /// 201.
    Created(Deploy),
    /// 202 with an empty body: it waits behind another one, and Render does not say which it is.
    Queued,
}

impl Api {
    /// Attempts at a call that may be repeated.
    const ATTEMPTS: u32 = 6;
    /// The longest that Render may ask us to wait: the API's own windows are a minute long.
    const LONGEST_WAIT: Duration = Duration::from_mins(1);
    /// The longest wait for an answer.
    const TIMEOUT: Duration = Duration::from_secs(20);
    /// The largest page that the API gives.
    const PAGE: usize = 100;

    /// The service `RENDER_SERVICE_ID` with the key `RENDER_API_KEY`.
    ///
    /// Waits between attempts begin with `backoff`.
    pub(crate) fn new(ctx: &Context, backoff: Duration) -> Result<Self> {
        let key = ctx.required("RENDER_API_KEY")?;
        let id = ctx.required("RENDER_SERVICE_ID")?;
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", key.expose())).map_err(|_| {
            Failure::new(Exit::Missing, "`RENDER_API_KEY` holds a character that no key has: copy it again")
        })?;
        authorization.set_sensitive(true);
        // `..` is a path segment that no encoding keeps from being followed.
        if !id.expose().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(Failure::new(
                Exit::Missing,
                "`RENDER_SERVICE_ID` is not a service's id: it must look like `srv-…`",
            )
            .into());
        }
        let root = ctx.render_url()?;
        Ok(Self {
            http: ctx.http()?,
            base: below(&root, &["services", id.expose()])?,
            root,
            id: id.expose().to_owned(),
            authorization,
            key,
            interrupt: ctx.interrupt.clone(),
            backoff,
        })
    }

    pub(crate) fn service(&self) -> Result<Service, ApiError> {
        self.patient(|| self.call(Method::GET, &[], None))
    }

    /// All variables of the service itself, without those of environment groups.
    pub(crate) fn variables(&self) -> Result<Vec<EnvVar>, ApiError> {
        #[derive(Deserialize)]
        struct Item {
            #[serde(rename = "envVar")]
            env_var: EnvVar,
            #[serde(default)]
            cursor: String,
        }
        let items: Vec<Item> = self.list(&["env-vars"], &[], |item: &Item| item.cursor.clone())?;
        Ok(items.into_iter().map(|item| item.env_var).collect())
    }

    /// Sets one variable, and no other: `PUT …/env-vars` without a key would replace them all.
    pub(crate) fn put_variable(&self, name: &str, value: &Secret) -> Result<(), ApiError> {
        let call = || self.call(Method::PUT, &["env-vars", name], Some(&json!({ "value": value.expose() })));
        let done: Result<serde::de::IgnoredAny, ApiError> = self.patient(call);
        match done {
            Ok(_) => Ok(()),
            // Render may repeat what it refuses.
            Err(ApiError::Refused(failure)) => {
                let said = Redactor::new([value.clone()]).redact(&failure.to_string());
                Err(ApiError::Refused(Failure::new(failure.exit, format!("`{name}`: {said}"))))
            }
            Err(error) => Err(error),
        }
    }

    /// Takes one variable away, and no other. One that is not there is gone as well.
    pub(crate) fn delete_variable(&self, name: &str) -> Result<(), ApiError> {
        let done = self.patient(|| self.send(Method::DELETE, &["env-vars", name], None));
        match done {
            Ok(_) => Ok(()),
            Err(ApiError::Refused(failure)) if failure.to_string().contains("404 ") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The deploys that were asked for since then, the newest first; the API's own order is not documented.
    pub(crate) fn deploys(&self, since: SystemTime) -> Result<Vec<Deploy>, ApiError> {
        let since = humantime::format_rfc3339_seconds(since).to_string();
        self.deploys_where(&[("createdAfter", &since)])
    }

    /// The deploy that serves now.
    pub(crate) fn live(&self) -> Result<Option<Deploy>, ApiError> {
        let deploys = self.deploys_where(&[("status", "live")])?;
        Ok(deploys.into_iter().find(|deploy| deploy.status.phase() == Phase::Live))
    }

    fn deploys_where(&self, query: &[(&str, &str)]) -> Result<Vec<Deploy>, ApiError> {
        #[derive(Deserialize)]
        struct Item {
            deploy: Deploy,
            #[serde(default)]
            cursor: String,
        }
        let items: Vec<Item> = self.list(&["deploys"], query, |item: &Item| item.cursor.clone())?;
        let mut deploys: Vec<Deploy> = items.into_iter().map(|item| item.deploy).collect();
        deploys.sort_by(|a, b| b.created_at.cmp(&a.created_at));
        Ok(deploys)
    }

    /// Sets the image that the service's settings name, with the credential that it is pulled with. Nothing is deployed.
    ///
    /// `owner` is the workspace's id; a credential that is left out might be taken away.
    pub(crate) fn set_image(
        &self,
        owner: &str,
        image: &str,
        credential: Option<&str>,
    ) -> Result<Service, ApiError> {
        let mut body = json!({ "image": { "ownerId": owner, "imagePath": image } });
        if let Some(credential) = credential {
            body["image"]["registryCredentialId"] = json!(credential);
        }
        self.patient(|| self.call(Method::PATCH, &[], Some(&body)))
    }

    /// One attempt, for those who ask again anyway.
    pub(crate) fn deploy(&self, id: &str) -> Result<Deploy, ApiError> {
        self.call(Method::GET, &["deploys", id], None)
    }

    /// Asks for a deploy of this image.
    ///
    /// Asked again only when Render did not take it: after the rate limit, or without a connection.
    /// Every other [`ApiError::Unavailable`] may have begun a deploy.
    pub(crate) fn create_deploy(&self, image: &str) -> Result<Asked, ApiError> {
        let body = json!({ "imageUrl": image });
        let mut attempt = 1;
        loop {
            let sent = self.send(Method::POST, &["deploys"], Some(&body));
            match sent {
                Ok((StatusCode::ACCEPTED, text)) if text.trim().is_empty() => return Ok(Asked::Queued),
                Ok((_, text)) => return parse(&text).map(Asked::Created),
                Err(ApiError::Unavailable { untouched: true, after, .. }) if attempt < Self::ATTEMPTS => {
                    self.wait(attempt, after)?;
                }
                Err(error) => return Err(error),
            }
            attempt += 1;
        }
    }

    /// Cancels a deploy that has not ended; one that has is refused.
    pub(crate) fn cancel(&self, id: &str) -> Result<Deploy, ApiError> {
        self.patient(|| self.call(Method::POST, &["deploys", id, "cancel"], None))
    }

    /// The service's own id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// One look at what the API tells below `…/v1`.
    pub(super) fn beside<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, ApiError> {
        let mut url = below(&self.root, path).map_err(ApiError::Stopped)?;
        url.query_pairs_mut().extend_pairs(query);
        let (_, text) = self.exchange(self.request(Method::GET, &url)?)?;
        parse(&text)
    }

    /// Every page of a list. A short page is the last one, and so is one that leads nowhere.
    fn list<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        cursor: impl Fn(&T) -> String,
    ) -> Result<Vec<T>, ApiError> {
        let mut url = self.url(path)?;
        let limit = Self::PAGE.to_string();
        let mut all: Vec<T> = Vec::new();
        let mut from = String::new();
        loop {
            url.query_pairs_mut().clear().append_pair("limit", &limit).extend_pairs(query);
            if !from.is_empty() {
                url.query_pairs_mut().append_pair("cursor", &from);
            }
            let page: Vec<T> = self.patient(|| {
                let (_, text) = self.exchange(self.request(Method::GET, &url)?)?;
                parse(&text)
            })?;
            let next = page.last().map(&cursor).unwrap_or_default();
            let last = page.len() < Self::PAGE || next.is_empty() || next == from;
            all.extend(page);
            if last {
                return Ok(all);
            }
            from = next;
        }
    }

    /// Repeats a call that may be made twice until it is answered.
    fn patient<T>(&self, call: impl Fn() -> Result<T, ApiError>) -> Result<T, ApiError> {
        let mut attempt = 1;
        loop {
            match call() {
                Err(ApiError::Unavailable { after, .. }) if attempt < Self::ATTEMPTS => {
                    self.wait(attempt, after)?;
                }
                done => return done,
            }
            attempt += 1;
        }
    }

    fn wait(&self, attempt: u32, asked: Option<Duration>) -> Result<(), ApiError> {
        let own = self.backoff.saturating_mul(1 << (attempt - 1));
        self.interrupt.sleep(own.max(asked.unwrap_or_default())).map_err(ApiError::Stopped)
    }

    fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&serde_json::Value>,
    ) -> Result<T, ApiError> {
        let (_, text) = self.send(method, path, body)?;
        parse(&text)
    }

    fn send(
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

    fn request(&self, method: Method, url: &Url) -> Result<RequestBuilder, ApiError> {
        let request = self.http.request(method, url).map_err(ApiError::Stopped)?;
        Ok(request
            .header(AUTHORIZATION, self.authorization.clone())
            .header(ACCEPT, "application/json")
            .timeout(Self::TIMEOUT))
    }

    fn url(&self, path: &[&str]) -> Result<Url, ApiError> {
        below(&self.base, path).map_err(ApiError::Stopped)
    }

    fn exchange(&self, request: RequestBuilder) -> Result<(StatusCode, String), ApiError> {
        let response = request.send().map_err(|error| ApiError::Unavailable {
            untouched: error.is_connect(),
            after: None,
            why: format!("{:#}", anyhow!(error.without_url())),
        })?;
        let status = response.status();
        let after = patience(status, response.headers());
        let text = body(response)?;
        if status.is_success() {
            return Ok((status, text));
        }
        let why = format!("{status}{}", self.said(&text));
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            let untouched = status == StatusCode::TOO_MANY_REQUESTS;
            return Err(ApiError::Unavailable { untouched, after, why });
        }
        Err(ApiError::Refused(match status.as_u16() {
            401 => Failure::new(
                Exit::Missing,
                format!(
                    "Render does not know the key in `RENDER_API_KEY` ({why}): create one in the dashboard under Account settings → API keys"
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
                    "Render does not find it ({why}): `RENDER_SERVICE_ID` must be the `srv-…` of a service that the key in `RENDER_API_KEY` can see"
                ),
            ),
            _ => Failure::new(Exit::DeployFailed, format!("Render refused: {why}")),
        }))
    }

    /// Render's own words, in one short line: the `message`, or the body where it is not JSON.
    fn said(&self, body: &str) -> String {
        #[derive(Deserialize)]
        struct Error {
            message: String,
        }
        const LONGEST: usize = 200;
        let text = serde_json::from_str(body).map_or_else(|_| body.to_owned(), |error: Error| error.message);
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let line = Redactor::new([self.key.clone()]).redact(&line);
        if line.is_empty() {
            return line;
        }
        let short: String = line.chars().take(LONGEST).collect();
        format!(": {short}{}", if short.len() < line.len() { "…" } else { "" })
    }
}

/// The address of a path below another one, each segment percent-encoded.
fn below(base: &Url, path: &[&str]) -> Result<Url> {
    let mut url = base.clone();
    url.path_segments_mut().map_err(|()| anyhow!("`{base}` cannot have a path"))?.pop_if_empty().extend(path);
    Ok(url)
}

fn body(response: Response) -> Result<String, ApiError> {
    http::text(response).map_err(|error| ApiError::Unavailable {
        untouched: false,
        after: None,
        why: format!("its answer broke off: {error:#}"),
    })
}

/// An answer that is not what it should be is no answer: a proxy on the way, or an outage.
fn parse<T: DeserializeOwned>(text: &str) -> Result<T, ApiError> {
    serde_json::from_str(text).context("its answer is not the JSON it should be").map_err(|error| {
        // serde's own words name a value that it did not expect, which may be a variable's.
        ApiError::Unavailable { untouched: false, after: None, why: error.to_string() }
    })
}

/// How long Render asks to be left alone, in seconds.
///
/// `Ratelimit-Reset` stands in every answer and counts only where the limit was hit. It is what is left of the window,
/// although the documentation calls it a point in time.
fn patience(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let seconds = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse().ok();
    let reset = || seconds("ratelimit-reset").filter(|_| status == StatusCode::TOO_MANY_REQUESTS);
    seconds("retry-after").or_else(reset).map(|seconds| Duration::from_secs(seconds).min(Api::LONGEST_WAIT))
}

#[cfg(test)]
mod tests;
