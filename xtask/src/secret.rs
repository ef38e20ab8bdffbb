//! A value that must not be seen.

use std::fmt;

use anyhow::{Result, anyhow};
use ring::rand::{SecureRandom as _, SystemRandom};

/// A secret value: it has no `Display`, and its `Debug` is `<redacted>`.
///
/// It reaches a service by header, standard input or environment, never by an argument vector.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Every caller hands it to a service or compares it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// 32 hex digits that nobody can guess.
pub(crate) fn random_word() -> Result<String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow!("the system gives no random numbers"))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// A key for signing: 50 characters, six random bits each.
///
/// None of them means anything to a shell, in a `.env` file or in a list with commas.
pub(crate) fn random_key() -> Result<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0; 50];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow!("the system gives no random numbers"))?;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 64)])).collect())
}

/// Replaces the secrets' values in text that is about to be shown or written.
///
/// The last line of defence, for what a child process or a server prints; our own messages never hold a value.
#[derive(Clone, Default)]
pub(crate) struct Redactor(Vec<String>);

impl Redactor {
    /// Shorter values are ordinary words: to replace them would only garble the text.
    const SHORTEST: usize = 8;

    pub(crate) fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut redactor = Self::default();
        redactor.add(secrets);
        redactor
    }

    /// Replaces these values as well.
    pub(crate) fn add(&mut self, secrets: impl IntoIterator<Item = Secret>) {
        for Secret(value) in secrets {
            // Text comes line by line, and so does a key of many lines.
            let lines = value.lines().map(|line| line.trim().to_owned());
            self.0.extend(lines.chain([value.clone()]).filter(|value| value.len() >= Self::SHORTEST));
        }
        // A value that holds another one is replaced first, or its rest would stay.
        self.0.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.0.dedup();
    }

    pub(crate) fn redact(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, value| text.replace(value, "<redacted>"))
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} values)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_value() {
        let secret = Secret::new("hunter2-hunter2");
        assert_eq!(format!("{secret:?}"), "<redacted>");
        assert_eq!(format!("{:?}", Redactor::new([secret])), "Redactor(1 values)");
    }

    #[test]
    fn keys_are_long_and_differ() {
        let (one, other) = (random_key().unwrap(), random_key().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 50);
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{one}");
    }

    #[test]
    fn the_longest_value_is_replaced_first() {
        let redactor =
            Redactor::new([Secret::new("12345678"), Secret::new("x12345678x"), Secret::new("TEST")]);
        let mut redactor = redactor;
        redactor.add([Secret::new("-----BEGIN-----\nhunter2-hunter2\n")]);
        assert_eq!(redactor.redact("key: hunter2-hunter2"), "key: <redacted>");
        assert_eq!(redactor.redact("a x12345678x b 12345678 TEST"), "a <redacted> b <redacted> TEST");
    }
}
