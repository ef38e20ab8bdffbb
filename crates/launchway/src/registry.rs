//! The logins of the pipeline's sessions with registries: whose account they use, and where Docker's logins are.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::table::variable;
use launchway_core::environment::Environment;
use launchway_registry::{Account, Logins, Repository, Session, Setting};

/// The variables of a login.
pub(crate) const LOGIN: [&str; 2] = ["DOCKERHUB_USERNAME", "DOCKERHUB_TOKEN"];

/// The logins of a run, whose account is for the registry of its image.
pub(crate) fn logins(image: &str, environment: &Environment, docker_config: Option<PathBuf>) -> Logins {
    let setting = |name: &str| Setting {
        name: name.to_owned(),
        value: environment.secret(name),
        source: variable(name).map_or_else(String::new, |variable| variable.source.to_owned()),
    };
    let image: Option<Repository> = image.parse().ok();
    let registry = image.map(|image| image.registry().to_owned()).unwrap_or_default();
    let [username, token] = LOGIN.map(setting);
    Logins {
        account: Some(Account { registry, username, token }),
        docker_config,
        path: environment.get("PATH").map(str::to_owned),
    }
}

/// Docker's configuration.
pub(crate) fn docker_config(environment: &Environment) -> Option<PathBuf> {
    let folder = match environment.get("DOCKER_CONFIG") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(environment.get("HOME")?).join(".docker"),
    };
    Some(folder.join("config.json"))
}

/// Where Docker's login for the registry of the image is, if it has one and no variable names another.
pub(crate) fn docker_login(
    session: &Session,
    image: &str,
    environment: &Environment,
) -> Result<Option<String>> {
    match image.parse() {
        Ok(repository) if LOGIN.iter().all(|name| !environment.has(name)) => session.login(&repository),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_belongs_to_the_registry_of_the_image() {
        let environment = Environment::of([("DOCKERHUB_USERNAME", "me")]);
        let account = logins("ghcr.io/o/app", &environment, None).account.unwrap();
        assert_eq!((account.registry.as_str(), account.token.name.as_str()), ("ghcr.io", "DOCKERHUB_TOKEN"));
        assert_eq!(account.username.value.unwrap().expose(), "me");
        assert!(account.token.value.is_none() && account.token.source.contains("Docker Hub"));
    }

    #[test]
    fn dockers_configuration_is_where_docker_looks() {
        let of = |variables: &[(&str, &str)]| docker_config(&Environment::of(variables.iter().copied()));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("HOME", "/h")]).unwrap(), Path::new("/h/.docker/config.json"));
        assert_eq!(of(&[("HOME", "/h"), ("DOCKER_CONFIG", "/d")]).unwrap(), Path::new("/d/config.json"));
    }
}
