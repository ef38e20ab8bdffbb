//! The routes, and the headers of every response.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use app::http::{Site, router};
use app::identity::Identity;
use app::settings::Settings;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use serde_json::Value;
use tokio::time::Instant;
use tower::ServiceExt;

use crate::support::{COMMIT, PROD, Response, Sentry, Server};

fn test_server() -> Server {
    Server::start(&[("SERVER_TYPE", "TEST")])
}

fn has_security_headers(response: &Response) {
    for (name, value) in [
        (
            "content-security-policy",
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        ("cross-origin-opener-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(response.header(name), Some(value), "{response:?}");
    }
    assert_eq!(response.header("set-cookie"), None);
}

/// Asserts that this is an error page for people that reveals nothing internal.
fn is_error_page(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert!(response.body.contains(&format!("<p class=\"status\">{status}</p>")), "{}", response.body);
    has_security_headers(response);
}

#[test]
fn health_is_served_for_any_host_and_not_logged() {
    let server = test_server();
    let response = server.send("GET /healthz HTTP/1.1\r\nHost: 10.1.2.3\r\nConnection: close\r\n\r\n");
    assert_eq!((response.status, response.body.as_str()), (200, "ok"));
    has_security_headers(&response);
    is_error_page(&server.request("POST", "/healthz", &[], ""), 405);
    server.get("/version?token=hunter2");
    let log = server.end();
    assert!(!log.contains("/healthz") && !log.contains("hunter2"), "{log}");
    assert_eq!(log.matches("method=GET path=\"/version\" status=200").count(), 1, "{log}");
}

#[test]
fn version_names_the_running_release() {
    let digest = format!("sha256:{}", "0f".repeat(32));
    let variables = [PROD.as_slice(), &[("APP_IMAGE_DIGEST", &digest)]].concat();
    let server = Server::start(&variables);
    let response = server.get("/version");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("strict-transport-security"), Some("max-age=31536000"));
    has_security_headers(&response);
    let version: Value = serde_json::from_str(&response.body).unwrap();
    let started = version["started_at"].as_str().unwrap();
    assert!(
        humantime::parse_rfc3339(started).unwrap().elapsed().unwrap() < Duration::from_secs(60),
        "{started}"
    );
    let expected = serde_json::json!({
        "name": "app", "version": env!("CARGO_PKG_VERSION"), "commit": COMMIT,
        "image_digest": digest, "server_type": "PROD", "started_at": started,
    });
    assert_eq!(version, expected);

    let page = server.get("/");
    assert!(page.body.contains(COMMIT) && page.body.contains(&digest), "{}", page.body);
}

#[test]
fn unknown_facts_are_shown_as_unknown() {
    let server = test_server();
    let version: Value = serde_json::from_str(&server.get("/version").body).unwrap();
    assert_eq!((&version["commit"], &version["image_digest"]), (&Value::from("unknown"), &Value::Null));
    assert!(server.get("/").body.contains("unknown"));
}

#[test]
fn the_page_needs_only_its_style_sheet() {
    let server = test_server();
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    // Browsers would apply it to `localhost`.
    assert_eq!(page.header("strict-transport-security"), None);
    has_security_headers(&page);
    assert!(!page.body.contains("<script") && !page.body.contains("style=\""), "{}", page.body);

    let (_, rest) = page.body.split_once("<link rel=\"stylesheet\" href=\"").unwrap();
    let style = server.get(rest.split_once('"').unwrap().0);
    assert_eq!(style.status, 200);
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(style.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert!(style.body.contains("prefers-color-scheme: dark"), "{}", style.body);
    has_security_headers(&style);
}

#[test]
fn errors_are_pages() {
    let server = test_server();
    is_error_page(&server.get("/nope"), 404);
    // Not UTF-8.
    is_error_page(&server.get("/runs/%ff"), 400);
    is_error_page(&server.get("/badge/%ff"), 400);
    is_error_page(&server.request("PUT", "/api/v1/reports/%ff", &[], ""), 400);
    is_error_page(&server.request("POST", "/test-error", &[], &"x".repeat(1025)), 413);
    is_error_page(
        &server.request("POST", "/test-error", &[("Transfer-Encoding", "chunked")], "nonsense"),
        400,
    );
    let response = server.request("POST", "/", &[], "");
    is_error_page(&response, 405);
    assert_eq!(response.header("allow"), Some("GET,HEAD"));
    let response = server.request("HEAD", "/", &[], "");
    assert_eq!((response.status, response.body.as_str()), (200, ""));
}

#[test]
fn requests_for_other_hosts_are_rejected() {
    let server = test_server();
    let oversized = "x".repeat(5000);
    for request in [
        "GET / HTTP/1.1\r\nHost: example.com\r\n",
        "GET / HTTP/1.1\r\nHost: localhost:99999\r\n",
        "GET / HTTP/1.1\r\nHost: bad_under.com\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.0\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n",
        "GET / HTTP/1.1\r\nHost: l\u{f6}calhost\r\n",
        "GET / HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-Host: localhost\r\n",
        "GET http://example.com/ HTTP/1.1\r\nHost: localhost\r\n",
        "GET http://root@localhost/ HTTP/1.1\r\nHost: localhost\r\n",
        "GET /nope HTTP/1.1\r\nHost: example.com\r\n",
        &format!("GET / HTTP/1.1\r\nHost: {oversized}\r\n"),
    ] {
        is_error_page(&server.send(&format!("{request}Connection: close\r\n\r\n")), 400);
    }
    for request in
        ["GET / HTTP/1.0\r\nHost: LOCALHOST.\r\n", "GET http://[::1]:80/ HTTP/1.1\r\nHost: example.com\r\n"]
    {
        let response = server.send(&format!("{request}Connection: close\r\n\r\n"));
        assert_eq!(response.status, 200, "{request}: {response:?}");
    }
    let log = server.end();
    assert_eq!(log.matches("request for a host that is not allowed").count(), 13, "{log}");
    assert!(log.lines().all(|line| line.len() < 300), "{log}");
}

#[test]
fn one_connection_serves_many_requests() {
    let server = test_server();
    let mut stream = server.connect();
    for _ in 0..2 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut status = [0; 15];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200 OK");
        let mut rest = [0; 4096];
        while !rest.windows(2).any(|window| window == b"ok") {
            assert_ne!(stream.read(&mut rest).unwrap(), 0);
        }
    }
}

/// In process, with a paused clock.
#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_times_out() {
    let settings = Settings::read(&|name| (name == "SERVER_TYPE").then(|| "TEST".to_owned())).unwrap();
    let identity = Identity::new(&settings);
    let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let request = Request::post("/test-error").header("host", "localhost").body(never).unwrap();
    let start = Instant::now();
    let response = router(Site::new(&settings, identity)).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(start.elapsed().as_secs(), 5);
    assert!(response.headers().contains_key("content-security-policy"));
}

