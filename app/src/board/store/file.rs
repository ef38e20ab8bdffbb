//! Opens the board's file: checks that it is a board's, that it is intact, and reads it.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use launchway_report::Report;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, OptionalExtension, TransactionBehavior};
use tracing::{error, warn};

use super::{Entry, MAX_RUNS, sha256};

/// Marks a file as a board's. Stored in the header, which can be read even if nothing else can.
const APPLICATION: u32 = u32::from_be_bytes(*b"RBrd");
/// Each raises `user_version` by one. Only append, and only changes that older versions tolerate.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE reports (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        started INTEGER NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE INDEX reports_started ON reports (started);
"];
/// The columns of every version's table.
const COLUMNS: [&str; 4] = ["sequence", "id", "started", "body"];

pub(super) const INSERT: &str =
    "INSERT INTO reports (id, started, body) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING";
const ENTRIES: &str = "SELECT sequence, id, body FROM reports ORDER BY sequence";
const NEWEST: &str = "SELECT body FROM reports ORDER BY started DESC, id DESC LIMIT ?1";
const BODY: &str = "SELECT body FROM reports WHERE id = ?1";

/// Suffixes of the files in which `SQLite` keeps unfinished changes. Older versions used the last two.
const COMPANIONS: [&str; 3] = ["-journal", "-wal", "-shm"];
/// Most files to move aside.
const ASIDE: u32 = 9;
/// How long a read of an old report waits for a lock.
const READ_TIMEOUT: Duration = Duration::from_millis(250);

/// An open file and its content.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// Why it cannot be written, if it cannot.
    pub(super) read_only: Option<String>,
    /// All reports in the order of arrival.
    pub(super) entries: Vec<Entry>,
    /// The newest reports, [`MAX_RUNS`] at most.
    pub(super) reports: Vec<Report>,
}

/// Why a file could not be opened.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is not a board's, so it is neither moved nor changed.
    NotOurs(String),
    /// It is a board's, and beyond repair.
    Corrupt(String),
    /// The cause may go away.
    Transient(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs(what) => {
                write!(f, "{what}, so it was left untouched; set DATABASE to another file, or move this one")
            }
            Self::Corrupt(cause) | Self::Transient(cause) => f.write_str(cause),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match (error.sqlite_error_code(), &error) {
            // `Unknown` means that a statement does not fit the tables.
            (Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown), _)
            | (_, rusqlite::Error::SqlInputError { .. }) => Self::Corrupt(error.to_string()),
            _ => Self::Transient(error.to_string()),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Transient(error.to_string())
    }
}

/// Opens the file, or moves a corrupt one aside and opens a new one.
pub(super) fn open(path: &Path, timeout: Duration) -> Result<Opened, Fault> {
    match attempt(path, timeout) {
        Err(Fault::Corrupt(cause)) if path.is_file() => {
            let aside = move_aside(path).map_err(|error| Fault::Corrupt(format!("{cause}; {error}")))?;
            error!(
                "{} is corrupt: {cause}; moved it to {} and started empty",
                path.display(),
                aside.display()
            );
            attempt(path, timeout)
        }
        opened => opened,
    }
}

fn attempt(path: &Path, timeout: Duration) -> Result<Opened, Fault> {
    if path.as_os_str().is_empty() {
        let mut connection = Connection::open_in_memory()?;
        migrate(&mut connection)?;
        return Ok(Opened { connection, read_only: None, entries: Vec::new(), reports: Vec::new() });
    }
    let head = Head::read(path)?;
    head.check_owner(path, timeout)?;
    let mut connection = connect(path, timeout)?;
    let mut read_only = None;
    if connection.is_readonly(MAIN_DB)? {
        if head.has_write_ahead_log() {
            connection = open_immutable(path)?;
        }
        read_only = Some("it cannot be written".to_owned());
    }
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        return Err(Fault::Corrupt(sound));
    }
    if read_only.is_none() {
        match migrate(&mut connection).map_err(Fault::from) {
            Ok(()) => {}
            // It may still be readable; the statements below decide.
            Err(Fault::Transient(cause)) => read_only = Some(cause),
            Err(fault) => return Err(fault),
        }
    }
    for statement in [ENTRIES, NEWEST, BODY].into_iter().chain(read_only.is_none().then_some(INSERT)) {
        connection.prepare(statement)?;
    }
    let (entries, reports) = (entries(&connection)?, newest(&connection)?);
    Ok(Opened { connection, read_only, entries, reports })
}

/// Checks that the file can be written, by writing to it.
pub(super) fn prove(path: &Path, timeout: Duration) -> Result<(), Fault> {
    let head = Head::read(path)?;
    head.check_owner(path, timeout)?;
    let mut connection = connect(path, timeout)?;
    if connection.is_readonly(MAIN_DB)? {
        return Err(Fault::Transient("it cannot be written".to_owned()));
    }
    Ok(migrate(&mut connection)?)
}

/// Reads the bytes of one report, concurrently with the writer.
pub(super) fn body(path: &Path, id: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(READ_TIMEOUT)?;
    connection.query_row(BODY, [id], |row| row.get(0)).optional()
}

fn connect(path: &Path, timeout: Duration) -> rusqlite::Result<Connection> {
    // Not as a URI: a path may begin with `file:`.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(timeout)?;
    Ok(connection)
}

