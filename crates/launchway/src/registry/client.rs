//! One request to a registry: logged in when it asks, followed where it sends us, tried again when that may help.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use reqwest::blocking::{RequestBuilder, Response};
use reqwest::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};

use super::address::{base, is_registry, location, url_host};
use super::auth::{self, Answer, Scopes};
use super::credentials::{Credentials, way_out};
use super::refusal;
use super::retry::{Trouble, is_passing, retrying};
use super::upload::time_to_send;
use super::words;
use crate::context::Context;
use launchway_core::http::Http;
use launchway_core::secret::Secret;
use launchway_registry::Repository;

/// A client for the registries of one run. It keeps what they granted, and asks for no more than they ask of it.
#[derive(Clone)]
pub(crate) struct Client<'a> {
    pub(super) ctx: &'a Context,
    pub(super) http: Http,
    pub(super) access: Access,
    /// By the registry's origin.
    pub(super) grants: Arc<Mutex<BTreeMap<String, Grant>>>,
    /// By the registry's name: a credential helper is asked once.
    credentials: Arc<Mutex<BTreeMap<String, Option<Credentials>>>>,
    /// The first wait between two tries.
    pause: Duration,
    /// How long a request may take, besides the time that its body needs.
    patience: Duration,
    /// When all of it must be over.
    end: Option<Instant>,
}

/// What a client will do with a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
}

/// How a registry wants to be logged in to.
#[derive(Clone)]
pub(super) enum Grant {
    Basic(Credentials),
    /// Tokens, each good for its scopes until the registry says otherwise.
    Bearer(BTreeMap<Scopes, Secret>),
}

/// What goes into the `Authorization` header.
enum Authorization {
    Basic(Credentials),
    Bearer(Secret),
}

/// A request; its body is made anew for every time that it is sent.
pub(super) struct Ask<'r> {
    pub(super) repository: &'r Repository,
    pub(super) method: Method,
    pub(super) url: Url,
    /// Another repository that is read from meanwhile.
    pub(super) source: Option<&'r Repository>,
    /// What is asked for, as in "upload sha256:…", for messages.
    pub(super) action: String,
    /// Headers, a body, a time limit.
    pub(super) dress: &'r dyn Fn(RequestBuilder) -> Result<RequestBuilder>,
}

impl Ask<'_> {
    fn reads(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }

    fn scopes(&self, access: Access) -> Scopes {
        let own = access.scopes(self.repository);
        self.source.map_or(own.clone(), |source| own.and(&Access::Pull.scopes(source)))
    }
}

impl Access {
    fn scopes(self, repository: &Repository) -> Scopes {
        let actions: &[&str] = match self {
            Self::Pull => &["pull"],
            Self::Push => &["pull", "push"],
        };
        Scopes::repository(repository.name(), actions)
    }
}

impl<'a> Client<'a> {
    /// How many redirects of a read are followed.
    const HOPS: usize = 3;

    pub(crate) fn new(ctx: &'a Context, access: Access) -> Result<Self> {
        Ok(Self {
            ctx,
            http: ctx.http()?,
            access,
            grants: Arc::default(),
            credentials: Arc::default(),
            pause: Duration::from_millis(500),
            patience: Duration::from_mins(1),
            end: None,
        })
    }

    /// With less patience, for what is not worth a long wait.
    pub(crate) fn patient_for(self, patience: Duration) -> Self {
        Self { patience: self.patience.min(patience), ..self }
    }

    /// With an end: no request lasts beyond it, and none is tried again after it.
    pub(crate) fn until(self, end: Instant) -> Self {
        Self { end: Some(self.end.map_or(end, |before| before.min(end))), ..self }
    }

    /// Without the waits between tries.
    #[cfg(test)]
    pub(crate) fn hurried(self) -> Self {
        Self { pause: Duration::from_millis(1), ..self }
    }

    pub(super) fn retrying<T>(&self, attempt: impl FnMut() -> Result<T, Trouble>) -> Result<T> {
        retrying(self.ctx, self.pause, self.end, attempt)
    }

    /// How long a request with, or for, so many bytes may take.
    pub(super) fn time_for(&self, size: u64) -> Duration {
        let time = self.patience + time_to_send(size);
        self.end.map_or(time, |end| time.min(end.saturating_duration_since(Instant::now())))
    }

