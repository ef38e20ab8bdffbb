//! What `--explain` prints of a push: its plan, and how many bytes it will send.

use std::time::Duration;

use super::{Access, Action, Blob, Client, Repository, Result, size};
use crate::context::Context;

/// How long each answer may take: a plan must not wait for a registry that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The plan's lines, and below the upload a line for each blob: whether the registry has it, if it can be asked.
///
/// It only looks: nothing is sent.
pub(crate) fn explained(ctx: &Context, actions: &[Action]) -> Vec<String> {
    let mut lines = Vec::new();
    for action in actions {
        lines.push(action.to_string());
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
    for (blob, there) in blobs.iter().zip(there) {
        let fate = if there { "is there already" } else { "will be uploaded" };
        lines.push(format!("  {} {} {fate}", blob.digest.short(), size(blob.size)));
        missing += if there { 0 } else { blob.size };
    }
    lines.push(format!("  {} of {} to upload", size(missing), size(total)));
    lines
}

/// Whether each blob is there.
fn look(ctx: &Context, repository: &Repository, blobs: &[Blob]) -> Result<Vec<bool>> {
    let client = Client::new(ctx, Access::Pull)?.patient_for(PATIENCE);
    blobs.iter().map(|blob| client.is_there(repository, blob)).collect()
}
