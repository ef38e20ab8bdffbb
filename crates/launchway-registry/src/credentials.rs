//! Logins: an account from the caller, or Docker's saved logins.

mod helper;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::{Repository, Session};
use launchway_core::environment::flaw;
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_core::secret::Secret;

/// Where logins come from.
#[derive(Clone, Debug, Default)]
pub struct Logins {
    /// An account for one registry, which takes precedence over Docker's logins.
    pub account: Option<Account>,
    /// Docker's `config.json`; without it, Docker's logins are not used.
    pub docker_config: Option<PathBuf>,
    /// The folders of credential helpers, as `PATH` lists them.
    pub path: Option<String>,
}

/// An account for one registry, or the settings for one.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its registry, as in [`Repository::registry`]: no other registry gets it.
    pub registry: String,
    /// The user name.
    pub username: Setting,
    /// The password or access token.
    pub token: Setting,
}

/// A value that a user sets, with its name for messages.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its name, such as that of an environment variable.
    pub name: String,
    /// The value, if it is set.
    pub value: Option<Secret>,
    /// Where to get a value.
    pub source: String,
}

impl Setting {
    fn required(&self) -> Result<&Secret> {
        let missing = || Failure::new(Exit::Missing, format!("`{}` is not set: {}", self.name, self.source));
        Ok(self.value.as_ref().ok_or_else(missing)?)
    }
}

/// A user name with its password or access token, or an identity token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) password: Secret,
    pub(crate) source: Source,
}

/// Where credentials came from, which determines the hint when they are rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Account,
    DockerConfig,
}

impl Credentials {
    /// The user name that Docker stores with an identity token, which identifies an account by itself.
    const IDENTITY: &str = "<token>";

    /// Whether the password is an identity token, which is exchanged for other tokens (OAuth 2's `refresh_token`).
    pub(crate) fn is_identity_token(&self) -> bool {
        self.username == Self::IDENTITY
    }
}

impl Session {
    /// The credentials for a registry, if there are any.
    ///
    /// Half an account is an error with [`Exit::Missing`]. Without an account for the registry, Docker's configuration
    /// is read (<https://docs.docker.com/reference/cli/docker/login/#credential-stores>): first the registry's helper
    /// in `credHelpers`, else the one in `credsStore`, then `auths`.
    pub(crate) fn credentials(&self, repository: &Repository) -> Result<Option<Credentials>> {
        if let Some(Account { registry, username, token }) = &self.logins.account
            && registry == repository.registry()
            && (username.value.is_some() || token.value.is_some())
        {
            let (username, password) = (username.required()?, token.required()?);
            let (username, password) = (username.expose().to_owned(), password.clone());
            return Ok(Some(Credentials { username, password, source: Source::Account }));
        }
        let Some(path) = self.logins.docker_config.as_ref().filter(|path| path.is_file()) else {
            return Ok(None);
        };
        let text = fs_err::read_to_string(path).or_exit(Exit::Usage)?;
        // Docker accepts an empty file. The text contains passwords, and so might the parser's message.
        let config = if text.trim().is_empty() { "null" } else { &text };
        let config: Value = serde_json::from_str(config)
            .ok()
            .filter(|config: &Value| config.is_object() || config.is_null())
            .with_context(|| format!("{} is not a Docker configuration", path.display()))
            .or_exit(Exit::Usage)?;
        DockerConfig { config, path, session: self }.credentials(repository)
    }

    /// Where the login for a registry comes from; `None` without one. May run a credential helper.
    pub fn login(&self, repository: &Repository) -> Result<Option<String>> {
        let Some(credentials) = self.credentials(repository)? else { return Ok(None) };
        let Logins { account, docker_config, .. } = &self.logins;
        Ok(match (credentials.source, account, docker_config) {
            (Source::Account, Some(account), _) => Some(account.names()),
            (_, _, path) => {
                Some(format!("`docker login`, in {}", path.clone().unwrap_or_default().display()))
            }
        })
    }
}

impl Account {
    fn names(&self) -> String {
        format!("{} and {}", self.username.name, self.token.name)
    }
}

impl Logins {
    /// The hint for a login that is missing or was rejected.
    pub(crate) fn hint(&self, repository: &Repository) -> String {
        let host = if repository.is_hub() { "" } else { repository.registry() };
        let docker = format!("run `{}`", format!("docker login {host}").trim_end());
        // The account would not be sent to another registry.
        match self.account.as_ref().filter(|account| account.registry == repository.registry()) {
            None => docker,
            Some(account) => {
                let (names, source) = (account.names(), &account.token.source);
                format!("set {names} (where to get a token: {source}), or {docker}")
            }
        }
    }

