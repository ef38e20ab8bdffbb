//! The `SQLite` file of the reports, with one writer.
//!
//! Readers are served from memory, whatever state the file is in. Writers wait for the single thread that has the file
//! open, at most `DEADLINE`, even if another process holds a lock.
//!
//! The file is a cache: the pipeline keeps every report and resends what is missing. So nobody needs to repair a corrupt
//! file: it is moved aside, to `<path>.broken-1`, and a new one takes its place. A file that is not a board's is neither
//! moved nor changed. While the file cannot be written, pages are served from memory, reports are rejected with 503, and
//! the writer retries every few seconds.
//!
//! The file uses `SQLite`'s rollback journal, so it is complete between two reports and a backup may be copied over it
//! at any time. A write-ahead log would be replayed into the file that replaced its own.
//!
//! Nothing is deleted: the pipeline would resend it. Reports are signed and take some kilobytes each.

mod file;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use launchway_report::Report;
use ring::digest::{SHA256, digest};
use serde::Serialize;
use tracing::error;

use self::writer::{Job, Writer};
use super::history::{History, MAX_RUNS};

/// How long storing a report may take, including the wait for others; well below the timeout of a request.
const DEADLINE: Duration = Duration::from_secs(3);
/// How much longer to wait for the writer itself, which may hang with its disk.
const GRACE: Duration = Duration::from_secs(1);
/// Most reports waiting for the writer.
const QUEUE: usize = 64;
/// How often the writer checks an idle file.
const TICK: Duration = Duration::from_secs(5);
/// How long a file that another process changed must stay unchanged before it is read again.
const SETTLE: Duration = Duration::from_secs(2);

/// The reports of one board.
#[derive(Debug)]
pub struct Store {
    /// Empty for a store in memory.
    path: PathBuf,
    times: Times,
    memory: Arc<Memory>,
    /// `None` only while the store is dropped, which ends the writer.
    jobs: Option<SyncSender<Box<Job>>>,
    /// Disconnected once the writer has ended.
    ended: Mutex<Receiver<()>>,
}

/// State that readers and the writer share.
#[derive(Debug, Default)]
struct Memory {
    /// Replaced by the writer. Readers hold a snapshot and block nobody.
    history: RwLock<Arc<History>>,
    /// Why reports cannot be stored, if they cannot.
    fault: Mutex<Option<String>>,
}

impl Memory {
    fn history(&self) -> Arc<History> {
        Arc::clone(&self.history.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut History)) {
        // Copies the history only if a reader holds it.
        change(Arc::make_mut(&mut self.history.write().unwrap_or_else(PoisonError::into_inner)));
    }

    fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Time limits; shorter in tests.
#[derive(Clone, Copy, Debug)]
struct Times {
    deadline: Duration,
    tick: Duration,
    settle: Duration,
}

/// The result of storing a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is stored now.
    New,
    /// It was stored before, byte for byte.
    Same,
    /// Another report is stored under this id.
    Different,
}

/// One stored report in the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its position in the order of arrival, from 1.
    pub sequence: u64,
    /// The report's id.
    pub id: String,
    /// The SHA-256 of its bytes in hexadecimal digits.
    pub sha256: String,
}

/// The file is temporarily unusable.
#[derive(Debug)]
pub struct Unavailable(String);

impl Unavailable {
    pub(super) fn because(cause: &impl fmt::Display) -> Self {
        Self(cause.to_string())
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the board's file cannot be used: {}", self.0)
    }
}

impl std::error::Error for Unavailable {}

impl Store {
    /// Opens or creates the file; an empty path means a store in memory.
    ///
    /// Never fails: problems are logged, and the store accepts reports once they are gone.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        Self::with(path, Times { deadline: DEADLINE, tick: TICK, settle: SETTLE })
    }

    fn with(path: &Path, times: Times) -> Self {
        let memory = Arc::<Memory>::default();
        let (jobs, queue) = sync_channel(QUEUE);
        let (opened, open) = sync_channel(1);
        let mut writer = Writer::new(path.to_owned(), times, Arc::clone(&memory));
        let (running, ended) = sync_channel(0);
        let writer = thread::Builder::new().name("board".to_owned()).spawn(move || {
            let _running: SyncSender<()> = running;
            writer.check();
            opened.send(()).ok();
            writer.run(&queue);
        });
        if let Err(error) = writer {
            error!("cannot start the board's writer: {error}; reports are rejected");
        }
        // Fails if the thread did not start; then every report is rejected.
        open.recv().ok();
        Self { path: path.to_owned(), times, memory, jobs: Some(jobs), ended: Mutex::new(ended) }
    }

    /// Stores a valid report, which arrived as `body`. It is on disk when this returns.
    pub(super) fn put(&self, report: Report, body: &[u8]) -> Result<Stored, Unavailable> {
        let sha256 = sha256(body);
        if let Some(entry) = self.history().entry(&report.id) {
            return Ok(if entry.sha256 == sha256 { Stored::Same } else { Stored::Different });
        }
        let (reply, stored) = sync_channel(1);
        let until = Instant::now() + self.times.deadline;
        let job = Job { report, body: body.to_vec(), sha256, until, reply };
        let sent = self.jobs.as_ref().map(|jobs| jobs.try_send(Box::new(job)));
        match sent {
            Some(Ok(())) => {}
            Some(Err(TrySendError::Full(_))) => {
                return Err(Unavailable("too many reports are waiting".to_owned()));
            }
            Some(Err(TrySendError::Disconnected(_))) | None => {
                return Err(Unavailable("its writer has ended".to_owned()));
            }
        }
        stored.recv_timeout(self.times.deadline + GRACE).unwrap_or_else(|error| {
            Err(Unavailable(match error {
                RecvTimeoutError::Timeout => "its writer does not respond".to_owned(),
                RecvTimeoutError::Disconnected => "its writer has ended".to_owned(),
            }))
        })
    }

    /// A report from memory, or from the file if it is not among the newest.
    pub(super) fn report(&self, id: &str) -> Result<Option<Report>, Unavailable> {
        let history = self.history();
        if history.entry(id).is_none() {
            return if history.loaded { Ok(None) } else { Err(self.unread()) };
        }
        if let Some(report) = history.report(id) {
            return Ok(Some(report));
        }
        let body = file::body(&self.path, id).map_err(|error| Unavailable::because(&error))?;
        Ok(body.and_then(|body| serde_json::from_slice(&body).ok()))
    }

    /// At most `limit` reports after `sequence`.
    pub(super) fn after(&self, sequence: u64, limit: usize) -> Result<Vec<Arc<Entry>>, Unavailable> {
        let history = self.history();
        if !history.loaded {
            return Err(self.unread());
        }
        let first = history.entries.partition_point(|entry| entry.sequence <= sequence);
        Ok(history.entries[first..].iter().take(limit).cloned().collect())
    }

    /// Fails if the file has not been read.
    pub(super) fn ping(&self) -> Result<(), Unavailable> {
        if self.history().loaded { Ok(()) } else { Err(self.unread()) }
    }

    fn unread(&self) -> Unavailable {
        Unavailable(self.memory.fault().unwrap_or_else(|| "it has not been read".to_owned()))
    }

    /// Whether reports cannot be stored.
    pub(super) fn has_fault(&self) -> bool {
        self.memory.fault().is_some()
    }

    /// A snapshot of the history.
    pub(super) fn history(&self) -> Arc<History> {
        self.memory.history()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.jobs = None;
        // Bounded: the writer may hang with its disk, and its thread ends with the process.
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        ended.recv_timeout(self.times.deadline + GRACE).ok();
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests;
