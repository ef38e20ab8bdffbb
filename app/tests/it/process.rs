//! The process: arguments, exit codes, health check and shutdown.

use std::io::Write;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{COMMIT, SECRET, Server, run};

const TEST: [(&str, &str); 1] = [("SERVER_TYPE", "TEST")];

#[test]
fn help_and_version_are_printed() {
    let help = run(&["--help"], &[]);
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success() && help.stderr.is_empty());
    for word in [
        "Usage: app",
        "healthcheck",
        "SERVER_TYPE",
        "HOSTS",
        "SECRET_KEY",
        "SENTRY_DSN",
        "PORT",
        "LISTEN",
        "DRAIN",
        "DATABASE",
        "check",
    ] {
        assert!(text.contains(word), "{word}");
    }
    for command in ["serve", "check", "healthcheck", "demo"] {
        let output = run(&[command, "--help"], &[]);
        assert!(output.status.success() && output.stdout == text.as_bytes(), "{command}");
    }
    let version = run(&["--version"], &[]);
    assert!(version.status.success());
    assert_eq!(String::from_utf8(version.stdout).unwrap(), format!("app {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn unknown_arguments_are_rejected() {
    for arguments in [&["sevre"][..], &["serve", "--now"], &["--help", "me"], &["demo", "--fast"]] {
        let output = run(arguments, &TEST);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let unknown = arguments.last().unwrap();
        assert!(
            message.starts_with(&format!("app: unknown argument `{unknown}`\n\nUsage: app")),
            "{message}"
        );
    }
}

#[test]
fn bad_settings_are_exit_code_2() {
    let output = run(&["serve"], &[("SERVER_TYPE", "PROD"), ("SECRET_KEY", "hunter2")]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.starts_with("app: the settings cannot be used:\n  HOSTS lists no hosts"), "{message}");
    assert!(message.contains("\n  SECRET_KEY has ") && !message.contains("hunter2"), "{message}");
}

#[test]
fn a_taken_port_is_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(&[], &[("SERVER_TYPE", "TEST"), ("LISTEN", "127.0.0.1"), ("PORT", &port)]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains(&format!("app: cannot listen on 127.0.0.1:{port}: ")), "{message}");
    assert!(message.contains("choose another with PORT and LISTEN"), "{message}");
}

#[test]
fn warnings_are_logged_at_the_start() {
    let log = Server::start(&TEST).end();
    assert!(log.contains("WARN") && log.contains("SECRET_KEY is not set, so a key was generated"), "{log}");
    assert_eq!(log.matches("listening on http://127.0.0.1:").count(), 1, "{log}");
}

#[test]
fn the_health_check_distinguishes_a_running_server_from_none() {
    let server = Server::start(&TEST);
    let port = server.address.port().to_string();
    let check = || run(&["healthcheck"], &[("PORT", &port)]);
    let healthy = check();
    assert!(healthy.status.success(), "{healthy:?}");
    server.end();
    let absent = check();
    assert_eq!(absent.status.code(), Some(1));
    let message = String::from_utf8(absent.stderr).unwrap();
    assert!(message.starts_with(&format!("app: http://127.0.0.1:{port}/healthz: ")), "{message}");
    assert_eq!(run(&["healthcheck"], &[("PORT", "x")]).status.code(), Some(2));
}

#[test]
fn the_health_check_requires_a_200() {
    let unhealthy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = unhealthy.local_addr().unwrap().port().to_string();
    let response = thread::spawn(move || {
        let (mut stream, _) = unhealthy.accept().unwrap();
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").unwrap();
        stream
    });
    let output = run(&["healthcheck"], &[("PORT", &port)]);
    response.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("/healthz returned `HTTP/1.1 503`"), "{message}");
}

#[test]
fn the_health_check_times_out() {
    // Accepts connections and never responds.
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = hole.local_addr().unwrap().port().to_string();
    assert_eq!(run(&["healthcheck"], &[("PORT", &port)]).status.code(), Some(1));
}

