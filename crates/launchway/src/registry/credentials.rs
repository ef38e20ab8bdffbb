//! Who we are to a registry: the variables of the pipeline, or what `docker login` left.

mod helper;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::context::Context;
use crate::table::variable;
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_core::secret::Secret;
use launchway_registry::Repository;

/// A user name with its password or access token, or an identity token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) password: Secret,
    pub(super) source: Source,
}

/// Where credentials came from, which decides what to do when they are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// `DOCKERHUB_USERNAME` and `DOCKERHUB_TOKEN`.
    Variables,
    /// Docker's `config.json`.
    DockerConfig,
}

impl Credentials {
    /// The user name that Docker gives to an identity token, which stands for an account by itself.
    const IDENTITY: &str = "<token>";

    /// Whether the password is a token to get other tokens with (OAuth 2's `refresh_token`).
    pub(super) fn is_identity_token(&self) -> bool {
        self.username == Self::IDENTITY
    }

    /// The credentials for a registry, if there are any.
    ///
    /// `DOCKERHUB_USERNAME` and `DOCKERHUB_TOKEN` belong to the registry of the workspace's image and go to no other;
    /// one without the other is an error with [`Exit::Missing`].
    /// Without them Docker's configuration is read, `config.json` in `$DOCKER_CONFIG` or `~/.docker`
    /// (<https://docs.docker.com/reference/cli/docker/login/#credential-stores>): the helper that `credHelpers` names
    /// for the registry, else the one of `credsStore`, is asked, and what neither has is looked for in `auths`.
    /// A rehearsal does not look there.
    pub(super) fn find(ctx: &Context, repository: &Repository) -> Result<Option<Self>> {
        let ours =
            ctx.image().parse().is_ok_and(|image: Repository| image.registry() == repository.registry());
        let names = LOGIN;
        if ours && names.iter().any(|name| ctx.environment.has(name)) {
            let [username, password] = [ctx.required(names[0])?, ctx.required(names[1])?];
            let username = username.expose().to_owned();
            return Ok(Some(Self { username, password, source: Source::Variables }));
        }
        let Some(path) = docker_config(ctx).filter(|path| path.is_file()) else {
            return Ok(None);
        };
        let text = fs_err::read_to_string(&path).or_exit(Exit::Usage)?;
        // An empty one is one, to Docker. Its text holds passwords, and so might the parser's message.
        let config = if text.trim().is_empty() { "null" } else { &text };
        let config: Value = serde_json::from_str(config)
            .ok()
            .filter(|config: &Value| config.is_object() || config.is_null())
            .with_context(|| format!("{} is not a Docker configuration", path.display()))
            .or_exit(Exit::Usage)?;
        DockerConfig(config).credentials(ctx, repository, &path)
    }
}

/// The variables of a login.
pub(crate) const LOGIN: [&str; 2] = ["DOCKERHUB_USERNAME", "DOCKERHUB_TOKEN"];

/// Where the login for a registry comes from, `None` where there is none. A credential helper is asked for it.
pub(crate) fn login(ctx: &Context, repository: &Repository) -> Result<Option<String>> {
    Ok(Credentials::find(ctx, repository)?.map(|credentials| match credentials.source {
        Source::Variables => "DOCKERHUB_USERNAME and DOCKERHUB_TOKEN".to_owned(),
        Source::DockerConfig => {
            let path = docker_config(ctx).unwrap_or_default();
            format!("`docker login`, in {}", path.display())
        }
    }))
}

/// What to do about credentials that are missing or refused.
pub(super) fn way_out(repository: &Repository) -> String {
    let source = variable("DOCKERHUB_TOKEN").map_or("", |variable| variable.source);
    let host = repository.registry();
    if repository.is_hub() {
        format!(
            "set DOCKERHUB_USERNAME and DOCKERHUB_TOKEN (a token is made at {source}), or run `docker login`"
        )
    } else {
        format!(
            "set DOCKERHUB_USERNAME and DOCKERHUB_TOKEN to an account of that registry, or run `docker login {host}`"
        )
    }
}

fn docker_config(ctx: &Context) -> Option<PathBuf> {
    if ctx.is_rehearsal() {
        return None;
    }
    let folder = match ctx.environment.get("DOCKER_CONFIG") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(ctx.environment.get("HOME")?).join(".docker"),
    };
    Some(folder.join("config.json"))
}

/// Docker's `config.json`, of which only what says who we are is looked at: `null` is nothing, as Docker has it.
struct DockerConfig(Value);

impl DockerConfig {
    fn credentials(
        &self,
        ctx: &Context,
        repository: &Repository,
        path: &Path,
    ) -> Result<Option<Credentials>> {
        if let Some((username, password)) = self.ask_helper(ctx, repository, path)? {
            return Ok(Some(Credentials { username, password, source: Source::DockerConfig }));
        }
        let Some(entry) = self.entry("auths", repository) else { return Ok(None) };
        let invalid = || unusable(repository, path, "holds no valid `auth`");
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

    /// What a table of the configuration has for a registry.
    fn entry(&self, table: &str, repository: &Repository) -> Option<&Value> {
        let mut entries = self.0.get(table)?.as_object()?.iter();
        entries
            .find(|(key, _)| is_key_of(key, repository))
            .map(|(_, value)| value)
            .filter(|value| !value.is_null())
    }

    fn ask_helper(
        &self,
        ctx: &Context,
        repository: &Repository,
        path: &Path,
    ) -> Result<Option<(String, Secret)>> {
        let own = self.entry("credHelpers", repository);
        let name = own.or_else(|| self.0.get("credsStore")).and_then(Value::as_str);
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
        let asked = format!("leaves the login to `docker-credential-{name}`, which");
        let Some(program) = helper::find(ctx, name) else {
            // `docker login` leaves an entry in `auths`: without one there is no login that we could miss.
            if own.is_none() && self.entry("auths", repository).is_none() {
                return Ok(None);
            }
            return Err(unusable(repository, path, &format!("{asked} is not in PATH,")).into());
        };
        // Docker Hub's logins are kept under this address, for the sake of old ones.
        let server = if repository.is_hub() { "https://index.docker.io/v1/" } else { repository.registry() };
        helper::get(ctx, &program, server, helper::PATIENCE).map_err(|error| {
            if Exit::of(&error) == Exit::Interrupted {
                return error;
            }
            unusable(repository, path, &format!("{asked} {error:#},")).into()
        })
    }
}

/// Credentials that are meant to be there; `what` completes the name of Docker's configuration.
fn unusable(repository: &Repository, path: &Path, what: &str) -> Failure {
    let (path, host) = (path.display(), repository.registry());
    Failure::new(Exit::Missing, format!("{path} {what} for {host}: {}", way_out(repository)))
}

/// Whether a key of Docker's configuration is that registry's: `host:port`, or an address such as Docker Hub's
/// `https://index.docker.io/v1/`.
fn is_key_of(key: &str, repository: &Repository) -> bool {
    let host = key.trim_start_matches("https://").trim_start_matches("http://");
    let host = host.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2");
    host == repository.registry()
        || (repository.is_hub() && matches!(host, "index.docker.io" | "registry-1.docker.io"))
}

#[cfg(test)]
mod tests;
