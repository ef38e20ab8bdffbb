//! Verifies signed messages in the form of Standard Webhooks.
//!
//! A message is an id, a time and a body. Its signature is `v1,` and the base64 (standard, padded) of HMAC-SHA256 over
//! `{id}.{timestamp}.{body}`. Each purpose has its own key of 32 bytes: HKDF-SHA256 with the salt
//! `launchway`, the bytes of `SECRET_KEY` as input key material, and the purpose as info.
//! See <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{hkdf, hmac};

use crate::settings::secret_key::SecretKey;

/// The largest difference between a message's time and now, in seconds.
pub(crate) const TOLERANCE: u64 = 300;
/// Most signatures of one message that are checked: more than any key rotation needs.
const MAX_SIGNATURES: usize = 8;

/// Verifies the messages of one purpose, with the current key and earlier ones.
#[derive(Debug)]
pub(crate) struct Verifier(Vec<hmac::Key>);

/// A received message, not yet verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// 1 to 64 of `[A-Za-z0-9._-]`.
    pub(crate) id: &'a str,
    /// Unix time in seconds, in decimal digits.
    pub(crate) timestamp: &'a str,
    /// One or more signatures with spaces between them.
    pub(crate) signatures: &'a str,
    /// The raw body.
    pub(crate) body: &'a [u8],
}

impl Verifier {
    /// For a purpose such as `launchway/test-error/v1`. Signatures by `fallbacks` are accepted.
    pub(crate) fn new(secret: &SecretKey, fallbacks: &[SecretKey], purpose: &str) -> Self {
        Self(std::iter::once(secret).chain(fallbacks).map(|secret| derive(secret, purpose)).collect())
    }

    /// Succeeds if the message is well-formed, its time is close to `now`, and one of the keys signed it.
    pub(crate) fn verify(&self, message: Message<'_>, now: SystemTime) -> Result<(), Rejection> {
        let Message { id, timestamp, signatures, body } = message;
        let in_id = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=64).contains(&id.len()) || !id.bytes().all(in_id) {
            return Err(Rejection::Id);
        }
        if !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Rejection::Timestamp);
        }
        let sent: u64 = timestamp.parse().map_err(|_| Rejection::Timestamp)?;
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if now.abs_diff(sent) > TOLERANCE {
            return Err(Rejection::Expired);
        }
        let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
        let genuine = signatures
            .split(' ')
            .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
            .take(MAX_SIGNATURES)
            // `verify` compares in constant time.
            .any(|signature| self.0.iter().any(|key| hmac::verify(key, &signed, &signature).is_ok()));
        if genuine { Ok(()) } else { Err(Rejection::Signature) }
    }
}

/// Derives the key of one purpose.
fn derive(secret: &SecretKey, purpose: &str) -> hmac::Key {
    let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, b"launchway").extract(secret.expose());
    let info = [purpose.as_bytes()];
    #[expect(clippy::expect_used, reason = "fails beyond 255 blocks; this is one")]
    let key = pseudorandom.expand(&info, hmac::HMAC_SHA256).expect("one block");
    key.into()
}

/// Why a message is rejected. Logged, and not revealed to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The id is missing or malformed.
    Id,
    /// The timestamp is missing or not a number.
    Timestamp,
    /// The timestamp is more than [`TOLERANCE`] seconds away.
    Expired,
    /// None of the signatures matches a key.
    Signature,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Id => "no valid id",
            Self::Timestamp => "no valid timestamp",
            Self::Expired => "the timestamp is too far from now",
            Self::Signature => "no valid signature",
        })
    }
}

#[cfg(test)]
mod tests;
