//! Faults of the open file.

use std::sync::mpsc::sync_channel;

use super::super::tests::Folder;
use super::*;
use crate::board::samples::run;

fn writer(folder: &Folder) -> Writer {
    let times =
        Times { deadline: Duration::from_millis(200), tick: Duration::from_secs(1), settle: Duration::ZERO };
    let mut writer = Writer::new(folder.file(), times, Arc::default());
    writer.look();
    writer
}

fn keep(writer: &mut Writer, id: &str) -> Result<Kept, String> {
    let report = run(id, 1);
    let body = serde_json::to_vec(&report).unwrap();
    let until = Instant::now() + writer.times.deadline;
    let job = Job { report, body, sha256: String::new(), until, answer: sync_channel(1).0 };
    writer.keep(&job).map_err(|unavailable| unavailable.to_string())
}

#[test]
fn a_full_disk_refuses_reports_and_nothing_else() {
    let folder = Folder::new();
    let mut full = writer(&folder);
    keep(&mut full, "a").unwrap();
    let limit = |writer: &Writer, pages: u32| {
        let connection = writer.connection.as_ref().unwrap();
        connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    };
    limit(&full, 1);
    let refused = (0..100).find_map(|n| keep(&mut full, &format!("more-{n}")).err()).unwrap();
    assert!(refused.contains("full"), "{refused}");
    assert!(full.memory.fault().is_some());
    let kept = full.memory.history().total;
    limit(&full, 1_000_000);
    keep(&mut full, "later").unwrap();
    assert_eq!(full.memory.fault(), None);
    assert_eq!(writer(&folder).memory.history().total, kept + 1);
}

#[test]
fn a_connection_that_turns_read_only_is_replaced() {
    let folder = Folder::new();
    let mut writer = writer(&folder);
    keep(&mut writer, "a").unwrap();
    writer.connection.as_ref().unwrap().pragma_update(None, "query_only", true).unwrap();
    assert!(keep(&mut writer, "b").unwrap_err().contains("readonly"));
    // Here it was the connection alone: the next use opens the file again and finds it well.
    keep(&mut writer, "b").unwrap();
    assert_eq!(writer.memory.history().total, 2);
}

#[test]
fn nobody_is_kept_waiting_for_a_report_that_is_late() {
    let folder = Folder::new();
    let mut writer = writer(&folder);
    writer.times.deadline = Duration::ZERO;
    assert!(keep(&mut writer, "late").unwrap_err().contains("took too long"));
    assert_eq!(writer.memory.history().total, 0);
}
