//! The error for what a registry refuses.

use reqwest::StatusCode;

use super::client::Access;
use super::credentials::{Credentials, Source, way_out};
use launchway_core::environment::flaw;
use launchway_core::exit::{Exit, Failure};
use launchway_registry::Repository;

/// The error for an answer that is a refusal.
///
/// `action` is what was asked, as in "upload sha256:…"; `said` are the registry's words in brackets.
pub(super) fn refusal(
    access: Access,
    repository: &Repository,
    credentials: Option<&Credentials>,
    status: StatusCode,
    action: &str,
    said: &str,
) -> Failure {
    let registry = repository.registry();
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if credentials.is_none() => Failure::new(
            Exit::Missing,
            format!("the registry at {registry} wants a login to {action}{said}: {}", way_out(repository)),
        ),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let must = match access {
                Access::Pull => {
                    format!("it must be allowed to read `{}`, which may not exist", repository.name())
                }
                Access::Push => format!(
                    "the account must own `{}` and its token must have read and write permission",
                    repository.name()
                ),
            };
            let refused = format!("the registry at {registry} does not let this account {action}{said}");
            Failure::new(Exit::Registry, format!("{refused}: {must}"))
        }
        // Another 404 says that an upload was forgotten.
        StatusCode::NOT_FOUND if !said.contains("UPLOAD_UNKNOWN") => Failure::new(
            Exit::Registry,
            format!(
                "the registry at {registry} does not know the repository `{}`{said}: create it there, or correct \
                 `image` in Cargo.toml (or PIPELINE_IMAGE)",
                repository.name()
            ),
        ),
        status => Failure::new(
            Exit::Registry,
            format!("the registry at {registry} answered {status} when asked to {action}{said}"),
        ),
    }
}

/// The error for credentials that the registry, or its token server, does not take.
pub(super) fn wrong_credentials(repository: &Repository, credentials: &Credentials, said: &str) -> Failure {
    let registry = repository.registry();
    let from = match credentials.source {
        Source::Variables => {
            let names = [
                ("DOCKERHUB_USERNAME", credentials.username.as_str()),
                ("DOCKERHUB_TOKEN", credentials.password.expose()),
            ];
            let flaws: Vec<String> = names
                .into_iter()
                .filter_map(|(name, value)| Some(format!("`{name}` {}", flaw(value)?)))
                .collect();
            if flaws.is_empty() {
                "DOCKERHUB_USERNAME or DOCKERHUB_TOKEN is wrong or has expired".to_owned()
            } else {
                format!("{}: set it again", flaws.join(", "))
            }
        }
        Source::DockerConfig => "what `docker login` left is wrong or has expired".to_owned(),
    };
    Failure::new(
        Exit::Registry,
        format!(
            "the registry at {registry} refused the user name or token{said}: {from}; {}",
            way_out(repository)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use launchway_core::secret::Secret;

    fn credentials(source: Source) -> Credentials {
        Credentials { username: "me".to_owned(), password: Secret::new("hunter2-hunter2"), source }
    }

    #[test]
    fn every_refusal_names_the_way_out() {
        let hub: Repository = "acme/app".parse().unwrap();
        let other: Repository = "ghcr.io/acme/app".parse().unwrap();
        let mine = credentials(Source::Variables);
        for (repository, credentials, status, exit, expected) in [
            (&hub, None, 401, Exit::Missing, "wants a login to push (X: y): set DOCKERHUB_USERNAME and"),
            (&other, None, 403, Exit::Missing, "or run `docker login ghcr.io`"),
            (
                &hub,
                Some(&mine),
                403,
                Exit::Registry,
                "does not let this account push (X: y): the account must own",
            ),
            (&hub, Some(&mine), 404, Exit::Registry, "does not know the repository `acme/app` (X: y)"),
            (&hub, Some(&mine), 400, Exit::Registry, "answered 400 Bad Request when asked to push (X: y)"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let failure = refusal(Access::Push, repository, credentials, status, "push", " (X: y)");
            assert_eq!(failure.exit, exit, "{failure}");
            assert!(failure.to_string().contains(expected), "{failure}");
        }
        let read = refusal(Access::Pull, &hub, Some(&mine), StatusCode::FORBIDDEN, "read it", "").to_string();
        assert!(read.ends_with("must be allowed to read `acme/app`, which may not exist"), "{read}");
    }

    #[test]
    fn wrong_credentials_are_told_by_their_source() {
        let hub: Repository = "acme/app".parse().unwrap();
        let of = |source| wrong_credentials(&hub, &credentials(source), "").to_string();
        let variables = of(Source::Variables);
        assert!(
            variables.starts_with(
                "the registry at docker.io refused the user name or token: DOCKERHUB_USERNAME or"
            ),
            "{variables}"
        );
        assert!(variables.contains("Personal access tokens"), "{variables}");
        assert!(of(Source::DockerConfig).contains("what `docker login` left is wrong"));
        let pasted = Credentials { password: Secret::new("\"hunter2\""), ..credentials(Source::Variables) };
        let pasted = wrong_credentials(&hub, &pasted, "").to_string();
        assert!(pasted.contains(": `DOCKERHUB_TOKEN` is in quotes: set it again;"), "{pasted}");
        assert!(!pasted.contains("expired") && !pasted.contains("hunter2"), "{pasted}");
    }
}
