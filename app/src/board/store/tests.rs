//! The board's file: intact, corrupt, locked, replaced.

use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::Connection;

use super::*;
use crate::board::test_reports::run;

/// A temporary folder for one test.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("launchway-store-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs_err::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.join("board.db")
    }

    /// Its files, without the empty journal that `SQLite` leaves.
    fn names(&self) -> Vec<String> {
        let names =
            fs_err::read_dir(&self.0).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !name.ends_with("-journal")).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs_err::remove_dir_all(&self.0).ok();
    }
}

/// With a tick that no test waits for.
fn open_at(path: &Path) -> Store {
    open_within(path, DEADLINE)
}

/// With a deadline that suits a test whose file is locked.
fn open_within(path: &Path, deadline: Duration) -> Store {
    Store::with(path, Times { deadline, tick: Duration::from_secs(3600), settle: Duration::ZERO })
}

fn put(store: &Store, id: &str) -> Result<Stored, Unavailable> {
    let report = run(id, 1);
    let body = serde_json::to_vec(&report).unwrap();
    store.put(report, &body)
}

fn ids(store: &Store) -> Vec<String> {
    store.history().runs.iter().map(|run| run.report.id.clone()).collect()
}

#[test]
fn a_report_is_stored_once_and_for_good() {
    let folder = Folder::new();
    let store = open_at(&folder.file());
    assert_eq!(put(&store, "a").unwrap(), Stored::New);
    assert_eq!(put(&store, "a").unwrap(), Stored::Same);
    assert_eq!(store.put(run("a", 1), b"other").unwrap(), Stored::Different);
    assert_eq!(put(&store, "b").unwrap(), Stored::New);
    let history = store.history();
    assert!(history.version > 0 && history.total == 2, "{history:?}");
    drop(store);
    let store = open_at(&folder.file());
    assert_eq!(ids(&store), ["a", "b"]);
    assert_eq!(put(&store, "b").unwrap(), Stored::Same);
}

#[test]
fn the_list_follows_the_order_of_arrival() {
    let store = open_at(Path::new(""));
    for id in ["c", "a", "b"] {
        put(&store, id).unwrap();
    }
    let ids = |after, limit| -> Vec<_> {
        store.after(after, limit).unwrap().iter().map(|entry| (entry.sequence, entry.id.clone())).collect()
    };
    assert_eq!(ids(0, 2), [(1, "c".to_owned()), (2, "a".to_owned())]);
    assert_eq!(ids(2, 2), [(3, "b".to_owned())]);
    assert_eq!(ids(u64::MAX, 2), []);
    let body = serde_json::to_vec(&run("c", 1)).unwrap();
    assert_eq!(store.after(0, 1).unwrap()[0].sha256, hex(digest(&SHA256, &body).as_ref()));
    assert_eq!(hex(&[0, 0xaf]), "00af");
    assert_eq!(store.history().total, 3);
}

/// Asserts that the folder's file is not touched, and that the store recovers once it is gone.
fn assert_untouched(folder: &Folder) {
    let before = fs_err::read(folder.file()).unwrap();
    let names = folder.names();
    let store = open_at(&folder.file());
    let rejected = put(&store, "a").unwrap_err().to_string();
    assert!(
        rejected.contains("board.db ") && rejected.contains("left untouched; set DATABASE"),
        "{rejected}"
    );
    assert!(store.ping().is_err() && store.after(0, 1).is_err());
    assert_eq!(fs_err::read(folder.file()).unwrap(), before, "{rejected}");
    assert_eq!(folder.names(), names, "{rejected}");
    // Following the hint works without a restart.
    fs_err::rename(folder.file(), folder.0.join("elsewhere")).unwrap();
    assert_eq!(put(&store, "a").unwrap(), Stored::New);
}

#[test]
fn a_file_that_is_not_a_boards_is_neither_moved_nor_changed() {
    let folder = Folder::new();
    fs_err::write(folder.file(), "not a database, and longer than the head of one would be".repeat(20))
        .unwrap();
    assert_untouched(&folder);
    for tables in [
        "CREATE TABLE django_session (id TEXT); PRAGMA journal_mode = wal",
        "CREATE TABLE reports (id TEXT, body TEXT)",
        "PRAGMA application_id = 252006; CREATE TABLE reports (sequence, id, started, body)",
    ] {
        let folder = Folder::new();
        Connection::open(folder.file()).unwrap().execute_batch(tables).unwrap();
        assert_untouched(&folder);
    }
    // A corrupt file without a mark may be another application's.
    let folder = Folder::new();
    Connection::open(folder.file()).unwrap().execute_batch("CREATE TABLE others (id TEXT)").unwrap();
    corrupt(&folder.file());
    assert_untouched(&folder);
}

