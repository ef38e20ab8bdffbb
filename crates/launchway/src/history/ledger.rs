//! The ledger: the history as an artifact in the registry, under the tag `ledger` beside the images.
//!
//! It is text. Each line is the SHA-256 of the line before it (of nothing for the first), a space, and a report as JSON:
//! nothing can be taken out or changed without every later line showing it. A line that follows the one before it is good,
//! whatever a newer version has put in it: it is kept and passed on. The text is cut into parts, of which only the last
//! one grows, so that a run sends little however long the history is.

use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Reports, ended, folder, id};
use crate::context::Context;
use crate::registry;
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_registry::{Access, Client, Digest, LARGEST_PART, Repository, Tag};

/// The media type of the ledger and its parts.
const KIND: &str = "application/vnd.launchway.ledger.v1";
/// A part as long as this is not added to any more, in bytes.
const FULL: usize = 256 << 10;

/// The ledger, verified.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    parts: Vec<Vec<u8>>,
    /// The digest of the last line, with which the next one begins.
    head: Option<Digest>,
    pub(super) reports: Reports,
}

/// The ledger in the registry; an empty one where there is none yet.
pub(super) fn read(ctx: &Context) -> Result<Ledger> {
    read_with(ctx, &registry::client(ctx, Access::Pull)?)
}

/// Adds to the ledger in the registry what it lacks of these, and reads back that it is there.
///
/// Where the registry may not be written to from here, as in a job without its login, that is an error, and the next
/// run that may adds what is missing. So it is where the registry is not done by `end`.
pub(super) fn append(ctx: &Context, reports: &Reports, end: Instant) -> Result<Ledger> {
    let client = registry::client(ctx, Access::Push)?.with_deadline(end);
    // Another run may add at the same time; the one whose lines are gone adds them again.
    for _ in 0..3 {
        let mut ledger = read_with(ctx, &client)?;
        if !ledger.add(reports)? {
            return Ok(ledger);
        }
        client.put_document(&repository(ctx)?, &tag()?, KIND, &ledger.parts, &folder(ctx).join("ledger"))?;
    }
    Err(Failure::new(Exit::Registry, "other runs write to it at the same time; the next run adds to it")
        .into())
}

fn read_with(ctx: &Context, client: &Client) -> Result<Ledger> {
    let parts = client.document(&repository(ctx)?, &tag()?, KIND)?.unwrap_or_default();
    Ledger::verified(parts)
        .with_context(|| {
            format!(
                "the ledger `{0}:ledger` was changed, so nothing is added to it: make the tag name an earlier manifest, \
                 one that is whole",
                ctx.image()
            )
        })
        .or_exit(Exit::Registry)
}

impl Ledger {
    /// Reads the lines and holds each against the one before.
    fn verified(parts: Vec<Vec<u8>>) -> Result<Self> {
        let mut ledger = Self::default();
        let mut lines = 0;
        for part in &parts {
            let text = str::from_utf8(part).context("it is not text")?;
            ensure!(text.is_empty() || text.ends_with('\n'), "its last line is not whole");
            for line in text.lines() {
                lines += 1;
                let (before, json) = line.split_once(' ').context("a line has no digest")?;
                let expected = ledger.head.as_ref().map_or_else(|| Digest::of(b""), Clone::clone);
                if before != expected.hex() {
                    bail!("line {lines} does not follow the line before it");
                }
                if let Some(id) = id(json.as_bytes()) {
                    ledger.reports.insert(id, json.as_bytes().to_vec());
                }
                ledger.head = Some(Digest::of(line.as_bytes()));
            }
        }
        Ok(Self { parts, ..ledger })
    }

    /// Adds those that are not there, in the order in which the runs ended, and says whether there were any.
    fn add(&mut self, reports: &Reports) -> Result<bool> {
        let mut missing = Vec::new();
        for (id, bytes) in reports.iter().filter(|(id, _)| !self.reports.contains_key(*id)) {
            missing.push((ended(bytes), id, bytes));
        }
        missing.sort();
        for (_, id, bytes) in &missing {
            let before = self.head.as_ref().map_or_else(|| Digest::of(b""), Clone::clone);
            let line = [before.hex().as_bytes(), b" ", bytes].concat();
            ensure!(line.len() < LARGEST_PART - FULL && !bytes.contains(&b'\n'), "`{id}` is not one line");
            if self.parts.last().is_none_or(|part| part.len() >= FULL) {
                self.parts.push(Vec::new());
            }
            if let Some(part) = self.parts.last_mut() {
                part.extend_from_slice(&line);
                part.push(b'\n');
            }
            self.head = Some(Digest::of(&line));
            self.reports.insert((*id).clone(), (*bytes).clone());
        }
        Ok(!missing.is_empty())
    }
}

fn repository(ctx: &Context) -> Result<Repository> {
    ctx.image().parse().or_exit(Exit::Usage)
}

fn tag() -> Result<Tag> {
    "ledger".parse()
}

#[cfg(test)]
mod tests;
