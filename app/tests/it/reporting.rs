//! What reaches Sentry, and what happens when Sentry is not there.

use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{PROD, SECRET, Sentry, Server, now, sign};

/// A server that reports to that Sentry.
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
    assert_eq!(server.request("POST", "/canary?token=hunter2", &headers, "").status, 500);

    let event = sentry.event();
    assert_eq!(event["release"], format!("app@{}+0123456789ab", env!("CARGO_PKG_VERSION")));
    assert_eq!(event["environment"], "production");
    assert_eq!(event["level"], "fatal");
    assert_eq!(event["tags"]["canary"], "run-42");
    assert!(event["tags"]["panic.location"].as_str().unwrap().starts_with("app/src/http/canary.rs:"));
    let exception = &event["exception"]["values"][0];
    assert_eq!(exception["type"], "panic");
    assert_eq!(exception["value"], "canary run-42: raised on request");
    assert_eq!(event["request"]["method"], "POST");
    assert_eq!(event["request"]["url"], "http://localhost/canary");
    let shown = json!({"content-length": "0", "host": "localhost", "webhook-id": "run-42"});
    assert_eq!(event["request"]["headers"], shown);
    assert_eq!(event["server_name"], Value::Null);
    let text = event.to_string();
    assert!(
        !text.contains("hunter2") && !text.contains(SECRET) && !text.contains(&signed.signature),
        "{text}"
    );

    server.end();
    assert_eq!(sentry.left(), [Value::Null; 0]);
}

#[test]
fn a_test_server_without_a_commit_says_so() {
    let sentry = Sentry::start();
    let server =
        Server::start(&[("SERVER_TYPE", "TEST"), ("SECRET_KEY", SECRET), ("SENTRY_DSN", &sentry.dsn)]);
    assert_eq!(server.canary("a").status, 500);
    let event = sentry.event();
    assert_eq!(event["release"], format!("app@{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(event["environment"], "test");
}

#[test]
fn the_faults_of_others_are_no_events() {
    let sentry = Sentry::start();
    let server = server(&sentry.dsn);
    assert_eq!(server.send("GET / HTTP/1.1\r\nHost: evil\r\nConnection: close\r\n\r\n").status, 400);
    assert_eq!(server.get("/nope").status, 404);
    assert_eq!(server.request("POST", "/canary", &[], "").status, 401);
    assert_eq!(server.request("POST", "/", &[], "").status, 405);
    assert_eq!(server.request("POST", "/canary", &[], &"x".repeat(1025)).status, 413);
    // Ending sends what is left.
    server.end();
    assert_eq!(sentry.left(), [Value::Null; 0]);
}

#[test]
fn events_of_the_last_moment_arrive() {
    let (go, gone) = channel();
    let sentry = Sentry::after(move |_| gone.recv());
    let server = server(&sentry.dsn);
    // The second waits in the queue until the first is answered, which is after the server was told to end.
    raise(&server, "first");
    raise(&server, "second");
    server.signal(Signal::TERM);
    go.send(()).unwrap();
    server.end();
    let canaries: Vec<_> = sentry.left().iter().map(|event| event["tags"]["canary"].clone()).collect();
    assert_eq!(canaries, ["first", "second"]);
}

#[test]
fn an_event_that_gets_stuck_does_not_hold_back_the_next() {
    let sentry = Sentry::after(|listener| listener.accept().unwrap());
    let server = server(&sentry.dsn);
    raise(&server, "stuck");
    raise(&server, "next");
    assert_eq!(sentry.event()["tags"]["canary"], "next");
}

#[test]
fn a_sentry_that_hangs_holds_nothing_up() {
    // Connections are made and nobody ever answers.
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = server(&format!("http://key@{}/42", hole.local_addr().unwrap()));
    // The first panic of a debug build reads its symbols, which takes a while of its own.
    raise(&server, "first");
    let time = raise(&server, "second");
    assert!(time < Duration::from_secs(1), "{time:?}");
    let start = Instant::now();
    assert_eq!(server.get("/").status, 200);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());

    server.signal(Signal::TERM);
    let (status, time, log) = server.wait();
    assert!(status.success(), "{status}: {log}");
    assert!(time < Duration::from_secs(8), "{time:?}: {log}");
    assert!(log.contains("gave up on events that Sentry did not take in 4 s"), "{log}");
}

/// Raises a canary as soon as the server takes one. Answers how long that one took.
fn raise(server: &Server, id: &str) -> Duration {
    loop {
        let start = Instant::now();
        match server.canary(id).status {
            429 => {}
            status => {
                assert_eq!(status, 500);
                return start.elapsed();
            }
        }
    }
}
