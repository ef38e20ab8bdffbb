//! The effect of hostile clients on others: each attack runs for some seconds against the program itself, while a prober
//! requests `/`, `/healthz`, `/readyz` and `/version` over new connections and sends reports, as a deploy does.
//!
//! `cargo build --release -p app`, then `cargo bench -p app --bench attack --profile release -- target/release/app 30`
//! from the root of the workspace, with an absolute path to the program; a third argument selects one attack. Without a
//! program nothing runs, so that a plain `cargo bench` does not take a quarter of an hour.
//!
//! Attackers, server and clients share the machine, so the times are upper bounds.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and says where it fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use app::board::demo;
use app::http::reports;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{hkdf, hmac};

const SECRET: &str = "tK7vQ2xW9mZ4pL8sR3bN6cF1yH5jD0gT7uA2eX4wM9qVz5Jk8BrU";
/// Reports on the board before an attack.
const REPORTS: u32 = 1000;
/// Between two rounds of probes.
const INTERVAL: Duration = Duration::from_millis(50);
/// Longest acceptable time of a probe.
const BOUND: Duration = Duration::from_millis(100);

/// The work of one attacking thread until the attack ends.
type Attack = fn(SocketAddr, &AtomicBool, &AtomicU64);

const ATTACKS: [(&str, usize, Attack); 17] = [
    ("none", 0, |_, _, _| {}),
    ("slow bodies", 4, |server, end, count| {
        hold(server, end, count, b"PUT /api/v1/reports/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n{", b" ");
    }),
    ("slow chunks", 4, |server, end, count| {
        hold(
            server,
            end,
            count,
            b"POST /test-error HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1\r\nx\r\n",
        );
    }),
    ("expect continue", 4, |server, end, count| {
        hold(server, end, count, b"PUT /api/v1/reports/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9000\r\n\r\n", b"");
    }),
    ("slow heads", 4, |server, end, count| {
        hold(server, end, count, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"x");
    }),
    ("idle", 4, |server, end, count| {
        hold(server, end, count, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"");
    }),
    ("silent", 4, |server, end, count| hold(server, end, count, b"", b"")),
    ("slow readers", 4, |server, end, count| {
        hold(server, end, count, b"GET /api/v1/reports?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"");
    }),
    ("churn", 4, |server, end, count| {
        while !end.load(Ordering::Relaxed) {
            drop(TcpStream::connect_timeout(&server, BOUND));
            count.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(1));
        }
    }),
    ("list", 250, |server, end, count| flood(server, end, count, "GET /api/v1/reports?limit=1000", "", 1)),
    ("pipelined list", 50, |server, end, count| {
        flood(server, end, count, "GET /api/v1/reports?limit=1000", "", 16);
    }),
    ("runs", 250, |server, end, count| flood(server, end, count, "GET /runs/demo-1", "", 1)),
    ("board and feed", 250, |server, end, count| flood(server, end, count, "GET /feed.atom", "", 1)),
    ("figures", 250, |server, end, count| flood(server, end, count, "GET /metrics", "", 1)),
    ("head, options", 250, |server, end, count| flood(server, end, count, "OPTIONS /", "", 4)),
    ("many headers", 250, |server, end, count| {
        flood(server, end, count, "GET /", &"X-Padding: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n".repeat(60), 1);
    }),
    ("unsigned reports", 250, |server, end, count| {
        let body = "x".repeat(60_000);
        flood(
            server,
            end,
            count,
            "PUT /api/v1/reports/x",
            &format!(
                "Content-Type: application/json\r\nwebhook-id: x\r\nwebhook-timestamp: {}\r\nwebhook-signature: v1,{}\r\nContent-Length: 60000\r\n\r\n{body}",
                now(),
                STANDARD.encode([7; 32])
            ),
            1,
        );
    }),
];

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let Some(program) = arguments.next().filter(|program| Path::new(program).is_file()) else {
        println!("attack: name the program to attack and the seconds, as in `-- target/release/app 30`");
        return;
    };
    let seconds = arguments.next().map_or(30, |seconds| seconds.parse().unwrap());
    let only = arguments.next();
    println!(
        "{:16} {:>9} {:>7} {:>9} {:>9} {:>8} {:>6} {:>7}",
        "attack", "attempts", "probes", "p99 ms", "slowest", "failed", "stored", "MB"
    );
    for (name, threads, attack) in ATTACKS {
        if only.as_deref().is_none_or(|only| only == name) {
            attempt(&program, name, threads, attack, Duration::from_secs(seconds));
        }
    }
}