    /// Sends once. Any answer is trouble but success, and 404 to a read.
    pub(super) fn send(&self, ask: &Ask<'_>) -> Result<Response, Trouble> {
        let response = self.answer(ask)?;
        let status = response.status();
        if words::is_page(&response) && !is_passing(status) {
            self.must_be_registry(ask.repository)?;
            if status.is_success() {
                let said = self.said(ask.repository, self.with_words(ask, response));
                let (registry, action) = (ask.repository.registry(), &ask.action);
                let message = format!(
                    "the registry at {registry} answered with a web page{said} when asked to {action}"
                );
                return Err(Trouble::refused(message));
            }
        }
        if status.is_success() || (ask.reads() && status == StatusCode::NOT_FOUND) {
            return Ok(response);
        }
        Err(self.trouble(ask, response))
    }

    /// Sends once, following the redirects of a read. Any answer is one.
    pub(super) fn answer(&self, ask: &Ask<'_>) -> Result<Response, Trouble> {
        let mut response = self.logged_in(ask, &ask.url)?;
        if ask.reads() {
            // Registries keep blobs elsewhere and send readers there, some of them for HEAD too.
            for _ in 0..Self::HOPS {
                if !response.status().is_redirection() {
                    break;
                }
                let next = location(ask.repository, response.url(), &response)?;
                response = self.once(ask, &next, self.known(ask, &next).as_ref())?;
            }
        }
        Ok(response)
    }

    /// Sends once, and once more with what the registry's challenge asks for: the first time it asks, and when a token
    /// has expired.
    fn logged_in(&self, ask: &Ask<'_>, url: &Url) -> Result<Response, Trouble> {
        let known = self.known(ask, url);
        let response = self.once(ask, url, known.as_ref())?;
        if response.status() != StatusCode::UNAUTHORIZED || !is_registry(ask.repository, url)? {
            return Ok(response);
        }
        let headers = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenges: Vec<_> =
            headers.filter_map(|header| header.to_str().ok()).flat_map(auth::challenges).collect();
        if challenges.is_empty() {
            // Not a question of ours: it is refused, in the registry's own words.
            return Ok(response);
        }
        let answer =
            auth::answer(&challenges, &base(ask.repository)?, &ask.scopes(self.access)).map_err(|error| {
                Trouble::refused(format!(
                    "cannot log in to the registry at {}: {error}",
                    ask.repository.registry()
                ))
            })?;
        let credentials = self.credentials(ask.repository)?;
        let authorization = match (answer, credentials) {
            (Answer::Basic, Some(credentials)) if credentials.is_identity_token() => {
                return Err(Trouble::refused(format!(
                    "the registry at {} wants a password, and Docker's configuration has an identity token for it: {}",
                    ask.repository.registry(),
                    way_out(ask.repository)
                )));
            }
            (Answer::Basic, Some(credentials)) => {
                if matches!(known, Some(Authorization::Basic(_))) {
                    return Err(self.wrong(ask.repository, &credentials, response));
                }
                Authorization::Basic(credentials)
            }
            (Answer::Basic, None) => return Ok(response),
            (Answer::Bearer { url, scopes }, credentials) => {
                let token = self.token(ask.repository, &url, credentials.as_ref())?;
                let wanted = ask.scopes(self.access);
                self.remember(ask.repository, |grant| {
                    if let Grant::Bearer(tokens) = grant {
                        // Any other that would do for this request has just been refused.
                        tokens.retain(|known, _| !known.cover(&wanted));
                        tokens.insert(scopes, token.clone());
                    }
                });
                Authorization::Bearer(token)
            }
        };
        let response = self.once(ask, url, Some(&authorization))?;
        if let Authorization::Basic(credentials) = authorization {
            if response.status() == StatusCode::UNAUTHORIZED {
                return Err(self.wrong(ask.repository, &credentials, response));
            }
            self.remember(ask.repository, |grant| *grant = Grant::Basic(credentials));
        }
        Ok(response)
    }

