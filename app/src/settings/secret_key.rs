//! `SECRET_KEY`: Django's rules for a key, and one that they lack.
//!
//! Django warns (`security.W009`) about keys of fewer than 50 characters, of fewer than 5 different ones, or with the
//! prefix of its project template. `abcde` ten times over passes that, and so does the alphabet, so what a guesser
//! cannot predict is measured too. Here a weak key stops a PROD server instead of leaving a warning.

use std::collections::{HashMap, HashSet};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::error::Unspecified;
use ring::rand::{SecureRandom, SystemRandom};

/// Fewest characters of a key.
const MIN_LENGTH: usize = 50;
/// Fewest different characters of a key.
const MIN_UNIQUE: usize = 5;
/// Least entropy of a key, in bits.
const MIN_ENTROPY: f64 = 128.0;
/// What fingers follow: the rows of a keyboard, plain and shifted, and its columns.
const KEYBOARD: [&str; 16] = [
    "1234567890-=",
    "qwertyuiop[]",
    "asdfghjkl;'",
    "zxcvbnm,./",
    "!@#$%^&*()_+",
    "1qaz",
    "2wsx",
    "3edc",
    "4rfv",
    "5tgb",
    "6yhn",
    "7ujm",
    "8ik,",
    "9ol.",
    "0p;/",
    "azertyuiop",
];
/// What Django's project template starts its keys with.
const INSECURE_PREFIX: &str = "django-insecure-";

/// The key that all signing keys are derived from. Never shown: `Debug` prints `<redacted>`.
#[derive(Clone)]
pub struct SecretKey(String);

impl SecretKey {
    /// Takes any text; [`SecretKey::weaknesses`] judges it.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// A key of 48 random bytes, as base64: 64 characters.
    pub fn random() -> Result<Self, Unspecified> {
        let mut bytes = [0; 48];
        SystemRandom::new().fill(&mut bytes)?;
        Ok(Self(STANDARD.encode(bytes)))
    }

    /// The key material: the text's bytes, as they are.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Everything that speaks against the key; empty for a good one.
    #[must_use]
    pub fn weaknesses(&self) -> Vec<Weakness> {
        let text = &self.0;
        let mut counts = HashMap::<char, u32>::new();
        for character in text.chars() {
            *counts.entry(character).or_default() += 1;
        }
        [
            (text.chars().count() < MIN_LENGTH, Weakness::Short),
            (counts.len() < MIN_UNIQUE, Weakness::FewCharacters),
            (entropy(text, &counts) < MIN_ENTROPY, Weakness::Predictable),
            (text.starts_with(INSECURE_PREFIX), Weakness::FromTemplate),
            (text.contains(char::REPLACEMENT_CHARACTER), Weakness::NotUtf8),
        ]
        .into_iter()
        .filter_map(|(holds, weakness)| holds.then_some(weakness))
        .collect()
    }

    /// Whether `SECRET_KEY_FALLBACKS` could hold the key one day: commas and the spaces beside them separate keys there.
    #[must_use]
    pub fn fits_fallbacks(&self) -> bool {
        !self.0.contains(',') && self.0.trim() == self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// Why a key is not fit for a PROD server. Reads as the rest of a sentence after the variable's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// Fewer than 50 characters.
    Short,
    /// Fewer than 5 different characters.
    FewCharacters,
    /// Less than 128 bits of entropy: Shannon's, over the characters that nothing before them predicts.
    Predictable,
    /// A key that Django's project template made.
    FromTemplate,
    /// Not UTF-8, so that part of it was lost on the way here.
    NotUtf8,
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => write!(f, "has fewer than {MIN_LENGTH} characters"),
            Self::FewCharacters => write!(f, "has fewer than {MIN_UNIQUE} different characters"),
            Self::Predictable => {
                write!(f, "has less than {MIN_ENTROPY} bits of entropy, not counting repeats and sequences")
            }
            Self::FromTemplate => write!(f, "starts with `{INSECURE_PREFIX}`"),
            Self::NotUtf8 => write!(f, "is not UTF-8"),
        }
    }
}

/// Shannon entropy of the characters that do not follow from those before them, in bits: an upper bound of what a
/// guesser faces.
fn entropy(text: &str, counts: &HashMap<char, u32>) -> f64 {
    let length = f64::from(counts.values().sum::<u32>());
    let total: f64 =
        counts.values().map(|&count| f64::from(count) * (length / f64::from(count)).log2()).sum();
    total / length.max(1.0) * unpredicted(text)
}

/// How many characters neither repeat what stood before nor continue a sequence or a walk over the keyboard. Random
/// text loses a character or two to chance.
fn unpredicted(text: &str) -> f64 {
    let text: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
    let mut seen = HashSet::new();
    let mut count = 0.0;
    for end in 1..=text.len() {
        let repeats = end >= 3 && !seen.insert(&text[end - 3..end]);
        if !(repeats || continues_sequence(&text[..end]) || continues_walk(&text[..end])) {
            count += 1.0;
        }
    }
    count
}

/// Whether the last character takes the same step as the one before: `abc`, `aceg`, `7654`; also where up to four
/// sequences alternate: `a1b2c3`.
fn continues_sequence(text: &[char]) -> bool {
    let code = |back: usize| text.len().checked_sub(back + 1).map(|place| i64::from(u32::from(text[place])));
    (1..=4).any(|lag| {
        let (Some(last), Some(middle), Some(first)) = (code(0), code(lag), code(2 * lag)) else {
            return false;
        };
        let step = last - middle;
        step == middle - first && (lag == 1 || step.abs() <= 1)
    })
}

/// Whether the last three characters are neighbours on the keyboard, in one direction.
fn continues_walk(text: &[char]) -> bool {
    let Some(last) = text.last_chunk::<3>() else { return false };
    let (forth, back): (String, String) = (last.iter().collect(), last.iter().rev().collect());
    KEYBOARD.iter().any(|row| row.contains(&forth) || row.contains(&back))
}