#[test]
fn a_flood_of_bad_requests_is_counted_and_disturbs_no_other_client() {
    let sentry = Sentry::start();
    let server = Server::start(&[PROD.as_slice(), &[("SENTRY_DSN", &sentry.dsn)]].concat());
    let body = "x".repeat(20_000);
    thread::scope(|scope| {
        let flood = || {
            for _ in 0..50 {
                assert_eq!(
                    server.send("GET / HTTP/1.1\r\nHost: evil\r\nConnection: close\r\n\r\n").status,
                    400
                );
                server.request_that_may_break("POST", "/test-error", &body);
            }
        };
        let floods = [scope.spawn(flood), scope.spawn(flood)];
        while !floods.iter().all(thread::ScopedJoinHandle::is_finished) {
            assert_eq!(server.get("/healthz").status, 200);
        }
    });
    let metrics = server.get("/metrics").body;
    assert!(metrics.lines().any(|line| line == "rejected_hosts_total 100"), "{metrics}");
    let log = server.end();
    let lines = log.lines().filter(|line| line.contains("evil")).count();
    // A flood that spans two windows is logged in both.
    assert!((1..=41).contains(&lines), "{lines}");
    assert_eq!(sentry.remaining(), [Value::Null; 0]);
}

#[test]
fn metrics_are_text_for_prometheus() {
    let server = test_server();
    server.get("/?token=hunter2");
    let response = server.get("/metrics");
    assert_eq!(response.status, 200);
    assert_eq!(
        response.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    has_security_headers(&response);
    assert!(
        response.body.contains("http_requests_total{method=\"GET\",route=\"/\",status=\"200\"} 1\n"),
        "{}",
        response.body
    );
    assert!(!response.body.contains("hunter2"));
    assert_eq!(server.get("/readyz").body, "ready");
}
