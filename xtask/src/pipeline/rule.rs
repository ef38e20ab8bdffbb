//! The branch rule: when a job runs, evaluated here and rendered as the workflow's `if:`.

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::environment::Environment;
use crate::git::Git;

/// When a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// On every branch, and for pull requests from forks; those from the repository itself ran as a push already.
    Always,
    /// On a push to the release branch.
    Release,
}

impl When {
    /// The rule for this release branch.
    pub(crate) fn rule(self, branch: &str) -> Rule {
        match self {
            Self::Always => Rule::Any(vec![Rule::Not(Box::new(Rule::Event("pull_request"))), Rule::FromFork]),
            Self::Release => Rule::All(vec![Rule::Event("push"), Rule::Branch(branch.to_owned())]),
        }
    }

    /// The rule in words.
    pub(crate) fn words(self, branch: &str) -> String {
        match self {
            Self::Always => "every branch, and pull requests from forks".to_owned(),
            Self::Release => format!("push to `{branch}`"),
        }
    }
}

/// A rule as data: [`Rule::allows`] evaluates it and `Display` writes it as a GitHub expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    All(Vec<Rule>),
    Any(Vec<Rule>),
    Not(Box<Rule>),
    Event(&'static str),
    Branch(String),
    FromFork,
}

impl Rule {
    pub(crate) fn allows(&self, trigger: &Trigger) -> bool {
        match self {
            Self::All(rules) => rules.iter().all(|rule| rule.allows(trigger)),
            Self::Any(rules) => rules.iter().any(|rule| rule.allows(trigger)),
            Self::Not(rule) => !rule.allows(trigger),
            Self::Event(event) => trigger.event == *event,
            Self::Branch(branch) => trigger.git_ref == format!("refs/heads/{branch}"),
            Self::FromFork => trigger.from_fork,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |f: &mut fmt::Formatter<'_>, rules: &[Self], operator: &str| {
            for (place, rule) in rules.iter().enumerate() {
                if place > 0 {
                    write!(f, " {operator} ")?;
                }
                match rule {
                    Self::All(_) | Self::Any(_) => write!(f, "({rule})")?,
                    _ => write!(f, "{rule}")?,
                }
            }
            Ok(())
        };
        match self {
            Self::All(rules) => join(f, rules, "&&"),
            Self::Any(rules) => join(f, rules, "||"),
            Self::Not(rule) => match rule.as_ref() {
                Self::Event(event) => write!(f, "github.event_name != '{event}'"),
                rule => write!(f, "!({rule})"),
            },
            Self::Event(event) => write!(f, "github.event_name == '{event}'"),
            Self::Branch(branch) => write!(f, "github.ref == 'refs/heads/{branch}'"),
            Self::FromFork => {
                f.write_str("github.event.pull_request.head.repo.full_name != github.repository")
            }
        }
    }
}

/// What started the run, in GitHub's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trigger {
    /// `push`, `pull_request`, …
    pub(crate) event: String,
    /// `refs/heads/master`, `refs/pull/1/merge`, …; empty on a detached head.
    pub(crate) git_ref: String,
    pub(crate) from_fork: bool,
}

impl Trigger {
    /// On GitHub what it says; elsewhere a push of `branch`, or of the branch that git is on.
    pub(crate) fn read(environment: &Environment, git: &Git, branch: Option<&str>) -> Result<Self> {
        if let Some(branch) = branch.or(git.branch.as_deref().filter(|_| !on_github(environment))) {
            return Ok(Self::push(branch));
        }
        if !on_github(environment) {
            return Ok(Self { event: "push".to_owned(), git_ref: String::new(), from_fork: false });
        }
        let event = environment.get("GITHUB_EVENT_NAME").unwrap_or_default().to_owned();
        let from_fork = event == "pull_request" && is_from_fork(environment)?;
        Ok(Self { event, git_ref: environment.get("GITHUB_REF").unwrap_or_default().to_owned(), from_fork })
    }

    pub(crate) fn push(branch: &str) -> Self {
        Self { event: "push".to_owned(), git_ref: format!("refs/heads/{branch}"), from_fork: false }
    }

    /// The branch, where the trigger is one.
    pub(crate) fn branch(&self) -> Option<&str> {
        self.git_ref.strip_prefix("refs/heads/")
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.branch() {
            Some(branch) => write!(f, "{} of `{branch}`", self.event),
            None if self.git_ref.is_empty() => f.write_str("a detached head"),
            None => write!(f, "{} of `{}`", self.event, self.git_ref),
        }
    }
}

/// Whether the run is one of GitHub Actions.
pub(crate) fn on_github(environment: &Environment) -> bool {
    environment.get("GITHUB_ACTIONS") == Some("true")
}

/// Compares the two repositories that the event's payload and the environment name, as the expression does.
fn is_from_fork(environment: &Environment) -> Result<bool> {
    let path = environment.get("GITHUB_EVENT_PATH").context("GITHUB_EVENT_PATH is not set")?;
    let event: serde_json::Value = serde_json::from_str(&fs_err::read_to_string(Path::new(path))?)
        .with_context(|| format!("{path} is not JSON"))?;
    let head = event.pointer("/pull_request/head/repo/full_name").and_then(serde_json::Value::as_str);
    Ok(head != environment.get("GITHUB_REPOSITORY"))
}

#[cfg(test)]
mod tests;
