//! What Sentry receives, and what happens when it is unavailable.

use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{PROD, SECRET, Sentry, Server, now, sign, take_envelope};

/// How long every request would take at least if requests waited for a Sentry that hangs.
const SEND_TIMEOUT: Duration = Duration::from_secs(3);
/// What a shutdown logs that waited for Sentry in vain.
const GAVE_UP: &str = "gave up on events that Sentry did not take in 4 s";

/// Starts a server that reports to that Sentry.
fn server(dsn: &str) -> Server {
    Server::start(&[PROD.as_slice(), &[("SENTRY_DSN", dsn)]].concat())
}

#[test]
fn a_panic_is_one_event_with_release_and_environment() {
    let sentry = Sentry::start();
    let server = server(&sentry.dsn);
    let signed = sign("run-42", now(), "");
    let headers =
        [signed.each().as_slice(), &[("Authorization", "Bearer hunter2"), ("X-Other", "hunter2")]].concat();
    assert_eq!(server.request("POST", "/test-error?token=hunter2", &headers, "").status, 500);

    let event = sentry.event();
    assert_eq!(event["release"], format!("app@{}+0123456789ab", env!("CARGO_PKG_VERSION")));
    assert_eq!(event["environment"], "production");
    assert_eq!(event["level"], "fatal");
    assert_eq!(event["tags"]["test_error"], "run-42");
    assert!(event["tags"]["panic.location"].as_str().unwrap().starts_with("app/src/http/test_error.rs:"));
    let exception = &event["exception"]["values"][0];
    assert_eq!(exception["type"], "panic");
    assert_eq!(exception["value"], "test error run-42: raised on request");
    assert_eq!(event["request"]["method"], "POST");
    assert_eq!(event["request"]["url"], "http://localhost/test-error");
    let shown = json!({"content-length": "0", "host": "localhost", "webhook-id": "run-42"});
    assert_eq!(event["request"]["headers"], shown);
    assert_eq!(event["server_name"], Value::Null);
    let text = event.to_string();
    assert!(
        !text.contains("hunter2") && !text.contains(SECRET) && !text.contains(&signed.signature),
        "{text}"
    );

    server.get("/");
    server.get("/healthz");
    server.end();
    assert_eq!(sentry.remaining(), [Value::Null; 0]);
    // The page and the test error; probes are no sessions.
    assert_eq!(sentry.sessions(), [1, 0, 1]);
}

#[test]
fn an_image_is_a_distribution() {
    let sentry = Sentry::start();
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let server = Server::start(
        &[PROD.as_slice(), &[("SENTRY_DSN", sentry.dsn.as_str()), ("APP_IMAGE_DIGEST", &digest)]].concat(),
    );
    raise(&server, "a");
    assert_eq!(sentry.event()["dist"], "0123456789abcdef0123456789abcdef");
}

#[test]
fn an_earlier_key_signs_test_errors() {
    let key = format!("{SECRET}-current");
    let changed = [("SERVER_TYPE", "PROD"), ("HOSTS", "localhost"), ("SECRET_KEY", key.as_str())];
    assert_eq!(Server::start(&changed).test_error("a").status, 401);
    let server = Server::start(&[changed.as_slice(), &[("SECRET_KEY_FALLBACKS", SECRET)]].concat());
    assert_eq!(server.test_error("a").status, 500);
}

