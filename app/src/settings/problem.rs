//! Problems with an environment, for the terminal and for `app check`.

use std::fmt;

/// Ids of checks, stable for scripts: Django's where Django has the check, ours (`app.R…`) elsewhere.
pub(crate) mod id {
    pub(crate) const SECRET_KEY: &str = "security.W009";
    pub(crate) const DEBUG: &str = "security.W018";
    pub(crate) const HOSTS: &str = "security.W020";
    pub(crate) const FALLBACKS: &str = "security.W025";
    pub(crate) const SENTRY_DSN: &str = "app.R101";
    pub(crate) const RENDER_HOST: &str = "app.R102";
    pub(crate) const DATABASE: &str = "app.R103";
    pub(crate) const RELEASE: &str = "app.R104";
    pub(crate) const ADDRESS: &str = "app.R105";
    pub(crate) const CLOCK: &str = "app.R106";
    pub(crate) const SSL_VERIFY: &str = "app.R107";
    pub(crate) const LOOKALIKE: &str = "app.R108";
    pub(crate) const SERVER_TYPE: &str = "app.R109";
    pub(crate) const DRAIN: &str = "app.R110";
    pub(crate) const ANY_HOST: &str = "app.R111";
}

/// One error or warning. No part of it quotes a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The id of the check that found it.
    pub id: &'static str,
    /// The variable concerned.
    pub variable: String,
    /// What is wrong: the rest of a sentence after the variable's name, or a sentence that starts with its value in
    /// backticks.
    pub wrong: String,
    /// What to do about it.
    pub hint: String,
}

impl Problem {
    /// The variable and what is wrong with it, as one sentence.
    pub(crate) fn sentence(&self) -> String {
        let Self { variable, wrong, .. } = self;
        let colon = if wrong.starts_with('`') { ":" } else { "" };
        format!("{variable}{colon} {wrong}")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.sentence(), self.hint)
    }
}

/// Everything that is wrong with an environment.
#[derive(Debug)]
pub struct Problems {
    /// Why the settings cannot be used; never empty.
    pub problems: Vec<Problem>,
    /// What is allowed but questionable.
    pub warnings: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the settings cannot be used:")?;
        for problem in &self.problems {
            writeln!(f, "  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Prepares a value that is not secret for one line of a terminal: escaped and cut after 80 characters.
pub(crate) fn shown(value: &str) -> String {
    value.chars().take(80).flat_map(char::escape_debug).collect()
}