/// Corrupts all but the header.
fn corrupt(file: &Path) {
    let mut bytes = fs_err::read(file).unwrap();
    for byte in &mut bytes[100..] {
        *byte ^= 0xa5;
    }
    fs_err::write(file, bytes).unwrap();
}

#[test]
fn corrupt_files_are_moved_aside_under_different_names() {
    let folder = Folder::new();
    let mut contents = Vec::new();
    for round in 1..=9 {
        let store = open_at(&folder.file());
        assert_eq!(put(&store, &format!("round-{round}")).unwrap(), Stored::New);
        assert_eq!(ids(&store).len(), 1);
        drop(store);
        corrupt(&folder.file());
        fs_err::write(folder.0.join("board.db-shm"), format!("log {round}")).unwrap();
        contents.push(fs_err::read(folder.file()).unwrap());
    }
    drop(open_at(&folder.file()));
    for (bytes, round) in contents.iter().zip(1..) {
        let aside = folder.0.join(format!("board.db.broken-{round}"));
        assert!(fs_err::read(&aside).unwrap() == *bytes, "{round}");
        let log = fs_err::read_to_string(format!("{}-shm", aside.display())).unwrap();
        assert_eq!(log, format!("log {round}"));
    }
    corrupt(&folder.file());
    let rejected = put(&open_at(&folder.file()), "last").unwrap_err().to_string();
    assert!(rejected.contains("9 corrupt files were moved aside already"), "{rejected}");
}

#[test]
fn an_unreadable_report_is_skipped() {
    let folder = Folder::new();
    put(&open_at(&folder.file()), "a").unwrap();
    let insert = "INSERT INTO reports (id, started, body) VALUES ('b', 0, x'7b7d')";
    Connection::open(folder.file()).unwrap().execute(insert, []).unwrap();
    let store = open_at(&folder.file());
    assert_eq!((ids(&store), store.history().total), (vec!["a".to_owned()], 2));
    // It is still in the file.
    assert!(store.report("b").unwrap().is_none() && store.report("c").unwrap().is_none());
    assert_eq!(store.report("a").unwrap().unwrap(), run("a", 1));
}

/// Creates a file as older versions did: with a write-ahead log and without a mark.
pub(super) fn older(file: &Path) {
    let connection = Connection::open(file).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = wal;
             CREATE TABLE reports (sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
                                   started INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
             CREATE INDEX reports_started ON reports (started);
             PRAGMA user_version = 1",
        )
        .unwrap();
    let body = serde_json::to_vec(&run("old", 1)).unwrap();
    connection.execute("INSERT INTO reports (id, started, body) VALUES ('old', 0, ?1)", [body]).unwrap();
}

#[test]
fn a_file_of_an_older_version_is_migrated() {
    let folder = Folder::new();
    older(&folder.file());
    let store = open_at(&folder.file());
    assert_eq!(put(&store, "new").unwrap(), Stored::New);
    drop(store);
    assert_eq!(ids(&open_at(&folder.file())), ["new", "old"]);
    assert_eq!(folder.names(), ["board.db"]);
}

#[test]
fn a_file_of_a_newer_version_is_used_if_it_fits() {
    let folder = Folder::new();
    put(&open_at(&folder.file()), "a").unwrap();
    let newer = "PRAGMA user_version = 99; ALTER TABLE reports ADD COLUMN more TEXT";
    Connection::open(folder.file()).unwrap().execute_batch(newer).unwrap();
    let store = open_at(&folder.file());
    assert_eq!(put(&store, "b").unwrap(), Stored::New);
    assert_eq!(ids(&store), ["a", "b"]);
    assert_eq!(folder.names(), ["board.db"]);
}

#[test]
fn a_boards_file_that_does_not_fit_is_moved_aside() {
    for change in [
        "ALTER TABLE reports RENAME COLUMN sequence TO number",
        "DROP INDEX reports_started; ALTER TABLE reports DROP COLUMN started",
        "DROP TABLE reports; CREATE TABLE reports (sequence INTEGER, id TEXT, started INTEGER, body BLOB)",
        "DROP TABLE reports",
    ] {
        let folder = Folder::new();
        put(&open_at(&folder.file()), "a").unwrap();
        Connection::open(folder.file()).unwrap().execute_batch(change).unwrap();
        let store = open_at(&folder.file());
        assert_eq!(put(&store, "b").unwrap(), Stored::New, "{change}");
        assert_eq!((ids(&store), store.history().total), (vec!["b".to_owned()], 1), "{change}");
        assert_eq!(folder.names(), ["board.db", "board.db.broken-1"], "{change}");
    }
}

