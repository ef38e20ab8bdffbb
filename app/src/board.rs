//! The release board: stores the pipeline's run reports and shows them.
//!
//! [`Board::put`] stores reports in an `SQLite` file ([`store`]), which is a cache: the pipeline keeps them all and
//! resends what is missing. Pages are rendered from memory (`history`), so no reader waits for the file. They are rendered
//! on the first request after a report arrived or a day began, and cached until the next.

mod badges;
mod chart;
pub mod demo;
mod drift;
mod feed;
pub mod figures;
mod format;
mod history;
mod html;
mod json;
mod page;
pub mod store;
#[cfg(test)]
mod test_reports;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use launchway_report::{Report, Time};

pub use self::page::{Page, Pages};
use self::store::{Entry, Store, Stored, Unavailable};
use crate::identity::Identity;

/// The board of one process.
#[derive(Debug)]
pub struct Board {
    store: Store,
    /// This process, which decides what is live; reports do not.
    identity: Identity,
    /// The cached pages.
    pages: Mutex<Option<Arc<Pages>>>,
    /// Held while pages are rendered. A lock of its own: readers of `pages` must not wait.
    rendering: Mutex<()>,
}

impl Board {
    /// Opens the board's file, or a board in memory for an empty path. Never fails: see [`Store::open`].
    #[must_use]
    pub fn open(path: &Path, identity: Identity) -> Self {
        Self { store: Store::open(path), identity, pages: Mutex::default(), rendering: Mutex::default() }
    }

    /// Stores a valid report, which arrived as `body`. It is on disk when this returns. Blocks.
    pub fn put(&self, report: Report, body: &[u8]) -> Result<Stored, Unavailable> {
        self.store.put(report, body)
    }

    /// Stores reports that this process generated. Blocks.
    pub fn fill(&self, reports: Vec<Report>) -> Result<(), Unavailable> {
        for report in reports {
            let body = serde_json::to_vec(&report).map_err(|error| Unavailable::because(&error))?;
            self.put(report, &body)?;
        }
        Ok(())
    }

    /// The cached pages, if they are up to date. Does not block.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Pages>> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let version = self.store.history().version;
        pages.as_ref().filter(|pages| pages.current(version, self.store.has_fault(), now())).cloned()
    }

    /// The pages, rendered if necessary. Blocks for some milliseconds.
    pub fn pages(&self) -> askama::Result<Arc<Pages>> {
        let _rendering = self.rendering.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have rendered them meanwhile.
        if let Some(pages) = self.current() {
            return Ok(pages);
        }
        let pages =
            Arc::new(Pages::new(&self.store.history(), &self.identity, self.store.has_fault(), now())?);
        *self.pages.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&pages));
        Ok(pages)
    }

    /// The page of one run; `None` if there is no such report. Blocks if it is not among the newest.
    pub fn run(&self, id: &str) -> Result<Option<askama::Result<Page>>, Unavailable> {
        Ok(self.store.report(id)?.map(|report| html::run::page(&report)))
    }

    /// A page of the list of runs, from 1; `None` beyond its end.
    #[must_use]
    pub fn runs(&self, number: usize, environment: Option<&str>) -> Option<askama::Result<Page>> {
        html::runs::page(&self.store.history(), number, environment)
    }

    /// The page of the release with that digest; `None` if no run built or deployed it.
    #[must_use]
    pub fn release(&self, digest: &str) -> Option<askama::Result<Page>> {
        html::release::page(&self.store.history(), &self.identity, digest)
    }

    /// At most `limit` stored reports after `sequence`, in the order of arrival.
    pub fn after(&self, sequence: u64, limit: usize) -> Result<Vec<Arc<Entry>>, Unavailable> {
        self.store.after(sequence, limit)
    }

    /// Fails if the board has not read its file.
    pub fn ping(&self) -> Result<(), Unavailable> {
        self.store.ping()
    }

    /// The number of stored reports.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.store.history().total
    }
}

fn now() -> Time {
    SystemTime::now().into()
}
