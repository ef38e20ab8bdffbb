use std::sync::atomic::AtomicU32;

use super::*;
use crate::board::samples::run;

/// A folder of its own for one test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("slipway-store-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs_err::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("board.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs_err::remove_dir_all(&self.0).ok();
    }
}

fn open_at(path: &Path) -> Store {
    Store::with_patience(path, Duration::from_millis(20))
}

fn put(store: &Store, id: &str) -> Result<Kept, Unavailable> {
    let report = run(id, 1);
    let body = serde_json::to_vec(&report).unwrap();
    store.put(report, &body)
}

fn ids(store: &Store) -> Vec<String> {
    store.history().runs.iter().map(|run| run.report.id.clone()).collect()
}

#[test]
fn a_report_is_kept_once_and_for_good() {
    let folder = Folder::new();
    let store = open_at(&folder.file());
    assert_eq!(put(&store, "a").unwrap(), Kept::New);
    assert_eq!(put(&store, "a").unwrap(), Kept::Same);
    assert_eq!(store.put(run("a", 1), b"other").unwrap(), Kept::Different);
    assert_eq!(put(&store, "b").unwrap(), Kept::New);
    let (version, size) = (store.version(), store.size());
    assert_eq!(size.reports, 2);
    assert!(size.bytes > 8192, "{size:?}");
    drop(store);
    let store = open_at(&folder.file());
    assert_eq!(ids(&store), ["a", "b"]);
    assert_eq!(put(&store, "b").unwrap(), Kept::Same);
    assert!(version > 0);
}

#[test]
fn the_cursor_goes_through_all_in_the_order_in_which_they_came() {
    let store = open_at(Path::new(""));
    for id in ["c", "a", "b"] {
        put(&store, id).unwrap();
    }
    let ids = |after, limit| -> Vec<_> {
        store.after(after, limit).unwrap().into_iter().map(|entry| (entry.sequence, entry.id)).collect()
    };
    assert_eq!(ids(0, 2), [(1, "c".to_owned()), (2, "a".to_owned())]);
    assert_eq!(ids(2, 2), [(3, "b".to_owned())]);
    assert_eq!(ids(u64::MAX, 2), []);
    let body = store.body("c").unwrap().unwrap();
    assert_eq!(body, serde_json::to_vec(&run("c", 1)).unwrap());
    assert_eq!(store.after(0, 1).unwrap()[0].sha256, hex(digest(&SHA256, &body).as_ref()));
    assert_eq!(hex(&[0, 0xaf]), "00af");
    assert_eq!(store.size(), Size { reports: 3, bytes: 0 });
}

#[test]
fn what_is_no_database_is_moved_aside() {
    let folder = Folder::new();
    fs_err::write(folder.file(), "not a database, and longer than the head of one would be".repeat(20))
        .unwrap();
    let store = open_at(&folder.file());
    assert_eq!(put(&store, "a").unwrap(), Kept::New);
    assert!(fs_err::read_to_string(folder.0.join("board.db.broken")).unwrap().starts_with("not a database"));
}

#[test]
fn a_file_that_broke_is_moved_aside_and_the_board_starts_again() {
    let folder = Folder::new();
    let store = open_at(&folder.file());
    for id in ["a", "b", "c"] {
        put(&store, id).unwrap();
    }
    drop(store);
    // All but the head becomes noise.
    let mut bytes = fs_err::read(folder.file()).unwrap();
    for byte in &mut bytes[200..] {
        *byte ^= 0xa5;
    }
    fs_err::write(folder.file(), bytes).unwrap();
    let store = open_at(&folder.file());
    assert_eq!(ids(&store), [""; 0]);
    assert_eq!(put(&store, "d").unwrap(), Kept::New);
    assert_eq!(ids(&open_at(&folder.file())), ["d"]);
    assert!(folder.0.join("board.db.broken").exists());
}

#[test]
fn a_report_that_nobody_understands_is_left_out() {
    let folder = Folder::new();
    put(&open_at(&folder.file()), "a").unwrap();
    let insert = "INSERT INTO reports (id, started, body) VALUES ('b', 0, x'7b7d')";
    Connection::open(folder.file()).unwrap().execute(insert, []).unwrap();
    let store = open_at(&folder.file());
    assert_eq!((ids(&store), store.size().reports), (vec!["a".to_owned()], 2));
}