    /// A new token for these scopes; without credentials an anonymous one, which reads what is public.
    fn token(
        &self,
        repository: &Repository,
        url: &Url,
        credentials: Option<&Credentials>,
    ) -> Result<Secret, Trouble> {
        let request = match credentials {
            Some(credentials) if credentials.is_identity_token() => {
                let (url, form) = auth::refresh(url, &credentials.password);
                self.http.request(Method::POST, &url)?.form(&form)
            }
            Some(Credentials { username, password, .. }) => {
                self.http.request(Method::GET, url)?.basic_auth(username, Some(password.expose()))
            }
            None => self.http.request(Method::GET, url)?,
        };
        let response = request.timeout(self.time_for(0)).send().map_err(|error| self.broken(error))?;
        let status = response.status();
        if is_passing(status) {
            return Err(self.passing(repository, credentials, response));
        }
        if status.is_success() {
            let body = bytes(response)?;
            return auth::token(&body).ok_or_else(|| {
                Trouble::refused(format!("the token server at {} sent no token", url_host(url)))
            });
        }
        if let Some(credentials) = credentials
            && matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        {
            return Err(self.wrong(repository, credentials, response));
        }
        let said = self.said(repository, response);
        Err(Trouble::Lasting(
            refusal::refusal(self.access, repository, credentials, status, "get a token", &said).into(),
        ))
    }

    /// Sends once, with this authorization.
    fn once(
        &self,
        ask: &Ask<'_>,
        url: &Url,
        authorization: Option<&Authorization>,
    ) -> Result<Response, Trouble> {
        let request = self.http.request(ask.method.clone(), url)?.timeout(self.time_for(0));
        let request = (ask.dress)(request)?;
        let request = match authorization {
            Some(Authorization::Basic(Credentials { username, password, .. })) => {
                request.basic_auth(username, Some(password.expose()))
            }
            Some(Authorization::Bearer(token)) => request.bearer_auth(token.expose()),
            None => request,
        };
        request.send().map_err(|error| self.broken(error))
    }

    /// What the registry granted before, for an address of its own; nothing for any other.
    fn known(&self, ask: &Ask<'_>, url: &Url) -> Option<Authorization> {
        if !is_registry(ask.repository, url).ok()? {
            return None;
        }
        let grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        match grants.get(ask.repository.registry())? {
            Grant::Basic(credentials) => Some(Authorization::Basic(credentials.clone())),
            Grant::Bearer(tokens) => {
                let wanted = ask.scopes(self.access);
                let token = tokens.iter().find(|(scopes, _)| scopes.cover(&wanted))?.1;
                Some(Authorization::Bearer(token.clone()))
            }
        }
    }

    pub(super) fn credentials(&self, repository: &Repository) -> Result<Option<Credentials>> {
        // Held while a helper is asked, so that four uploads at once do not ask four times.
        let mut known = self.credentials.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(credentials) = known.get(repository.registry()) {
            return Ok(credentials.clone());
        }
        let credentials = Credentials::find(self.ctx, repository)?;
        known.insert(repository.registry().to_owned(), credentials.clone());
        Ok(credentials)
    }

    fn remember(&self, repository: &Repository, change: impl FnOnce(&mut Grant)) {
        let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        let registry = repository.registry().to_owned();
        change(grants.entry(registry).or_insert_with(|| Grant::Bearer(BTreeMap::new())));
    }
}

/// What an answer says that it is, without parameters.
pub(super) fn media_type(response: &Response) -> &str {
    let header = response.headers().get(CONTENT_TYPE).and_then(|header| header.to_str().ok());
    header.and_then(|header| header.split(';').next()).unwrap_or_default().trim()
}

/// The bytes of an answer, up to [`Http::LONGEST_TEXT`]: registries take no manifest half as long.
pub(super) fn bytes(response: Response) -> Result<Vec<u8>, Trouble> {
    let host = url_host(response.url());
    let mut bytes = Vec::new();
    if let Err(error) = response.take(Http::LONGEST_TEXT + 1).read_to_end(&mut bytes) {
        return Err(Trouble::passing(format!("{host} broke off its answer: {error}")));
    }
    if bytes.len() as u64 > Http::LONGEST_TEXT {
        return Err(Trouble::refused(format!("{host} sent more than {} bytes", Http::LONGEST_TEXT)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
