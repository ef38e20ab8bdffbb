//! The pipeline's sessions with registries: whose account they use, and where Docker's logins are.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::context::Context;
use crate::table::variable;
use launchway_registry::{Access, Account, Client, Logins, Repository, Session, Setting};

/// The variables of a login.
pub(crate) const LOGIN: [&str; 2] = ["DOCKERHUB_USERNAME", "DOCKERHUB_TOKEN"];

/// A session whose account is for the registry of the workspace's image.
pub(crate) fn session(ctx: &Context) -> Result<Session> {
    let setting = |name: &str| Setting {
        name: name.to_owned(),
        value: ctx.environment.secret(name),
        source: variable(name).map_or_else(String::new, |variable| variable.source.to_owned()),
    };
    let image: Option<Repository> = ctx.image().parse().ok();
    let registry = image.map(|image| image.registry().to_owned()).unwrap_or_default();
    let [username, token] = LOGIN.map(setting);
    let logins = Logins {
        account: Some(Account { registry, username, token }),
        docker_config: docker_config(ctx),
        path: ctx.environment.get("PATH").map(str::to_owned),
    };
    let (reporter, interrupt) = (ctx.reporter.clone(), ctx.interrupt.clone());
    Ok(Session { http: ctx.http()?, reporter, interrupt, logins })
}

/// A client of a session of its own.
pub(crate) fn client(ctx: &Context, access: Access) -> Result<Client> {
    Ok(Client::new(session(ctx)?, access))
}

/// Where Docker's login for the registry of the image is, if it has one and no variable names another.
pub(crate) fn docker_login(ctx: &Context) -> Result<Option<String>> {
    match ctx.image().parse() {
        Ok(repository) if LOGIN.iter().all(|name| !ctx.environment.has(name)) => {
            session(ctx)?.login(&repository)
        }
        _ => Ok(None),
    }
}

/// Docker's configuration, at which a rehearsal does not look.
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

#[cfg(test)]
mod tests {
    use super::*;
    use launchway_core::environment::Environment;
    use launchway_core::http::NetworkPolicy;

    #[test]
    fn the_account_belongs_to_the_registry_of_the_image() {
        let variables = [("DOCKERHUB_USERNAME", "me"), ("PIPELINE_IMAGE", "ghcr.io/o/app")];
        let ctx = Context::for_test(Path::new("/nonexistent"), Environment::of(variables));
        let account = session(&ctx).unwrap().logins.account.unwrap();
        assert_eq!((account.registry.as_str(), account.token.name.as_str()), ("ghcr.io", "DOCKERHUB_TOKEN"));
        assert_eq!(account.username.value.unwrap().expose(), "me");
        assert!(account.token.value.is_none() && account.token.source.contains("Docker Hub"));
    }

    #[test]
    fn a_rehearsal_does_not_look_at_dockers_configuration() {
        let of = |variables: &[(&str, &str)]| {
            Context::for_test(Path::new("/nonexistent"), Environment::of(variables.iter().copied()))
        };
        assert_eq!(docker_config(&of(&[])), None);
        assert_eq!(docker_config(&of(&[("HOME", "/h")])).unwrap(), Path::new("/h/.docker/config.json"));
        let mut ctx = of(&[("HOME", "/h"), ("DOCKER_CONFIG", "/d")]);
        assert_eq!(docker_config(&ctx).unwrap(), Path::new("/d/config.json"));
        ctx.network = NetworkPolicy::Only(Vec::new());
        assert_eq!(docker_config(&ctx), None);
    }
}
