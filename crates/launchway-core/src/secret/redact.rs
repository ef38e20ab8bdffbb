//! Takes the secrets' values out of text that is about to be shown or written.
//!
//! The last line of defence, for what a child process or a server prints; our own messages never hold a value.
//! A value is found also as others write it: escaped as in JSON, Rust or XML, percent-encoded, or inside base64.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::Secret;

/// Replaces the secrets' values in text.
#[derive(Clone, Default)]
pub struct Redactor(Vec<String>);

impl Redactor {
    /// A shorter value is in every other line by chance: to replace it would only garble the text.
    const SHORTEST: usize = 4;
    /// The same for a line of a longer value, and for a value that nobody calls secret.
    const SHORTEST_PART: usize = 8;
    /// The same for base64: characters that a value determines alone.
    const SHORTEST_BASE64: usize = 6;

    const REPLACEMENT: &str = "<redacted>";

    /// A redactor of these secrets, in all the forms in which they may turn up.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut redactor = Self::default();
        redactor.add(secrets);
        redactor
    }

    /// Replaces these values as well.
    pub fn add(&mut self, secrets: impl IntoIterator<Item = Secret>) {
        for Secret(value) in secrets {
            let whole = value.trim();
            if whole.len() < Self::SHORTEST {
                continue;
            }
            self.0.extend([whole.to_owned()]);
            // Text comes line by line, and so does a key of many lines.
            let lines = whole.lines().map(str::trim).filter(|line| line.len() >= Self::SHORTEST_PART);
            self.0.extend(lines.map(str::to_owned));
            self.0.extend(base64(whole).into_iter().filter(|text| text.len() >= Self::SHORTEST_BASE64));
        }
        self.0.sort();
        self.0.dedup();
    }

    /// Replaces what either replaces.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self.0.sort();
        self.0.dedup();
        self
    }

    /// Whether a value of which nobody knows if it is secret is more likely a setting: to replace it would garble text.
    pub fn is_ordinary(value: &str) -> bool {
        value.len() < Self::SHORTEST_PART
            || value == "localhost"
            || value.parse::<IpAddr>().is_ok()
            || value.parse::<SocketAddr>().is_ok()
            || value.parse::<f64>().is_ok()
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
            // Values that overlap are replaced as one: of neither may a rest stay.
            if range.start >= end {
                redacted.push_str(&text[end..range.start]);
                redacted.push_str(Self::REPLACEMENT);
            }
            end = end.max(range.end);
        }
        redacted + &text[end..]
    }

    /// Whether one of the values stands in the text.
    pub fn finds(&self, text: &str) -> bool {
        !self.find(text).is_empty()
    }

    /// Where the values stand.
    fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for value in &self.0 {
            let first = value.as_bytes()[0];
            for (start, byte) in text.bytes().enumerate() {
                // What an encoded character can begin with, too.
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

/// The base64 characters that a value determines alone, wherever it stands in what is encoded: as the password in
/// `user:password`, say. Padding and the characters that it shares with its neighbours are not among them.
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

/// How much of the beginning of `text` is `value`, each character of it literal or encoded; the longest way.
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

/// Calls `found` with the length of each way in which `text` begins with the character.
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
            found_if(escaped(text, character), found);
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
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    /// With everything in it that somebody escapes.
    const VALUE: &str = "pa ss/w\"ö\\rd&<?>+~😀='1%41";

    fn redact(values: &[&str], text: &str) -> String {
        Redactor::new(values.iter().map(|value| Secret::new(*value))).redact(text)
    }

    #[test]
    fn a_value_is_found_as_others_write_it() {
        let percent = |keep: &dyn Fn(u8) -> bool, lower: bool| -> String {
            let encode = |byte: u8| match byte {
                byte if keep(byte) => char::from(byte).to_string(),
                byte if lower => format!("%{byte:02x}"),
                byte => format!("%{byte:02X}"),
            };
            VALUE.bytes().map(encode).collect()
        };
        let json = serde_json::to_string(VALUE).unwrap();
        let ascii: String = VALUE
            .encode_utf16()
            .map(|unit| match char::from_u32(unit.into()) {
                Some(c @ ('"' | '\\' | '/')) => format!("\\{c}"),
                Some(c) if c.is_ascii() => c.to_string(),
                _ => format!("\\u{unit:04x}"),
            })
            .collect();
        let forms = [
            VALUE.to_owned(),
            json[1..json.len() - 1].to_owned(),
            ascii,
            VALUE.escape_debug().to_string(),
            VALUE.escape_default().to_string(),
            VALUE.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;"),
            VALUE.chars().flat_map(|c| ["&#".to_owned(), u32::from(c).to_string(), ";".to_owned()]).collect(),
            percent(&|_| false, true),
            percent(&|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte), false),
            percent(&|byte| byte.is_ascii_graphic() && !b"%\"<>".contains(&byte), true),
            percent(&|byte| byte.is_ascii_alphanumeric() || b"*-._ ".contains(&byte), false)
                .replace(' ', "+"),
        ];
        for form in forms {
            assert_eq!(redact(&[VALUE], &format!("x={form}&y")), "x=<redacted>&y", "{form}");
        }
    }

    #[test]
    fn a_value_is_found_inside_base64() {
        let engines = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD];
        for value in [VALUE, "hunter2", "?>?>?>~~~", "0123456789abcdef"] {
            for before in ["", "u", "us", "usr", "user:"] {
                for after in ["", ":", "::", "more"] {
                    for engine in &engines {
                        let encoded = engine.encode(format!("{before}{value}{after}"));
                        let shown = redact(&[value], &format!("Basic {encoded}"));
                        let left = shown.strip_prefix("Basic ").unwrap().replace("<redacted>", "|");
                        let own = engine.encode(value);
                        assert!(left.contains('|'), "{value} in {encoded}");
                        // No more than the characters that the value shares with its neighbours, and the others' own.
                        let rest = encoded.len() - own.trim_end_matches('=').len();
                        assert!(left.len() <= rest + 4, "{value}: {shown}");
                    }
                }
            }
        }
    }

    #[test]
    fn of_values_that_overlap_no_rest_stays() {
        assert_eq!(
            redact(&["12345678", "x12345678x"], "a x12345678x b 12345678"),
            "a <redacted> b <redacted>"
        );
        assert_eq!(redact(&["abcdef", "defghi"], "_abcdefghi_"), "_<redacted>_");
        assert_eq!(redact(&["redacted", "hunter2"], "hunter2 redacted"), "<redacted> <redacted>");
    }

    #[test]
    fn a_value_of_many_lines_is_found_line_by_line() {
        let key = "-----BEGIN-----\nhunter2-hunter2\n{\n";
        assert_eq!(redact(&[key], "key: hunter2-hunter2"), "key: <redacted>");
        assert_eq!(redact(&[key], "a\\n{"), "a\\n{");
        assert_eq!(redact(&["line end\n"], "line end"), "<redacted>");
    }

    #[test]
    fn a_value_in_every_other_line_stays() {
        assert_eq!(redact(&["1", "on", "yes", " "], "1 on yes"), "1 on yes");
        for setting in ["info", "8000", "127.0.0.1", "127.0.0.1:8000", "localhost", "100000000"] {
            assert!(Redactor::is_ordinary(setting), "{setting}");
        }
        assert!(!Redactor::is_ordinary("correcthorse"));
    }
}