#[test]
fn a_test_server_without_a_commit_reports_its_version() {
    let sentry = Sentry::start();
    let server =
        Server::start(&[("SERVER_TYPE", "TEST"), ("SECRET_KEY", SECRET), ("SENTRY_DSN", &sentry.dsn)]);
    assert_eq!(server.test_error("a").status, 500);
    let event = sentry.event();
    assert_eq!(event["release"], format!("app@{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(event["environment"], "test");
}

#[test]
fn client_errors_are_no_events() {
    let sentry = Sentry::start();
    let server = server(&sentry.dsn);
    assert_eq!(server.send("GET / HTTP/1.1\r\nHost: evil\r\nConnection: close\r\n\r\n").status, 400);
    assert_eq!(server.get("/nope").status, 404);
    assert_eq!(server.request("POST", "/test-error", &[], "").status, 401);
    assert_eq!(server.request("POST", "/", &[], "").status, 405);
    assert_eq!(server.request("POST", "/test-error", &[], &"x".repeat(1025)).status, 413);
    // Shutdown sends what is queued.
    server.end();
    assert_eq!(sentry.remaining(), [Value::Null; 0]);
    assert_eq!(sentry.sessions(), [5, 0, 0]);
}

#[test]
fn queued_events_are_sent_at_shutdown() {
    let (go, gone) = channel();
    let sentry = Sentry::after(move |_| gone.recv());
    let server = server(&sentry.dsn);
    // The second stays queued until the first is accepted, which is after the shutdown began.
    raise(&server, "first");
    raise(&server, "second");
    server.signal(Signal::TERM);
    go.send(()).unwrap();
    server.end();
    let ids: Vec<_> = sentry.remaining().iter().map(|event| event["tags"]["test_error"].clone()).collect();
    assert_eq!(ids, ["first", "second"]);
}

#[test]
fn a_stuck_event_does_not_hold_back_the_next() {
    let sentry = Sentry::after(|listener| listener.accept().unwrap());
    let server = server(&sentry.dsn);
    raise(&server, "stuck");
    raise(&server, "next");
    assert_eq!(sentry.event()["tags"]["test_error"], "next");
}

#[test]
fn a_sentry_that_hangs_delays_nothing() {
    // Accepts connections and never responds.
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = server(&format!("http://key@{}/42", hole.local_addr().unwrap()));
    // One may be slow: the first panic of a debug build reads its symbols, and the machine may be busy.
    let panics = ["first", "second", "third"].map(|id| raise(&server, id));
    assert!(panics.iter().min() < Some(&SEND_TIMEOUT), "{panics:?}");
    let pages = [(); 3].map(|()| {
        let start = Instant::now();
        assert_eq!(server.get("/").status, 200);
        start.elapsed()
    });
    assert!(pages.iter().min() < Some(&SEND_TIMEOUT), "{pages:?}");

    server.signal(Signal::TERM);
    let (status, time, log) = server.wait();
    assert!(status.success(), "{status}: {log}");
    assert!(time < Duration::from_secs(15), "{time:?}: {log}");
    assert!(log.contains(GAVE_UP), "{log}");
}

#[test]
fn an_absent_sentry_delays_nothing() {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut server = server(&format!("http://key@{address}/42"));
    raise(&server, "first");
    assert_eq!(server.get("/").status, 200);
    server.signal(Signal::TERM);
    let (status, _, log) = server.wait();
    assert!(status.success() && !log.contains(GAVE_UP), "{status}: {log}");
}

#[test]
fn a_rate_limit_of_sentry_is_respected() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = server(&format!("http://key@{}/42", listener.local_addr().unwrap()));
    let (send, requests) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let items = take_envelope(&mut BufReader::new(&stream));
            let rejection = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 60\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(rejection).unwrap();
            if send.send(items).is_err() {
                return;
            }
        }
    });
    raise(&server, "first");
    assert_eq!(requests.recv_timeout(Duration::from_secs(20)).unwrap()[0].0, "event");
    raise(&server, "second");
    raise(&server, "third");
    server.signal(Signal::TERM);
    let (status, _, log) = server.wait();
    assert!(status.success() && !log.contains(GAVE_UP), "{status}: {log}");
    assert_eq!(requests.try_iter().count(), 0, "sent again within the minute");
}

/// Raises a test error as soon as the server accepts one. Returns how long that request took.
fn raise(server: &Server, id: &str) -> Duration {
    loop {
        let start = Instant::now();
        match server.test_error(id).status {
            429 => {}
            status => {
                assert_eq!(status, 500);
                return start.elapsed();
            }
        }
    }
}
