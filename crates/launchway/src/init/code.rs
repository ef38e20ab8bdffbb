//! Rust sources as text: what is code, what is a string, what is a test. Nothing is compiled or resolved.

use std::collections::BTreeMap;

use super::findings::Place;

/// A file of the service, without its comments and without the tests at its end.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Relative to the git root.
    pub(super) path: String,
    /// The text with comments blanked, so that offsets are those of the file.
    pub(super) code: String,
    pub(super) strings: Vec<Text>,
    /// The tests that were cut off.
    pub(super) tests: String,
}

/// A string literal as in the source, escapes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    /// The offset of the opening quote.
    pub(super) start: usize,
    /// The offset after the closing quote.
    pub(super) end: usize,
    pub(super) value: String,
}

impl Source {
    pub(super) fn new(path: impl Into<String>, text: &str) -> Self {
        let (code, mut strings) = without_comments(text);
        let end = tests(&code).unwrap_or(code.len());
        strings.retain(|text| text.end <= end);
        Self {
            path: path.into(),
            tests: code.get(end..).unwrap_or_default().to_owned(),
            code: code.get(..end).unwrap_or_default().to_owned(),
            strings,
        }
    }

    pub(super) fn place(&self, offset: usize) -> Place {
        Place::line(&self.path, line_of(&self.code, offset))
    }

    /// The string that starts at an offset.
    pub(super) fn string_at(&self, offset: usize) -> Option<&Text> {
        self.strings.iter().find(|text| text.start == offset)
    }

    /// The offsets after every occurrence of a piece of code outside of strings.
    pub(super) fn after<'a>(&'a self, piece: &'a str) -> impl Iterator<Item = usize> + 'a {
        let found = self.code.match_indices(piece).map(move |(offset, _)| offset + piece.len());
        found.filter(|end| !self.strings.iter().any(|text| text.start < *end && *end <= text.end))
    }

    /// The code from an offset (optionally after a comma) to the end of its statement, field or match arm, at most 300
    /// bytes.
    pub(super) fn statement(&self, offset: usize) -> &str {
        let rest = self.code.get(offset..).unwrap_or_default().trim_start();
        let rest = rest.strip_prefix(',').unwrap_or(rest);
        let mut depth = 0_i32;
        for (place, c) in rest.char_indices().take(300) {
            match c {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth -= 1,
                ';' | ',' if depth <= 0 => return rest.get(..place).unwrap_or_default(),
                _ => {}
            }
            if depth < -1 {
                return rest.get(..place).unwrap_or_default();
            }
        }
        rest.char_indices().nth(300).map_or(rest, |(end, _)| rest.get(..end).unwrap_or_default())
    }
}

/// The line, from 1, of an offset.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// The string constants of the sources by name.
pub(super) fn constants(sources: &[Source]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for source in sources {
        for keyword in ["const ", "static "] {
            for start in source.after(keyword) {
                let rest = source.code.get(start..).unwrap_or_default();
                let name = word(rest);
                let Some(equals) = rest.find('=').filter(|at| !rest[..*at].contains([';', '{'])) else {
                    continue;
                };
                let value = start + equals + 1;
                let value = value + blanks(source.code.get(value..).unwrap_or_default());
                if let Some(text) = source.string_at(value) {
                    found.insert(name.to_owned(), text.value.clone());
                }
            }
        }
    }
    found
}

