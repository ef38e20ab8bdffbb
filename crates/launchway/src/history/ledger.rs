//! The ledger: the history as an artifact in the registry, under the tag `ledger` beside the images.
//!
//! It is text, with one report per line, as JSON. A line that this version does not understand is kept. The text is
//! split into parts of which only the last grows, so that a run uploads little however long the history is.

use std::path::Path;

use anyhow::{Result, ensure};

use super::{Reports, ended, id};
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_registry::{Client, LARGEST_PART, Repository, Tag};

/// The media type of the ledger and its parts.
const KIND: &str = "application/vnd.launchway.ledger.v1";
/// A part of this size, in bytes, no longer grows.
const FULL: usize = 256 << 10;

/// The ledger as stored in the registry.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    parts: Vec<Vec<u8>>,
    pub(super) reports: Reports,
}

/// The ledger of a repository; empty if there is none yet.
pub(super) fn read(client: &Client, repository: &str) -> Result<Ledger> {
    read_from(client, &self::repository(repository)?)
}

/// Adds the reports that the ledger of a repository lacks, and verifies that it has them. Writes its parts to `folder`
/// first.
///
/// A run without write access to the registry, such as a job without its login, fails; the next run with access adds
/// what is missing.
pub(super) fn append(client: &Client, repository: &str, reports: &Reports, folder: &Path) -> Result<Ledger> {
    let repository = self::repository(repository)?;
    // Another run may add reports at the same time; the one whose lines got lost adds them again.
    for _ in 0..3 {
        let mut ledger = read_from(client, &repository)?;
        if !ledger.add(reports)? {
            return Ok(ledger);
        }
        client.put_document(&repository, &tag()?, KIND, &ledger.parts, folder)?;
    }
    Err(Failure::new(Exit::Registry, "other runs are writing to it; the next run adds the report").into())
}

fn read_from(client: &Client, repository: &Repository) -> Result<Ledger> {
    Ok(Ledger::of(client.document(repository, &tag()?, KIND)?.unwrap_or_default()))
}

/// The report on a line. Earlier versions put the digest of the previous line and a space before it.
fn report_on(line: &[u8]) -> &[u8] {
    const DIGEST: usize = 64;
    match line.split_at_checked(DIGEST) {
        Some((digest, [b' ', report @ ..])) if digest.iter().all(u8::is_ascii_hexdigit) => report,
        _ => line,
    }
}

impl Ledger {
    fn of(parts: Vec<Vec<u8>>) -> Self {
        let lines = parts.iter().flat_map(|part| part.split(|byte| *byte == b'\n')).map(report_on);
        let reports = lines.filter_map(|line| Some((id(line)?, line.to_vec()))).collect();
        Self { parts, reports }
    }

    /// Adds the missing ones, ordered by the end of their runs, and returns whether there were any.
    fn add(&mut self, reports: &Reports) -> Result<bool> {
        let mut missing = Vec::new();
        for (id, bytes) in reports.iter().filter(|(id, _)| !self.reports.contains_key(*id)) {
            missing.push((ended(bytes), id, bytes));
        }
        missing.sort();
        for (_, id, bytes) in &missing {
            ensure!(bytes.len() < LARGEST_PART - FULL && !bytes.contains(&b'\n'), "`{id}` is not one line");
            if self.parts.last().is_none_or(|part| part.len() >= FULL) {
                self.parts.push(Vec::new());
            }
            if let Some(part) = self.parts.last_mut() {
                if part.last().is_some_and(|byte| *byte != b'\n') {
                    part.push(b'\n');
                }
                part.extend_from_slice(bytes);
                part.push(b'\n');
            }
            self.reports.insert((*id).clone(), (*bytes).clone());
        }
        Ok(!missing.is_empty())
    }
}

fn repository(text: &str) -> Result<Repository> {
    text.parse().or_exit(Exit::Usage)
}

fn tag() -> Result<Tag> {
    "ledger".parse()
}

#[cfg(test)]
mod tests;
