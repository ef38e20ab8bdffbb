//! `POST /test-error` raises an error for holders of the key only.

use std::time::{Duration, Instant};

use crate::support::{PROD, Server, now, sign};

#[test]
fn a_signed_request_raises_an_error() {
    let server = Server::start(&PROD);
    let response = server.test_error("run-42.a_B");
    assert_eq!(response.status, 500);
    assert!(response.body.contains("Something went wrong on our side"), "{}", response.body);
    assert!(!response.body.contains("run-42"), "{}", response.body);
    assert_eq!(response.header("x-frame-options"), Some("DENY"));
    // The server keeps running.
    assert_eq!(server.get("/").status, 200);
    let log = server.end();
    assert_eq!(log.matches("test error run-42.a_B: raised on request").count(), 1, "{log}");
    assert!(log.contains("location=\"app/src/http/test_error.rs:"), "{log}");
}

#[test]
fn the_signature_covers_the_body() {
    let server = Server::start(&PROD);
    let signed = sign("a", now(), "{}");
    assert_eq!(server.request("POST", "/test-error", &signed.each(), "[]").status, 401);
    assert_eq!(server.request("POST", "/test-error", &signed.each(), "{}").status, 500);
}

#[test]
fn an_unsigned_request_is_rejected_without_a_reason() {
    let server = Server::start(&PROD);
    let signed = sign("a", now(), "");
    let expired = sign("a", now() - 600, "");
    let early = sign("a", now() + 600, "");
    let tampered = sign("b", now(), "");
    let [id, timestamp, signature] = signed.each();
    let reversed: String = signature.1.chars().rev().collect();
    let rejected = [
        vec![],
        vec![id, timestamp],
        vec![id, signature],
        vec![timestamp, signature],
        vec![id, id, timestamp, signature],
        vec![id, timestamp, ("webhook-timestamp", "1"), signature],
        vec![id, timestamp, signature, signature],
        vec![id, timestamp, ("webhook-signature", "v1,")],
        vec![id, timestamp, ("webhook-signature", "v1,\u{e9}")],
        vec![id, timestamp, ("webhook-signature", &reversed)],
        vec![("webhook-id", "b"), timestamp, signature],
        vec![id, tampered.each()[1], tampered.each()[2]],
        expired.each().to_vec(),
        early.each().to_vec(),
    ];
    let mut bodies = Vec::new();
    for headers in &rejected {
        let response = server.request("POST", "/test-error", headers, "");
        assert_eq!(response.status, 401, "{headers:?}");
        bodies.push(response.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let log = server.end();
    assert!(!log.contains("raised on request"), "{log}");
    for cause in
        ["no valid id", "no valid timestamp", "the timestamp is too far from now", "no valid signature"]
    {
        assert!(log.contains(&format!("app::test_error: rejected: {cause}")), "{cause}:\n{log}");
    }
    assert!(!log.contains(signature.1), "{log}");
}

#[test]
fn test_errors_are_a_second_apart() {
    let server = Server::start(&PROD);
    // An unsigned request does not delay a signed one.
    assert_eq!(server.request("POST", "/test-error", &[], "").status, 401);
    let signed = sign("again", now(), "");
    let again = || server.request("POST", "/test-error", &signed.each(), "");
    let start = Instant::now();
    let (mut raised, mut rejected) = (0, 0);
    while raised < 3 {
        let response = again();
        if response.status == 429 {
            assert_eq!(response.header("retry-after"), Some("1"));
            rejected += 1;
        } else {
            assert_eq!(response.status, 500);
            raised += 1;
        }
    }
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    assert_ne!(rejected, 0);
    assert_eq!(server.end().matches("test error again: raised on request").count(), 3);
}
