//! The client of the Render API, for one service.
//!
//! Endpoints, statuses and limits are those of <https://api-docs.render.com/reference>.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use launchway_core::exit::{Exit, Failure};
use launchway_core::http::Http;
use launchway_core::interrupt::Interrupt;
use launchway_core::secret::{Redactor, Secret};

use crate::exchange::{below, parse};
use crate::model::{Deploy, EnvVar, Phase, Service};

/// Which service of which API, and the key for it.
#[derive(Clone, Debug)]
pub struct Account {
    /// `https://api.render.com/v1`, or a fake's address.
    pub root: Url,
    /// `RENDER_API_KEY`.
    pub key: Secret,
    /// `RENDER_SERVICE_ID`: `srv-…`.
    pub service: String,
}

/// One service, through the API.
pub struct Api {
    pub(crate) http: Http,
    /// `…/v1`.
    root: Url,
    /// `srv-…`.
    id: String,
    /// `…/v1/services/{id}`.
    base: Url,
    /// `Bearer …`, marked sensitive.
    pub(crate) authorization: HeaderValue,
    /// The key, and every value that was written or handed to [`Api::hide`].
    pub(crate) secrets: RefCell<Redactor>,
    pub(crate) interrupt: Interrupt,
    /// The first wait before a retry; each next one is twice as long.
    pub(crate) backoff: Duration,
    /// No retry starts after this.
    pub(crate) deadline: Cell<Option<Instant>>,
}

/// Why a call failed.
#[derive(Debug)]
pub enum ApiError {
    /// Render rejected the request and did nothing.
    Refused {
        /// What Render said, with the exit code and a hint.
        failure: Failure,
        /// The status of the response.
        status: StatusCode,
    },
    /// No usable response: Render may have acted on the request, unless `untouched` says otherwise.
    Unavailable {
        /// Whether Render certainly did nothing: it enforced its rate limit, or no connection was made.
        untouched: bool,
        /// How long Render wants us to wait.
        after: Option<Duration>,
        /// What went wrong.
        why: String,
    },
    /// Not Render's doing: the run was interrupted, or the network policy blocks the address.
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

/// How Render took a request for a deploy.
#[derive(Debug)]
pub enum Requested {
    /// 201: this deploy.
    Created(Deploy),
    /// 202 with an empty body: a deploy that waits behind another one, without its id.
    Queued,
}

/// Checks the form of `RENDER_SERVICE_ID`. An error has [`Exit::Missing`].
pub fn check_id(service: &str) -> Result<()> {
    // `..` is a path segment that no encoding keeps from being followed.
    let is_word =
        |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if service.strip_prefix("srv-").is_some_and(is_word) {
        return Ok(());
    }
    let message = "`RENDER_SERVICE_ID` is not the id of a service: it must look like `srv-…`";
    Err(Failure::new(Exit::Missing, message).into())
}

impl Api {
    /// Attempts at a call that may be repeated.
    pub(crate) const ATTEMPTS: u32 = 6;
    /// The longest that Render may make us wait: the API's own windows are a minute long.
    pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(60);
    /// The timeout of one request.
    pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);
    /// The largest page that the API gives.
    const PAGE: usize = 100;
    /// How many pages of a list are read. No service has so many variables, but a list may lead in a circle.
    const PAGES: usize = 100;

