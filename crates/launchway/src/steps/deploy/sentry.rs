//! Sentry's release API: a release with its commits before it is deployed, and the deploy of it once it is proved.
//!
//! <https://docs.sentry.io/api/releases/>. Used only if `SENTRY_AUTH_TOKEN`, `SENTRY_ORG` and `SENTRY_PROJECT` are set.
//! If Sentry does not respond, that is reported as a skip: it never fails a deploy.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, bail};
use launchway_report::{Commit, Time};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};

use super::Kind;
use crate::config::Config;
use crate::table::SENTRY as VARIABLES;
use crate::workspace::version;
use launchway_core::environment::Environment;
use launchway_core::events::Reporter;
use launchway_core::http::{Http, base_url, first_words};
use launchway_core::secret::{Redactor, Secret};

/// For one request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a deploy sends to Sentry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SentryPlan {
    /// Nothing: the configuration does not enable it, or none of the variables is set.
    Off,
    /// Nothing, for this reason.
    Skipped(String),
    /// The release and its deploy.
    On {
        /// The package with its version: `app@0.1.0`.
        package: String,
        project: Project,
    },
}

/// A project, with the token to write its releases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Project {
    /// `SENTRY_URL`.
    root: String,
    organization: String,
    name: String,
    token: Secret,
}

/// A deploy as Sentry records it.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentryDeploy<'a> {
    pub(super) kind: Kind,
    /// The name of the release.
    pub(super) release: &'a str,
    pub(super) started: Time,
    pub(super) environment: &'a str,
}

impl SentryPlan {
    pub(crate) fn new(root: &Path, config: &Config, environment: &Environment) -> Self {
        let lacking: Vec<&str> = VARIABLES.into_iter().filter(|name| !environment.has(name)).collect();
        if config.deploy.sentry.is_none() || lacking.len() == VARIABLES.len() {
            return Self::Off;
        }
        let get = |name| environment.get(name).map(str::to_owned);
        let [token, organization, name] = VARIABLES.map(get);
        let (Some(token), Some(organization), Some(name)) = (token, organization, name) else {
            return Self::Skipped(format!("not set: {}", lacking.join(", ")));
        };
        match version(root, config) {
            Ok(version) => {
                let root = get("SENTRY_URL").unwrap_or_else(|| "https://sentry.io".to_owned());
                let project = Project { root, organization, name, token: Secret::new(token) };
                Self::On { package: format!("{}@{version}", config.package), project }
            }
            Err(error) => Self::Skipped(format!("{error:#}")),
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        matches!(self, Self::On { .. })
    }

    /// The line of a plan for this action.
    pub(crate) fn line(&self, what: &str) -> Option<String> {
        match self {
            Self::Off => None,
            Self::Skipped(reason) => Some(format!("skip Sentry: {reason}")),
            Self::On { .. } => Some(what.to_owned()),
        }
    }

    /// The name of a commit's release, under which the service reports its errors: `app@0.1.0+0123456789ab`.
    pub(crate) fn release(&self, commit: &str) -> String {
        let package = if let Self::On { package, .. } = self { package.as_str() } else { "" };
        format!("{package}+{}", launchway_core::short(commit))
    }

    /// Creates a release with its new commits, newest first.
    pub(super) fn announce(&self, http: &Http, reporter: &Reporter, release: &str, commits: &[Commit]) {
        self.act(http, reporter, release, "Sentry release", |sentry| {
            sentry.create(commits)?;
            let commits = match commits.len() {
                1 => "1 commit".to_owned(),
                many => format!("{many} commits"),
            };
            Ok(format!("Sentry release {release} with {commits}"))
        });
    }

    /// Records the deploy of a release to an environment; this finalises a new release.
    pub(super) fn deployed(&self, http: &Http, reporter: &Reporter, deploy: SentryDeploy<'_>) {
        let SentryDeploy { kind, release, started, environment } = deploy;
        // A skip was reported with the release.
        if kind == Kind::Deploy && !self.is_on() {
            return;
        }
        self.act(http, reporter, release, "Sentry deploy", |sentry| {
            let finished = SystemTime::now().into();
            if kind == Kind::Deploy {
                sentry.finalise(finished)?;
            }
            sentry.record(environment, started, finished)?;
            Ok(format!("Sentry has the deploy of {release} to {environment}"))
        });
    }

    /// Acts if Sentry is configured, and reports the outcome. Never fails a deploy.
    fn act(
        &self,
        http: &Http,
        reporter: &Reporter,
        release: &str,
        what: &str,
        act: impl FnOnce(&SentryRelease<'_>) -> Result<String>,
    ) {
        let done = match self {
            Self::Off => return,
            Self::Skipped(reason) => Err(anyhow!("{reason}")),
            Self::On { project, .. } => {
                SentryRelease::of(project, http, release).and_then(|sentry| act(&sentry))
            }
        };
        match done {
            Ok(words) => reporter.note(words),
            Err(error) => reporter.skipped(what, format!("{error:#}")),
        }
    }
}

/// One release of one project.
struct SentryRelease<'a> {
    http: &'a Http,
    /// `…/api/0/organizations/{organization}/releases/`.
    base: Url,
    token: &'a Secret,
    project: &'a str,
    /// `app@0.1.0+0123456789ab`: the name under which the service reports its errors.
    version: &'a str,
}

impl<'a> SentryRelease<'a> {
    fn of(project: &'a Project, http: &'a Http, version: &'a str) -> Result<Self> {
        let Project { root, organization, name, token } = project;
        let mut base = base_url("SENTRY_URL", root)?;
        base.path_segments_mut()
            .map_err(|()| anyhow!("`SENTRY_URL` cannot have a path"))?
            .pop_if_empty()
            .extend(["api", "0", "organizations", organization, "releases", ""]);
        Ok(Self { http, base, token, project: name, version })
    }

