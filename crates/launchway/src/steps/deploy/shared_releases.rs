//! The releases that are kept for a rollback, where every machine that may roll back finds them: in the registry, as a
//! document under the tag `releases` beside the images.
//!
//! Each part is a file of [`KeptReleases`], unchanged, with its variables encrypted. Write access to the registry is enough
//! to remove a release or to mark it as failed, but not to read or forge a variable.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;

use super::ReportPlan;
use super::kept_release::{Header, KeptReleases};
use crate::context::Context;
use launchway_core::exit::{Exit, OrExit as _};
use launchway_registry::{Access, Client, LARGEST_PART, Repository, Tag};

/// The media type of the document and its parts.
const KIND: &str = "application/vnd.launchway.releases.v1";
/// How many releases of a service are shared: as far back as anybody goes, and few enough to read at once.
const MOST: usize = 20;

/// The files of kept releases by deploy, each with what it says of itself.
type Files = BTreeMap<String, (Header, Vec<u8>)>;

/// Adds what other machines kept to what this one keeps.
pub(super) fn fetch(client: &Client, repository: &str, kept: &KeptReleases) -> Result<()> {
    let own = kept.files();
    for (id, (header, bytes)) in read(client, &repository.parse().or_exit(Exit::Usage)?)? {
        if own.get(&id).is_none_or(|(own, _)| own.time < header.time) {
            kept.add(&id, &bytes)?;
        }
    }
    Ok(())
}

/// After a deployment: shares what this machine keeps, encrypted. No outage fails a run; the next one shares it.
pub(crate) fn share(ctx: &Context, plan: &ReportPlan) {
    let share = || -> Result<usize> {
        let end = Instant::now() + plan.ledger_timeout;
        let key = ctx.config.secret(&ctx.environment, "RENDER_API_KEY")?;
        let service = ctx.config.secret(&ctx.environment, "RENDER_SERVICE_ID")?;
        let kept = KeptReleases::new(&ctx.kept(), key, service.expose());
        put(&ctx.registry(Access::Push)?.with_deadline(end), &plan.ledger, &kept)
    };
    match share() {
        Ok(0) => {}
        Ok(1) => ctx.reporter.note("1 release is kept in the registry for a rollback, encrypted"),
        Ok(many) => {
            ctx.reporter.note(format!("{many} releases are kept in the registry for a rollback, encrypted"));
        }
        Err(error) => {
            let why = format!("only this machine can restore the variables of this release: {error:#}");
            ctx.reporter.skipped("release for a rollback elsewhere", why);
        }
    }
}

/// Brings the document up to date, and returns how many releases it has.
fn put(client: &Client, repository: &str, kept: &KeptReleases) -> Result<usize> {
    let own = kept.files();
    if own.is_empty() {
        return Ok(0);
    }
    let repository: Repository = repository.parse().or_exit(Exit::Usage)?;
    let there = read(client, &repository)?;
    let mut all = there.clone();
    for (id, (header, bytes)) in own {
        if all.get(&id).is_none_or(|(there, _)| there.time <= header.time) {
            all.insert(id, (header, bytes));
        }
    }
    let newest = newest(all);
    if !newest.iter().map(|(_, bytes)| bytes).eq(ordered(there).iter().map(|(_, bytes)| bytes)) {
        let parts: Vec<Vec<u8>> = newest.iter().map(|(_, bytes)| bytes.clone()).collect();
        client.put_document(&repository, &tag()?, KIND, &parts, &kept.folder().join("shared"))?;
    }
    Ok(newest.len())
}

/// Those that are shared: of each service the newest.
fn newest(files: Files) -> Vec<(Header, Vec<u8>)> {
    let mut counts: BTreeMap<Option<String>, usize> = BTreeMap::new();
    let mut newest = ordered(files);
    newest.retain(|(header, bytes)| {
        let count = counts.entry(header.service.clone()).or_default();
        *count += 1;
        *count <= MOST && bytes.len() <= LARGEST_PART
    });
    newest
}

/// The newest first.
fn ordered(files: Files) -> Vec<(Header, Vec<u8>)> {
    let mut files: Vec<_> = files.into_values().collect();
    files.sort_by_key(|(header, _)| Reverse((header.time.clone(), header.id.clone())));
    files
}

/// What the registry has; a part that is not a kept release is left alone.
fn read(client: &Client, repository: &Repository) -> Result<Files> {
    let parts = client.document(repository, &tag()?, KIND)?.unwrap_or_default();
    let named = |bytes: Vec<u8>| Some((Header::read(&bytes)?, bytes));
    Ok(parts
        .into_iter()
        .filter_map(named)
        .map(|(header, bytes)| (header.id.clone(), (header, bytes)))
        .collect())
}

fn tag() -> Result<Tag> {
    "releases".parse()
}