/// The identifier at the start of a text.
pub(super) fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// The number of bytes of white space at the start of a text.
pub(super) fn blanks(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

/// Where the test module at the end of most files starts.
fn tests(code: &str) -> Option<usize> {
    let is_tests = |(offset, _): &(usize, &str)| {
        let after = code.get(offset + "#[cfg(test)]".len()..).unwrap_or_default().trim_start();
        let after = after.strip_prefix("pub ").unwrap_or(after);
        after.starts_with("mod ") && after.find('{').is_some_and(|at| !after[..at].contains(';'))
    };
    code.match_indices("#[cfg(test)]").find(is_tests).map(|(offset, _)| offset)
}

/// The text with its comments blanked, and its strings.
fn without_comments(text: &str) -> (String, Vec<Text>) {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut strings = Vec::new();
    let at = |place: usize| bytes.get(place).copied().unwrap_or_default();
    let blank = |code: &mut Vec<u8>, from: usize, to: usize| {
        for byte in code.iter_mut().take(to).skip(from).filter(|byte| **byte != b'\n') {
            *byte = b' ';
        }
    };
    let mut place = 0;
    while place < bytes.len() {
        let rest = &text.as_bytes()[place..];
        let find = |needle: &[u8]| rest.windows(needle.len()).position(|window| window == needle);
        match (at(place), at(place + 1)) {
            (b'/', b'/') => {
                let end = place + find(b"\n").unwrap_or(rest.len());
                blank(&mut code, place, end);
                place = end;
            }
            (b'/', b'*') => {
                let end = place + find(b"*/").map_or(rest.len(), |end| end + 2);
                blank(&mut code, place, end);
                place = end;
            }
            // A character literal, not a lifetime.
            (b'\'', b'\\') => {
                place += 2 + rest.iter().skip(3).position(|byte| *byte == b'\'').map_or(1, |end| end + 2);
            }
            (b'\'', _) if at(place + 2) == b'\'' => place += 3,
            (b'r', b'#' | b'"')
                if place == 0
                    || !is_word(at(place - 1)) && at(place - 1) != b'b'
                    || at(place - 1) == b'b' =>
            {
                let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
                if rest.get(1 + hashes) != Some(&b'"') {
                    place += 1;
                    continue;
                }
                let close = [b"\"".to_vec(), vec![b'#'; hashes]].concat();
                let start = place + 2 + hashes;
                let inside = &bytes[start..];
                let length =
                    inside.windows(close.len()).position(|window| window == close).unwrap_or(inside.len());
                push(&mut strings, text, place, start, start + length, close.len());
                place = start + length + close.len();
            }
            (b'"', _) => {
                let mut end = place + 1;
                while end < bytes.len() && at(end) != b'"' {
                    end += if at(end) == b'\\' { 2 } else { 1 };
                }
                push(&mut strings, text, place, place + 1, end.min(bytes.len()), 1);
                place = end + 1;
            }
            _ => place += 1,
        }
    }
    // Only the bytes of whole comments were replaced.
    (String::from_utf8(code).unwrap_or_default(), strings)
}

fn push(strings: &mut Vec<Text>, text: &str, start: usize, from: usize, to: usize, close: usize) {
    if let Some(value) = text.get(from..to) {
        strings.push(Text { start, end: to + close, value: value.to_owned() });
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests_of_the_reader {
    use super::*;

    #[test]
    fn comments_characters_and_raw_strings_do_not_confuse_it() {
        let text = r#"// "no"
let a = '"'; /* "no" */ let b = "yes \" // too"; let c = r"raw x"; let d: &'static str = "last";
"#;
        let source = Source::new("src/main.rs", text);
        let values: Vec<&str> = source.strings.iter().map(|text| text.value.as_str()).collect();
        assert_eq!(values, [r#"yes \" // too"#, "raw x", "last"]);
        assert_eq!(source.place(source.strings[1].start).to_string(), "src/main.rs:2");
    }

    #[test]
    fn tests_at_the_end_are_set_aside() {
        let source = Source::new(
            "a.rs",
            "const A: &str = \"a\";\n#[cfg(test)]\nmod tests {\n const B: &str = \"b\";\n}\n",
        );
        assert_eq!(
            constants(std::slice::from_ref(&source)),
            BTreeMap::from([("A".to_owned(), "a".to_owned())])
        );
        assert!(source.tests.contains("const B"));
        let declared = Source::new("a.rs", "#[cfg(test)]\nmod tests;\nconst A: &str = \"a\";");
        assert_eq!(declared.strings.len(), 1);
    }
}
