//! A value that must not be shown.

mod derive;
mod redact;

use std::fmt;

use anyhow::{Result, anyhow};
use ring::rand::{SecureRandom as _, SystemRandom};

pub use derive::derived_key;
pub use redact::Redactor;

/// A secret value: it has no `Display`, and its `Debug` is `<redacted>`.
///
/// It reaches a service by header, standard input or environment, never by an argument vector.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Marks a value as secret.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for passing it to a service or comparing it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// 32 random, unpredictable hex digits.
pub fn random_word() -> Result<String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow!("the system provides no random numbers"))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// A key for signing: 50 characters of six random bits each.
///
/// None of them is special in a shell, in a `.env` file or in a comma-separated list.
pub fn random_key() -> Result<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0; 50];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow!("the system provides no random numbers"))?;
    // A key that begins with `-` would be an option wherever it is an argument.
    bytes[0] %= 32;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 64)])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_value() {
        let secret = Secret::new("hunter2-hunter2");
        assert_eq!(format!("{secret:?}"), "<redacted>");
        assert!(!format!("{:?}", Redactor::new([secret])).contains("hunter"));
    }

    #[test]
    fn keys_are_long_and_differ() {
        let (one, other) = (random_key().unwrap(), random_key().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 50);
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{one}");
        let starts_with_a_letter = |key: String| key.starts_with(|first: char| first.is_ascii_alphabetic());
        assert!((0..200).all(|_| starts_with_a_letter(random_key().unwrap())));
    }
}
