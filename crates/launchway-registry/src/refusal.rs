//! The errors for a registry's refusals.

use reqwest::StatusCode;

use crate::Repository;
use crate::auth::Access;
use launchway_core::exit::{Exit, Failure};

/// The error for a response that is a refusal.
///
/// `action` is what was refused, as in "upload sha256:…"; `words` are the registry's own, in brackets; `hint` says how
/// to log in, if there are no credentials.
pub(crate) fn refusal(
    access: Access,
    repository: &Repository,
    has_credentials: bool,
    status: StatusCode,
    action: &str,
    words: &str,
    hint: &str,
) -> Failure {
    let (registry, name) = (repository.registry(), repository.name());
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if !has_credentials => Failure::new(
            Exit::Missing,
            format!("the registry at {registry} requires a login to {action}{words}: {hint}"),
        ),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let must = match access {
                Access::Pull => format!("the account must have read access to `{name}`, which may not exist"),
                Access::Push => {
                    format!("the account must own `{name}` and its token must have read and write permission")
                }
            };
            let refused = format!("the registry at {registry} does not let this account {action}{words}");
            Failure::new(Exit::Registry, format!("{refused}: {must}"))
        }
        // Another 404 means that an upload was forgotten.
        StatusCode::NOT_FOUND if !words.contains("UPLOAD_UNKNOWN") => Failure::new(
            Exit::Registry,
            format!(
                "the registry at {registry} does not know the repository `{name}`{words}: create it there, or correct the \
                 name of the image"
            ),
        ),
        status => Failure::new(
            Exit::Registry,
            format!("the registry at {registry} refused to {action}: {status}{words}"),
        ),
    }
}

/// The error for credentials that the registry, or its token server, rejected.
pub(crate) fn rejection(repository: &Repository, words: &str, suspicion: &str, hint: &str) -> Failure {
    let registry = repository.registry();
    let message =
        format!("the registry at {registry} rejected the user name or token{words}: {suspicion}; {hint}");
    Failure::new(Exit::Registry, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_what_to_do() {
        let repository: Repository = "acme/app".parse().unwrap();
        for (has_credentials, status, exit, expected) in [
            (false, 401, Exit::Missing, "requires a login to push (X: y): log in"),
            (false, 403, Exit::Missing, "requires a login to push (X: y): log in"),
            (
                true,
                403,
                Exit::Registry,
                "does not let this account push (X: y): the account must own `acme/app` and",
            ),
            (true, 404, Exit::Registry, "does not know the repository `acme/app` (X: y): create it there"),
            (true, 400, Exit::Registry, "refused to push: 400 Bad Request (X: y)"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let failure =
                refusal(Access::Push, &repository, has_credentials, status, "push", " (X: y)", "log in");
            assert_eq!(failure.exit, exit, "{failure}");
            assert!(failure.to_string().contains(expected), "{failure}");
        }
        let read = refusal(Access::Pull, &repository, true, StatusCode::FORBIDDEN, "read it", "", "");
        assert!(
            read.to_string().ends_with("must have read access to `acme/app`, which may not exist"),
            "{read}"
        );
    }
}
