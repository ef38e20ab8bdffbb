//! Explains an unexpected response, in the registry's own words.

use std::io::Read as _;
use std::sync::PoisonError;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::blocking::Response;
use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Method, StatusCode};

use crate::Repository;
use crate::address::{base, url_host};
use crate::client::Grant;
use crate::client::{Client, Request};
use crate::credentials::Credentials;
use crate::error::Error;
use crate::quote;
use crate::refusal::{refusal, rejection};
use launchway_core::http::TransportError;
use launchway_core::retry::{is_transient, retry_after};
use launchway_core::secret::{Redactor, Secret};

impl Client {
    /// Fails if a host does not respond to `/v2/` like every registry (OCI distribution spec, "Determining Support"):
    /// with success, or with a challenge.
    pub(crate) fn must_be_registry(&self, repository: &Repository) -> Result<(), Error> {
        let url = base(repository)?.join("/v2/").map_err(anyhow::Error::from)?;
        let request = self.session.http.request(Method::GET, &url)?.timeout(self.time_for(0));
        let response = request.send().map_err(|error| self.no_response(error))?;
        let (status, headers) = (response.status(), response.headers());
        let is_registry = headers.contains_key("Docker-Distribution-Api-Version")
            || (status == StatusCode::UNAUTHORIZED && headers.contains_key(WWW_AUTHENTICATE))
            || (status.is_success() && !quote::is_page(&response));
        if is_registry {
            return Ok(());
        }
        let page = if quote::is_page(&response) { " and a web page" } else { "" };
        let words = self.quote(repository, response);
        Err(Error::refused(format!(
            "{} is not a registry: it responds to `/v2/` with {status}{page}{words}. An image's name begins with the host \
             of a registry, as in `docker.io/acme/app` or `ghcr.io/acme/app`",
            repository.registry()
        )))
    }

    /// The error for a response that is not a success.
    pub(crate) fn error(&self, request: &Request<'_>, response: Response) -> Error {
        let (status, repository) = (response.status(), request.repository);
        let credentials = match self.credentials(repository) {
            Ok(credentials) => credentials,
            Err(error) => return Error::Permanent(error),
        };
        if is_transient(status) {
            return self.transient(repository, credentials.as_ref(), response);
        }
        let response = if status.is_redirection() { response } else { self.with_body(request, response) };
        let words = self.quote(repository, response);
        let (hint, is_known) = (self.session.logins.hint(repository), credentials.is_some());
        let refusal = refusal(self.access, repository, is_known, status, &request.action, &words, &hint);
        Error::Permanent(refusal.into())
    }

    /// The response to a HEAD has no body; the same URL's response to a GET has one.
    pub(crate) fn with_body(&self, request: &Request<'_>, response: Response) -> Response {
        if request.method != Method::HEAD || response.status() == StatusCode::UNAUTHORIZED {
            return response;
        }
        let get = Request {
            method: Method::GET,
            url: request.url.clone(),
            action: request.action.clone(),
            ..*request
        };
        match self.exchange(&get) {
            Ok(read) if read.status() == response.status() => read,
            _ => response,
        }
    }

    pub(crate) fn no_response(&self, error: reqwest::Error) -> Error {
        let TransportError { message, permanent } = self.session.http.transport_error(error);
        if permanent { Error::refused(message) } else { Error::transient(message) }
    }

    pub(crate) fn transient(
        &self,
        repository: &Repository,
        credentials: Option<&Credentials>,
        response: Response,
    ) -> Error {
        let after = retry_after(response.headers(), SystemTime::now());
        let (host, status) = (url_host(response.url()), response.status());
        let hint = (status == StatusCode::TOO_MANY_REQUESTS).then(|| match credentials {
            None => {
                let hint = self.session.logins.hint(repository);
                format!("wait a while, or log in for a higher limit: {hint}")
            }
            Some(_) => "wait a while, or use an account with a higher limit".to_owned(),
        });
        let message = format!("{host} responded with {status}{}", self.quote(repository, response));
        Error::Transient { message, after, hint }
    }

    /// The error for credentials that the registry rejected.
    pub(crate) fn rejected(
        &self,
        repository: &Repository,
        credentials: &Credentials,
        response: Response,
    ) -> Error {
        let words = self.quote(repository, response);
        let logins = &self.session.logins;
        let (suspicion, hint) = (logins.suspicion(credentials), logins.hint(repository));
        Error::Permanent(rejection(repository, &words, &suspicion, &hint).into())
    }

    /// The words of a response in brackets; empty if it has none.
    ///
    /// A registry may quote what we sent, and the reporter does not know the secrets in Docker's configuration.
    pub(crate) fn quote(&self, repository: &Repository, response: Response) -> String {
        let mut body = Vec::new();
        response.take(quote::LONGEST_BODY).read_to_end(&mut body).ok();
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
        let redactor = Redactor::new(secrets);
        let redact = |text: &str| self.session.reporter.redacted(&redactor.redact(text));
        let line = quote::cut(&redact(&quote::words(&body)));
        if line.is_empty() { line } else { format!(" ({line})") }
    }
}
