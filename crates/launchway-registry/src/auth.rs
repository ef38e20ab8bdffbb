//! Authentication: challenges, scopes and tokens.
//!
//! Sources: RFC 9110 §11 (challenges) and the token flow of
//! <https://distribution.github.io/distribution/spec/auth/token/>.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context as _, Result, ensure};
use reqwest::Url;
use serde::Deserialize;

use crate::Repository;
use launchway_core::http::is_loopback;
use launchway_core::secret::Secret;

/// One challenge of a `WWW-Authenticate` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// In lower case: `basic`, `bearer`.
    scheme: String,
    /// Names in lower case.
    parameters: BTreeMap<String, String>,
}

/// How a registry wants clients to log in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// User name and password with every request.
    Basic,
    /// A token from this address, valid for these scopes.
    Bearer { url: Url, scopes: Scopes },
}

/// The scopes of a token: actions on resources, such as `repository:acme/app:pull,push`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scopes(BTreeMap<String, BTreeSet<String>>);

impl Scopes {
    /// These actions on a repository.
    pub(crate) fn repository(name: &str, actions: &[&str]) -> Self {
        let actions = actions.iter().map(|&action| action.to_owned()).collect();
        Self(BTreeMap::from([(format!("repository:{name}"), actions)]))
    }

    /// Parses `type:name:action,action …`; the name may contain colons, as in `repository:host:5000/app:pull`.
    fn parse(text: &str) -> Self {
        let mut scopes = Self::default();
        for scope in text.split_whitespace() {
            if let Some((resource, actions)) = scope.rsplit_once(':') {
                let known = scopes.0.entry(resource.to_owned()).or_default();
                known.extend(actions.split(',').map(str::to_owned));
            }
        }
        scopes
    }

    /// The union of both.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        for (resource, actions) in &other.0 {
            self.0.entry(resource.clone()).or_default().extend(actions.iter().cloned());
        }
        self
    }

    /// Whether these include all of `wanted`.
    pub(crate) fn cover(&self, wanted: &Self) -> bool {
        wanted
            .0
            .iter()
            .all(|(resource, actions)| self.0.get(resource).is_some_and(|known| known.is_superset(actions)))
    }

    fn each(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(resource, actions)| {
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            format!("{resource}:{}", actions.join(","))
        })
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.each().collect::<Vec<_>>().join(" "))
    }
}

/// The scheme to use for `registry`'s challenges, for a request that needs `wanted`.
///
/// A token is narrower than a password, so `Bearer` is preferred to `Basic`. One token covers the scopes of the
/// challenge and those that the caller will need soon, and so serves the whole push.
///
/// Fails if the token server would get the password in the clear, or if a remote registry names one on this machine.
pub(crate) fn scheme(challenges: &[Challenge], registry: &Url, wanted: &Scopes) -> Result<Scheme> {
    let find = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
    if let Some(bearer) = find("bearer") {
        let realm = bearer.parameters.get("realm").context("its challenge has no `realm`")?;
        let mut url =
            Url::parse(realm).ok().filter(Url::has_host).context("its `realm` is not an address")?;
        let host = url.host_str().unwrap_or_default();
        ensure!(
            !is_loopback(&url) || is_loopback(registry),
            "its `realm` is on this machine, while the registry is not"
        );
        ensure!(
            url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url),
            "its `realm` at `{host}` is not https: a password must not travel in the clear"
        );
        let named = bearer.parameters.get("scope").map(|text| Scopes::parse(text)).unwrap_or_default();
        let scopes = named.and(wanted);
        if let Some(service) = bearer.parameters.get("service") {
            url.query_pairs_mut().append_pair("service", service);
        }
        url.query_pairs_mut().extend_pairs(scopes.each().map(|scope| ("scope", scope)));
        return Ok(Scheme::Bearer { url, scopes });
    }
    ensure!(find("basic").is_some(), "its challenge is neither Basic nor Bearer");
    Ok(Scheme::Basic)
}

/// The URL and form that exchange an identity token for a token, derived from the URL for a password.
///
/// <https://distribution.github.io/distribution/spec/auth/oauth/>
pub(crate) fn refresh(url: &Url, identity: &Secret) -> (Url, Vec<(String, String)>) {
    let of_form = |name: &str| matches!(name, "service" | "scope");
    let (moved, kept): (Vec<_>, Vec<_>) = url.query_pairs().into_owned().partition(|(name, _)| of_form(name));
    let mut bare = url.clone();
    bare.set_query(None);
    if !kept.is_empty() {
        bare.query_pairs_mut().extend_pairs(kept);
    }
    let (scopes, mut form): (Vec<_>, Vec<_>) = moved.into_iter().partition(|(name, _)| name == "scope");
    let scopes: Vec<String> = scopes.into_iter().map(|(_, scope)| scope).collect();
    let own = [
        ("scope", scopes.join(" ").as_str()),
        ("grant_type", "refresh_token"),
        ("client_id", "launchway-xtask"),
        ("refresh_token", identity.expose()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    form.extend(own);
    (bare, form)
}

/// The token in a token server's response, which old servers call `token` and OAuth ones `access_token`.
pub(crate) fn token(body: &[u8]) -> Option<Secret> {
    #[derive(Deserialize)]
    struct Body {
        token: Option<String>,
        access_token: Option<String>,
    }
    let Body { token, access_token } = serde_json::from_slice(body).ok()?;
    token.or(access_token).filter(|token| !token.is_empty()).map(Secret::new)
}

/// The challenges of a `WWW-Authenticate` header.
///
/// Commas separate both challenges and their parameters, and a quoted value may contain commas too
/// (`scope="repository:x:pull,push"`). What cannot be parsed is ignored.
pub(crate) fn challenges(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return found;
        }
        let (word, after) = split_word(rest);
        let after_space = after.trim_start_matches([' ', '\t']);
        if let Some(value) = after_space.strip_prefix('=') {
            let (value, after) = split_value(value.trim_start_matches([' ', '\t']));
            if let Some(challenge) = found.last_mut() {
                challenge.parameters.insert(word.to_ascii_lowercase(), value);
            }
            rest = after;
        } else {
            found.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: BTreeMap::new() });
            rest = after;
        }
    }
}

fn split_word(text: &str) -> (&str, &str) {
    let end = text.find([' ', '\t', ',', '=']).unwrap_or(text.len());
    text.split_at(end)
}

/// A word, or a quoted string with `\` before a quote or another `\`.
fn split_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[place + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

/// A client's kind of access to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Pull,
    /// Reading and writing.
    Push,
}

impl Access {
    pub(crate) fn scopes(self, repository: &Repository) -> Scopes {
        let actions: &[&str] = match self {
            Self::Pull => &["pull"],
            Self::Push => &["pull", "push"],
        };
        Scopes::repository(repository.name(), actions)
    }
}

#[cfg(test)]
mod tests;
