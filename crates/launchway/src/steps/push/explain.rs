//! What `--explain` prints of a push: its plan, and how many bytes it will send.

use std::time::Duration;

use super::{Access, Action, Blob, Repository, Result, size};
use crate::context::Context;
use crate::registry::{client, session};

/// How long each answer may take: a plan must not wait for a registry that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The plan's lines, and below the upload a line for each blob: whether the registry has it, if it can be asked.
///
/// It only looks: nothing is sent.
pub(crate) fn explained(ctx: &Context, actions: &[Action]) -> Vec<String> {
    let mut lines = Vec::new();
    for action in actions {
        lines.push(action.to_string());
        if let Action::Look { repository, .. } = action {
            lines.push(match session(ctx).and_then(|session| session.login(repository)) {
                Ok(Some(from)) => format!("  logged in with {from}"),
                Ok(None) => "  without a login".to_owned(),
                Err(error) => format!("  without a login: {error:#}"),
            });
        }
        if let Action::Upload { repository, blobs } = action {
            lines.extend(bytes(ctx, repository, blobs));
        }
    }
    lines
}

fn bytes(ctx: &Context, repository: &Repository, blobs: &[Blob]) -> Vec<String> {
    let total: u64 = blobs.iter().map(|blob| blob.size).sum();
    let there = match look(ctx, repository, blobs) {
        Ok(there) => there,
        Err(error) => {
            return vec![format!("  at most {}: the registry cannot be asked now ({error:#})", size(total))];
        }
    };
    let mut lines = Vec::new();
    let mut missing = 0;
    for (blob, place) in blobs.iter().zip(there) {
        let fate = match place {
            Place::There => "is there already".to_owned(),
            Place::At(source) => format!("will be mounted from {source}"),
            Place::Here => {
                missing += blob.size;
                "will be uploaded".to_owned()
            }
        };
        lines.push(format!("  {} {} {fate}", blob.digest.short(), size(blob.size)));
    }
    lines.push(format!("  {} of {} to upload", size(missing), size(total)));
    lines
}

/// Where a blob is.
enum Place<'a> {
    There,
    /// In another repository of the registry.
    At(&'a Repository),
    /// On this machine only.
    Here,
}

fn look<'a>(ctx: &Context, repository: &Repository, blobs: &'a [Blob]) -> Result<Vec<Place<'a>>> {
    let client = client(ctx, Access::Pull)?.with_timeout(PATIENCE);
    let place = |blob: &'a Blob| {
        if client.has_blob(repository, blob)? {
            return Ok(Place::There);
        }
        // A repository that cannot be asked for it is none to mount it from.
        let source = blob.source_on(repository);
        let source = source.filter(|source| client.has_blob(source, blob).is_ok_and(|there| there));
        Ok(source.map_or(Place::Here, Place::At))
    };
    blobs.iter().map(place).collect()
}
