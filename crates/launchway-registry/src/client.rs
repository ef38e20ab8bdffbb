//! Sends one request to a registry: logs in if the registry requires it, and follows redirects.

mod login;
mod retrying;
mod upload;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use reqwest::blocking::{RequestBuilder, Response};
use reqwest::{Method, StatusCode, Url};

use crate::Repository;
use crate::address::{location, url_host};
use crate::auth::{Access, Scopes};
use crate::credentials::{Credentials, Logins};
use crate::error::Error;
use crate::quote;
use launchway_core::events::Reporter;
use launchway_core::http::Http;
use launchway_core::interrupt::Interrupt;
use launchway_core::retry::{Retry, is_transient};
use login::Authorization;
pub(crate) use login::Grant;
use upload::time_to_send;
pub use upload::{Blob, Outcome};

/// What a client needs.
#[derive(Clone)]
pub struct Session {
    /// Sends the requests.
    pub http: Http,
    /// Receives the notes and the progress.
    pub reporter: Reporter,
    /// Ends waits and uploads.
    pub interrupt: Interrupt,
    /// Where logins come from.
    pub logins: Logins,
}

/// A client for the registries of one run. It keeps what they granted: one login serves many requests.
#[derive(Clone)]
pub struct Client {
    pub(crate) session: Session,
    pub(crate) access: Access,
    /// By the registry's origin.
    pub(crate) grants: Arc<Mutex<BTreeMap<String, Grant>>>,
    /// By the registry's name: a credential helper runs once.
    credentials: Arc<Mutex<BTreeMap<String, Option<Credentials>>>>,
    pub(crate) retry: Retry,
    /// How long a request may take, plus the time for its body.
    timeout: Duration,
}

/// A request; each try builds its body again.
pub(crate) struct Request<'r> {
    pub(crate) repository: &'r Repository,
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// Another repository that the registry reads from.
    pub(crate) source: Option<&'r Repository>,
    /// The action, as in "upload sha256:…", for messages.
    pub(crate) action: String,
    /// Adds headers, a body, a timeout.
    pub(crate) prepare: &'r dyn Fn(RequestBuilder) -> Result<RequestBuilder>,
}

impl Request<'_> {
    fn is_read(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }

    pub(crate) fn scopes(&self, access: Access) -> Scopes {
        let own = access.scopes(self.repository);
        self.source.map_or(own.clone(), |source| own.and(&Access::Pull.scopes(source)))
    }
}

impl Client {
    /// How many redirects of a read to follow.
    const HOPS: usize = 3;

    /// A client for this kind of access, which determines the tokens that it requests.
    pub fn new(session: Session, access: Access) -> Self {
        Self {
            session,
            access,
            grants: Arc::default(),
            credentials: Arc::default(),
            retry: Retry {
                tries: 5,
                backoff: Duration::from_millis(500),
                longest_wait: Duration::from_secs(120),
                deadline: None,
            },
            timeout: Duration::from_secs(60),
        }
    }

    /// Sets a shorter timeout, for requests that are not worth a long wait.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: self.timeout.min(timeout), ..self }
    }

    /// Sets a deadline: no request takes longer, and none is retried after it.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.retry.deadline = Some(self.retry.deadline.map_or(deadline, |before| before.min(deadline)));
        self
    }

    /// Sets the first wait between two tries.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Duration) -> Self {
        self.retry.backoff = backoff;
        self
    }

    /// The timeout of a request with this many bytes in either direction.
    pub(crate) fn time_for(&self, size: u64) -> Duration {
        let time = self.timeout + time_to_send(size);
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        self.retry.deadline.map_or(time, |deadline| time.min(left(deadline)))
    }

    /// Sends once. Any response except success is an error, except a 404 to a read.
    pub(crate) fn send(&self, request: &Request<'_>) -> Result<Response, Error> {
        let response = self.exchange(request)?;
        self.expect(request, response)
    }

    /// The response, if it is a success.
    pub(crate) fn expect(&self, request: &Request<'_>, response: Response) -> Result<Response, Error> {
        let status = response.status();
        if quote::is_page(&response) && !is_transient(status) {
            self.must_be_registry(request.repository)?;
            if status.is_success() {
                let words = self.quote(request.repository, self.with_body(request, response));
                let (registry, action) = (request.repository.registry(), &request.action);
                let message =
                    format!("the registry at {registry} did not {action}: it sent a web page{words}");
                return Err(Error::refused(message));
            }
        }
        if status.is_success() || (request.is_read() && status == StatusCode::NOT_FOUND) {
            return Ok(response);
        }
        Err(self.error(request, response))
    }

    /// Sends once, and follows the redirects of a read. Any response is a success.
    pub(crate) fn exchange(&self, request: &Request<'_>) -> Result<Response, Error> {
        let response = self.logged_in(request, &request.url)?;
        self.follow(request, response)
    }

    /// Follows the redirects of a read.
    pub(crate) fn follow(&self, request: &Request<'_>, mut response: Response) -> Result<Response, Error> {
        if request.is_read() {
            // Registries store blobs elsewhere and redirect readers, some of them for HEAD too.
            for _ in 0..Self::HOPS {
                if !response.status().is_redirection() {
                    break;
                }
                let next = location(request.repository, response.url(), &response)?;
                response = self.once(request, &next, self.granted(request, &next).as_ref())?;
            }
        }
        Ok(response)
    }

    /// Sends once, with this authorization.
    pub(crate) fn once(
        &self,
        request: &Request<'_>,
        url: &Url,
        authorization: Option<&Authorization>,
    ) -> Result<Response, Error> {
        let builder = self.session.http.request(request.method.clone(), url)?.timeout(self.time_for(0));
        let builder = (request.prepare)(builder)?;
        let builder = match authorization {
            Some(Authorization::Basic(Credentials { username, password, .. })) => {
                builder.basic_auth(username, Some(password.expose()))
            }
            Some(Authorization::Bearer(token)) => builder.bearer_auth(token.expose()),
            None => builder,
        };
        builder.send().map_err(|error| self.no_response(error))
    }

    pub(crate) fn credentials(&self, repository: &Repository) -> Result<Option<Credentials>> {
        // Held while a helper runs, so that four concurrent uploads do not run four helpers.
        let mut known = self.credentials.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(credentials) = known.get(repository.registry()) {
            return Ok(credentials.clone());
        }
        let credentials = self.session.credentials(repository)?;
        known.insert(repository.registry().to_owned(), credentials.clone());
        Ok(credentials)
    }
}

/// The body of a response, up to [`Http::LONGEST_TEXT`]: registries accept no manifest half as long.
pub(crate) fn bytes(response: Response) -> Result<Vec<u8>, Error> {
    let host = url_host(response.url());
    let mut bytes = Vec::new();
    if let Err(error) = response.take(Http::LONGEST_TEXT + 1).read_to_end(&mut bytes) {
        return Err(Error::transient(format!("{host} broke off its response: {error}")));
    }
    if bytes.len() as u64 > Http::LONGEST_TEXT {
        return Err(Error::refused(format!("{host} sent more than {} bytes", Http::LONGEST_TEXT)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
