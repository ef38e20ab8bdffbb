//! The release board: what the pipeline reported, kept and made readable.
//!
//! Reports come in through [`Board::put`] and are kept in an `SQLite` file ([`store`]), which is a cache: the pipeline
//! has them all and sends again what is missing. What is asked of them stays in memory (`history`), so that nobody who
//! reads waits for the file. The pages are made when somebody asks after a report came or a day began, and until then
//! are the same bytes.

mod badges;
pub mod demo;
mod drift;
mod feed;
pub mod figures;
mod history;
mod json;
mod page;
#[cfg(test)]
mod samples;
pub mod store;
mod svg;
mod views;
mod words;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use report::{Report, Time};

pub use self::page::{Page, Pages};
use self::store::{Entry, Kept, Store, Unavailable};
use crate::identity::Identity;

/// The board of one process.
#[derive(Debug)]
pub struct Board {
    store: Store,
    /// Who this process is. What is live is its word, never a report's.
    identity: Identity,
    /// The pages as they were last made.
    pages: Mutex<Option<Arc<Pages>>>,
    /// Held by who makes them anew. Not the same lock: requests look at `pages` where they must not wait.
    making: Mutex<()>,
}

impl Board {
    /// Opens the board's file; an empty path means one in memory. Never fails: see [`Store::open`].
    #[must_use]
    pub fn open(path: &Path, identity: Identity) -> Self {
        Self { store: Store::open(path), identity, pages: Mutex::default(), making: Mutex::default() }
    }

    /// Keeps a valid report, which arrived as `body`. It is on the disk when this returns. Blocks.
    pub fn put(&self, report: Report, body: &[u8]) -> Result<Kept, Unavailable> {
        self.store.put(report, body)
    }

    /// Keeps reports that this process made up itself. Blocks.
    pub fn fill(&self, reports: Vec<Report>) -> Result<(), Unavailable> {
        for report in reports {
            let body = serde_json::to_vec(&report).map_err(|error| Unavailable::because(&error))?;
            self.put(report, &body)?;
        }
        Ok(())
    }

    /// The pages, if they are still up to date. Does not block.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Pages>> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.as_ref().filter(|pages| pages.made_of(self.store.history().version, now())).cloned()
    }

    /// The pages, made anew where they must be. Blocks for some milliseconds.
    pub fn pages(&self) -> askama::Result<Arc<Pages>> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever waited finds them made.
        if let Some(pages) = self.current() {
            return Ok(pages);
        }
        let pages = Arc::new(Pages::new(&self.store.history(), &self.identity, now())?);
        *self.pages.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&pages));
        Ok(pages)
    }

    /// The page of one run; `None` where no such report is kept. Blocks where it is not among the newest.
    pub fn run(&self, id: &str) -> Result<Option<askama::Result<Page>>, Unavailable> {
        Ok(self.store.report(id)?.map(|report| views::run(&report)))
    }

    /// At most `limit` kept reports, in the order in which they came, from the first one after the sequence number.
    pub fn after(&self, sequence: u64, limit: usize) -> Result<Vec<Arc<Entry>>, Unavailable> {
        self.store.after(sequence, limit)
    }

    /// Whether the board has read its file, which may have been lost since.
    pub fn ping(&self) -> Result<(), Unavailable> {
        self.store.ping()
    }

    /// How many reports are kept.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.store.history().total
    }
}

fn now() -> Time {
    SystemTime::now().into()
}
