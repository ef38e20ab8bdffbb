//! The logins for registries: which account they use, and where Docker's logins are stored.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::config::Login;
use crate::table;
use launchway_core::environment::Environment;
use launchway_registry::{Account, Logins, Repository, Session, Setting};

/// The logins of a run. The account is for the registry of its image.
pub(crate) fn logins(image: &str, environment: &Environment, docker_config: Option<PathBuf>) -> Logins {
    Logins {
        account: Some(account(image, environment)),
        docker_config,
        path: environment.get("PATH").map(str::to_owned),
    }
}

/// The account for an image's registry: from that registry's own variable names, or from the other pair if only that is
/// set.
pub(crate) fn account(image: &str, environment: &Environment) -> Account {
    let login = Login::of(image);
    let is_set = |names: [&str; 2]| names.iter().any(|name| environment.has(name));
    let by_others = !is_set(login.names()) && is_set(login.other_names());
    let [username, token] = if by_others { login.other_names() } else { login.names() };
    let [of_username, of_token] = login.sources();
    let setting = |name: &str, source: Cow<'_, str>| Setting {
        name: name.to_owned(),
        value: environment.secret(name),
        source: source.into_owned(),
    };
    let image: Option<Repository> = image.parse().ok();
    Account {
        registry: image.map(|image| image.registry().to_owned()).unwrap_or_default(),
        username: setting(username, of_username),
        token: setting(token, of_token),
    }
}

/// A sentence for each missing half of the login; empty if Docker has a login.
pub(crate) fn missing_login(session: &Session, image: &str) -> Result<Vec<String>> {
    let account = session.logins.account.iter();
    let missing = account.flat_map(|account| [&account.username, &account.token]);
    let missing: Vec<&Setting> = missing.filter(|setting| setting.value.is_none()).collect();
    if missing.is_empty() || docker_login(session, image)?.is_some() {
        return Ok(Vec::new());
    }
    let sentence = |Setting { name, source, .. }: &Setting| {
        let meaning = table::variable(name).map_or("", |variable| variable.meaning);
        format!("`{name}` is not set: {meaning} ({source})")
    };
    Ok(missing.into_iter().map(sentence).collect())
}

/// Docker's configuration.
pub(crate) fn docker_config(environment: &Environment) -> Option<PathBuf> {
    let folder = match environment.get("DOCKER_CONFIG") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(environment.get("HOME")?).join(".docker"),
    };
    Some(folder.join("config.json"))
}

/// Where Docker's login for the image's registry is, if it has one and no variable overrides it.
pub(crate) fn docker_login(session: &Session, image: &str) -> Result<Option<String>> {
    let account = session.logins.account.as_ref();
    let is_set =
        account.is_some_and(|account| account.username.value.is_some() || account.token.value.is_some());
    match image.parse() {
        Ok(repository) if !is_set => session.login(&repository),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;

    #[test]
    fn the_account_belongs_to_the_registry_of_the_image() {
        let environment = Environment::of([("DOCKERHUB_USERNAME", "me")]);
        let account = logins("ghcr.io/o/app", &environment, None).account.unwrap();
        assert_eq!((account.registry.as_str(), account.token.name.as_str()), ("ghcr.io", "DOCKERHUB_TOKEN"));
        assert_eq!(account.username.value.unwrap().expose(), "me");
        assert!(account.token.value.is_none() && account.token.source.contains("`write:packages`"));
    }

    #[test]
    fn either_pair_of_names_is_a_login_for_every_registry() {
        let of = |image: &str, variables: &[(&str, &str)]| {
            let variables = variables.iter().copied().chain([("PIPELINE_IMAGE", image)]);
            let ctx = Context::for_test(Path::new("/nonexistent"), Environment::of(variables));
            let session = ctx.session().unwrap();
            let Account { username, token, .. } = session.logins.account.clone().unwrap();
            ([username.name, token.name], missing_login(&session, image).unwrap().len())
        };
        let own = [("REGISTRY_USERNAME", "me"), ("REGISTRY_TOKEN", "t")];
        let hub = [("DOCKERHUB_USERNAME", "me"), ("DOCKERHUB_TOKEN", "t")];
        for (image, names) in
            [("docker.io/acme/app", table::DOCKER_HUB_LOGIN), ("quay.io/acme/app", table::LOGIN)]
        {
            assert_eq!(of(image, &[]), (names.map(str::to_owned), 2));
            assert_eq!(of(image, &own), (table::LOGIN.map(str::to_owned), 0), "{image}");
            assert_eq!(of(image, &hub), (table::DOCKER_HUB_LOGIN.map(str::to_owned), 0), "{image}");
            // If both pairs are set, the one for this registry.
            assert_eq!(of(image, &[own, hub].concat()), (names.map(str::to_owned), 0), "{image}");
        }
        // Half of one pair is not completed by half of the other.
        assert_eq!(of("quay.io/acme/app", &[own[0], hub[1]]), (table::LOGIN.map(str::to_owned), 1));
    }

    #[test]
    fn dockers_configuration_is_where_docker_looks() {
        let of = |variables: &[(&str, &str)]| docker_config(&Environment::of(variables.iter().copied()));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("HOME", "/h")]).unwrap(), Path::new("/h/.docker/config.json"));
        assert_eq!(of(&[("HOME", "/h"), ("DOCKER_CONFIG", "/d")]).unwrap(), Path::new("/d/config.json"));
    }
}