#[test]
fn a_file_of_a_newer_version_is_moved_aside() {
    let folder = Folder::new();
    drop(open_at(&folder.file()));
    Connection::open(folder.file()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert_eq!(put(&open_at(&folder.file()), "a").unwrap(), Kept::New);
    assert!(folder.0.join("board.db.broken").exists());
}

#[test]
fn a_file_with_other_tables_is_moved_aside() {
    let folder = Folder::new();
    let store = open_at(&folder.file());
    put(&store, "a").unwrap();
    let other = Connection::open(folder.file()).unwrap();
    other.execute_batch("DROP TABLE reports; CREATE TABLE others (id TEXT)").unwrap();
    drop(other);
    assert!(store.ping().unwrap_err().to_string().contains("no such table"));
    // The same that a board finds that begins with such a file.
    assert_eq!(put(&store, "b").unwrap(), Kept::New);
    assert_eq!((ids(&store), store.size().reports), (vec!["b".to_owned()], 1));
    assert!(folder.0.join("board.db.broken").exists());
    store.ping().unwrap();
}

#[test]
fn a_locked_file_is_refused_and_taken_when_it_is_free() {
    let folder = Folder::new();
    let store = open_at(&folder.file());
    put(&store, "a").unwrap();
    let other = Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert!(put(&store, "b").unwrap_err().to_string().contains("locked"));
    // One that is opened meanwhile neither fails nor moves it.
    let second = open_at(&folder.file());
    assert!(second.ping().is_err() && put(&second, "c").is_err());
    assert_eq!(ids(&store), ["a"]);
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(put(&store, "b").unwrap(), Kept::New);
    assert_eq!(put(&second, "c").unwrap(), Kept::New);
    assert_eq!(ids(&second), ["a", "b", "c"]);
    assert!(!folder.0.join("board.db.broken").exists());
}

#[test]
fn a_full_disk_refuses_reports_and_nothing_else() {
    let folder = Folder::new();
    let store = open_at(&folder.file());
    put(&store, "a").unwrap();
    let limit = |pages: u32| {
        let slot = store.connection.lock().unwrap();
        slot.as_ref()
            .unwrap()
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
            .unwrap();
    };
    limit(1);
    let full = (0..100).find_map(|n| put(&store, &format!("more-{n}")).err()).unwrap();
    assert!(full.to_string().contains("full"), "{full}");
    let kept = ids(&store);
    assert_eq!(store.after(0, 1000).unwrap().len(), kept.len());
    store.ping().unwrap();
    limit(1_000_000);
    assert_eq!(put(&store, "later").unwrap(), Kept::New);
    assert_eq!(ids(&open_at(&folder.file())).len(), kept.len() + 1);
}

#[test]
fn a_path_that_cannot_be_a_file_refuses_reports() {
    let folder = Folder::new();
    // A folder is not ours to move.
    for path in [folder.0.clone(), folder.0.join("missing/board.db")] {
        let store = open_at(&path);
        assert!(put(&store, "a").is_err() && store.ping().is_err(), "{}", path.display());
        assert_eq!(store.size().reports, 0);
    }
    assert!(folder.0.is_dir());
    // It heals when the cause goes.
    let store = open_at(&folder.0.join("missing/board.db"));
    fs_err::create_dir_all(folder.0.join("missing")).unwrap();
    assert_eq!(put(&store, "a").unwrap(), Kept::New);
}

#[test]
fn a_file_that_cannot_be_written_is_no_use() {
    let folder = Folder::new();
    drop(open_at(&folder.file()));
    // As root every file can be written, so this asks SQLite not to.
    let reading = PathBuf::from(format!("file:{}?mode=ro", folder.file().display()));
    assert_eq!(open(&reading, PATIENCE).unwrap_err().to_string(), "it cannot be written");
}

#[test]
fn a_connection_that_turns_read_only_is_replaced() {
    let folder = Folder::new();
    let store = open_at(&folder.file());
    put(&store, "a").unwrap();
    store.connection.lock().unwrap().as_ref().unwrap().pragma_update(None, "query_only", true).unwrap();
    assert!(put(&store, "b").unwrap_err().to_string().contains("readonly"));
    // Here it was the connection alone: the next use opens the file again and finds it well.
    assert_eq!(put(&store, "b").unwrap(), Kept::New);
    assert_eq!(ids(&store), ["a", "b"]);
}
