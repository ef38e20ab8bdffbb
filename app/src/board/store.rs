//! The file that keeps the reports: `SQLite`, one writer, and a cache.
//!
//! Who reads is answered from memory, whatever the file does. Who writes waits for one thread, which alone has the file
//! open, and no longer than `DEADLINE`: a file that another process holds costs each report so much and no more.
//!
//! The pipeline has every report and sends again what is missing. So a file of ours that cannot be read is not worth a
//! human's night: it is moved aside, to `<path>.broken-1`, and an empty one takes its place. A file that is not ours is
//! neither moved nor changed. While a file cannot be written, pages are served from memory, reports are refused with
//! 503, and the writer looks again every few seconds.
//!
//! The file is in `SQLite`'s rollback mode: between two reports it is whole by itself. A backup may be copied over it at
//! any time; a write-ahead log would be replayed into what has replaced its file.
//!
//! Nothing is deleted: the pipeline would send it again. Reports are signed and take some kilobytes each.

mod file;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use report::Report;
use ring::digest::{SHA256, digest};
use serde::Serialize;

use self::writer::{Job, Writer};
use super::history::{History, MAX_RUNS};

/// How long a report may take to be kept, the wait for others included; well within the time that a request has.
const DEADLINE: Duration = Duration::from_secs(3);
/// How much longer one waits for the writer itself, which may hang with its disk.
const GRACE: Duration = Duration::from_secs(1);
/// Most reports that wait for the writer.
const QUEUE: usize = 64;
/// How often the writer looks at a file that nobody writes to.
const TICK: Duration = Duration::from_secs(5);
/// How long a file that somebody else changes must lie still before it is read again.
const SETTLE: Duration = Duration::from_secs(2);

/// The reports of one board.
#[derive(Debug)]
pub struct Store {
    /// Empty for one in memory.
    path: PathBuf,
    times: Times,
    memory: Arc<Memory>,
    /// `None` only while it is dropped: the writer ends with it.
    jobs: Option<SyncSender<Box<Job>>>,
    writer: Option<JoinHandle<()>>,
}

/// What readers and the writer share.
#[derive(Debug, Default)]
struct Memory {
    /// Swapped by the writer: who reads holds what it was, and nobody up.
    history: RwLock<Arc<History>>,
    /// Why nothing can be kept; `None` where it can.
    fault: Mutex<Option<String>>,
}

impl Memory {
    fn history(&self) -> Arc<History> {
        Arc::clone(&self.history.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut History)) {
        // Copies it only where somebody is reading.
        change(Arc::make_mut(&mut self.history.write().unwrap_or_else(PoisonError::into_inner)));
    }

    fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How long things may take; tests have less time.
#[derive(Clone, Copy, Debug)]
struct Times {
    deadline: Duration,
    tick: Duration,
    settle: Duration,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is kept now.
    New,
    /// It was kept before, byte for byte.
    Same,
    /// Another report is kept under this id.
    Different,
}

/// One kept report, in the order in which they came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Where it stands, from 1.
    pub sequence: u64,
    /// The report's id.
    pub id: String,
    /// The SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
}

/// The file cannot be used at the moment.
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
    /// Opens the file, and makes it where there is none; an empty path means one in memory.
    ///
    /// Never fails: what is wrong is logged, and the store takes reports again when it has gone.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        Self::with(path, Times { deadline: DEADLINE, tick: TICK, settle: SETTLE })
    }

    fn with(path: &Path, times: Times) -> Self {
        let memory = Arc::<Memory>::default();
        let (jobs, queue) = sync_channel(QUEUE);
        let (opened, open) = sync_channel(1);
        let mut writer = Writer::new(path.to_owned(), times, Arc::clone(&memory));
        let writer = thread::Builder::new().name("board".to_owned()).spawn(move || {
            writer.look();
            opened.send(()).ok();
            writer.run(&queue);
        });
        // Fails where the thread could not start; then every report is refused.
        open.recv().ok();
        Self { path: path.to_owned(), times, memory, jobs: Some(jobs), writer: writer.ok() }
    }

    /// Keeps a valid report, which arrived as `body`. It is on the disk when this returns.
    pub(super) fn put(&self, report: Report, body: &[u8]) -> Result<Kept, Unavailable> {
        let sha256 = sha256(body);
        if let Some(entry) = self.history().entry(&report.id) {
            return Ok(if entry.sha256 == sha256 { Kept::Same } else { Kept::Different });
        }
        let (answer, kept) = sync_channel(1);
        let until = Instant::now() + self.times.deadline;
        let job = Job { report, body: body.to_vec(), sha256, until, answer };
        let sent = self.jobs.as_ref().map(|jobs| jobs.try_send(Box::new(job)));
        match sent {
            Some(Ok(())) => {}
            Some(Err(TrySendError::Full(_))) => {
                return Err(Unavailable("too many reports wait for it".to_owned()));
            }
            Some(Err(TrySendError::Disconnected(_))) | None => {
                return Err(Unavailable("its writer has ended".to_owned()));
            }
        }
        kept.recv_timeout(self.times.deadline + GRACE).unwrap_or_else(|error| {
            Err(Unavailable(match error {
                RecvTimeoutError::Timeout => "it does not answer".to_owned(),
                RecvTimeoutError::Disconnected => "its writer has ended".to_owned(),
            }))
        })
    }

    /// A report, from memory if it is among the newest, else from the file.
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

    /// At most `limit` reports that came after that one.
    pub(super) fn after(&self, sequence: u64, limit: usize) -> Result<Vec<Arc<Entry>>, Unavailable> {
        let history = self.history();
        if !history.loaded {
            return Err(self.unread());
        }
        let first = history.entries.partition_point(|entry| entry.sequence <= sequence);
        Ok(history.entries[first..].iter().take(limit).cloned().collect())
    }

    /// Whether the file was read, so that pages can be made of it.
    pub(super) fn ping(&self) -> Result<(), Unavailable> {
        if self.history().loaded { Ok(()) } else { Err(self.unread()) }
    }

    fn unread(&self) -> Unavailable {
        Unavailable(self.memory.fault().unwrap_or_else(|| "it was not read".to_owned()))
    }

    /// The history that pages are made of, as of now.
    pub(super) fn history(&self) -> Arc<History> {
        self.memory.history()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            writer.join().ok();
        }
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
