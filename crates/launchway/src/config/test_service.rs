//! `test.services`: what tests need besides the workspace, in terms of GitHub's service containers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};
use serde::{Deserialize, Deserializer};

/// A container that tests connect to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestService {
    /// In the format of `docker pull`.
    pub(crate) image: String,
    /// The variables of the container; no secrets.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// Where tests reach it.
    pub(crate) ports: Vec<Ports>,
    /// A command that succeeds in the container once the service is ready; without it, an open port is enough.
    #[serde(default)]
    pub(crate) health: Option<String>,
}

/// A port of this machine, and the container's port that it forwards to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) here: u16,
    pub(crate) inside: u16,
}

impl TestService {
    /// The options of `docker create` for the engine's health check.
    pub(crate) fn health_options(&self) -> Option<[(&'static str, &str); 4]> {
        let command = self.health.as_deref()?;
        let interval = ("--health-interval", "2s");
        Some([("--health-cmd", command), interval, ("--health-timeout", "5s"), ("--health-retries", "30")])
    }
}

/// Fails for values that Docker or GitHub would not accept.
pub(crate) fn check(services: &BTreeMap<String, TestService>) -> Result<()> {
    let mut taken = BTreeSet::new();
    for (name, TestService { image, environment, ports, health }) in services {
        let key = format!("test.services.{name}");
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(is_name) {
            bail!(
                "`test.services` contains `{name}`, but a name may contain only letters, digits, `-` and `_`"
            );
        }
        let is_reference = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
        if !image.starts_with(|c: char| c.is_ascii_alphanumeric()) || !image.chars().all(is_reference) {
            bail!("`{key}.image` must be an image such as `postgres:16`, but is `{image}`");
        }
        for (variable, value) in environment {
            super::check::variable(&format!("{key}.environment"), variable)?;
            if value.contains("${{") || value.contains(char::is_control) {
                bail!(
                    "`{key}.environment` sets `{variable}` to {value:?}, which a workflow would not pass on"
                );
            }
        }
        if ports.is_empty() {
            bail!("`{key}.ports` must list the ports at which tests reach it, such as `[\"5432:5432\"]`");
        }
        if let Some(Ports { here, .. }) = ports.iter().find(|ports| !taken.insert(ports.here)) {
            bail!("`{key}.ports` uses port {here} of this machine, which another service already uses");
        }
        if let Some(wrong) =
            health.iter().flat_map(|line| line.chars()).find(|c| c.is_control() || "\"\\$`".contains(*c))
        {
            bail!(
                "`{key}.health` contains {wrong:?}, which GitHub would not pass on: put the command into the image"
            );
        }
        if health.as_ref().is_some_and(|line| line.trim().is_empty()) {
            bail!("`{key}.health` must be a command such as `pg_isready`");
        }
    }
    Ok(())
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.here, self.inside)
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pair = text.split_once(':').and_then(|(here, inside)| {
            let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
            Some(Self { here: port(here)?, inside: port(inside)? })
        });
        pair.ok_or_else(|| {
            format!("`{text}` must be a port of this machine and one of the container, as in `5432:5432`")
        })
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        services: BTreeMap<String, TestService>,
    }

    const GOOD: &str = "[services.db]\nimage = \"postgres:16\"\nports = [\"5432:5433\"]\nhealth = \"pg_isready -U x\"\n\
        environment = { POSTGRES_PASSWORD = \"x\" }\n";

    fn checked(text: &str) -> Result<BTreeMap<String, TestService>> {
        let File { services } = toml::from_str(text)?;
        check(&services)?;
        Ok(services)
    }

    #[test]
    fn a_service_is_read() {
        let services = checked(GOOD).unwrap();
        let db = &services["db"];
        assert_eq!(db.ports, [Ports { here: 5432, inside: 5433 }]);
        assert_eq!(db.health_options().unwrap()[0], ("--health-cmd", "pg_isready -U x"));
        let without = checked(&GOOD.replace("health = \"pg_isready -U x\"\n", "")).unwrap();
        assert_eq!(without["db"].health_options(), None);
    }

    #[test]
    fn what_docker_or_github_would_refuse_is_named() {
        for (from, to, expected) in [
            ("services.db", "services.\"1 db\"", "`test.services` contains `1 db`"),
            ("postgres:16", "--privileged", "`test.services.db.image` must be an image"),
            ("postgres:16", "postgres 16", "`test.services.db.image` must be an image"),
            ("POSTGRES_PASSWORD", "\"A B\"", "`test.services.db.environment` contains `A B`"),
            ("\"x\" }", "\"${{ github.token }}\" }", "which a workflow would not pass on"),
            ("5432:5433", "5432", "`5432` must be a port of this machine and one of the container"),
            ("5432:5433", "0:1", "`0:1` must be a port"),
            ("[\"5432:5433\"]", "[]", "`test.services.db.ports` must list the ports at which tests reach it"),
            (
                "[\"5432:5433\"]",
                "[\"1:2\", \"1:3\"]",
                "uses port 1 of this machine, which another service already uses",
            ),
            ("pg_isready -U x", "pg_isready -U $USER", "`test.services.db.health` contains '$'"),
            ("pg_isready -U x", " ", "`test.services.db.health` must be a command"),
            ("health", "healthy", "unknown field `healthy`"),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD);
            let error = format!("{:#}", checked(&text).unwrap_err());
            assert!(error.contains(expected), "{to}: {error}");
        }
    }
}
