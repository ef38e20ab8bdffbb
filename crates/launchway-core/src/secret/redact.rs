//! Removes the values of secrets from text that is about to be shown or written.
//!
//! The last line of defence, for what child processes and servers print; our own messages never contain a value. It
//! also finds encoded values: escaped as in JSON, Rust or XML, percent-encoded, in hexadecimal, or inside base64. And
//! it finds the password in a URL.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use reqwest::Url;

use super::Secret;

/// Replaces the secrets' values in text.
#[derive(Clone, Default)]
pub struct Redactor(Vec<String>);

impl Redactor {
    /// A shorter value occurs everywhere by chance: replacing it would only garble the text.
    const SHORTEST: usize = 4;
    /// The minimum length for a line of a longer value, and for a value that is not marked secret.
    const SHORTEST_PART: usize = 8;
    /// The minimum number of base64 characters that are determined by the value alone.
    const SHORTEST_BASE64: usize = 6;

    const REPLACEMENT: &str = "<redacted>";

    /// A redactor for these secrets, in all forms in which they may occur.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut redactor = Self::default();
        redactor.add(secrets);
        redactor
    }

    /// Adds more values.
    pub fn add(&mut self, secrets: impl IntoIterator<Item = Secret>) {
        for Secret(value) in secrets {
            let whole = value.trim();
            if whole.len() < Self::SHORTEST {
                continue;
            }
            self.0.extend([whole.to_owned()]);
            // Text arrives line by line, and so does a multi-line key.
            let lines = whole.lines().map(str::trim).filter(|line| line.len() >= Self::SHORTEST_PART);
            self.0.extend(lines.map(str::to_owned));
            self.0.extend(password(whole).filter(|password| password.len() >= Self::SHORTEST));
            if whole.len() >= Self::SHORTEST_PART {
                self.0.extend(bytes(whole));
            }
            self.0.extend(base64(whole).into_iter().filter(|text| text.len() >= Self::SHORTEST_BASE64));
        }
        self.0.sort();
        self.0.dedup();
    }

    /// Replaces what either redactor replaces.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self.0.sort();
        self.0.dedup();
        self
    }

    /// Whether a value that may or may not be secret is more likely an ordinary setting: replacing it would garble
    /// text.
    pub fn is_ordinary(value: &str) -> bool {
        value.len() < Self::SHORTEST_PART
            || value == "localhost"
            || value.parse::<IpAddr>().is_ok()
            || value.parse::<SocketAddr>().is_ok()
            || value.parse::<f64>().is_ok()
            // A folder of tools or of data.
            || value.starts_with('/') && Path::new(value).exists()
    }

    /// The text with `<redacted>` in place of every secret.
    pub fn redact(&self, text: &str) -> String {
        let mut found = self.find(text);
        if found.is_empty() {
            return text.to_owned();
        }
        found.sort_by_key(|range| range.start);
        let mut redacted = String::with_capacity(text.len());
        let mut end = 0;
        for range in found {
            // Overlapping values are replaced as one: no part of either may remain.
            if range.start >= end {
                redacted.push_str(&text[end..range.start]);
                redacted.push_str(Self::REPLACEMENT);
            }
            end = end.max(range.end);
        }
        redacted + &text[end..]
    }

    /// Whether the text contains one of the values.
    pub fn finds(&self, text: &str) -> bool {
        !self.find(text).is_empty()
    }

    /// The positions of the values.
    fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for value in &self.0 {
            let first = value.as_bytes()[0];
            for (start, byte) in text.bytes().enumerate() {
                // These can also start an encoded character.
                if (byte == first || matches!(byte, b'%' | b'\\' | b'&' | b'+'))
                    && let Some(length) = matches(&text.as_bytes()[start..], value)
                {
                    found.push(start..start + length);
                }
            }
        }
        found
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} texts)", self.0.len())
    }
}

/// The password in a URL, in the form that a client prints after parsing the URL.
///
/// A password that equals the user name, or that only gives access to this machine, is a convention and not a secret.
fn password(value: &str) -> Option<String> {
    let url = Url::parse(value).ok()?;
    let is_own = url.host_str().is_none_or(|host| {
        host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|it: IpAddr| it.is_loopback())
    });
    let password = url.password().filter(|password| !is_own && *password != url.username())?;
    // Decoded like the name of a query, except for these two.
    let query = password.replace('+', "%2B").replace('&', "%26");
    let query = Url::parse(&format!("x:?{query}")).ok()?;
    Some(query.query_pairs().next()?.0.into_owned())
}

/// A value as printed by code that shows bytes: in hexadecimal, as Rust's `Debug`, and as a list in JSON.
fn bytes(value: &str) -> [String; 4] {
    let digits = value.bytes().flat_map(|byte| [byte >> 4, byte & 15]);
    let hex: String = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
    let list = |between: &str| value.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(between);
    [hex.to_uppercase(), hex, list(", "), list(",")]
}

