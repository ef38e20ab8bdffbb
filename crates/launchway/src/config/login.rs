//! The login for an image's registry: its variables, and where to get their values.

use std::borrow::Cow;

use launchway_registry::Repository;

use crate::table::{DOCKER_HUB_LOGIN, LOGIN};

/// The login for an image. The registry determines names, sources and hints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login<'a> {
    DockerHub,
    /// GitHub's registry, where a workflow's own token is a login.
    Github,
    /// The registry at this host.
    Other(&'a str),
}

/// Where to create the user name and token for a registry, by the end of its host name.
const SOURCES: [(&str, &str, &str); 6] = [
    (
        "registry.gitlab.com",
        "your GitLab user name",
        "GitLab → Project → Settings → Deploy tokens, with `write_registry`",
    ),
    (
        "quay.io",
        "a robot account, `organization+name`",
        "quay.io → Organization → Robot accounts, with write permission",
    ),
    (".amazonaws.com", "`AWS`", "`aws ecr get-login-password`; it is valid for 12 hours"),
    (".pkg.dev", "`_json_key_base64`", "Google Cloud → IAM → Service accounts → Keys, in base64"),
    (".azurecr.io", "the name of a token", "Azure portal → the registry → Tokens, with `_repositories_push`"),
    (
        "registry.digitalocean.com",
        "your API token",
        "DigitalOcean → API → Tokens, with read and write permission",
    ),
];

impl<'a> Login<'a> {
    /// The login for an image's repository, or for anything else on its registry.
    pub(crate) fn of(image: &'a str) -> Self {
        let host = image.split('/').next().unwrap_or_default();
        match image.parse::<Repository>() {
            Ok(repository) if repository.is_hub() => Self::DockerHub,
            _ if host == "ghcr.io" => Self::Github,
            _ => Self::Other(host),
        }
    }

    /// The variables of the user name and of the token.
    pub(crate) fn names(self) -> [&'static str; 2] {
        match self {
            Self::DockerHub => DOCKER_HUB_LOGIN,
            Self::Github | Self::Other(_) => LOGIN,
        }
    }

    /// The other names, which are accepted if those are not set.
    pub(crate) fn other_names(self) -> [&'static str; 2] {
        if self.names() == LOGIN { DOCKER_HUB_LOGIN } else { LOGIN }
    }

    /// Which of the two a variable is.
    pub(super) fn place(self, name: &str) -> Option<usize> {
        self.names().iter().position(|of_login| *of_login == name)
    }

    /// Where a user gets the user name and the token.
    pub(crate) fn sources(self) -> [Cow<'static, str>; 2] {
        match self {
            Self::DockerHub => [
                "your Docker Hub user name".into(),
                "Docker Hub → Account settings → Personal access tokens, with read and write permission".into(),
            ],
            Self::Github => [
                "your GitHub user name".into(),
                "GitHub → Settings → Developer settings → Personal access tokens (classic), with `write:packages`".into(),
            ],
            Self::Other(host) => match SOURCES.iter().find(|(end, _, _)| host.ends_with(end)) {
                Some((_, username, token)) => [(*username).into(), (*token).into()],
                None => [
                    format!("an account of {host} that may push").into(),
                    format!("the access tokens of that account on {host}").into(),
                ],
            },
        }
    }

    /// Where the workflow gets them on GitHub, as expressions.
    pub(super) fn on_github(self) -> [Cow<'static, str>; 2] {
        match self {
            Self::DockerHub | Self::Other(_) => self.names().map(|name| format!("secrets.{name}").into()),
            Self::Github => ["github.actor".into(), "secrets.GITHUB_TOKEN".into()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_decides_on_names_and_sources() {
        for (image, login, source) in [
            ("docker.io/acme/app", Login::DockerHub, "Docker Hub →"),
            ("ghcr.io/acme/app", Login::Github, "`write:packages`"),
            ("quay.io/acme/app", Login::Other("quay.io"), "Robot accounts"),
            (
                "1.dkr.ecr.eu-west-1.amazonaws.com/app",
                Login::Other("1.dkr.ecr.eu-west-1.amazonaws.com"),
                "get-login-password",
            ),
            ("127.0.0.1:5000/acme/app", Login::Other("127.0.0.1:5000"), "on 127.0.0.1:5000"),
        ] {
            assert_eq!(Login::of(image), login);
            assert!(login.sources()[1].contains(source), "{image}");
            let expected = if login == Login::DockerHub { DOCKER_HUB_LOGIN } else { LOGIN };
            assert_eq!(login.names(), expected);
            assert_ne!(login.other_names(), login.names());
        }
    }
}
