//! What an answer other than the one that was hoped for means, in the registry's own words.

use std::io::Read as _;
use std::sync::PoisonError;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::blocking::Response;
use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Method, StatusCode};

use super::address::{base, url_host};
use super::client::{Ask, Client, Grant};
use super::credentials::{Credentials, way_out};
use super::refusal;
use super::retry::{Trouble, is_passing, retry_after};
use super::words;
use launchway_core::http::TransportError;
use launchway_core::secret::{Redactor, Secret};
use launchway_registry::Repository;

impl Client<'_> {
    /// Trouble where a host does not answer the one question that every registry does (OCI distribution spec,
    /// "Determining Support"): `/v2/` is there, or wants a login.
    pub(super) fn must_be_registry(&self, repository: &Repository) -> Result<(), Trouble> {
        let url = base(repository)?.join("/v2/").map_err(anyhow::Error::from)?;
        let request = self.http.request(Method::GET, &url)?.timeout(self.time_for(0));
        let response = request.send().map_err(|error| self.broken(error))?;
        let (status, headers) = (response.status(), response.headers());
        let is_registry = headers.contains_key("Docker-Distribution-Api-Version")
            || (status == StatusCode::UNAUTHORIZED && headers.contains_key(WWW_AUTHENTICATE))
            || (status.is_success() && !words::is_page(&response));
        if is_registry {
            return Ok(());
        }
        let page = if words::is_page(&response) { " with a web page" } else { "" };
        let said = self.said(repository, response);
        Err(Trouble::refused(format!(
            "{} is not a registry: it answers `/v2/` with {status}{page}{said}. An image's name begins with the host of \
             a registry, as in `docker.io/acme/app` or `ghcr.io/acme/app`",
            repository.registry()
        )))
    }

    pub(super) fn trouble(&self, ask: &Ask<'_>, response: Response) -> Trouble {
        let status = response.status();
        let credentials = match self.credentials(ask.repository) {
            Ok(credentials) => credentials,
            Err(error) => return Trouble::Lasting(error),
        };
        if is_passing(status) {
            return self.passing(ask.repository, credentials.as_ref(), response);
        }
        let response = if status.is_redirection() { response } else { self.with_words(ask, response) };
        let said = self.said(ask.repository, response);
        let (repository, action) = (ask.repository, &ask.action);
        Trouble::Lasting(
            refusal::refusal(self.access, repository, credentials.as_ref(), status, action, &said).into(),
        )
    }

    /// The answer to a HEAD has no words, that to the same question by GET has them.
    pub(super) fn with_words(&self, ask: &Ask<'_>, response: Response) -> Response {
        if ask.method != Method::HEAD || response.status() == StatusCode::UNAUTHORIZED {
            return response;
        }
        let get = Ask { method: Method::GET, url: ask.url.clone(), action: ask.action.clone(), ..*ask };
        match self.answer(&get) {
            Ok(answer) if answer.status() == response.status() => answer,
            _ => response,
        }
    }

    pub(super) fn broken(&self, error: reqwest::Error) -> Trouble {
        let TransportError { message, permanent: lasts } = self.http.transport_error(error);
        if lasts { Trouble::refused(message) } else { Trouble::passing(message) }
    }

    pub(super) fn passing(
        &self,
        repository: &Repository,
        credentials: Option<&Credentials>,
        response: Response,
    ) -> Trouble {
        let after = retry_after(response.headers(), SystemTime::now());
        let (host, status) = (url_host(response.url()), response.status());
        let hint = (status == StatusCode::TOO_MANY_REQUESTS).then(|| match credentials {
            None => format!("wait a while, or log in for a higher limit: {}", way_out(repository)),
            Some(_) => "wait a while, or use an account with a higher limit".to_owned(),
        });
        let message = format!("{host} answered {status}{}", self.said(repository, response));
        Trouble::Passing { message, after, hint }
    }

    pub(super) fn wrong(
        &self,
        repository: &Repository,
        credentials: &Credentials,
        response: Response,
    ) -> Trouble {
        let said = self.said(repository, response);
        Trouble::Lasting(refusal::wrong_credentials(repository, credentials, &said).into())
    }

    /// An answer's words in brackets; one that cannot be read says nothing. A registry may quote what we sent it, and
    /// the reporter does not know the secrets of Docker's configuration.
    pub(super) fn said(&self, repository: &Repository, response: Response) -> String {
        let mut body = Vec::new();
        response.take(words::LONGEST_BODY).read_to_end(&mut body).ok();
        let mut secrets = Vec::new();
        if let Ok(Some(Credentials { username, password, .. })) = self.credentials(repository) {
            secrets.push(Secret::new(STANDARD.encode(format!("{username}:{}", password.expose()))));
            secrets.push(password);
        }
        if let Some(Grant::Bearer(tokens)) =
            self.grants.lock().unwrap_or_else(PoisonError::into_inner).get(repository.registry())
        {
            secrets.extend(tokens.values().cloned());
        }
        let said = Redactor::new(secrets).redact(&words::of(&body));
        if said.is_empty() { said } else { format!(" ({said})") }
    }
}