    /// Sentry responds 201 for a new release and 208 for an existing one.
    fn create(&self, commits: &[Commit]) -> Result<()> {
        let commits: Vec<Value> = commits
            .iter()
            .map(|commit| json!({ "id": commit.sha, "message": commit.subject, "timestamp": commit.time }))
            .collect();
        let body = json!({ "version": self.version, "projects": [self.project], "commits": commits });
        self.call(Method::POST, &self.base, &body)
    }

    fn finalise(&self, released: Time) -> Result<()> {
        let body = json!({ "projects": [self.project], "dateReleased": released });
        self.call(Method::PUT, &self.release("")?, &body)
    }

    fn record(&self, environment: &str, started: Time, finished: Time) -> Result<()> {
        let body = json!({
            "environment": environment,
            "projects": [self.project],
            "dateStarted": started,
            "dateFinished": finished,
        });
        self.call(Method::POST, &self.release("deploys/")?, &body)
    }

    /// The URL of the release; `+` is encoded as `%2B`, as in `sentry-cli`.
    fn release(&self, rest: &str) -> Result<Url> {
        Ok(self.base.join(&format!("{}/{rest}", self.version.replace('+', "%2B")))?)
    }

    fn call(&self, method: Method, url: &Url, body: &Value) -> Result<()> {
        let response = self
            .http
            .request(method, url)?
            .bearer_auth(self.token.expose())
            .timeout(TIMEOUT)
            .json(body)
            .send()
            .map_err(|error| self.http.transport_error(error))
            .with_context(|| format!("{} does not respond", self.base.host_str().unwrap_or_default()))?;
        match response.status() {
            status if status.is_success() => Ok(()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                bail!(
                    "Sentry rejected `SENTRY_AUTH_TOKEN`: it needs the scope `project:releases` (or `org:ci`)"
                )
            }
            StatusCode::NOT_FOUND => {
                bail!(
                    "Sentry cannot find it: check `SENTRY_ORG` and `SENTRY_PROJECT`{}",
                    first_words(response, &Redactor::new([self.token.clone()]))
                )
            }
            status => bail!(
                "Sentry responded {status}{}",
                first_words(response, &Redactor::new([self.token.clone()]))
            ),
        }
    }
}

#[cfg(test)]
mod tests;