    /// The client of one service, whose retries start after `backoff`.
    ///
    /// A key or an id that no request can carry is an error with [`Exit::Missing`].
    pub fn new(account: Account, http: Http, interrupt: Interrupt, backoff: Duration) -> Result<Self> {
        let Account { root, key, service } = account;
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", key.expose())).map_err(|_| {
            Failure::new(Exit::Missing, "`RENDER_API_KEY` contains an invalid character: copy it again")
        })?;
        authorization.set_sensitive(true);
        check_id(&service)?;
        Ok(Self {
            http,
            base: below(&root, &["services", &service])?,
            root,
            id: service,
            authorization,
            secrets: RefCell::new(Redactor::new([key])),
            interrupt,
            backoff,
            deadline: Cell::default(),
        })
    }

    /// Redacts these in everything that Render says from now on.
    pub fn hide(&self, secrets: impl IntoIterator<Item = Secret>) {
        self.secrets.borrow_mut().add(secrets);
    }

    /// Makes calls that share one time limit: once `time` has passed, none of them is retried.
    pub fn within<T>(&self, time: Duration, calls: impl FnOnce() -> T) -> T {
        self.deadline.set(Some(Instant::now() + time));
        let done = calls();
        self.deadline.set(None);
        done
    }

    /// The service.
    pub fn service(&self) -> Result<Service, ApiError> {
        self.retried(|| self.call(Method::GET, &[], None))
    }

    /// All variables of the service itself, without those of environment groups.
    pub fn variables(&self) -> Result<Vec<EnvVar>, ApiError> {
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

    /// Sets one variable and no other: `PUT …/env-vars` without a key would replace them all.
    pub fn put_variable(&self, name: &str, value: &Secret) -> Result<(), ApiError> {
        // Render may repeat the value that it rejects.
        self.hide([value.clone()]);
        let call = || self.call(Method::PUT, &["env-vars", name], Some(&json!({ "value": value.expose() })));
        let done: Result<serde::de::IgnoredAny, ApiError> = self.retried(call);
        done.map(drop).map_err(|error| match error {
            ApiError::Refused { failure, status } => {
                let failure = Failure::new(failure.exit, format!("`{name}`: {failure}"));
                ApiError::Refused { failure, status }
            }
            error => error,
        })
    }

    /// Removes one variable and no other. A variable that does not exist counts as removed.
    pub fn delete_variable(&self, name: &str) -> Result<(), ApiError> {
        let done = self.retried(|| self.send(Method::DELETE, &["env-vars", name], None));
        match done {
            Ok(_) | Err(ApiError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The deploys requested since then, newest first; the API's own order is not documented.
    pub fn deploys(&self, since: SystemTime) -> Result<Vec<Deploy>, ApiError> {
        let since = humantime::format_rfc3339_seconds(since).to_string();
        self.deploys_where(&[("createdAfter", &since)])
    }

    /// The deploy that is live.
    pub fn live(&self) -> Result<Option<Deploy>, ApiError> {
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

    /// Sets the image in the service's settings, and the credential to pull it with. Deploys nothing.
    ///
    /// `owner` is the workspace's id. Render may remove a credential that the request leaves out.
    pub fn set_image(&self, owner: &str, image: &str, credential: Option<&str>) -> Result<Service, ApiError> {
        let mut body = json!({ "image": { "ownerId": owner, "imagePath": image } });
        if let Some(credential) = credential {
            body["image"]["registryCredentialId"] = json!(credential);
        }
        self.retried(|| self.call(Method::PATCH, &[], Some(&body)))
    }

    /// A deploy. One request without retries, for callers that poll.
    pub fn deploy(&self, id: &str) -> Result<Deploy, ApiError> {
        self.call(Method::GET, &["deploys", id], None)
    }

    /// Requests a deploy of this image.
    ///
    /// Retried only if Render certainly did nothing: after the rate limit, or without a connection.
    /// Every other [`ApiError::Unavailable`] may have started a deploy.
    pub fn create_deploy(&self, image: &str) -> Result<Requested, ApiError> {
        let body = json!({ "imageUrl": image });
        let mut tries = self.tries();
        loop {
            let sent = self.send(Method::POST, &["deploys"], Some(&body));
            match sent {
                Ok((StatusCode::ACCEPTED, text)) if text.trim().is_empty() => return Ok(Requested::Queued),
                Ok((_, text)) => return parse(&text).map(Requested::Created),
                Err(error @ ApiError::Unavailable { untouched: true, .. }) => {
                    self.wait_after(&mut tries, error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Cancels a deploy. Render refuses to cancel one that has ended.
    pub fn cancel(&self, id: &str) -> Result<Deploy, ApiError> {
        self.retried(|| self.call(Method::POST, &["deploys", id, "cancel"], None))
    }

    /// The service's own id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn url(&self, path: &[&str]) -> Result<Url, ApiError> {
        below(&self.base, path).map_err(ApiError::Stopped)
    }

    /// One GET of a path below `…/v1`, without retries.
    pub(crate) fn get_once<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, ApiError> {
        let mut url = below(&self.root, path).map_err(ApiError::Stopped)?;
        url.query_pairs_mut().extend_pairs(query);
        let (_, text) = self.exchange(self.request(Method::GET, &url)?)?;
        parse(&text)
    }

    /// Reads every page of a list. The last page is a short one, or one whose cursor leads nowhere.
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
            let page: Vec<T> = self.retried(|| {
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
        let why = format!("its list at {} has more than {} entries", url.path(), all.len());
        Err(ApiError::Unavailable { untouched: true, after: None, why })
    }
}

#[cfg(test)]
mod tests;
