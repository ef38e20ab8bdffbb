//! The variables that the pipeline reads, from the environment and from a git-ignored `.env`.

mod dotenv;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::exit::{Exit, Failure, OrExit as _};
use crate::secret::Secret;

/// The environment, read once. An empty variable counts as absent, because GitHub passes an unset secret that way.
#[derive(Clone, Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
    /// The content of `.env`, including values that the process environment overrides.
    in_file: BTreeSet<String>,
}

impl Environment {
    /// How long a `.env` that is a pipe may take: a password manager may ask for a fingerprint.
    const PIPE_TIMEOUT: Duration = Duration::from_secs(60);

    /// The process environment, supplemented by `.env` in the workspace root. White space and marks that pasting leaves
    /// around the values of the pipeline's variables are removed.
    pub fn read(root: &Path, is_known: impl Fn(&str) -> bool) -> Result<Self> {
        let mut values = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) if !value.is_empty() => {
                    values.insert(name, value);
                }
                (Ok(name), Err(_)) if is_known(&name) => {
                    return Err(
                        Failure::new(Exit::Usage, format!("`{name}` is not UTF-8: set it again")).into()
                    );
                }
                _ => {}
            }
        }
        let mut in_file = BTreeSet::new();
        let file = root.join(".env");
        if let Some(text) = dotenv::read(&file, Self::PIPE_TIMEOUT).or_exit(Exit::Usage)? {
            let added = dotenv::parse(&text)
                .with_context(|| format!("{} is not valid", file.display()))
                .or_exit(Exit::Usage)?;
            for (name, value) in added {
                in_file.insert(name.clone());
                values.entry(name).or_insert(value);
            }
        }
        for (_, value) in values.iter_mut().filter(|(name, _)| is_known(name)) {
            *value = pasted(value).to_owned();
        }
        values.retain(|_, value| !value.is_empty());
        Ok(Self { values, in_file })
    }

    /// Exactly these variables.
    pub fn of<N: Into<String>, V: Into<String>>(values: impl IntoIterator<Item = (N, V)>) -> Self {
        let values = values
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        Self { values, in_file: BTreeSet::new() }
    }

    /// Overrides variables with these.
    #[must_use]
    pub fn with(mut self, over: Self) -> Self {
        self.values.extend(over.values);
        self
    }

    /// Removes these variables.
    #[must_use]
    pub fn without(mut self, names: &[&str]) -> Self {
        self.values.retain(|name, _| !names.contains(&name.as_str()));
        self
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Whether a variable is set.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The names of all variables that are set.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Whether `.env` has the variable.
    pub fn is_from_file(&self, name: &str) -> bool {
        self.in_file.contains(name)
    }

    /// The value of a variable that must not be shown.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.get(name).map(Secret::new)
    }
}

/// What pasting leaves around a value: spaces, line ends, byte order marks, and zero-width characters.
fn pasted(value: &str) -> &str {
    value.trim_matches(|c: char| {
        c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2060}')
    })
}

/// Why a token was probably not pasted exactly, to complete "`NAME` …".
pub fn flaw(token: &str) -> Option<&'static str> {
    let quotes = ['"', '\'', '`', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}'];
    if token.contains(['\n', '\r']) {
        Some("contains a line break")
    } else if token.starts_with(quotes) && token.ends_with(quotes) {
        Some("is in quotes")
    } else if token.contains(" #") {
        Some("ends in a comment")
    } else if token.contains(char::is_whitespace) {
        Some("contains a space")
    } else if token.contains(|c: char| c.is_control() || !c.is_ascii()) {
        Some("contains a character that no token can have")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_wins_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join(".env"), "PATH=from-file\nONLY_IN_FILE=yes\n").unwrap();
        let environment =
            Environment::read(dir.path(), |name| name.ends_with("_TOKEN") || name == "RENDER_API_KEY")
                .unwrap();
        assert_ne!(environment.get("PATH"), Some("from-file"));
        assert_eq!(environment.get("ONLY_IN_FILE"), Some("yes"));
    }

    #[test]
    fn what_pasting_leaves_around_a_value_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let file = "DOCKERHUB_TOKEN='\u{feff}hunter2-hunter2 \u{200b}'\nRENDER_API_KEY=' '\nOTHER=' x '\n";
        fs_err::write(dir.path().join(".env"), file).unwrap();
        let environment =
            Environment::read(dir.path(), |name| name.ends_with("_TOKEN") || name == "RENDER_API_KEY")
                .unwrap();
        assert_eq!(environment.get("DOCKERHUB_TOKEN"), Some("hunter2-hunter2"));
        assert!(!environment.has("RENDER_API_KEY"));
        assert_eq!(environment.get("OTHER"), Some(" x "), "it is not the pipeline's");
        assert_eq!(pasted("\u{feff}a b\r\n"), "a b");
    }

    #[test]
    fn a_badly_pasted_token_is_named() {
        for (token, expected) in [
            ("dckr_pat_abc", None),
            ("a#b", None),
            ("a\nb", Some("contains a line break")),
            ("\"abc\"", Some("is in quotes")),
            ("\u{201c}abc\u{201d}", Some("is in quotes")),
            ("abc # mine", Some("ends in a comment")),
            ("abc def", Some("contains a space")),
            ("abc\u{2026}", Some("contains a character that no token can have")),
        ] {
            assert_eq!(flaw(token), expected, "of `{token}`");
        }
    }

    #[test]
    fn an_empty_variable_is_absent() {
        let environment = Environment::of([("A", ""), ("B", "1"), ("C", "2")]).without(&["C"]);
        assert!(!environment.has("A") && environment.has("B") && !environment.has("C"));
        assert_eq!(environment.with(Environment::of([("B", "3")])).get("B"), Some("3"));
    }
}
