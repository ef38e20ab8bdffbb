//! Words of a Dockerfile: quotes, escapes and variables.
//!
//! Follows the Dockerfile reference, "Environment replacement", and the lexer in `BuildKit`'s `shell` package.

use std::cell::Cell;
use std::collections::BTreeMap;

/// How words are expanded at one place of a Dockerfile.
#[derive(Debug)]
pub(super) struct Words<'a> {
    /// The escape character of the file: a backslash, unless a directive says otherwise.
    pub(super) escape: char,
    pub(super) variables: &'a BTreeMap<String, String>,
    /// Set to true when an unset variable is used.
    pub(super) unset: &'a Cell<bool>,
}

impl Words<'_> {
    /// Removes quotes and escapes from a word and replaces its variables.
    ///
    /// An unset variable is empty, as in Docker. The error is a sentence without a location.
    pub(super) fn expand(&self, word: &str) -> Result<String, String> {
        let mut rest = word;
        let mut text = String::new();
        while let Some((c, after)) = first(rest) {
            rest = after;
            match c {
                '\'' => {
                    let (literal, after) =
                        rest.split_once('\'').ok_or_else(|| format!("`{word}` has an unclosed `'`"))?;
                    text.push_str(literal);
                    rest = after;
                }
                '"' => rest = self.quoted(rest, word, &mut text)?,
                '$' => rest = self.variable(rest, word, &mut text)?,
                c if c == self.escape => {
                    if let Some((plain, after)) = first(rest) {
                        text.push(plain);
                        rest = after;
                    }
                }
                c => text.push(c),
            }
        }
        Ok(text)
    }

    /// `NAME=value …`, or the old `NAME the rest of the line`, each pair expanded.
    pub(super) fn pairs(&self, line: &str) -> Result<Vec<(String, String)>, String> {
        let words = self.split(line);
        if !words.first().is_some_and(|word| word.contains('=')) {
            let line = line.trim();
            let (name, value) = line
                .split_once(char::is_whitespace)
                .ok_or_else(|| format!("`{line}` is not of the form `NAME=value`"))?;
            return Ok(vec![(self.expand(name)?, self.expand(value.trim())?)]);
        }
        words
            .iter()
            .map(|word| {
                let (name, value) = word
                    .split_once('=')
                    .ok_or_else(|| format!("`{word}` is not of the form `NAME=value`"))?;
                if name.is_empty() {
                    return Err(format!("`{word}` has no name before its `=`"));
                }
                Ok((self.expand(name)?, self.expand(value)?))
            })
            .collect()
    }

    /// Splits at spaces outside of quotes; keeps quotes and escapes.
    pub(super) fn split(&self, line: &str) -> Vec<String> {
        let mut words = Vec::new();
        let mut word = String::new();
        let mut quote = None;
        let mut characters = line.chars();
        while let Some(c) = characters.next() {
            if quote.is_none() && c.is_whitespace() {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            word.push(c);
            if c == self.escape && quote != Some('\'') {
                word.extend(characters.next());
            } else if quote == Some(c) {
                quote = None;
            } else if quote.is_none() && matches!(c, '"' | '\'') {
                quote = Some(c);
            }
        }
        if !word.is_empty() {
            words.push(word);
        }
        words
    }

    /// Expands the inside of double quotes, up to the closing one; returns the text after it.
    fn quoted<'t>(&self, mut rest: &'t str, word: &str, text: &mut String) -> Result<&'t str, String> {
        while let Some((c, after)) = first(rest) {
            rest = after;
            match c {
                '"' => return Ok(rest),
                '$' => rest = self.variable(rest, word, text)?,
                c if c == self.escape => match first(rest) {
                    Some((plain, after)) if matches!(plain, '"' | '$') || plain == self.escape => {
                        text.push(plain);
                        rest = after;
                    }
                    _ => text.push(c),
                },
                c => text.push(c),
            }
        }
        Err(format!("`{word}` has an unclosed `\"`"))
    }

    /// Expands what follows a `$`: `NAME`, `{NAME}`, `{NAME:-otherwise}` or `{NAME:+instead}`; returns the text after
    /// it.
    fn variable<'t>(&self, rest: &'t str, word: &str, text: &mut String) -> Result<&'t str, String> {
        let get = |name: &str| {
            self.variables.get(name).map_or_else(
                || {
                    self.unset.set(true);
                    ""
                },
                String::as_str,
            )
        };
        let Some(inside) = rest.strip_prefix('{') else {
            let (name, after) = rest.split_at(name_length(rest));
            if name.is_empty() {
                text.push('$');
            } else {
                text.push_str(get(name));
            }
            return Ok(after);
        };
        let (name, after) = inside.split_at(name_length(inside));
        if name.is_empty() {
            return Err(format!("`{word}` has a `${{` without a name"));
        }
        let value = get(name);
        if let Some(after) = after.strip_prefix('}') {
            text.push_str(value);
            return Ok(after);
        }
        let endless = || format!("`{word}` has an unclosed `${{`");
        if after.is_empty() {
            return Err(endless());
        }
        let (modifier, after) = match (after.strip_prefix(":-"), after.strip_prefix(":+")) {
            (Some(after), _) => ('-', after),
            (_, Some(after)) => ('+', after),
            _ => return Err(format!("`{word}` uses `{name}` with an operator other than `:-` and `:+`")),
        };
        let end = self.brace(after).ok_or_else(endless)?;
        let (other, after) = after.split_at(end);
        match (modifier, value.is_empty()) {
            ('-', true) | ('+', false) => text.push_str(&self.expand(other)?),
            ('-', false) => text.push_str(value),
            _ => {}
        }
        Ok(after.get(1..).unwrap_or_default())
    }

    /// The offset of the `}` that closes a `${`, skipping nested, quoted and escaped ones.
    fn brace(&self, text: &str) -> Option<usize> {
        let (mut depth, mut escaped, mut quote) = (0_usize, false, None);
        for (place, c) in text.char_indices() {
            if std::mem::take(&mut escaped) {
                continue;
            }
            match c {
                c if c == self.escape && quote != Some('\'') => escaped = true,
                c if quote == Some(c) => quote = None,
                _ if quote.is_some() => {}
                '"' | '\'' => quote = Some(c),
                '{' => depth += 1,
                '}' if depth == 0 => return Some(place),
                '}' => depth -= 1,
                _ => {}
            }
        }
        None
    }
}

