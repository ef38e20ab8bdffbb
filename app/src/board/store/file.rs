//! Opening the board's file: whose it is, whether it is whole, and what it holds.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use report::Report;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, OptionalExtension, TransactionBehavior};
use tracing::{error, warn};

use super::{Entry, MAX_RUNS, sha256};

/// Marks a file as a board's. In the file's head, so that it can be read where nothing else can.
const APPLICATION: u32 = u32::from_be_bytes(*b"RBrd");
/// Each raises `user_version` by one. Only ever add to the end, and only what an older version can live with.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE reports (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        started INTEGER NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE INDEX reports_started ON reports (started);
"];
/// What a board's table has, whichever version made it.
const COLUMNS: [&str; 4] = ["sequence", "id", "started", "body"];

pub(super) const INSERT: &str =
    "INSERT INTO reports (id, started, body) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING";
const ENTRIES: &str = "SELECT sequence, id, body FROM reports ORDER BY sequence";
const NEWEST: &str = "SELECT body FROM reports ORDER BY started DESC, id DESC LIMIT ?1";
const BODY: &str = "SELECT body FROM reports WHERE id = ?1";

/// Beside the file: what `SQLite` keeps of a change that did not end. The last two are of the mode that older versions
/// used.
const COMPANIONS: [&str; 3] = ["-journal", "-wal", "-shm"];
/// Most files that are set aside.
const ASIDE: u32 = 9;
/// How long one who reads an old report waits for a process that writes.
const READ_PATIENCE: Duration = Duration::from_millis(250);

/// A file that can be read.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// Why it cannot be written.
    pub(super) read_only: Option<String>,
    /// All reports, in the order in which they came.
    pub(super) entries: Vec<Entry>,
    /// The newest, as many as pages are made of.
    pub(super) reports: Vec<Report>,
}

/// Why a file could not be opened.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is not a board's: neither moved nor changed.
    Foreign(String),
    /// It is, and will not get better by itself.
    Spoilt(String),
    /// It may get better.
    Passing(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(what) => {
                write!(f, "{what}, and is left alone; let DATABASE name another file, or move this one away")
            }
            Self::Spoilt(cause) | Self::Passing(cause) => f.write_str(cause),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match (error.sqlite_error_code(), &error) {
            // Unknown: the statement does not fit the tables.
            (Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown), _)
            | (_, rusqlite::Error::SqlInputError { .. }) => Self::Spoilt(error.to_string()),
            _ => Self::Passing(error.to_string()),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Passing(error.to_string())
    }
}

/// A connection to a sound file of ours, and what it holds. One that is beyond use is set aside first.
pub(super) fn open(path: &Path, patience: Duration) -> Result<Opened, Fault> {
    match attempt(path, patience) {
        Err(Fault::Spoilt(cause)) if path.is_file() => {
            let aside = set_aside(path).map_err(|error| Fault::Spoilt(format!("{cause}; {error}")))?;
            error!(
                "{} cannot be used: {cause}; moved it to {}, starting empty",
                path.display(),
                aside.display()
            );
            attempt(path, patience)
        }
        opened => opened,
    }
}

fn attempt(path: &Path, patience: Duration) -> Result<Opened, Fault> {
    if path.as_os_str().is_empty() {
        let mut connection = Connection::open_in_memory()?;
        migrate(&mut connection)?;
        return Ok(Opened { connection, read_only: None, entries: Vec::new(), reports: Vec::new() });
    }
    let head = Head::read(path)?;
    head.judge(path, patience)?;
    let mut connection = connect(path, patience)?;
    let mut read_only = None;
    if connection.is_readonly(MAIN_DB)? {
        if head.logs_ahead() {
            connection = unchanging(path)?;
        }
        read_only = Some("it cannot be written".to_owned());
    }
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        return Err(Fault::Spoilt(sound));
    }
    if read_only.is_none() {
        match migrate(&mut connection).map_err(Fault::from) {
            Ok(()) => {}
            // It can be read all the same, or the statements below say why not.
            Err(Fault::Passing(cause)) => read_only = Some(cause),
            Err(fault) => return Err(fault),
        }
    }
    for statement in [ENTRIES, NEWEST, BODY].into_iter().chain(read_only.is_none().then_some(INSERT)) {
        connection.prepare(statement)?;
    }
    let (entries, reports) = (entries(&connection)?, newest(&connection)?);
    Ok(Opened { connection, read_only, entries, reports })
}

