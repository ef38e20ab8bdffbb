//! The one thread that has the board's file open.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use launchway_report::Report;
use rusqlite::{Connection, ErrorCode, params};
use tracing::{error, info, warn};

use super::file::{self, Opened};
use super::{Entry, Memory, Stored, Times, Unavailable};

/// One report to store.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) report: Report,
    pub(super) body: Vec<u8>,
    pub(super) sha256: String,
    /// When the caller stops waiting.
    pub(super) until: Instant,
    pub(super) reply: SyncSender<Result<Stored, Unavailable>>,
}

/// Stores one report after the other, and checks the file in between.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    times: Times,
    memory: Arc<Memory>,
    /// `None` while the file is unusable.
    connection: Option<Connection>,
    /// Why the connection cannot write, if it cannot.
    read_only: Option<String>,
    /// The file as this thread left it, if there is one.
    stamp: Option<Stamp>,
    /// The file as another process left it, and since when.
    changed: Option<(Option<Stamp>, Instant)>,
}

impl Writer {
    pub(super) fn new(path: PathBuf, times: Times, memory: Arc<Memory>) -> Self {
        Self { path, times, memory, connection: None, read_only: None, stamp: None, changed: None }
    }

    /// Runs until the store is dropped.
    pub(super) fn run(mut self, queue: &Receiver<Box<Job>>) {
        loop {
            let pause = if self.changed.is_some() { self.times.settle } else { self.times.tick };
            match queue.recv_timeout(pause) {
                Ok(job) => {
                    let outcome = self.store(&job);
                    job.reply.try_send(outcome).ok();
                }
                Err(RecvTimeoutError::Timeout) => self.check(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Makes the file usable if it is not.
    pub(super) fn check(&mut self) {
        let ready = self.ready(self.times.deadline);
        self.record(ready.err());
    }

    fn store(&mut self, job: &Job) -> Result<Stored, Unavailable> {
        let left = job.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Unavailable("earlier reports took too long".to_owned()));
        }
        let outcome = self.ready(left).and_then(|()| self.write(job));
        self.record(outcome.as_ref().err().cloned());
        outcome.map_err(Unavailable)
    }

    fn write(&mut self, job: &Job) -> Result<Stored, String> {
        let Some(connection) = &self.connection else { return Err("it is not open".to_owned()) };
        let outcome = insert(connection, job);
        self.stamp = Stamp::of(&self.path);
        match outcome {
            Ok(Some(sequence)) => {
                let entry = Entry { sequence, id: job.report.id.clone(), sha256: job.sha256.clone() };
                self.memory.change(|history| history.add(entry, job.report.clone()));
                Ok(Stored::New)
            }
            Ok(None) => {
                self.close();
                Err("another process writes to it".to_owned())
            }
            Err(error) => {
                // A defect of the file itself shows when it is reopened.
                if !is_transient(&error) && !self.path.as_os_str().is_empty() {
                    self.close();
                }
                Err(error.to_string())
            }
        }
    }

    /// Prepares the file for writing within `timeout`.
    fn ready(&mut self, timeout: Duration) -> Result<(), String> {
        self.watch()?;
        if self.connection.is_some() && self.read_only.is_some() && file::prove(&self.path, timeout).is_ok() {
            self.connection = None;
        }
        if let Some(connection) = &self.connection {
            connection.busy_timeout(timeout).map_err(|error| error.to_string())?;
        } else {
            let opened = file::open(&self.path, timeout).map_err(|fault| fault.to_string())?;
            let Opened { connection, read_only, entries, reports } = opened;
            info!("the board's file: {} reports", entries.len());
            self.memory.change(|history| history.replace(entries, reports));
            self.connection = Some(connection);
            self.read_only = read_only;
            self.stamp = Stamp::of(&self.path);
        }
        self.read_only.clone().map_or(Ok(()), Err)
    }

    /// Closes a file that another process changed or replaced, and waits until it stays unchanged: until then a copy may
    /// be incomplete.
    fn watch(&mut self) -> Result<(), String> {
        let now = Stamp::of(&self.path);
        match self.changed {
            None if self.connection.is_none() || now == self.stamp => return Ok(()),
            None => {
                warn!("another process changed the board's file; reopening it");
                self.close();
            }
            Some((before, _)) if before != now => self.changed = Some((now, Instant::now())),
            Some((_, since)) if since.elapsed() >= self.times.settle => {
                self.changed = None;
                return Ok(());
            }
            Some(_) => {}
        }
        Err("another process is changing it".to_owned())
    }

    /// Closes the file, to reopen it once it stays unchanged.
    fn close(&mut self) {
        self.connection = None;
        self.changed = Some((Stamp::of(&self.path), Instant::now()));
    }

    /// Records the current problem, and logs each change once.
    fn record(&self, fault: Option<String>) {
        let mut recorded = self.memory.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*recorded, &fault) {
            (before, Some(fault)) if before.as_ref() != Some(fault) => {
                error!("the board's file cannot be used: {fault}; reports are rejected until it can");
            }
            (Some(_), None) => info!("the board's file can be used again"),
            _ => {}
        }
        *recorded = fault;
    }
}

/// The sequence number of the new report; `None` if the id exists.
fn insert(connection: &Connection, job: &Job) -> rusqlite::Result<Option<u64>> {
    let started = i64::try_from(job.report.started.milliseconds()).unwrap_or(i64::MAX);
    let new = connection.execute(file::INSERT, params![job.report.id, started, job.body])?;
    Ok((new == 1).then(|| connection.last_insert_rowid().unsigned_abs()))
}

/// Whether the same connection may succeed the next time.
fn is_transient(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// Changes whenever any process changes the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    /// The times of content and of metadata; the former can be forged.
    changed: [i64; 4],
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let file = fs_err::metadata(path).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            length: file.size(),
            changed: [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()],
        })
    }
}

#[cfg(test)]
mod tests;