fn first(text: &str) -> Option<(char, &str)> {
    let mut characters = text.chars();
    Some((characters.next()?, characters.as_str()))
}

/// The length of the variable name at the start of the text: `[A-Za-z_][A-Za-z0-9_]*`.
fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_expanded_as_docker_does() {
        let variables = BTreeMap::from([
            ("A".to_owned(), "1".to_owned()),
            ("EMPTY".to_owned(), String::new()),
            ("SPACED".to_owned(), "x y".to_owned()),
        ]);
        let words = Words { escape: '\\', variables: &variables, unset: &Cell::new(false) };
        for (word, expected) in [
            ("plain", "plain"),
            ("$A${A}b$Ab", "11b"),
            (r#""a $A"'b $A'"#, "a 1b $A"),
            (r"\$A \'", "$A '"),
            (r#""\$A \" \x \\""#, r#"$A " \x \"#),
            ("${NO:-x${A}y}", "x1y"),
            ("${EMPTY:-x}${A:-x}", "x1"),
            ("${A:+x}${EMPTY:+x}${NO:+x}", "x"),
            ("${NO:-'}'}", "}"),
            ("$ $1 $SPACED", "$ $1 x y"),
            ("ä$A€", "ä1€"),
            ("a\\", "a"),
        ] {
            assert_eq!(words.expand(word).as_deref(), Ok(expected), "{word}");
        }
        for word in ["'", "\"", "${", "${A", "${A:-x", "${A:?x}", "${A#x}", "${}", "\"${A:-\""] {
            words.expand(word).unwrap_err();
        }
    }

    #[test]
    fn pairs_are_words_or_the_rest_of_the_line() {
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        let words = Words { escape: '\\', variables: &variables, unset: &Cell::new(false) };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            words.pairs(r#"a=$A  "b c"="d e" f=g\ h i='#'"#).unwrap(),
            [pair("a", "1"), pair("b c", "d e"), pair("f", "g h"), pair("i", "#")]
        );
        assert_eq!(words.pairs("NAME  the $A rest").unwrap(), [pair("NAME", "the 1 rest")]);
        for bad in ["NAME", "a=1 b", "=1"] {
            words.pairs(bad).unwrap_err();
        }
    }
}
