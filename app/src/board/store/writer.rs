//! The one thread that has the board's file open.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use report::Report;
use rusqlite::{Connection, ErrorCode, params};
use tracing::{error, info, warn};

use super::file::{self, Opened};
use super::{Entry, Kept, Memory, Times, Unavailable};

/// One report that is to be kept.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) report: Report,
    pub(super) body: Vec<u8>,
    pub(super) sha256: String,
    /// When nobody waits for it any more.
    pub(super) until: Instant,
    pub(super) answer: SyncSender<Result<Kept, Unavailable>>,
}

/// Keeps one report after the other, and looks after the file in between.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    times: Times,
    memory: Arc<Memory>,
    /// `None` while the file cannot be used.
    connection: Option<Connection>,
    /// Why that connection cannot write.
    read_only: Option<String>,
    /// The file as this thread left it; `None` where there is none.
    stamp: Option<Stamp>,
    /// Since when the file has been as somebody else left it.
    changed: Option<(Option<Stamp>, Instant)>,
}

impl Writer {
    pub(super) fn new(path: PathBuf, times: Times, memory: Arc<Memory>) -> Self {
        Self { path, times, memory, connection: None, read_only: None, stamp: None, changed: None }
    }

    /// Until nobody can send anything any more.
    pub(super) fn run(mut self, queue: &Receiver<Box<Job>>) {
        loop {
            let pause = if self.changed.is_some() { self.times.settle } else { self.times.tick };
            match queue.recv_timeout(pause) {
                Ok(job) => {
                    let outcome = self.keep(&job);
                    job.answer.try_send(outcome).ok();
                }
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Makes the file usable where it is not.
    pub(super) fn look(&mut self) {
        let ready = self.ready(self.times.deadline);
        self.tell(ready.err());
    }

    fn keep(&mut self, job: &Job) -> Result<Kept, Unavailable> {
        let left = job.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Unavailable("the reports before this one took too long".to_owned()));
        }
        let outcome = self.ready(left).and_then(|()| self.write(job));
        self.tell(outcome.as_ref().err().cloned());
        outcome.map_err(Unavailable)
    }

    fn write(&mut self, job: &Job) -> Result<Kept, String> {
        let Some(connection) = &self.connection else { return Err("it is not open".to_owned()) };
        let outcome = insert(connection, job);
        self.stamp = Stamp::of(&self.path);
        match outcome {
            Ok(Some(sequence)) => {
                let entry = Entry { sequence, id: job.report.id.clone(), sha256: job.sha256.clone() };
                self.memory.change(|history| history.add(entry, job.report.clone()));
                Ok(Kept::New)
            }
            Ok(None) => {
                self.let_go();
                Err("another process writes to it".to_owned())
            }
            Err(error) => {
                // What is wrong with the file itself shows when it is opened again.
                if !passes(&error) && !self.path.as_os_str().is_empty() {
                    self.let_go();
                }
                Err(error.to_string())
            }
        }
    }

    /// Sees to it that reports can be kept, within that time.
    fn ready(&mut self, patience: Duration) -> Result<(), String> {
        self.notice()?;
        if self.connection.is_some() && self.read_only.is_some() && file::prove(&self.path, patience).is_ok()
        {
            self.connection = None;
        }
        if let Some(connection) = &self.connection {
            connection.busy_timeout(patience).map_err(|error| error.to_string())?;
        } else {
            let opened = file::open(&self.path, patience).map_err(|fault| fault.to_string())?;
            let Opened { connection, read_only, entries, reports } = opened;
            info!("the board's file: {} reports", entries.len());
            self.memory.change(|history| history.replace(entries, reports));
            self.connection = Some(connection);
            self.read_only = read_only;
            self.stamp = Stamp::of(&self.path);
        }
        self.read_only.clone().map_or(Ok(()), Err)
    }

    /// Lets go of a file that somebody else changed or replaced, and waits until they have finished: what is copied
    /// over it is not whole before.
    fn notice(&mut self) -> Result<(), String> {
        let now = Stamp::of(&self.path);
        match self.changed {
            None if self.connection.is_none() || now == self.stamp => return Ok(()),
            None => {
                warn!("the board's file was changed by another process; reading it again");
                self.let_go();
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

    /// Opens the file again, once it lies still.
    fn let_go(&mut self) {
        self.connection = None;
        self.changed = Some((Stamp::of(&self.path), Instant::now()));
    }

    /// Keeps what is wrong, and logs it once.
    fn tell(&self, fault: Option<String>) {
        let mut told = self.memory.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*told, &fault) {
            (before, Some(fault)) if before.as_ref() != Some(fault) => {
                error!("the board's file cannot be used: {fault}; reports are refused until it can");
            }
            (Some(_), None) => info!("the board's file can be used again"),
            _ => {}
        }
        *told = fault;
    }
}

/// The number of the new report; `None` where there is one of that id.
fn insert(connection: &Connection, job: &Job) -> rusqlite::Result<Option<u64>> {
    let started = i64::try_from(job.report.started.milliseconds()).unwrap_or(i64::MAX);
    let new = connection.execute(file::INSERT, params![job.report.id, started, job.body])?;
    Ok((new == 1).then(|| connection.last_insert_rowid().unsigned_abs()))
}

/// Whether the same connection may do better the next time.
fn passes(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// What changes with a file, no matter which process changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    /// Of content and of anything else: the first can be set to what it was.
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
