//! Problems with an open file.

use std::sync::mpsc::sync_channel;

use super::super::tests::Folder;
use super::*;
use crate::board::test_reports::run;

fn writer(folder: &Folder) -> Writer {
    let times =
        Times { deadline: Duration::from_secs(3), tick: Duration::from_secs(1), settle: Duration::ZERO };
    let mut writer = Writer::new(folder.file(), times, Arc::default());
    writer.check();
    writer
}

fn store(writer: &mut Writer, id: &str) -> Result<Stored, String> {
    let report = run(id, 1);
    let body = serde_json::to_vec(&report).unwrap();
    let until = Instant::now() + writer.times.deadline;
    let job = Job { report, body, sha256: String::new(), until, reply: sync_channel(1).0 };
    writer.store(&job).map_err(|unavailable| unavailable.to_string())
}

#[test]
fn a_full_disk_rejects_reports_and_recovers() {
    let folder = Folder::new();
    let mut full = writer(&folder);
    store(&mut full, "a").unwrap();
    let limit = |writer: &Writer, pages: u32| {
        let connection = writer.connection.as_ref().unwrap();
        connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    };
    limit(&full, 1);
    let rejected = (0..100).find_map(|n| store(&mut full, &format!("more-{n}")).err()).unwrap();
    assert!(rejected.contains("full"), "{rejected}");
    assert!(full.memory.fault().is_some());
    let stored = full.memory.history().total;
    limit(&full, 1_000_000);
    store(&mut full, "later").unwrap();
    assert_eq!(full.memory.fault(), None);
    assert_eq!(writer(&folder).memory.history().total, stored + 1);
}

#[test]
fn a_connection_that_turns_read_only_is_replaced() {
    let folder = Folder::new();
    let mut writer = writer(&folder);
    store(&mut writer, "a").unwrap();
    writer.connection.as_ref().unwrap().pragma_update(None, "query_only", true).unwrap();
    assert!(store(&mut writer, "b").unwrap_err().contains("readonly"));
    // Only the connection was at fault: the next use reopens the file.
    store(&mut writer, "b").unwrap();
    assert_eq!(writer.memory.history().total, 2);
}

#[test]
fn a_late_report_is_not_stored() {
    let folder = Folder::new();
    let mut writer = writer(&folder);
    writer.times.deadline = Duration::ZERO;
    assert!(store(&mut writer, "late").unwrap_err().contains("took too long"));
    assert_eq!(writer.memory.history().total, 0);
}
