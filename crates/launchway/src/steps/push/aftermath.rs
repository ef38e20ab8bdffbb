//! What a push that failed leaves in the registry: the end of its error.
//!
//! The registry is asked, because an answer that was lost may have been a yes.

use std::time::Duration;

use anyhow::Error;

use super::Action;
use launchway_core::exit::{Exit, Failure};
use launchway_registry::{Client, Reference, Tag};

/// How long an answer may take. Whoever reads the error has waited enough.
const PATIENCE: Duration = Duration::from_secs(5);

/// The error of a push that did not get as far as to send something.
pub(super) fn untouched(error: &Error) -> Error {
    with(error, "nothing in the registry has changed")
}

/// The error with what the tags of the plan name now.
pub(super) fn told(client: Client, actions: &[Action], error: &Error) -> Error {
    let client = client.with_timeout(PATIENCE);
    let mut words = Vec::new();
    for action in actions {
        let (repository, tag, manifest) = match action {
            Action::Tag { repository, tag, manifest } => (repository, tag.clone(), manifest),
            Action::MoveLatest { repository, manifest } => (repository, Tag::latest(), manifest),
            _ => continue,
        };
        let is_latest = matches!(action, Action::MoveLatest { .. });
        let Ok(named) = client.digest_once(repository, &Reference::Tag(tag)) else {
            return with(error, "what the registry holds now is not known, because it does not say");
        };
        let is_ours = named.as_ref() == Some(&manifest.digest);
        words.push(match named {
            Some(_) if is_ours && is_latest => "`latest` names this image".to_owned(),
            Some(_) if is_ours => "the commit's tag is in the registry".to_owned(),
            Some(other) if is_latest => format!("`latest` still names {other}"),
            Some(other) => format!("the commit's tag names {other}"),
            None if is_latest => "there is no `latest`".to_owned(),
            None => "the commit's tag is not in the registry".to_owned(),
        });
    }
    with(error, &words.join("; "))
}

fn with(error: &Error, words: &str) -> Error {
    Failure::new(Exit::of(error), format!("{error:#}; {words}")).into()
}
