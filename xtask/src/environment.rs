//! The variables that the pipeline reads, from the environment and from a git-ignored `.env`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::exit::{Exit, OrExit as _};
use crate::secret::Secret;

/// The environment, read once. An empty variable counts as absent, as GitHub passes a secret that is not set.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    values: BTreeMap<String, String>,
    /// What stands in `.env`, whether it counts or the process environment does.
    in_file: BTreeSet<String>,
}

impl Environment {
    /// The process environment, and from `.env` in the workspace root what it lacks.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut values: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let mut in_file = BTreeSet::new();
        let file = root.join(".env");
        if file.is_file() {
            let text = fs_err::read_to_string(&file).or_exit(Exit::Usage)?;
            let added = parse(&text)
                .with_context(|| format!("{} is not valid", file.display()))
                .or_exit(Exit::Usage)?;
            for (name, value) in added {
                in_file.insert(name.clone());
                values.entry(name).or_insert(value);
            }
        }
        Ok(Self { values, in_file })
    }

    /// Exactly these variables.
    pub(crate) fn of<N: Into<String>, V: Into<String>>(values: impl IntoIterator<Item = (N, V)>) -> Self {
        let values = values
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        Self { values, in_file: BTreeSet::new() }
    }

    /// These variables instead of the ones of the same name.
    pub(crate) fn with(mut self, over: Self) -> Self {
        self.values.extend(over.values);
        self
    }

    /// Without these variables.
    pub(crate) fn without(mut self, names: &[&str]) -> Self {
        self.values.retain(|name, _| !names.contains(&name.as_str()));
        self
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Whether `.env` has the variable.
    pub(crate) fn is_from_file(&self, name: &str) -> bool {
        self.in_file.contains(name)
    }

    pub(crate) fn secret(&self, name: &str) -> Option<Secret> {
        self.get(name).map(Secret::new)
    }
}

/// Lines `NAME=value`; comments, blank lines, a leading `export` and one pair of quotes around the value are dropped.
///
/// Nothing is substituted: a `$` in a secret key is a dollar sign.
/// An error names the line, never its text, which may hold a secret.
fn parse(text: &str) -> Result<Vec<(String, String)>> {
    let mut values = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            bail!("line {} is not `NAME=value`", number + 1);
        };
        let name = name.trim_end();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            bail!("line {} does not begin with the name of a variable", number + 1);
        }
        let value = value.trim();
        let value = ['"', '\'']
            .iter()
            .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote))
            .unwrap_or(value);
        if !value.is_empty() {
            values.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_file_of_variables() {
        let text = "# comment\n\nA=1\nexport B = 'x $HOME y'\nC=\"a=b\"\nD=\n";
        let expected = [("A", "1"), ("B", "x $HOME y"), ("C", "a=b")];
        assert_eq!(parse(text).unwrap(), expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn an_error_names_the_line_and_not_its_text() {
        for text in ["A=1\nhunter2", "A=1\nhunter 2=x"] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains("line 2") && !error.contains("hunter"), "{error}");
        }
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join(".env"), "PATH=from-file\nONLY_IN_FILE=yes\n").unwrap();
        let environment = Environment::read(dir.path()).unwrap();
        assert_ne!(environment.get("PATH"), Some("from-file"));
        assert_eq!(environment.get("ONLY_IN_FILE"), Some("yes"));
    }

    #[test]
    fn an_empty_variable_is_absent() {
        let environment = Environment::of([("A", ""), ("B", "1"), ("C", "2")]).without(&["C"]);
        assert!(!environment.has("A") && environment.has("B") && !environment.has("C"));
        assert_eq!(environment.with(Environment::of([("B", "3")])).get("B"), Some("3"));
    }
}