/// Opens read-only without locks or files beside it, which `SQLite` creates for a file with a write-ahead log.
fn open_immutable(path: &Path) -> Result<Connection, Fault> {
    if fs_err::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0) {
        return Err(Fault::Transient(
            "it cannot be written, and it has unfinished changes in its write-ahead log".to_owned(),
        ));
    }
    let path =
        path.as_os_str().as_bytes().iter().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Ok(Connection::open_with_flags(format!("file:{path}?immutable=1"), flags)?)
}

/// Migrates the tables and marks the file as ours. Writes every time, which proves that the file can be written.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "truncate")?;
    // Acknowledged reports survive a power failure.
    connection.pragma_update(None, "synchronous", "full")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    // A newer version's file is used unchanged if our statements fit it.
    let missing =
        usize::try_from(version).ok().and_then(|version| MIGRATIONS.get(version..)).unwrap_or_default();
    for (migration, version) in missing.iter().zip(version + 1..) {
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", version)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.commit()
}

/// The header of a database: <https://www.sqlite.org/fileformat2.html#the_database_header>.
#[derive(Debug)]
struct Head(Vec<u8>);

impl Head {
    /// Reads the header; empty if there is no file.
    fn read(path: &Path) -> Result<Self, Fault> {
        match fs_err::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self(Vec::new())),
            Err(error) => return Err(error.into()),
            Ok(file) if !file.is_file() => {
                return Err(Fault::NotOurs(format!("{} is not a file", path.display())));
            }
            Ok(_) => {}
        }
        let mut head = Vec::new();
        fs_err::File::open(path)?.take(100).read_to_end(&mut head)?;
        Ok(Self(head))
    }

    /// Whether the file uses a write-ahead log, as older versions did.
    fn has_write_ahead_log(&self) -> bool {
        self.0.get(18) == Some(&2)
    }

    /// Fails if the file is not a board's.
    fn check_owner(&self, path: &Path, timeout: Duration) -> Result<(), Fault> {
        let not_ours = |what: String| Fault::NotOurs(format!("{} {what}", path.display()));
        if self.0.is_empty() {
            return Ok(());
        }
        if !self.0.starts_with(b"SQLite format 3\0") {
            return Err(not_ours("is not a database".to_owned()));
        }
        let application = self.0.get(68..72).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        match application {
            Some(APPLICATION) => return Ok(()),
            Some(0) => {}
            _ => return Err(not_ours("is the database of another application".to_owned())),
        }
        // Either created before files were marked, or another application's: open it without leaving a trace.
        let connection = match open_immutable(path) {
            Err(Fault::Transient(_)) => Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
            opened => opened?,
        };
        connection.busy_timeout(timeout)?;
        let names = |query: &str| -> Result<Vec<String>, Fault> {
            let found: rusqlite::Result<_> =
                connection.prepare(query)?.query_map([], |row| row.get(0))?.collect();
            Ok(found?)
        };
        let unreadable = |fault| match fault {
            Fault::Corrupt(cause) => not_ours(format!("may be another application's database: {cause}")),
            other => other,
        };
        let tables =
            names("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'").map_err(unreadable)?;
        let columns = names("SELECT name FROM pragma_table_info('reports')").map_err(unreadable)?;
        if tables.is_empty() || COLUMNS.iter().all(|column| columns.iter().any(|other| other == column)) {
            return Ok(());
        }
        let tables =
            tables.iter().take(5).map(|name| format!("`{}`", name.escape_debug())).collect::<Vec<_>>();
        Err(not_ours(format!("is the database of another application, with {}", tables.join(", "))))
    }
}

fn entries(connection: &Connection) -> rusqlite::Result<Vec<Entry>> {
    let mut query = connection.prepare(ENTRIES)?;
    let entries = query.query_map([], |row| {
        Ok(Entry {
            sequence: row.get::<_, i64>(0)?.unsigned_abs(),
            id: row.get(1)?,
            sha256: sha256(row.get_ref(2)?.as_bytes()?),
        })
    })?;
    entries.collect()
}

fn newest(connection: &Connection) -> rusqlite::Result<Vec<Report>> {
    let mut query = connection.prepare(NEWEST)?;
    let mut rows = query.query([MAX_RUNS])?;
    let mut reports = Vec::new();
    while let Some(row) = rows.next()? {
        match serde_json::from_slice(row.get_ref(0)?.as_bytes()?) {
            Ok(report) => reports.push(report),
            Err(error) => warn!("skipped a report that this version cannot read: {error}"),
        }
    }
    Ok(reports)
}

/// Moves the file and its companions to the first free name.
fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let names =
        |aside: &Path| [""].iter().chain(&COMPANIONS).map(|suffix| beside(aside, suffix)).collect::<Vec<_>>();
    let aside = (1..=ASIDE)
        .map(|number| beside(path, &format!(".broken-{number}")))
        .find(|aside| names(aside).iter().all(|name| fs_err::symlink_metadata(name).is_err()))
        .ok_or_else(|| {
            io::Error::other(format!("{ASIDE} corrupt files were moved aside already; remove them"))
        })?;
    // The file itself last: its companions would otherwise be applied to the new file.
    for suffix in COMPANIONS.into_iter().chain([""]) {
        match fs_err::rename(beside(path, suffix), beside(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

/// Appends to the file name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests;
