//! The latency of `/` on a board of 10,000 runs, at 500 requests a second, while a report arrives every second.
//!
//! `cargo bench -p app --profile release` takes ten seconds; `-- 60` takes sixty. Clients and server share the machine.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and says where it fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use app::board::demo;
use app::http::{Site, reports, router};
use app::identity::Identity;
use app::settings::Settings;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{hkdf, hmac};

const RUNS: u32 = 10_000;
const CLIENTS: u32 = 10;
const RATE: u32 = 500;
const SECRET: &str = "tK7vQ2xW9mZ4pL8sR3bN6cF1yH5jD0gT7uA2eX4wM9qVz5Jk8BrU";

fn main() {
    let seconds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(10_u32);
    let settings = Settings::read(&|name| match name {
        "SERVER_TYPE" => Some("TEST".to_owned()),
        "SECRET_KEY" => Some(SECRET.to_owned()),
        _ => None,
    });
    let settings = settings.unwrap();
    let site = Site::new(&settings, Identity::new(&settings));
    let start = Instant::now();
    site.board.fill(demo::reports(SystemTime::now().into(), RUNS)).unwrap();
    print("10,000 reports stored in", start.elapsed());
    let start = Instant::now();
    site.board.pages().unwrap();
    print("all pages rendered in", start.elapsed());

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let server = listener.local_addr().unwrap();
    runtime.spawn(async { axum::serve(listener, router(site)).await });

    let writer = thread::spawn(move || (0..seconds).for_each(|number| put(server, number)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            thread::spawn(move || {
                let warm = load(server, client, RATE);
                let before = memory();
                let times = load(server, client, seconds * RATE);
                (warm.len(), before, times)
            })
        })
        .collect();
    let (mut times, mut before) = (Vec::new(), 0);
    for client in clients {
        let (_, memory, more) = client.join().unwrap();
        times.extend(more);
        before = before.max(memory);
    }
    writer.join().unwrap();
    times.sort_unstable();
    for (name, promille) in [("p50", 500), ("p99", 990), ("p99.9", 999), ("slowest", 1000)] {
        print(name, times[(times.len() * promille / 1000).min(times.len() - 1)]);
    }
    println!("{} responses; memory {before} MB, then {} MB", times.len(), memory());
}

fn print(what: &str, time: Duration) {
    println!("{what} {:.2} ms", time.as_secs_f64() * 1000.0);
}

/// One client's share of `requests`. A latency counts from when the request was due, not from when it was sent: a server
/// that stalls delays the requests behind it.
fn load(server: SocketAddr, client: u32, requests: u32) -> Vec<Duration> {
    let mut stream = BufReader::new(TcpStream::connect(server).unwrap());
    stream.get_ref().set_nodelay(true).unwrap();
    let interval = Duration::from_secs(1) * CLIENTS / RATE;
    let start = Instant::now() + interval * client / CLIENTS;
    let one = |number| {
        let due = start + interval * number;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            assert!(!line.starts_with("HTTP") || line.contains(" 200 "), "{line}");
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        due.elapsed()
    };
    (0..requests / CLIENTS).map(one).collect()
}

/// Sends a report and waits a second.
fn put(server: SocketAddr, number: u32) {
    let mut report = demo::reports(SystemTime::now().into(), 1).remove(0);
    report.id = format!("more-{number}");
    let body = serde_json::to_string(&report).unwrap();
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let info = [reports::PURPOSE.as_bytes()];
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, b"launchway").extract(SECRET.as_bytes());
    let key: hmac::Key = key.expand(&info, hmac::HMAC_SHA256).unwrap().into();
    let signature = STANDARD.encode(hmac::sign(&key, format!("{}.{time}.{body}", report.id).as_bytes()));
    let mut stream = TcpStream::connect(server).unwrap();
    write!(
        stream,
        "PUT /api/v1/reports/{id} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         webhook-id: {id}\r\nwebhook-timestamp: {time}\r\nwebhook-signature: v1,{signature}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len(),
        id = report.id,
    )
    .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 201"), "{response}");
    thread::sleep(Duration::from_secs(1));
}

/// The resident memory of this process, in megabytes.
fn memory() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}
