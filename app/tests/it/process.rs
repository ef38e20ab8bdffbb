//! The process: its arguments, its exit codes, its health check and its end.

use std::io::Write;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Server, run};

const TEST: [(&str, &str); 1] = [("SERVER_TYPE", "TEST")];

#[test]
fn help_and_version_are_answers() {
    let help = run(&["--help"], &[]);
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success() && help.stderr.is_empty());
    for word in
        ["Usage: app", "healthcheck", "SERVER_TYPE", "HOSTS", "SECRET_KEY", "SENTRY_DSN", "PORT", "LISTEN"]
    {
        assert!(text.contains(word), "{word}");
    }
    let version = run(&["--version"], &[]);
    assert!(version.status.success());
    assert_eq!(String::from_utf8(version.stdout).unwrap(), format!("app {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_it_does_not_understand_it_does_not_do() {
    for arguments in [&["sevre"][..], &["serve", "--now"], &["--help", "me"]] {
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
    assert!(message.starts_with("app: the settings cannot be used:\n  HOSTS: "), "{message}");
    assert!(message.contains("\n  SECRET_KEY: ") && !message.contains("hunter2"), "{message}");
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
    assert!(log.contains("WARN") && log.contains("SECRET_KEY is not set: made one up"), "{log}");
    assert_eq!(log.matches("listening on http://127.0.0.1:").count(), 1, "{log}");
}

#[test]
fn the_health_check_tells_a_running_server_from_none() {
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
fn the_health_check_believes_only_a_200() {
    let sick = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = sick.local_addr().unwrap().port().to_string();
    let answer = thread::spawn(move || {
        let (mut stream, _) = sick.accept().unwrap();
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").unwrap();
        stream
    });
    let output = run(&["healthcheck"], &[("PORT", &port)]);
    answer.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("/healthz answered `HTTP/1.1 503`"), "{message}");
}

#[test]
fn the_health_check_does_not_wait_for_ever() {
    // Connections are made and nobody ever answers.
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = hole.local_addr().unwrap().port().to_string();
    assert_eq!(run(&["healthcheck"], &[("PORT", &port)]).status.code(), Some(1));
}

#[test]
fn signals_end_it_at_once_when_nothing_is_open() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(&TEST);
        assert_eq!(server.get("/").status, 200);
        server.signal(signal);
        let (status, time, log) = server.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(time < Duration::from_secs(4), "{time:?}: {log}");
        assert!(log.contains("told to end"), "{log}");
    }
}

#[test]
fn half_a_request_does_not_keep_it_alive() {
    let mut server = Server::start(&TEST);
    let mut half = server.connect();
    half.write_all(b"GET / HTTP/1.1\r\nHost: loc").unwrap();
    // Connections are accepted in order: after this one, the half one is being read.
    assert_eq!(server.get("/").status, 200);
    server.signal(Signal::TERM);
    let (status, time, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!((Duration::from_secs(4)..Duration::from_secs(9)).contains(&time), "{time:?}: {log}");
    assert!(log.contains("gave up on requests that did not finish in 5 s"), "{log}");
}
