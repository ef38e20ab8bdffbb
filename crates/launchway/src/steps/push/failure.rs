//! The error of a failed push, with what the registry has now.
//!
//! The registry itself is queried: a response that was lost may have been a success.

use std::time::Duration;

use anyhow::Error;

use super::PushPlan;
use launchway_core::exit::{Exit, Failure};
use launchway_registry::{Client, Digest, Reference, Tag};

/// How long a response may take: the error of the failed push waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The error of a push that sent nothing.
pub(super) fn untouched(error: &Error) -> Error {
    with(error, "nothing in the registry has changed")
}

impl PushPlan {
    /// The error, with what the plan's tags point to now.
    pub(super) fn failure(&self, client: Client, error: &Error) -> Error {
        let client = client.with_timeout(TIMEOUT);
        let named = |tag: Tag| client.digest_once(&self.repository, &Reference::Tag(tag));
        let Ok(commit) = named(self.image.commit_tag.clone()) else { return unknown(error) };
        let mut words = self.commit_words(commit);
        if self.moves_latest {
            let Ok(latest) = named(Tag::latest()) else { return unknown(error) };
            words = format!("{words}; {}", self.latest_words(latest));
        }
        with(error, &words)
    }

    fn commit_words(&self, named: Option<Digest>) -> String {
        match named {
            Some(digest) if digest == self.image.manifest.digest => {
                "the commit's tag is in the registry".to_owned()
            }
            Some(other) => format!("the commit's tag points to {other}"),
            None => "the commit's tag is not in the registry".to_owned(),
        }
    }

    fn latest_words(&self, named: Option<Digest>) -> String {
        match named {
            Some(digest) if digest == self.image.manifest.digest => {
                "`latest` points to this image".to_owned()
            }
            Some(other) => format!("`latest` still points to {other}"),
            None => "`latest` does not exist".to_owned(),
        }
    }
}

fn unknown(error: &Error) -> Error {
    with(error, "the registry does not respond, so its state is unknown")
}

fn with(error: &Error, words: &str) -> Error {
    Failure::new(Exit::of(error), format!("{error:#}; {words}")).into()
}