fn attempt(program: &str, name: &str, threads: usize, attack: Attack, time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the environment is cleared here")]
    let mut command = Command::new(program);
    command.env_clear().envs([
        ("SERVER_TYPE", "TEST"),
        ("SECRET_KEY", SECRET),
        ("LISTEN", "127.0.0.1"),
        ("PORT", "0"),
    ]);
    let mut server = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening on http://") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the program ended");
    }
    let address: SocketAddr = line.trim().rsplit('/').next().unwrap().parse().unwrap();
    // Reads the log, as a platform would.
    thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    for (report, number) in demo::reports(SystemTime::now().into(), REPORTS).into_iter().zip(0..) {
        assert!(
            put(address, &launchway_report::Report { id: format!("demo-{number}"), ..report }),
            "a report before the attack"
        );
    }

    let (end, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut times, mut failed, mut stored, mut sent) = (Vec::new(), 0, 0, 0);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| attack(address, &end, &count));
        }
        thread::sleep(Duration::from_secs(1));
        let start = Instant::now();
        while start.elapsed() < time {
            for path in ["/healthz", "/readyz", "/version", "/"] {
                match probe(address, path) {
                    Some(time) => times.push(time),
                    None => failed += 1,
                }
            }
            if times.len() % 80 < 4 {
                let mut report = demo::reports(SystemTime::now().into(), 1).remove(0);
                report.id = format!("more-{sent}");
                sent += 1;
                stored += u32::from(put(address, &report));
            }
            thread::sleep(INTERVAL);
        }
        end.store(true, Ordering::Relaxed);
    });
    times.sort_unstable();
    let at = |promille: usize| {
        times.get((times.len() * promille / 1000).min(times.len().saturating_sub(1))).copied()
    };
    let milliseconds = |time: Option<Duration>| time.unwrap_or_default().as_secs_f64() * 1000.0;
    let bad = failed > 0 || stored < sent || at(1000).is_none_or(|slowest| slowest > BOUND);
    println!(
        "{name:16} {:>9} {:>7} {:>9.1} {:>9.1} {failed:>8} {stored:>3}/{sent:<2} {:>7}{}",
        count.load(Ordering::Relaxed),
        times.len(),
        milliseconds(at(990)),
        milliseconds(at(1000)),
        memory(server.id()),
        if bad { "  <-" } else { "" },
    );
    server.kill().unwrap();
    server.wait().unwrap();
}

/// Holds many connections open with `begin` sent, sends `more` on each now and then, and replaces closed ones.
fn hold(server: SocketAddr, end: &AtomicBool, count: &AtomicU64, begin: &[u8], more: &[u8]) {
    const EACH: usize = 500;
    const AT_A_TIME: usize = 50;
    let mut streams: Vec<TcpStream> = Vec::new();
    while !end.load(Ordering::Relaxed) {
        streams.retain_mut(|stream| stream.write_all(more).is_ok() && is_open(stream));
        for _ in 0..AT_A_TIME.min(EACH - streams.len()) {
            let Ok(mut stream) = TcpStream::connect_timeout(&server, Duration::from_secs(1)) else { break };
            stream.set_nonblocking(true).unwrap();
            stream.write_all(begin).ok();
            streams.push(stream);
            count.fetch_add(1, Ordering::Relaxed);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Whether the connection is still open. Does not consume received bytes.
fn is_open(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0]) {
        Ok(length) => length > 0,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

/// Sends batches of requests over one connection and reads the responses.
fn flood(
    server: SocketAddr,
    end: &AtomicBool,
    count: &AtomicU64,
    request: &str,
    more: &str,
    at_a_time: usize,
) {
    let body = if more.contains("\r\n\r\n") { "" } else { "\r\n" };
    let requests = format!("{request} HTTP/1.1\r\nHost: localhost\r\n{more}{body}").repeat(at_a_time);
    while !end.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect_timeout(&server, Duration::from_secs(1)) else { continue };
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut responses = vec![0; 1 << 18];
        while !end.load(Ordering::Relaxed) && stream.write_all(requests.as_bytes()).is_ok() {
            count.fetch_add(at_a_time as u64, Ordering::Relaxed);
            if !matches!(stream.read(&mut responses), Ok(1..)) {
                break;
            }
        }
    }
}

/// One request over a new connection. `None` unless the status is 200.
fn probe(server: SocketAddr, path: &str) -> Option<Duration> {
    let start = Instant::now();
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    response.starts_with("HTTP/1.1 200").then(|| start.elapsed())
}

/// Sends a report and returns whether it was stored.
fn put(server: SocketAddr, report: &launchway_report::Report) -> bool {
    let (id, body, time) = (&report.id, serde_json::to_string(report).unwrap(), now());
    let info = [reports::PURPOSE.as_bytes()];
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, b"launchway").extract(SECRET.as_bytes());
    let key: hmac::Key = key.expand(&info, hmac::HMAC_SHA256).unwrap().into();
    let signature = STANDARD.encode(hmac::sign(&key, format!("{id}.{time}.{body}").as_bytes()));
    let Ok(mut stream) = TcpStream::connect_timeout(&server, Duration::from_secs(5)) else { return false };
    let sent = write!(
        stream,
        "PUT /api/v1/reports/{id} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         webhook-id: {id}\r\nwebhook-timestamp: {time}\r\nwebhook-signature: v1,{signature}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len(),
    );
    let mut response = String::new();
    sent.is_ok() && stream.read_to_string(&mut response).is_ok() && response.starts_with("HTTP/1.1 201")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The resident memory of that process, in megabytes.
fn memory(process: u32) -> u64 {
    let status = fs_err::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}