#[test]
fn an_idle_server_shuts_down_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(&TEST);
        assert_eq!(server.get("/").status, 200);
        server.signal(signal);
        let (status, time, log) = server.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(time < Duration::from_secs(4), "{time:?}: {log}");
        assert!(log.contains("shutting down"), "{log}");
    }
}

#[test]
fn half_a_request_does_not_delay_shutdown() {
    let mut server = Server::start(&TEST);
    let mut half = server.connect();
    half.write_all(b"GET / HTTP/1.1\r\nHost: loc").unwrap();
    // Connections are accepted in order, so the half request is being read now.
    assert_eq!(server.get("/").status, 200);
    server.signal(Signal::TERM);
    let (status, time, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(time < Duration::from_secs(5), "{time:?}: {log}");
    assert!(!log.contains("gave up"), "{log}");
}

#[test]
fn an_incomplete_body_delays_shutdown_by_the_drain_at_most() {
    let mut server = Server::start(&[TEST[0], ("DRAIN", "2s")]);
    let mut half = server.connect();
    half.write_all(b"POST /test-error HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf").unwrap();
    assert_eq!(server.get("/readyz").status, 200);
    server.signal(Signal::TERM);
    // Meanwhile the process is alive, but not ready.
    let ready: Vec<_> = (0..100)
        .map(|_| {
            thread::sleep(Duration::from_millis(10));
            server.get("/readyz")
        })
        .take_while(|response| response.status == 200)
        .collect();
    assert!(ready.len() < 100, "ready to the end");
    let draining = server.get("/readyz");
    assert_eq!((draining.status, draining.body.as_str()), (503, "shutting down"));
    assert_eq!(draining.header("retry-after"), Some("1"));
    assert_eq!(draining.header("x-frame-options"), Some("DENY"));
    assert_eq!(server.get("/healthz").status, 200);
    let (status, time, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(time < Duration::from_secs(5), "{time:?}: {log}");
    assert!(log.contains("gave up on requests that did not finish in 2 s"), "{log}");
}

#[test]
fn misspelt_variables_are_logged() {
    let log = Server::start(&[TEST[0], ("SENTRY_DNS", "hunter2"), ("HOST", "hunter2")]).end();
    for line in
        ["SENTRY_DNS is not a variable of this program; rename it to `SENTRY_DSN`", "rename it to `HOSTS`"]
    {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn a_check_prints_its_findings_and_exits_accordingly() {
    let good = [
        ("SERVER_TYPE", "PROD"),
        ("HOSTS", "example.com"),
        ("SECRET_KEY", SECRET),
        ("SENTRY_DSN", "https://key@o1.ingest.sentry.io/42"),
        ("APP_COMMIT", COMMIT),
    ];
    let found = run(&["check", "--deploy"], &good);
    assert_eq!(found.status.code(), Some(0), "{found:?}");
    let text = String::from_utf8(found.stdout).unwrap();
    assert!(
        text.starts_with("warning app.R103       DATABASE is not set")
            && text.ends_with("\n0 errors, 1 warning\n"),
        "{text}"
    );
    assert!(found.stderr.is_empty());

    let bad = [good[0], good[1], ("SECRET_KEY", "hunter2"), ("SENTRY_DNS", "hunter2"), ("PORT", "x")];
    let found = run(&["check", "--json", "--deploy"], &bad);
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    let text = String::from_utf8(found.stdout).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    let findings: Vec<Value> = serde_json::from_str(&text).unwrap();
    let ids = |severity: &str| -> Vec<_> {
        let some = findings.iter().filter(|finding| finding["severity"] == severity);
        some.map(|finding| finding["id"].as_str().unwrap()).collect()
    };
    assert_eq!(ids("error"), ["security.W009", "security.W009", "app.R105", "app.R108"]);
    assert_eq!(ids("warning"), ["app.R101", "app.R103", "app.R104"]);
    assert!(findings.iter().all(|finding| finding["message"].is_string() && finding["hint"].is_string()));

    let found = run(&["check"], &TEST);
    assert_eq!(found.status.code(), Some(0), "{found:?}");
    assert_eq!(run(&["check", "--fast"], &TEST).status.code(), Some(2));
}