    /// Why the registry may have rejected these credentials.
    pub(crate) fn suspicion(&self, credentials: &Credentials) -> String {
        let account = self.account.as_ref().filter(|_| credentials.source == Source::Account);
        let Some(Account { username, token, .. }) = account else {
            return "the saved `docker login` is wrong or has expired".to_owned();
        };
        let values =
            [(&username.name, credentials.username.as_str()), (&token.name, credentials.password.expose())];
        let flaws = values.into_iter().filter_map(|(name, value)| Some(format!("`{name}` {}", flaw(value)?)));
        let flaws: Vec<String> = flaws.collect();
        if flaws.is_empty() {
            format!("{} or {} is wrong or has expired", username.name, token.name)
        } else {
            format!("{}: set it again", flaws.join(", "))
        }
    }
}

/// The logins in Docker's `config.json`; `null` means absent, as in Docker.
struct DockerConfig<'a> {
    config: Value,
    path: &'a Path,
    session: &'a Session,
}

impl DockerConfig<'_> {
    fn credentials(&self, repository: &Repository) -> Result<Option<Credentials>> {
        if let Some((username, password)) = self.ask_helper(repository)? {
            return Ok(Some(Credentials { username, password, source: Source::DockerConfig }));
        }
        let Some(entry) = self.entry("auths", repository) else { return Ok(None) };
        let invalid = || self.unusable(repository, "has no valid `auth`");
        let text = |name: &str| match entry.get(name) {
            None | Some(Value::Null) => Ok(""),
            Some(value) => value.as_str().ok_or_else(invalid),
        };
        let (username, password) = match (text("identitytoken")?, text("auth")?) {
            ("", "") => match (text("username")?, text("password")?) {
                (_, "") => return Ok(None),
                (username, password) => (username.to_owned(), Secret::new(password)),
            },
            ("", auth) => {
                let pair = STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                let pair = pair.as_deref().and_then(|pair| pair.trim_end_matches('\0').split_once(':'));
                let (username, password) = pair.ok_or_else(invalid)?;
                (username.to_owned(), Secret::new(password))
            }
            (token, _) => (Credentials::IDENTITY.to_owned(), Secret::new(token)),
        };
        Ok(Some(Credentials { username, password, source: Source::DockerConfig }))
    }

    /// The entry of a registry in a table of the configuration.
    fn entry(&self, table: &str, repository: &Repository) -> Option<&Value> {
        let mut entries = self.config.get(table)?.as_object()?.iter();
        entries
            .find(|(key, _)| is_key_of(key, repository))
            .map(|(_, value)| value)
            .filter(|value| !value.is_null())
    }

    fn ask_helper(&self, repository: &Repository) -> Result<Option<(String, Secret)>> {
        let own = self.entry("credHelpers", repository);
        let name = own.or_else(|| self.config.get("credsStore")).and_then(Value::as_str);
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
        let helper = format!("leaves the login to `docker-credential-{name}`, which");
        let Some(program) = helper::find(self.session.logins.path.as_deref(), name) else {
            // `docker login` leaves an entry in `auths`: without one, there is no login that we could miss.
            if own.is_none() && self.entry("auths", repository).is_none() {
                return Ok(None);
            }
            return Err(self.unusable(repository, &format!("{helper} is not in PATH,")).into());
        };
        // Docker Hub's logins are stored under this address for historical reasons.
        let server = if repository.is_hub() { "https://index.docker.io/v1/" } else { repository.registry() };
        helper::get(&self.session.interrupt, &program, server, helper::TIMEOUT).map_err(|error| {
            if Exit::of(&error) == Exit::Interrupted {
                return error;
            }
            self.unusable(repository, &format!("{helper} {error:#},")).into()
        })
    }

    /// Credentials that should exist; `what` completes the name of the file.
    fn unusable(&self, repository: &Repository, what: &str) -> Failure {
        let (path, host) = (self.path.display(), repository.registry());
        let hint = self.session.logins.hint(repository);
        Failure::new(Exit::Missing, format!("{path} {what} for {host}: {hint}"))
    }
}

/// Whether a key of Docker's configuration means that registry: `host:port`, or a URL such as Docker Hub's
/// `https://index.docker.io/v1/`.
fn is_key_of(key: &str, repository: &Repository) -> bool {
    let host = key.trim_start_matches("https://").trim_start_matches("http://");
    let host = host.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2");
    host == repository.registry()
        || (repository.is_hub() && matches!(host, "index.docker.io" | "registry-1.docker.io"))
}

#[cfg(test)]
mod tests;
