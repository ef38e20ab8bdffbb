//! `POST /canary`: raised for whoever holds the key, and for nobody else.

use std::time::{Duration, Instant};

use crate::support::{PROD, Server, now, sign};

#[test]
fn a_signed_canary_is_raised() {
    let server = Server::start(&PROD);
    let answer = server.canary("run-42.a_B");
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains("Something went wrong on our side"), "{}", answer.body);
    assert!(!answer.body.contains("canary"), "{}", answer.body);
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    // The server lives on.
    assert_eq!(server.get("/").status, 200);
    let log = server.end();
    assert_eq!(log.matches("canary run-42.a_B: raised on request").count(), 1, "{log}");
    assert!(log.contains("location=\"app/src/http/canary.rs:"), "{log}");
}

#[test]
fn a_body_is_signed_too() {
    let server = Server::start(&PROD);
    let signed = sign("a", now(), "{}");
    assert_eq!(server.request("POST", "/canary", &signed.each(), "[]").status, 401);
    assert_eq!(server.request("POST", "/canary", &signed.each(), "{}").status, 500);
}

#[test]
fn an_unsigned_canary_is_refused_and_told_nothing() {
    let server = Server::start(&PROD);
    let signed = sign("a", now(), "");
    let expired = sign("a", now() - 600, "");
    let early = sign("a", now() + 600, "");
    let tampered = sign("b", now(), "");
    let [id, timestamp, signature] = signed.each();
    let upside_down: String = signature.1.chars().rev().collect();
    let refused = [
        vec![],
        vec![id, timestamp],
        vec![id, signature],
        vec![timestamp, signature],
        vec![id, id, timestamp, signature],
        vec![id, timestamp, ("webhook-timestamp", "1"), signature],
        vec![id, timestamp, signature, signature],
        vec![id, timestamp, ("webhook-signature", "v1,")],
        vec![id, timestamp, ("webhook-signature", "v1,\u{e9}")],
        vec![id, timestamp, ("webhook-signature", &upside_down)],
        vec![("webhook-id", "b"), timestamp, signature],
        vec![id, tampered.each()[1], tampered.each()[2]],
        expired.each().to_vec(),
        early.each().to_vec(),
    ];
    let mut bodies = Vec::new();
    for headers in &refused {
        let answer = server.request("POST", "/canary", headers, "");
        assert_eq!(answer.status, 401, "{headers:?}");
        bodies.push(answer.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let log = server.end();
    assert!(!log.contains("raised on request"), "{log}");
    for cause in
        ["no valid id", "no valid timestamp", "the timestamp is too far from now", "no valid signature"]
    {
        assert!(log.contains(&format!("app::canary: refused: {cause}")), "{cause}:\n{log}");
    }
    assert!(!log.contains(signature.1), "{log}");
}

#[test]
fn canaries_are_a_second_apart() {
    let server = Server::start(&PROD);
    // Those who hold no key cannot keep out those who do.
    assert_eq!(server.request("POST", "/canary", &[], "").status, 401);
    let signed = sign("again", now(), "");
    let again = || server.request("POST", "/canary", &signed.each(), "");
    let start = Instant::now();
    let (mut raised, mut refused) = (0, 0);
    while raised < 3 {
        let answer = again();
        if answer.status == 429 {
            assert_eq!(answer.header("retry-after"), Some("1"));
            refused += 1;
        } else {
            assert_eq!(answer.status, 500);
            raised += 1;
        }
    }
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    assert_ne!(refused, 0);
    assert_eq!(server.end().matches("canary again: raised on request").count(), 3);
}
