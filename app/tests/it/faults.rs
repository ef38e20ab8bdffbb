//! The board under faults, as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::board::demo;
use crate::support::{SECRET, Server, app, now, sign_for};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("launchway-{name}-{}", std::process::id()));
        fs_err::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs_err::remove_dir_all(&self.0).ok();
    }
}

fn start(database: &str) -> Server {
    Server::start(&[("SERVER_TYPE", "TEST"), ("SECRET_KEY", SECRET), ("DATABASE", database)])
}

/// A signed request that stores a report under that id.
fn request(id: &str) -> String {
    let report = launchway_report::Report { id: id.to_owned(), ..demo(1).remove(0) };
    let body = serde_json::to_string(&report).unwrap();
    let signed = sign_for("launchway/report/v1", id, now(), body.as_bytes());
    let headers: String = signed.each().map(|(name, value)| format!("{name}: {value}\r\n")).concat();
    format!(
        "PUT /api/v1/reports/{id} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

/// Sends reports until the server is gone. Returns the ids that it acknowledged.
fn write(server: SocketAddr, prefix: &str, count: &AtomicU32) -> Vec<String> {
    use std::io::Write;
    let mut stored = Vec::new();
    for number in 0.. {
        let id = format!("{prefix}-{number}");
        let mut response = String::new();
        let sent = std::net::TcpStream::connect(server).and_then(|mut stream| {
            stream.write_all(request(&id).as_bytes())?;
            stream.read_to_string(&mut response)
        });
        if !response.starts_with("HTTP/1.1 201") {
            // The last response may be cut off, which acknowledges nothing.
            assert!(sent.is_err() || response.is_empty(), "{response}");
            break;
        }
        stored.push(id);
        count.fetch_add(1, Ordering::Relaxed);
    }
    stored
}

/// All ids in the server's list.
fn listed(server: &Server) -> Vec<String> {
    let mut ids = Vec::new();
    let mut after = 0;
    loop {
        let response = server.get(&format!("/api/v1/reports?limit=1000&after={after}"));
        let list: Value = serde_json::from_str(&response.body).unwrap();
        let Some(newest) = list["reports"].as_array().unwrap().last() else { return ids };
        after = newest["sequence"].as_u64().unwrap();
        ids.extend(
            list["reports"].as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap().to_owned()),
        );
    }
}

#[test]
fn every_acknowledged_report_survives_a_kill() {
    let folder = Folder::new("kill");
    let database = folder.0.join("board.db").display().to_string();
    let rounds = std::env::var("KILL_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let mut stored = Vec::new();
    for round in 0..rounds {
        let mut server = start(&database);
        let address = server.address;
        let count = &AtomicU32::new(0);
        stored.extend(thread::scope(|scope| {
            let writers =
                ["a", "b"].map(|name| scope.spawn(move || write(address, &format!("{round}-{name}"), count)));
            let start = Instant::now();
            while count.load(Ordering::Relaxed) < 2 && start.elapsed() < Duration::from_secs(10) {
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(Duration::from_millis(round % 7 * 11));
            server.signal(Signal::KILL);
            writers.map(|writer| writer.join().unwrap()).concat()
        }));
        assert!(!server.wait().0.success());
    }
    let listed = listed(&start(&database));
    let lost: Vec<_> = stored.iter().filter(|id| !listed.contains(id)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(stored.len() as u64 > rounds, "{} in {rounds} rounds prove nothing", stored.len());
    assert!(!folder.0.join("board.db.broken-1").exists());
}

#[test]
fn without_its_file_the_board_serves_pages_and_rejects_reports() {
    let server = start("/proc/no/such/board.db");
    let page = server.get("/");
    assert_eq!((page.status, server.get("/api/board.json").status), (200, 200));
    assert!(page.body.contains("The reports are unavailable") && !page.body.contains("No reports yet"));
    let response = server.send(&request("a"));
    assert_eq!((response.status, response.header("retry-after")), (503, Some("10")), "{response:?}");
    assert_eq!(server.get("/api/v1/reports").status, 503);
    let log = server.end();
    assert!(log.contains("the board's file cannot be used"), "{log}");
}

#[test]
fn the_demo_shows_a_year() {
    let server = Server::start_as(&["demo"], &[]);
    assert!(server.address.ip().is_loopback());
    let page = server.get("/").body;
    assert!(
        page.contains("The newest 20 of 1\u{202f}000.") && !page.contains("name another release"),
        "{page}"
    );
    server.end();
}

#[test]
fn a_file_of_another_application_is_named_and_not_touched() {
    let folder = Folder::new("other");
    let database = folder.0.join("board.db");
    rusqlite::Connection::open(&database).unwrap().execute_batch("CREATE TABLE payments (id TEXT)").unwrap();
    let before = fs_err::read(&database).unwrap();
    let server = start(database.to_str().unwrap());
    assert_eq!((server.get("/").status, server.send(&request("a")).status), (200, 503));
    assert_eq!((server.get("/healthz").status, server.get("/readyz").status), (200, 503));
    let log = server.end();
    assert!(log.contains("board.db is the database of another application, with `payments`"), "{log}");
    assert_eq!(fs_err::read(&database).unwrap(), before);
    assert_eq!(fs_err::read_dir(&folder.0).unwrap().count(), 1);
}

/// Without a handler, the signal would be lost in process 1 and kill any other process.
#[test]
fn a_signal_while_the_file_is_opened_stops_the_start() {
    let folder = Folder::new("start");
    let database = folder.0.join("board.db");
    drop(start(&database.display().to_string()));
    // Holds a lock that the server waits for.
    let other = rusqlite::Connection::open(&database).unwrap();
    other.execute_batch("PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE").unwrap();
    let variables = [("SERVER_TYPE", "TEST"), ("DATABASE", database.to_str().unwrap()), ("PORT", "0")];
    let mut child = app(&[], &variables).env("LISTEN", "127.0.0.1").stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    // The handlers are installed before the first line of the log.
    log.read_line(&mut line).unwrap();
    assert!(line.contains("SECRET_KEY"), "{line}");
    let start = Instant::now();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    log.read_to_string(&mut line).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{line}");
    assert!(line.contains("stopped before the board was open") && !line.contains("listening"), "{line}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}
