//! The branch rule: when a job runs, evaluated here and rendered as the workflow's `if:`.

use std::fmt;

use crate::git::Git;
use launchway_core::environment::Environment;

/// When a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// On every push, for every pull request, and for every group of a merge queue.
    ///
    /// It has no condition, so that GitHub never skips the job: GitHub counts a skipped job as successful, even if a
    /// branch rule requires it.
    Always,
    /// On a push to the release branch.
    Release,
    /// When somebody starts the workflow on the release branch.
    Requested,
}

impl When {
    /// The rule for this release branch, if there is one.
    pub(crate) fn rule(self, branch: &str) -> Option<Rule> {
        match self {
            Self::Always => None,
            Self::Release => Some(Rule::release(branch)),
            Self::Requested => Some(Rule::on_release("workflow_dispatch", branch)),
        }
    }

    pub(crate) fn allows(self, branch: &str, trigger: &Trigger) -> bool {
        self.rule(branch).is_none_or(|rule| rule.allows(trigger))
    }

    /// The rule in words.
    pub(crate) fn words(self, branch: &str) -> String {
        match self {
            Self::Always => "every push, pull request and merge queue".to_owned(),
            Self::Release => format!("push to `{branch}`"),
            Self::Requested => format!("start by hand on `{branch}`"),
        }
    }
}

/// A rule as data: [`Rule::allows`] evaluates it and `Display` writes it as a GitHub expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    All(Vec<Rule>),
    Not(Box<Rule>),
    Event(&'static str),
    Branch(String),
}

impl Rule {
    /// A push to the release branch.
    pub(crate) fn release(branch: &str) -> Self {
        Self::on_release("push", branch)
    }

    /// An event on the release branch: what holds the secrets of a release has this rule.
    fn on_release(event: &'static str, branch: &str) -> Self {
        Self::All(vec![Self::Event(event), Self::Branch(branch.to_owned())])
    }

    pub(crate) fn allows(&self, trigger: &Trigger) -> bool {
        match self {
            Self::All(rules) => rules.iter().all(|rule| rule.allows(trigger)),
            Self::Not(rule) => !rule.allows(trigger),
            Self::Event(event) => trigger.event == *event,
            Self::Branch(branch) => trigger.git_ref == format!("refs/heads/{branch}"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(rules) => {
                let rules: Vec<String> = rules.iter().map(ToString::to_string).collect();
                f.write_str(&rules.join(" && "))
            }
            Self::Not(rule) => write!(f, "!({rule})"),
            Self::Event(event) => write!(f, "github.event_name == '{event}'"),
            Self::Branch(branch) => write!(f, "github.ref == 'refs/heads/{branch}'"),
        }
    }
}

/// What started the run, in GitHub's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trigger {
    /// `push`, `pull_request`, …
    pub(crate) event: String,
    /// `refs/heads/main`, `refs/pull/1/merge`, …; empty on a detached HEAD.
    pub(crate) git_ref: String,
}

impl Trigger {
    /// GitHub's own values there; elsewhere a push of `branch`, or of git's current branch.
    pub(crate) fn read(environment: &Environment, git: &Git, branch: Option<&str>) -> Self {
        if let Some(branch) = branch.or(git.branch.as_deref().filter(|_| !on_github(environment))) {
            return Self::push(branch);
        }
        if !on_github(environment) {
            return Self { event: "push".to_owned(), git_ref: String::new() };
        }
        let get = |name: &str| environment.get(name).unwrap_or_default().to_owned();
        Self { event: get("GITHUB_EVENT_NAME"), git_ref: get("GITHUB_REF") }
    }

    pub(crate) fn push(branch: &str) -> Self {
        Self { event: "push".to_owned(), git_ref: format!("refs/heads/{branch}") }
    }

    /// The branch, if the trigger is on one.
    pub(crate) fn branch(&self) -> Option<&str> {
        self.git_ref.strip_prefix("refs/heads/")
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.branch() {
            // On a laptop nothing was pushed.
            Some(branch) if self.event == "push" => write!(f, "branch `{branch}`"),
            Some(branch) => write!(f, "a {} of `{branch}`", self.event),
            None if self.git_ref.is_empty() => f.write_str("a detached HEAD"),
            None => write!(f, "a {} of `{}`", self.event, self.git_ref),
        }
    }
}

/// Whether the run is on GitHub Actions.
pub(crate) fn on_github(environment: &Environment) -> bool {
    environment.get("GITHUB_ACTIONS") == Some("true")
}

#[cfg(test)]
mod tests;
