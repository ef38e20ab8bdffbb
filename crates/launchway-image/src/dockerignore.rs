//! Patterns over paths: `.dockerignore`, and the wildcards of `COPY`.
//!
//! The rules are those of the Dockerfile reference, ".dockerignore file", as implemented by moby's `patternmatcher`.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

/// The rules of a `.dockerignore`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ignore(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    pattern: String,
    /// `!`: what matches is included after all.
    exception: bool,
}

impl Ignore {
    /// Reads the lines of a `.dockerignore`; an error names the line.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut rules = Vec::new();
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            // A comment starts in the first column; spaces around a pattern are dropped.
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let line = line.trim();
            let (pattern, exception) = match line.strip_prefix('!') {
                Some(rest) => (clean(rest.trim()), true),
                None => (clean(line), false),
            };
            if pattern.is_empty() && line == "!" {
                bail!(".dockerignore:{}: `!` needs a pattern after it", number + 1);
            }
            if !is_valid(&pattern) {
                bail!(".dockerignore:{}: `{line}` is not a valid pattern", number + 1);
            }
            // "For historical reasons, the pattern `.` is ignored."
            if !pattern.is_empty() {
                rules.push(Rule { pattern, exception });
            }
        }
        Ok(Self(rules))
    }

    /// Whether the path, relative to the context and with `/` between its parts, is excluded.
    ///
    /// The last rule that matches the path or one of its parents decides.
    pub(crate) fn excludes(&self, path: &str) -> bool {
        self.0
            .iter()
            .rfind(|rule| with_ancestors(path).any(|part| matches(&rule.pattern, part)))
            .is_some_and(|rule| !rule.exception)
    }

    /// Whether an exception may include something below an excluded folder, which must then be searched.
    pub(crate) fn may_bring_back_below(&self, folder: &str) -> bool {
        self.0.iter().filter(|rule| rule.exception).any(|rule| {
            for (part, name) in rule.pattern.split('/').zip(folder.split('/')) {
                if part.contains("**") {
                    return true;
                }
                if !matches(part, name) {
                    return false;
                }
            }
            true
        })
    }
}

/// Whether the pattern matches the whole path.
///
/// `*` and `?` stop at `/`, `**` does not, `[a-z]` and `[^a-z]` are classes, a backslash escapes a character.
/// `**` and the `/` after it match any number of folders, including none; at the end it matches everything.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<char>, Vec<char>) = (pattern.chars().collect(), path.chars().collect());
    matches_from(&pattern, &path, &mut BTreeSet::new())
}

/// Whether the rest of a pattern matches the rest of a path. Failures are memoised by the two lengths: otherwise a few
/// stars would take exponential time.
fn matches_from(pattern: &[char], path: &[char], failed: &mut BTreeSet<(usize, usize)>) -> bool {
    let place = (pattern.len(), path.len());
    if failed.contains(&place) {
        return false;
    }
    let does = match pattern {
        [] => path.is_empty(),
        ['*', '*', rest @ ..] => {
            let rest = rest.strip_prefix(&['/']).unwrap_or(rest);
            let behind_slash =
                |place: usize| place.checked_sub(1).is_none_or(|before| path.get(before) == Some(&'/'));
            rest.is_empty()
                || (0..=path.len()).any(|place| {
                    behind_slash(place) && matches_from(rest, path.get(place..).unwrap_or_default(), failed)
                })
        }
        ['*', rest @ ..] => {
            let name = path.iter().take_while(|c| **c != '/').count();
            (0..=name).any(|skipped| matches_from(rest, path.get(skipped..).unwrap_or_default(), failed))
        }
        [first, rest @ ..] => {
            let Some((c, path)) = path.split_first() else { return false };
            match (first, rest) {
                ('?', rest) => *c != '/' && matches_from(rest, path, failed),
                ('[', rest) => match class(rest) {
                    Some((class, rest)) => {
                        *c != '/' && class.contains(*c) && matches_from(rest, path, failed)
                    }
                    None => false,
                },
                ('\\', [plain, rest @ ..]) | (plain, rest) => plain == c && matches_from(rest, path, failed),
            }
        }
    };
    if !does {
        failed.insert(place);
    }
    does
}

/// `[…]`: ranges of characters.
struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    fn contains(&self, c: char) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != self.negated
    }
}

/// Parses a class after its `[`; `None` if it is unclosed or empty.
fn class(pattern: &[char]) -> Option<(Class, &[char])> {
    let (negated, mut rest) = match pattern {
        ['^', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    let mut ranges = Vec::new();
    loop {
        match rest {
            [']', rest @ ..] if !ranges.is_empty() => return Some((Class { negated, ranges }, rest)),
            [']', ..] | [] => return None,
            _ => {}
        }
        let (first, after) = class_character(rest)?;
        let (last, after) = match after {
            ['-', after @ ..] => class_character(after)?,
            _ => (first, after),
        };
        ranges.push((first, last));
        rest = after;
    }
}

fn class_character(pattern: &[char]) -> Option<(char, &[char])> {
    match pattern {
        ['\\'] | ['-' | ']', ..] | [] => None,
        ['\\', c, rest @ ..] | [c, rest @ ..] => Some((*c, rest)),
    }
}

/// Whether every class of the pattern is closed and no backslash is last.
pub(crate) fn is_valid(pattern: &str) -> bool {
    let characters: Vec<char> = pattern.chars().collect();
    let mut rest = characters.as_slice();
    loop {
        rest = match rest {
            [] => return true,
            ['\\'] => return false,
            ['[', inside @ ..] => match class(inside) {
                Some((_, rest)) => rest,
                None => return false,
            },
            ['\\', _, rest @ ..] | [_, rest @ ..] => rest,
        };
    }
}

/// The path without `.`, `..`, and doubled, leading and trailing slashes, like Go's `filepath.Clean` on a path below
/// the root.
pub(crate) fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// `a/b/c`, then `a/b`, then `a`.
fn with_ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| Some(path.rsplit_once('/')?.0))
}

#[cfg(test)]
mod tests;
