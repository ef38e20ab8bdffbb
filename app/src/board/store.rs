//! The file that keeps the reports: `SQLite`, one writer, and a cache.
//!
//! The pipeline has every report and sends again what is missing. So a file that cannot be read or written is not
//! worth a human's night: it is moved aside, to `<path>.broken`, and an empty one takes its place. Where that is not
//! possible either, pages are served from memory, reports are refused with 503, and every next use tries again.
//!
//! Nothing is deleted: the pipeline would send it again. Reports are signed and take some kilobytes each.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use report::Report;
use ring::digest::{SHA256, digest};
use rusqlite::{Connection, ErrorCode, MAIN_DB, OptionalExtension, params};
use serde::Serialize;
use tracing::{error, warn};

use super::history::{History, MAX_RUNS};

/// Each raises `user_version` by one. Only ever add to the end.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE reports (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        started INTEGER NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE INDEX reports_started ON reports (started);
"];

/// How long another process may hold the file; well within the time that a request has.
const PATIENCE: Duration = Duration::from_secs(3);

/// The reports of one board.
#[derive(Debug)]
pub struct Store {
    /// Empty for one in memory.
    path: PathBuf,
    patience: Duration,
    /// `None` while the file cannot be used.
    connection: Mutex<Option<Connection>>,
    /// What `connection` holds, as far as pages need it. Written only by who holds `connection`.
    history: RwLock<History>,
    /// That of `history`, for whoever must not wait for it.
    version: AtomicU64,
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

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Reports.
    pub reports: u64,
    /// Bytes on the disk; 0 in memory.
    pub bytes: u64,
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
        Self::with_patience(path, PATIENCE)
    }

    fn with_patience(path: &Path, patience: Duration) -> Self {
        let store = Self {
            path: path.to_owned(),
            patience,
            connection: Mutex::default(),
            history: RwLock::default(),
            version: AtomicU64::default(),
        };
        if let Err(unavailable) = store.ping() {
            error!("{unavailable}; reports are refused until it can");
        }
        store
    }

    /// Keeps a valid report, which arrived as `body`. It is on the disk when this returns.
    pub(super) fn put(&self, report: Report, body: &[u8]) -> Result<Kept, Unavailable> {
        self.with(|connection| {
            let started = i64::try_from(report.started.milliseconds()).unwrap_or(i64::MAX);
            let new = connection.execute(
                "INSERT INTO reports (id, started, body) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING",
                params![report.id, started, body],
            )?;
            if new == 1 {
                self.change(|history| history.add(report));
                return Ok(Kept::New);
            }
            Ok(if body_of(connection, &report.id)?.as_deref() == Some(body) {
                Kept::Same
            } else {
                Kept::Different
            })
        })
    }

    /// The bytes of a report.
    pub(super) fn body(&self, id: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        self.with(|connection| body_of(connection, id))
    }

    /// At most `limit` reports that came after that one.
    pub(super) fn after(&self, sequence: u64, limit: u32) -> Result<Vec<Entry>, Unavailable> {
        let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
        self.with(|connection| {
            let mut query = connection.prepare(
                "SELECT sequence, id, body FROM reports WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
            )?;
            let entries = query.query_map(params![sequence, limit], |row| {
                let body: Vec<u8> = row.get(2)?;
                Ok(Entry {
                    sequence: row.get::<_, i64>(0)?.unsigned_abs(),
                    id: row.get(1)?,
                    sha256: hex(digest(&SHA256, &body).as_ref()),
                })
            })?;
            entries.collect()
        })
    }

    /// Whether the file can be used.
    pub(super) fn ping(&self) -> Result<(), Unavailable> {
        // A query of no table would not touch the file.
        self.with(|connection| connection.query_row("SELECT max(sequence) FROM reports", [], |_| Ok(())))
    }

    /// How much is kept.
    pub(super) fn size(&self) -> Size {
        let length = |suffix| fs_err::metadata(beside(&self.path, suffix)).map_or(0, |file| file.len());
        let bytes = if self.path.as_os_str().is_empty() { 0 } else { length("") + length("-wal") };
        Size { reports: self.history().total, bytes }
    }

    /// What pages are made of.
    pub(super) fn history(&self) -> RwLockReadGuard<'_, History> {
        self.history.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes with the history. Does not block.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn change(&self, change: impl FnOnce(&mut History)) {
        let mut history = self.history.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut history);
        self.version.store(history.version, Ordering::Release);
    }

    /// Works with the file, which is opened first where it is not.
    fn with<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Unavailable> {
        let mut slot = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match slot.take() {
            Some(connection) => connection,
            None => self.connect().map_err(|fault| Unavailable::because(&fault))?,
        };
        let outcome = work(&connection);
        // Whatever is wrong with the file itself shows when it is opened again.
        let usable = outcome.as_ref().err().is_none_or(passes);
        if usable || self.path.as_os_str().is_empty() {
            *slot = Some(connection);
        }
        outcome.map_err(|error| {
            warn!("the board's file: {error}");
            Unavailable::because(&error)
        })
    }

    fn connect(&self) -> Result<Connection, Fault> {
        let (connection, (total, reports)) = match open(&self.path, self.patience) {
            Err(Fault::Spoilt(cause)) if self.path.is_file() => {
                let aside = beside(&self.path, ".broken");
                for suffix in ["", "-wal", "-shm"] {
                    let (from, to) = (beside(&self.path, suffix), beside(&aside, suffix));
                    if from.exists() {
                        fs_err::rename(from, to)
                            .map_err(|error| Fault::Spoilt(format!("{cause}; {error}")))?;
                    }
                }
                error!(
                    "{} cannot be used: {cause}; moved it to {}, starting empty",
                    self.path.display(),
                    aside.display()
                );
                open(&self.path, self.patience)
            }
            opened => opened,
        }?;
        self.change(|history| history.replace(total, reports));
        Ok(connection)
    }
}

