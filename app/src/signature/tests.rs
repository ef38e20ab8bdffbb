//! Signatures made by Python's `hmac` and `hashlib`, and messages that must be rejected.

use std::time::{Duration, UNIX_EPOCH};

use super::{Message, Rejection, TOLERANCE, Verifier};
use crate::settings::secret_key::SecretKey;

const KEY: &str = "0123456789abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH";
const SENT: u64 = 1_767_225_600;
const EMPTY: Message<'_> = Message {
    id: "run-42",
    timestamp: "1767225600",
    signatures: "v1,SSQpzPGZwqeDaZRur55f40L0KRhKl3ahwNqZYILOox0=",
    body: b"",
};

fn verify(message: Message<'_>, now: u64) -> Result<(), Rejection> {
    with_keys(&key(KEY), &[], message, now)
}

fn with_keys(
    secret: &SecretKey,
    fallbacks: &[SecretKey],
    message: Message<'_>,
    now: u64,
) -> Result<(), Rejection> {
    let now = UNIX_EPOCH + Duration::from_secs(now);
    Verifier::new(secret, fallbacks, "launchway/test-error/v1").verify(message, now)
}

fn key(text: &str) -> SecretKey {
    SecretKey::new(text.to_owned())
}

#[test]
fn signatures_by_an_earlier_key_are_accepted() {
    let (current, other) = (key("another key"), key("a third key"));
    let rejected = Err(Rejection::Signature);
    assert_eq!(with_keys(&current, &[], EMPTY, SENT), rejected);
    assert_eq!(with_keys(&current, std::slice::from_ref(&other), EMPTY, SENT), rejected);
    assert_eq!(with_keys(&current, &[other, key(KEY)], EMPTY, SENT), Ok(()));
}

#[test]
fn each_purpose_has_its_own_key() {
    let verifier = Verifier::new(&key(KEY), &[], "launchway/report/v1");
    assert_eq!(verifier.verify(EMPTY, UNIX_EPOCH + Duration::from_secs(SENT)), Err(Rejection::Signature));
}

#[test]
fn signatures_by_python_are_accepted() {
    assert_eq!(verify(EMPTY, SENT), Ok(()));
    let signatures = "v1,H4qmN+xm4nraBj90oDmKnxnvKT4jp+rNttLkVis6T3M=";
    assert_eq!(verify(Message { signatures, body: b"body", ..EMPTY }, SENT), Ok(()));
}

#[test]
fn one_valid_signature_among_others_is_enough() {
    let list = format!("v2,AAAA v1,AAAA v1 {}", EMPTY.signatures);
    assert_eq!(verify(Message { signatures: &list, ..EMPTY }, SENT), Ok(()));
    let many = format!("{}{}", "v1,AAAA ".repeat(8), EMPTY.signatures);
    assert_eq!(verify(Message { signatures: &many, ..EMPTY }, SENT), Err(Rejection::Signature));
}

#[test]
fn the_tolerance_holds_both_ways_to_the_second() {
    for now in [SENT - TOLERANCE, SENT + TOLERANCE] {
        assert_eq!(verify(EMPTY, now), Ok(()), "at {now}");
    }
    for now in [SENT - TOLERANCE - 1, SENT + TOLERANCE + 1] {
        assert_eq!(verify(EMPTY, now), Err(Rejection::Expired), "at {now}");
    }
}

#[test]
fn every_part_is_signed() {
    for message in [
        Message { id: "run-43", ..EMPTY },
        Message { timestamp: "1767225601", ..EMPTY },
        Message { timestamp: "01767225600", ..EMPTY },
        Message { body: b"x", ..EMPTY },
        Message { signatures: "", ..EMPTY },
        Message { signatures: "v1,", ..EMPTY },
        Message { signatures: "v1,SSQpzPGZwqeDaZRur55f40L0KRhKl3ahwNqZYILOox0", ..EMPTY },
        Message { signatures: &EMPTY.signatures.replace("v1,", "v2,"), ..EMPTY },
    ] {
        assert_eq!(verify(message, SENT), Err(Rejection::Signature), "{message:?}");
    }
}

#[test]
fn each_rejection_has_its_reason() {
    for id in ["", "a b", "é", &"a".repeat(65)] {
        assert_eq!(verify(Message { id, ..EMPTY }, SENT), Err(Rejection::Id), "{id:?}");
    }
    for timestamp in ["", "+1767225600", "-1", "now", "99999999999999999999999"] {
        assert_eq!(verify(Message { timestamp, ..EMPTY }, SENT), Err(Rejection::Timestamp), "{timestamp:?}");
    }
    let reasons = [Rejection::Id, Rejection::Timestamp, Rejection::Expired, Rejection::Signature]
        .map(|r| r.to_string());
    assert_eq!(
        reasons,
        ["no valid id", "no valid timestamp", "the timestamp is too far from now", "no valid signature"]
    );
}
