//! `--explain` of a push: its plan, with the login and the bytes that it will send.

use std::time::Duration;

use super::{ATTESTATIONS, Access, Client, PushPlan, Repository, Result, size};
use crate::context::Context;
use launchway_image::layout::Layout;
use launchway_registry::Blob;

/// How long each response may take: `--explain` must not wait for a registry that does not respond.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The lines for a push whose image has not been built yet; `None` if it has, or if there is more to say against it.
pub(crate) fn before_the_image(ctx: &Context) -> Option<Vec<String>> {
    let repository: Repository = ctx.image().parse().ok()?;
    let (folder, tag) = (ctx.output().join("image"), ctx.git.tag());
    let is_refused = ctx.git.dirty && !repository.is_loopback();
    if is_refused || Layout::is_in(&folder) && Layout::open(&folder).ok()?.tags.contains(&tag) {
        return None;
    }
    let latest = if ctx.git.dirty { "" } else { ", then move `latest` to it" };
    Some(vec![
        format!(
            "needs the image of commit {}, which `docker-build` writes to {}",
            ctx.git.short(),
            folder.display()
        ),
        "then scan it for secrets, keys, `.env` and `.git`".to_owned(),
        format!("upload to {repository} the blobs that it lacks"),
        format!("tag it as {repository}:{tag}, attach its {ATTESTATIONS}{latest}"),
    ])
}

impl PushPlan {
    /// The plan's lines, the login, and a line for each blob: whether the registry has it.
    ///
    /// Sends only reads.
    pub(crate) fn explained(&self, ctx: &Context) -> Vec<String> {
        let without = |error: &anyhow::Error| format!("  without a login: {error:#}");
        let session = match ctx.session() {
            Ok(session) => session,
            Err(error) => return self.lines(&[without(&error)], &[]),
        };
        let login = match session.login(&self.repository) {
            Ok(Some(from)) => format!("  logged in with {from}"),
            Ok(None) => "  without a login".to_owned(),
            Err(error) => without(&error),
        };
        let client = Client::new(session, Access::Pull).with_timeout(TIMEOUT);
        self.lines(&[login], &self.blob_lines(&client))
    }

    fn blob_lines(&self, client: &Client) -> Vec<String> {
        let blobs = &self.image.blobs;
        let total: u64 = blobs.iter().map(|blob| blob.size).sum();
        let places = match self.places(client) {
            Ok(places) => places,
            Err(error) => {
                let total = size(total);
                return vec![format!(
                    "  at most {total}: the registry cannot be read at the moment ({error:#})"
                )];
            }
        };
        let mut lines = Vec::new();
        let mut missing = 0;
        for (blob, place) in blobs.iter().zip(places) {
            let state = match place {
                Place::Registry => "is already there".to_owned(),
                Place::Other(source) => format!("will be mounted from {source}"),
                Place::Here => {
                    missing += blob.size;
                    "will be uploaded".to_owned()
                }
            };
            lines.push(format!("  {} {} {state}", blob.digest.short(), size(blob.size)));
        }
        lines.push(format!("  {} of {} to upload", size(missing), size(total)));
        lines
    }

    fn places(&self, client: &Client) -> Result<Vec<Place<'_>>> {
        self.image.blobs.iter().map(|blob| Place::of(blob, &self.repository, client)).collect()
    }
}

/// Where a blob is.
enum Place<'a> {
    Registry,
    /// In another repository of the same registry.
    Other(&'a Repository),
    /// On this machine only.
    Here,
}

impl<'a> Place<'a> {
    fn of(blob: &'a Blob, repository: &Repository, client: &Client) -> Result<Self> {
        if client.has_blob(repository, blob)? {
            return Ok(Self::Registry);
        }
        // There is nothing to mount from a repository that cannot be read.
        let source = blob.source_on(repository);
        let source = source.filter(|source| client.has_blob(source, blob).is_ok_and(|there| there));
        Ok(source.map_or(Self::Here, Self::Other))
    }
}
