//! Keys derived from a secret, one for each purpose.

use anyhow::{Result, anyhow};
use ring::hkdf;

use super::Secret;

/// 32 bytes.
struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

/// Derives the key of a secret for a purpose, such as `launchway/report/v1`: HKDF with SHA-256.
///
/// Neither the secret nor the key of another purpose can be computed from it.
pub fn derived_key(secret: &Secret, purpose: &str) -> Result<[u8; 32]> {
    let mut key = [0; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"launchway")
        .extract(secret.expose().as_bytes())
        .expand(&[purpose.as_bytes()], Length)
        .and_then(|derived| derived.fill(&mut key))
        .map_err(|_| anyhow!("the key for `{purpose}` cannot be derived"))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purpose_has_a_key_of_its_own() {
        let key = |secret: &str, purpose: &str| derived_key(&Secret::new(secret), purpose).unwrap();
        assert_eq!(key("one", "a/v1"), key("one", "a/v1"));
        assert_ne!(key("one", "a/v1"), key("one", "b/v1"));
        assert_ne!(key("one", "a/v1"), key("two", "a/v1"));
    }
}