/// Why a file could not be opened.
#[derive(Debug)]
enum Fault {
    /// It will not get better by itself.
    Spoilt(String),
    /// It may.
    Passing(rusqlite::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spoilt(cause) => f.write_str(cause),
            Self::Passing(error) => error.fmt(f),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            // Unknown: the statement does not fit the tables, which then are not ours.
            Some(
                ErrorCode::NotADatabase
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::ReadOnly
                | ErrorCode::Unknown,
            ) => Self::Spoilt(error.to_string()),
            _ => Self::Passing(error),
        }
    }
}

/// Whether the same connection may do better the next time.
fn passes(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// A connection to a sound file of the newest form that can be written, and what it holds.
fn open(path: &Path, patience: Duration) -> Result<(Connection, Held), Fault> {
    let mut connection =
        if path.as_os_str().is_empty() { Connection::open_in_memory() } else { Connection::open(path) }?;
    connection.busy_timeout(patience)?;
    if connection.is_readonly(MAIN_DB)? {
        return Err(Fault::Spoilt("it cannot be written".to_owned()));
    }
    connection.pragma_update(None, "journal_mode", "wal")?;
    // What is acknowledged survives a loss of power.
    connection.pragma_update(None, "synchronous", "full")?;
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        return Err(Fault::Spoilt(sound));
    }
    // Immediate: one process at a time, and proof that the file can be written.
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let Some(missing) = usize::try_from(version).ok().and_then(|version| MIGRATIONS.get(version..)) else {
        return Err(Fault::Spoilt(format!("it has the form {version} of a newer version of this program")));
    };
    for (migration, version) in missing.iter().zip(version + 1..) {
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", version)?;
    }
    transaction.commit()?;
    let held = load(&connection)?;
    Ok((connection, held))
}

/// How many reports there are, and the newest.
type Held = (u64, Vec<Report>);

fn load(connection: &Connection) -> rusqlite::Result<Held> {
    let total: i64 = connection.query_row("SELECT count(*) FROM reports", [], |row| row.get(0))?;
    let mut query = connection.prepare("SELECT body FROM reports ORDER BY started DESC, id DESC LIMIT ?1")?;
    let mut rows = query.query([MAX_RUNS])?;
    let mut reports = Vec::new();
    while let Some(row) = rows.next()? {
        match serde_json::from_slice(row.get_ref(0)?.as_bytes()?) {
            Ok(report) => reports.push(report),
            Err(error) => warn!("left a report out that this version does not understand: {error}"),
        }
    }
    Ok((total.unsigned_abs(), reports))
}

fn body_of(connection: &Connection, id: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    connection.query_row("SELECT body FROM reports WHERE id = ?1", [id], |row| row.get(0)).optional()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// The path with more at its end.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests;