#[test]
fn a_locked_file_delays_writers_by_the_deadline_and_readers_not_at_all() {
    const SHORT: Duration = Duration::from_millis(500);
    const WRITERS: u32 = 20;
    let folder = Folder::new();
    put(&open_at(&folder.file()), "a").unwrap();
    let store = open_within(&folder.file(), SHORT);
    let other = Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let start = Instant::now();
    thread::scope(|scope| {
        let store = &store;
        let waiting: Vec<_> =
            (0..WRITERS).map(|n| scope.spawn(move || put(store, &format!("n-{n}")))).collect();
        // What needed the file would be rejected.
        assert_eq!(store.after(0, 9).unwrap().len(), 1);
        assert!(put(store, "a").unwrap() == Stored::Same && store.report("a").unwrap().is_some());
        for waited in waiting {
            let rejected = waited.join().unwrap().unwrap_err().to_string();
            assert!(rejected.contains("locked") || rejected.contains("took too long"), "{rejected}");
        }
    });
    // All at once, and not one after the other.
    assert!(start.elapsed() < SHORT * WRITERS / 2, "{:?}", start.elapsed());
    // A second store that is opened meanwhile does not move the file.
    let second = open_within(&folder.file(), SHORT);
    assert!(second.ping().is_err() && put(&second, "c").is_err());
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(put(&store, "b").unwrap(), Stored::New);
    assert_eq!(put(&second, "c").unwrap(), Stored::New);
    assert_eq!(ids(&second), ["a", "b", "c"]);
    assert_eq!(folder.names(), ["board.db"]);
}

#[test]
fn a_read_only_file_is_shown() {
    let folder = Folder::new();
    put(&open_at(&folder.file()), "a").unwrap();
    let other = Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let store = open_within(&folder.file(), Duration::from_millis(500));
    assert_eq!(ids(&store), ["a"]);
    store.ping().unwrap();
    assert!(put(&store, "b").unwrap_err().to_string().contains("locked"));
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(put(&store, "b").unwrap(), Stored::New);
}

#[test]
fn a_backup_that_is_restored_meanwhile_is_read() {
    for replace in [true, false] {
        let folder = Folder::new();
        let (file, backup) = (folder.file(), folder.0.join("backup"));
        let store = open_at(&file);
        for id in ["a", "b"] {
            put(&store, id).unwrap();
        }
        fs_err::copy(&file, &backup).unwrap();
        for n in 0..20 {
            put(&store, &format!("lost-{n}")).unwrap();
        }
        // Renamed over the file, or copied into it.
        if replace {
            fs_err::rename(&backup, &file).unwrap();
        } else {
            fs_err::copy(&backup, &file).unwrap();
        }
        assert!(put(&store, "c").unwrap_err().to_string().contains("another process is changing it"));
        assert_eq!(put(&store, "c").unwrap(), Stored::New);
        assert_eq!(ids(&store), ["a", "b", "c"]);
        drop(store);
        assert_eq!(ids(&open_at(&file)), ["a", "b", "c"], "{replace}");
        assert!(folder.names().iter().all(|name| !name.contains("broken")), "{replace}");
    }
}

#[test]
fn a_file_is_not_read_while_another_process_writes_it() {
    let folder = Folder::new();
    let times = Times { deadline: DEADLINE, tick: Duration::from_millis(10), settle: Duration::from_secs(1) };
    let store = Store::with(&folder.file(), times);
    put(&store, "a").unwrap();
    let whole = fs_err::read(folder.file()).unwrap();
    fs_err::write(folder.file(), &whole[..whole.len() / 2]).unwrap();
    let until = |holds: &dyn Fn() -> bool| {
        let holds = |_| {
            thread::sleep(Duration::from_millis(5));
            holds()
        };
        (0..4000).any(holds)
    };
    assert!(until(&|| store.memory.fault().is_some()));
    assert!(put(&store, "b").unwrap_err().to_string().contains("another process is changing it"));
    fs_err::write(folder.file(), &whole).unwrap();
    // The writer finds it by itself.
    assert!(until(&|| store.memory.fault().is_none()));
    assert_eq!(put(&store, "b").unwrap(), Stored::New);
    assert_eq!(folder.names(), ["board.db"]);
}

#[test]
fn a_path_that_cannot_be_a_file_rejects_reports() {
    let folder = Folder::new();
    for path in [folder.0.clone(), folder.0.join("missing/board.db")] {
        let store = open_at(&path);
        assert!(put(&store, "a").is_err() && store.ping().is_err(), "{}", path.display());
        assert_eq!(store.history().total, 0);
    }
    assert!(folder.0.is_dir());
    // It recovers when the cause is gone.
    let store = open_at(&folder.0.join("missing/board.db"));
    fs_err::create_dir_all(folder.0.join("missing")).unwrap();
    assert_eq!(put(&store, "a").unwrap(), Stored::New);
}
