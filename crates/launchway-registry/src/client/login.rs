//! Logs a request in: the registry's challenge, a token for it, and what was granted before.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use reqwest::blocking::Response;
use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Method, StatusCode, Url};

use crate::Repository;
use crate::address::{base, is_registry, url_host};
use crate::auth::{self, Scheme, Scopes};
use crate::client::{Client, Request, bytes};
use crate::credentials::Credentials;
use crate::error::Error;
use crate::refusal::refusal;
use launchway_core::retry::is_transient;
use launchway_core::secret::Secret;

/// What a registry granted.
#[derive(Clone)]
pub(crate) enum Grant {
    Basic(Credentials),
    /// Tokens, each valid for its scopes until the registry rejects it.
    Bearer(BTreeMap<Scopes, Secret>),
}

/// The value of the `Authorization` header.
pub(crate) enum Authorization {
    Basic(Credentials),
    Bearer(Secret),
}

impl Client {
    /// Sends once, and again with what the registry's challenge requires: the first time, and when a token has expired.
    pub(crate) fn logged_in(&self, request: &Request<'_>, url: &Url) -> Result<Response, Error> {
        let repository = request.repository;
        let granted = self.granted(request, url);
        let response = self.once(request, url, granted.as_ref())?;
        if response.status() != StatusCode::UNAUTHORIZED || !is_registry(repository, url)? {
            return Ok(response);
        }
        let headers = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenges: Vec<_> =
            headers.filter_map(|header| header.to_str().ok()).flat_map(auth::challenges).collect();
        if challenges.is_empty() {
            // A refusal, which is reported in the registry's own words.
            return Ok(response);
        }
        let wanted = request.scopes(self.access);
        let scheme = auth::scheme(&challenges, &base(repository)?, &wanted).map_err(|error| {
            Error::refused(format!("cannot log in to the registry at {}: {error}", repository.registry()))
        })?;
        let credentials = self.credentials(repository)?;
        let authorization = match (scheme, credentials) {
            (Scheme::Basic, Some(credentials)) if credentials.is_identity_token() => {
                return Err(Error::refused(format!(
                    "the registry at {} requires a password, but Docker's configuration has an identity token for it: {}",
                    repository.registry(),
                    self.session.logins.hint(repository)
                )));
            }
            (Scheme::Basic, Some(credentials)) => {
                if matches!(granted, Some(Authorization::Basic(_))) {
                    return Err(self.rejected(repository, &credentials, response));
                }
                Authorization::Basic(credentials)
            }
            (Scheme::Basic, None) => return Ok(response),
            (Scheme::Bearer { url, scopes }, credentials) => {
                let token = self.token(repository, &url, credentials.as_ref())?;
                self.remember(repository, |grant| {
                    if let Grant::Bearer(tokens) = grant {
                        // Any other token for these scopes has just been rejected.
                        tokens.retain(|known, _| !known.cover(&wanted));
                        tokens.insert(scopes, token.clone());
                    }
                });
                Authorization::Bearer(token)
            }
        };
        let response = self.once(request, url, Some(&authorization))?;
        if let Authorization::Basic(credentials) = authorization {
            if response.status() == StatusCode::UNAUTHORIZED {
                return Err(self.rejected(repository, &credentials, response));
            }
            self.remember(repository, |grant| *grant = Grant::Basic(credentials));
        }
        Ok(response)
    }

    /// Requests a new token from this address; without credentials an anonymous one, which can read what is public.
    fn token(
        &self,
        repository: &Repository,
        url: &Url,
        credentials: Option<&Credentials>,
    ) -> Result<Secret, Error> {
        let http = &self.session.http;
        let request = match credentials {
            Some(credentials) if credentials.is_identity_token() => {
                let (url, form) = auth::refresh(url, &credentials.password);
                http.request(Method::POST, &url)?.form(&form)
            }
            Some(Credentials { username, password, .. }) => {
                http.request(Method::GET, url)?.basic_auth(username, Some(password.expose()))
            }
            None => http.request(Method::GET, url)?,
        };
        let response = request.timeout(self.time_for(0)).send().map_err(|error| self.no_response(error))?;
        let status = response.status();
        if is_transient(status) {
            return Err(self.transient(repository, credentials, response));
        }
        if status.is_success() {
            let body = bytes(response)?;
            return auth::token(&body).ok_or_else(|| {
                Error::refused(format!("the token server at {} sent no token", url_host(url)))
            });
        }
        if let Some(credentials) = credentials
            && matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        {
            return Err(self.rejected(repository, credentials, response));
        }
        let words = self.quote(repository, response);
        let hint = self.session.logins.hint(repository);
        let is_known = credentials.is_some();
        let refusal = refusal(self.access, repository, is_known, status, "get a token", &words, &hint);
        Err(Error::Permanent(refusal.into()))
    }

    /// What the registry granted before, for its own addresses; nothing for any other.
    pub(crate) fn granted(&self, request: &Request<'_>, url: &Url) -> Option<Authorization> {
        if !is_registry(request.repository, url).ok()? {
            return None;
        }
        let grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        match grants.get(request.repository.registry())? {
            Grant::Basic(credentials) => Some(Authorization::Basic(credentials.clone())),
            Grant::Bearer(tokens) => {
                let wanted = request.scopes(self.access);
                let token = tokens.iter().find(|(scopes, _)| scopes.cover(&wanted))?.1;
                Some(Authorization::Bearer(token.clone()))
            }
        }
    }

    fn remember(&self, repository: &Repository, change: impl FnOnce(&mut Grant)) {
        let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        let registry = repository.registry().to_owned();
        change(grants.entry(registry).or_insert_with(|| Grant::Bearer(BTreeMap::new())));
    }
}

#[cfg(test)]
mod tests;