/// Proves that the file can be written, by writing it.
pub(super) fn prove(path: &Path, patience: Duration) -> Result<(), Fault> {
    let head = Head::read(path)?;
    head.judge(path, patience)?;
    let mut connection = connect(path, patience)?;
    if connection.is_readonly(MAIN_DB)? {
        return Err(Fault::Passing("it cannot be written".to_owned()));
    }
    Ok(migrate(&mut connection)?)
}

/// The bytes of a report, read while the writer may be at work.
pub(super) fn body(path: &Path, id: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(READ_PATIENCE)?;
    connection.query_row(BODY, [id], |row| row.get(0)).optional()
}

fn connect(path: &Path, patience: Duration) -> rusqlite::Result<Connection> {
    // Not as an address: a path may begin with `file:`.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(patience)?;
    Ok(connection)
}

/// Reads without a lock or a note beside the file, which `SQLite` otherwise makes for one with a write-ahead log.
fn unchanging(path: &Path) -> Result<Connection, Fault> {
    if fs_err::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0) {
        return Err(Fault::Passing(
            "it cannot be written, and unfinished changes are kept beside it".to_owned(),
        ));
    }
    let path =
        path.as_os_str().as_bytes().iter().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Ok(Connection::open_with_flags(format!("file:{path}?immutable=1"), flags)?)
}

/// Brings the tables to the newest form and marks the file as ours: each time, which proves that it can be written.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "truncate")?;
    // What is acknowledged survives a loss of power.
    connection.pragma_update(None, "synchronous", "full")?;
    // Immediate: one process at a time.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    // A newer version's file is used as it is where the statements fit it.
    let missing =
        usize::try_from(version).ok().and_then(|version| MIGRATIONS.get(version..)).unwrap_or_default();
    for (migration, version) in missing.iter().zip(version + 1..) {
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", version)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.commit()
}

/// The beginning of a database: <https://www.sqlite.org/fileformat2.html#the_database_header>.
#[derive(Debug)]
struct Head(Vec<u8>);

impl Head {
    /// Empty for a file that is not there yet.
    fn read(path: &Path) -> Result<Self, Fault> {
        match fs_err::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self(Vec::new())),
            Err(error) => return Err(error.into()),
            Ok(file) if !file.is_file() => {
                return Err(Fault::Foreign(format!("{} is not a file", path.display())));
            }
            Ok(_) => {}
        }
        let mut head = Vec::new();
        fs_err::File::open(path)?.take(100).read_to_end(&mut head)?;
        Ok(Self(head))
    }

    /// Whether the file is in the mode that older versions used.
    fn logs_ahead(&self) -> bool {
        self.0.get(18) == Some(&2)
    }

    /// Fails for what is not a board's.
    fn judge(&self, path: &Path, patience: Duration) -> Result<(), Fault> {
        let foreign = |what: String| Fault::Foreign(format!("{} {what}", path.display()));
        if self.0.is_empty() {
            return Ok(());
        }
        if !self.0.starts_with(b"SQLite format 3\0") {
            return Err(foreign("is not a database".to_owned()));
        }
        let application = self.0.get(68..72).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        match application {
            Some(APPLICATION) => return Ok(()),
            Some(0) => {}
            _ => return Err(foreign("is the database of another application".to_owned())),
        }
        // Made before files were marked. Only looked at, and without a trace beside it: it may be anybody's.
        let connection = match unchanging(path) {
            Err(Fault::Passing(_)) => Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
            opened => opened?,
        };
        connection.busy_timeout(patience)?;
        let names = |query: &str| -> Result<Vec<String>, Fault> {
            let found: rusqlite::Result<_> =
                connection.prepare(query)?.query_map([], |row| row.get(0))?.collect();
            Ok(found?)
        };
        let unreadable = |fault| match fault {
            Fault::Spoilt(cause) => foreign(format!("may be anybody's database: {cause}")),
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
        Err(foreign(format!("is the database of another application, with {}", tables.join(", "))))
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
            Err(error) => warn!("left a report out that this version does not understand: {error}"),
        }
    }
    Ok(reports)
}

/// Moves a file to the first name that is free, with what belongs to it.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let names =
        |aside: &Path| [""].iter().chain(&COMPANIONS).map(|suffix| beside(aside, suffix)).collect::<Vec<_>>();
    let aside = (1..=ASIDE)
        .map(|number| beside(path, &format!(".broken-{number}")))
        .find(|aside| names(aside).iter().all(|name| fs_err::symlink_metadata(name).is_err()))
        .ok_or_else(|| io::Error::other(format!("{ASIDE} files were set aside already; remove them")))?;
    // The file itself last: what belongs to it would be taken for the next one's.
    for suffix in COMPANIONS.into_iter().chain([""]) {
        match fs_err::rename(beside(path, suffix), beside(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

/// The path with more at its end.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests;