/// The base64 characters that are determined by the value alone, wherever it is in the encoded text, such as in
/// `user:password`. Excludes padding and characters shared with neighbouring bytes.
fn base64(value: &str) -> Vec<String> {
    let mut found = Vec::new();
    for before in 0..3 {
        let bytes = [vec![0; before], value.as_bytes().to_vec()].concat();
        let own = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            found.extend(engine.encode(&bytes).get(own.clone()).map(str::to_owned));
        }
    }
    found
}

/// The longest prefix of `text` that is `value`, with each character literal or encoded.
fn matches(text: &[u8], value: &str) -> Option<usize> {
    let mut ends = vec![0];
    let mut next = Vec::new();
    for character in value.chars() {
        next.clear();
        for end in &ends {
            ways(&text[*end..], character, |length| {
                if !next.contains(&(end + length)) {
                    next.push(end + length);
                }
            });
        }
        if next.is_empty() {
            return None;
        }
        std::mem::swap(&mut ends, &mut next);
    }
    ends.into_iter().max()
}

/// The levels of nested escapes that occur in practice: up to four.
const MOST_BACKSLASHES: usize = 15;

/// Calls `found` with the length of each encoding of the character at the start of `text`.
fn ways(text: &[u8], character: char, mut found: impl FnMut(usize)) {
    let mut buffer = [0; 4];
    let bytes = character.encode_utf8(&mut buffer).as_bytes();
    if text.starts_with(bytes) {
        found(bytes.len());
    }
    match text.first() {
        Some(b'%') => found_if(hexadecimal(text, b"%", bytes), found),
        Some(b'+') if character == ' ' => found(1),
        Some(b'\\') => {
            found_if(hexadecimal(text, b"\\x", bytes), &mut found);
            // Nested escapes, as in JSON inside JSON, have more of them.
            let more = text.iter().take(MOST_BACKSLASHES).take_while(|byte| **byte == b'\\').count() - 1;
            for more in if character == '\\' { 0..=more } else { more..=more } {
                found_if(escaped(&text[more..], character).map(|length| length + more), &mut found);
            }
        }
        Some(b'&') => found_if(entity(text, character), found),
        _ => {}
    }
}

fn found_if(length: Option<usize>, mut found: impl FnMut(usize)) {
    if let Some(length) = length {
        found(length);
    }
}

/// Each byte as two hexadecimal digits after a mark: `%c3%A9`.
fn hexadecimal(text: &[u8], mark: &[u8], bytes: &[u8]) -> Option<usize> {
    let width = mark.len() + 2;
    let is_byte = |(place, byte): (usize, &u8)| {
        let digits = text.get(place * width..)?.strip_prefix(mark)?.get(..2)?;
        (number(digits, 16)? == u32::from(*byte)).then_some(())
    };
    bytes.iter().enumerate().try_for_each(|byte| is_byte(byte).ok_or(())).ok()?;
    Some(width * bytes.len())
}

/// `\n`, `\"`, `\/`, `\u00e9`, `\ud83d\ude00`, `\u{e9}`: as in JSON and in Rust's `Debug`.
fn escaped(text: &[u8], character: char) -> Option<usize> {
    let rest = text.strip_prefix(b"\\")?;
    let letter = match character {
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\0' => '0',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        '"' | '\\' | '/' | '\'' => character,
        _ => '\u{7f}',
    };
    if rest.first().is_some_and(|byte| char::from(*byte) == letter) {
        return Some(2);
    }
    let digits = rest.strip_prefix(b"u")?;
    if let Some(digits) = digits.strip_prefix(b"{") {
        let end = digits.iter().take(9).position(|byte| *byte == b'}')?;
        return (number(&digits[..end], 16)? == u32::from(character)).then_some(end + 4);
    }
    let mut buffer = [0; 2];
    let mut length = 0;
    for unit in character.encode_utf16(&mut buffer) {
        let digits = text.get(length..)?.strip_prefix(b"\\u")?.get(..4)?;
        if number(digits, 16)? != u32::from(*unit) {
            return None;
        }
        length += 6;
    }
    Some(length)
}

/// `&amp;`, `&#38;`, `&#x26;`: as in XML and HTML.
fn entity(text: &[u8], character: char) -> Option<usize> {
    let end = text.iter().take(12).position(|byte| *byte == b';')?;
    let name = text.get(1..end)?;
    let is_meant = match name {
        b"amp" => character == '&',
        b"lt" => character == '<',
        b"gt" => character == '>',
        b"quot" => character == '"',
        b"apos" => character == '\'',
        [b'#', b'x' | b'X', digits @ ..] => number(digits, 16)? == u32::from(character),
        [b'#', digits @ ..] => number(digits, 10)? == u32::from(character),
        _ => false,
    };
    is_meant.then_some(end + 1)
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

#[cfg(test)]
mod tests;
