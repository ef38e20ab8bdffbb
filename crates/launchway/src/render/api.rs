//! The client of the Render API, for one service.
//!
//! Endpoints, statuses and limits are those of <https://api-docs.render.com/reference>.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::context::Context;
use launchway_core::exit::{Exit, Failure};
use launchway_core::http::Http;
use launchway_core::interrupt::Interrupt;
use launchway_core::secret::{Redactor, Secret};

use super::exchange::{below, parse};
use super::model::{Deploy, EnvVar, Phase, Service};

/// One service, through the API.
pub(crate) struct Api {
    pub(super) http: Http,
    /// `…/v1`.
    root: Url,
    /// `srv-…`.
    id: String,
    /// `…/v1/services/{id}`.
    pub(super) base: Url,
    /// `Bearer …`, marked sensitive.
    pub(super) authorization: HeaderValue,
    pub(super) key: Secret,
    pub(super) interrupt: Interrupt,
    /// The first wait before trying again; each next one is twice as long.
    pub(super) backoff: Duration,
    /// After this no call is made again.
    pub(super) end: Cell<Option<Instant>>,
}

/// Why a call did not do what it should.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// Render said no, and did nothing.
    Refused { failure: Failure, status: StatusCode },
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
            ApiError::Refused { failure, .. } => failure.into(),
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
    pub(super) const ATTEMPTS: u32 = 6;
    /// The longest that Render may ask us to wait: the API's own windows are a minute long.
    pub(super) const LONGEST_WAIT: Duration = Duration::from_mins(1);
    /// The longest wait for an answer.
    pub(super) const TIMEOUT: Duration = Duration::from_secs(20);
    /// The largest page that the API gives.
    const PAGE: usize = 100;
    /// How many pages of a list are read. No service has so many variables; a list may lead in a circle.
    const PAGES: usize = 100;

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
            end: Cell::default(),
        })
    }

    /// Makes calls that share their patience: after `time` none of them is made again, however many fail.
    pub(crate) fn within<T>(&self, time: Duration, calls: impl FnOnce() -> T) -> T {
        self.end.set(Some(Instant::now() + time));
        let done = calls();
        self.end.set(None);
        done
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
            Err(ApiError::Refused { failure, status }) => {
                let said = Redactor::new([value.clone()]).redact(&failure.to_string());
                let failure = Failure::new(failure.exit, format!("`{name}`: {said}"));
                Err(ApiError::Refused { failure, status })
            }
            Err(error) => Err(error),
        }
    }

    /// Takes one variable away, and no other. One that is not there is gone as well.
    pub(crate) fn delete_variable(&self, name: &str) -> Result<(), ApiError> {
        let done = self.patient(|| self.send(Method::DELETE, &["env-vars", name], None));
        match done {
            Ok(_) | Err(ApiError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(()),
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
        for _ in 0..Self::PAGES {
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
        let why = format!("its list at {} has no end after {} entries", url.path(), all.len());
        Err(ApiError::Unavailable { untouched: true, after: None, why })
    }
}

#[cfg(test)]
mod tests;
