//! Signatures made elsewhere (Python's `hmac` and `hashlib`), and what must not pass for one.

use std::time::{Duration, UNIX_EPOCH};

use super::{Message, Refusal, TOLERANCE, Verifier};
use crate::settings::secret_key::SecretKey;

const KEY: &str = "0123456789abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH";
const SENT: u64 = 1_767_225_600;
const EMPTY: Message<'_> = Message {
    id: "run-42",
    timestamp: "1767225600",
    signatures: "v1,J+PIEpB+IdfsJF5dnT5dhUQEDFK88C/maRnTUvA6vI0=",
    body: b"",
};

fn verify(message: Message<'_>, now: u64) -> Result<(), Refusal> {
    with_keys(&key(KEY), &[], message, now)
}

fn with_keys(
    secret: &SecretKey,
    fallbacks: &[SecretKey],
    message: Message<'_>,
    now: u64,
) -> Result<(), Refusal> {
    let now = UNIX_EPOCH + Duration::from_secs(now);
    Verifier::new(secret, fallbacks, "launchway/canary/v1").verify(message, now)
}

fn key(text: &str) -> SecretKey {
    SecretKey::new(text.to_owned())
}

#[test]
fn what_an_earlier_key_signed_still_counts() {
    let (today, other) = (key("another key"), key("a third key"));
    let refused = Err(Refusal::Signature);
    assert_eq!(with_keys(&today, &[], EMPTY, SENT), refused);
    assert_eq!(with_keys(&today, std::slice::from_ref(&other), EMPTY, SENT), refused);
    assert_eq!(with_keys(&today, &[other, key(KEY)], EMPTY, SENT), Ok(()));
}

#[test]
fn each_purpose_has_its_own_key() {
    let verifier = Verifier::new(&key(KEY), &[], "launchway/report/v1");
    assert_eq!(verifier.verify(EMPTY, UNIX_EPOCH + Duration::from_secs(SENT)), Err(Refusal::Signature));
}

#[test]
fn signatures_made_elsewhere_pass() {
    assert_eq!(verify(EMPTY, SENT), Ok(()));
    let signatures = "v1,nwLGplbYmYoQD2DYy7cWGTdf5htIlyurJ4WjbQQu9Bs=";
    assert_eq!(verify(Message { signatures, body: b"body", ..EMPTY }, SENT), Ok(()));
}

#[test]
fn one_right_signature_among_others_is_enough() {
    let list = format!("v2,AAAA v1,AAAA v1 {}", EMPTY.signatures);
    assert_eq!(verify(Message { signatures: &list, ..EMPTY }, SENT), Ok(()));
    let many = format!("{}{}", "v1,AAAA ".repeat(8), EMPTY.signatures);
    assert_eq!(verify(Message { signatures: &many, ..EMPTY }, SENT), Err(Refusal::Signature));
}

#[test]
fn the_time_counts_both_ways_to_the_second() {
    for now in [SENT - TOLERANCE, SENT + TOLERANCE] {
        assert_eq!(verify(EMPTY, now), Ok(()), "at {now}");
    }
    for now in [SENT - TOLERANCE - 1, SENT + TOLERANCE + 1] {
        assert_eq!(verify(EMPTY, now), Err(Refusal::Expired), "at {now}");
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
        Message { signatures: "v1,J+PIEpB+IdfsJF5dnT5dhUQEDFK88C/maRnTUvA6vI0", ..EMPTY },
        Message { signatures: &EMPTY.signatures.replace("v1,", "v2,"), ..EMPTY },
    ] {
        assert_eq!(verify(message, SENT), Err(Refusal::Signature), "{message:?}");
    }
}

#[test]
fn malformed_parts_are_named_in_the_log() {
    for id in ["", "a b", "é", &"a".repeat(65)] {
        assert_eq!(verify(Message { id, ..EMPTY }, SENT), Err(Refusal::Id), "{id:?}");
    }
    for timestamp in ["", "+1767225600", "-1", "now", "99999999999999999999999"] {
        assert_eq!(verify(Message { timestamp, ..EMPTY }, SENT), Err(Refusal::Timestamp), "{timestamp:?}");
    }
    let reasons =
        [Refusal::Id, Refusal::Timestamp, Refusal::Expired, Refusal::Signature].map(|r| r.to_string());
    assert_eq!(
        reasons,
        ["no valid id", "no valid timestamp", "the timestamp is too far from now", "no valid signature"]
    );
}
