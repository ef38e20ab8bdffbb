//! Authentication: Basic credentials, or Bearer tokens from the registry's own token endpoint.
//!
//! Based on "Token Authentication Specification" and "Token Scope Documentation" of Docker's distribution.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Json;
use axum::http::header::AUTHORIZATION;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::refusal::Refusal;
use crate::server::{Incoming, Shared, random_hex};

/// How clients authenticate.
#[derive(Clone)]
pub enum Auth {
    /// Not at all.
    Anonymous,
    /// With user name and password on each request.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: String,
    },
    /// With a token on each request, which the token endpoint issues for a user name and password.
    Bearer {
        /// The user name.
        username: String,
        /// The password.
        password: String,
        /// How long a token is valid.
        lifetime: Duration,
    },
}

/// Actions on one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    repository: String,
    actions: Vec<String>,
}

impl Scope {
    pub(crate) fn pull(repository: &str) -> Self {
        Self { repository: repository.to_owned(), actions: vec!["pull".to_owned()] }
    }

    pub(crate) fn push(repository: &str) -> Self {
        Self { repository: repository.to_owned(), actions: vec!["pull".to_owned(), "push".to_owned()] }
    }

    /// Parses `repository:<name>:<action>[,<action>…]`. A name may contain a colon (a port), so both ends are parsed
    /// first.
    fn parse(text: &str) -> Option<Self> {
        let (repository, actions) = text.strip_prefix("repository:")?.rsplit_once(':')?;
        let actions = actions.split(',').map(str::to_owned).collect();
        Some(Self { repository: repository.to_owned(), actions })
    }

    fn covers(&self, wanted: &Self) -> bool {
        self.repository == wanted.repository
            && wanted.actions.iter().all(|action| self.actions.contains(action))
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "repository:{}:{}", self.repository, self.actions.join(","))
    }
}

struct Token {
    scopes: Vec<Scope>,
    expires: Instant,
}

/// The registry's access control.
pub(crate) struct Gate {
    auth: Auth,
    address: SocketAddr,
    tokens: Shared<HashMap<String, Token>>,
}

impl Gate {
    pub(crate) fn new(auth: Auth, address: SocketAddr) -> Self {
        Self { auth, address, tokens: Shared::new(HashMap::new()) }
    }

    /// Accepts a request, or responds with a challenge.
    pub(crate) fn check(&self, request: &Incoming, wanted: &[Scope]) -> Result<(), Refusal> {
        match &self.auth {
            Auth::Anonymous => Ok(()),
            Auth::Basic { username, password } => {
                if basic(request).is_some_and(|given| given == (username.clone(), password.clone())) {
                    Ok(())
                } else {
                    Err(self.challenge(wanted, ""))
                }
            }
            Auth::Bearer { .. } => self.check_token(request, wanted),
        }
    }

    /// The 401 that tells clients where to authenticate (RFC 6750, §3).
    pub(crate) fn challenge(&self, wanted: &[Scope], error: &str) -> Refusal {
        if !matches!(self.auth, Auth::Bearer { .. }) {
            return Refusal::unauthorized("Basic realm=\"fake registry\"".to_owned());
        }
        let scopes: Vec<String> = wanted.iter().map(Scope::to_string).collect();
        let optional = [("scope", scopes.join(" ")), ("error", error.to_owned())];
        let optional = optional.into_iter().filter(|(_, value)| !value.is_empty());
        let parts =
            [("realm", format!("http://{}/token", self.address)), ("service", self.address.to_string())];
        let parts: Vec<String> =
            parts.into_iter().chain(optional).map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        Refusal::unauthorized(format!("Bearer {}", parts.join(",")))
    }

    /// `GET /token?service=…&scope=…&scope=…`: returns an opaque token for the requested scopes.
    pub(crate) fn token(&self, request: &Incoming) -> Result<Response, Refusal> {
        let Auth::Bearer { username, password, lifetime } = &self.auth else {
            return Err(Refusal::not_found("no such page"));
        };
        if request.method != axum::http::Method::GET {
            return Err(Refusal::unsupported());
        }
        if basic(request).is_none_or(|given| given != (username.clone(), password.clone())) {
            return Err(Refusal::unauthorized("Basic realm=\"fake registry\"".to_owned()));
        }
        if request.parameter("service").as_deref() != Some(self.address.to_string().as_str()) {
            return Err(Refusal::bad("DENIED", "the service is not the one of the challenge"));
        }
        // One parameter may list several scopes, and there may be several parameters.
        let asked = request.query().into_iter().filter(|(name, _)| name == "scope").map(|(_, value)| value);
        let scopes =
            asked.flat_map(|value| value.split(' ').filter_map(Scope::parse).collect::<Vec<_>>()).collect();
        let token = random_hex::<24>();
        let granted = Token { scopes, expires: Instant::now() + *lifetime };
        self.tokens.change(|tokens| tokens.insert(token.clone(), granted));
        let body = json!({ "token": token, "access_token": token, "expires_in": lifetime.as_secs() });
        Ok(Json(body).into_response())
    }

    /// Invalidates every token issued so far.
    pub(crate) fn expire_all(&self) {
        self.tokens.change(HashMap::clear);
    }

    fn check_token(&self, request: &Incoming, wanted: &[Scope]) -> Result<(), Refusal> {
        let Some(token) = credentials(request, "Bearer") else { return Err(self.challenge(wanted, "")) };
        let allowed = self.tokens.read(|tokens| {
            let token = tokens.get(token).filter(|token| Instant::now() < token.expires)?;
            Some(wanted.iter().all(|scope| token.scopes.iter().any(|granted| granted.covers(scope))))
        });
        match allowed {
            Some(true) => Ok(()),
            Some(false) => Err(self.challenge(wanted, "insufficient_scope")),
            None => Err(self.challenge(wanted, "invalid_token")),
        }
    }
}

/// User name and password of a Basic header (RFC 7617).
fn basic(request: &Incoming) -> Option<(String, String)> {
    let decoded = STANDARD.decode(credentials(request, "Basic")?).ok()?;
    let (username, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
}

/// The text after the scheme, whose case does not matter (RFC 9110, §11.1).
fn credentials<'a>(request: &'a Incoming, scheme: &str) -> Option<&'a str> {
    let (given, rest) = request.header(&AUTHORIZATION)?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}
