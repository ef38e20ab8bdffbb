//! Sentry's release API: a release with its commits before it is deployed, and the deploy of it once it is proved.
//!
//! <https://docs.sentry.io/api/releases/>. It gets requests only where `SENTRY_AUTH_TOKEN`, `SENTRY_ORG` and
//! `SENTRY_PROJECT` are set. A Sentry that does not respond is reported as a skip: it never fails a deploy.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, bail};
use launchway_report::{Commit, Time};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};

use super::Kind;
use crate::context::Context;
use crate::table::SENTRY as VARIABLES;
use crate::workspace::version;
use launchway_core::http::{Http, base_url, first_words};
use launchway_core::secret::{Redactor, Secret};

/// For one request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a deploy sends to Sentry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SentryPlan {
    /// Nothing: the configuration does not switch it on, or none of the variables is set.
    Off,
    /// Nothing, for this reason.
    Skipped(String),
    /// The release and the deploy of it.
    On {
        /// The package with its version: `app@0.1.0`.
        package: String,
    },
}

impl SentryPlan {
    pub(crate) fn of(ctx: &Context) -> Self {
        let lacking: Vec<&str> = VARIABLES.into_iter().filter(|name| !ctx.environment.has(name)).collect();
        if ctx.config.deploy.sentry.is_none() || lacking.len() == VARIABLES.len() {
            return Self::Off;
        }
        if !lacking.is_empty() {
            return Self::Skipped(format!("not set: {}", lacking.join(", ")));
        }
        match version(ctx) {
            Ok(version) => Self::On { package: format!("{}@{version}", ctx.config.package) },
            Err(error) => Self::Skipped(format!("{error:#}")),
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        matches!(self, Self::On { .. })
    }

    /// The line of a plan that does this.
    pub(crate) fn line(&self, what: &str) -> Option<String> {
        match self {
            Self::Off => None,
            Self::Skipped(reason) => Some(format!("skip Sentry: {reason}")),
            Self::On { .. } => Some(what.to_owned()),
        }
    }

    /// The name of a commit's release, under which the app reports its errors: `app@0.1.0+0123456789ab`.
    pub(crate) fn release(&self, commit: &str) -> String {
        let package = if let Self::On { package } = self { package.as_str() } else { "" };
        format!("{package}+{}", launchway_core::short(commit))
    }

    /// Creates a release with the commits that are new in it, newest first.
    pub(crate) fn announce(&self, ctx: &Context, release: &str, commits: &[Commit]) {
        self.act(ctx, release, "Sentry release", |sentry| {
            sentry.create(commits)?;
            let commits = match commits.len() {
                1 => "1 commit".to_owned(),
                many => format!("{many} commits"),
            };
            Ok(format!("Sentry release {release} with {commits}"))
        });
    }

    /// Records that a release was deployed to an environment; a new release is finalised with it.
    pub(crate) fn deployed(
        &self,
        ctx: &Context,
        kind: Kind,
        release: &str,
        started: Time,
        environment: &str,
    ) {
        // A skip was reported with the release.
        if kind == Kind::Deploy && !self.is_on() {
            return;
        }
        self.act(ctx, release, "Sentry deploy", |sentry| {
            let finished = SystemTime::now().into();
            if kind == Kind::Deploy {
                sentry.finalise(finished)?;
            }
            sentry.record(environment, started, finished)?;
            Ok(format!("Sentry has the deploy of {release} to {environment}"))
        });
    }

    /// Acts where Sentry is configured, and reports the outcome. It never fails a deploy.
    fn act(&self, ctx: &Context, release: &str, what: &str, act: impl FnOnce(&Releases) -> Result<String>) {
        let done = match self {
            Self::Off => return,
            Self::Skipped(reason) => Err(anyhow!("{reason}")),
            Self::On { .. } => Releases::of(ctx, release).and_then(|sentry| act(&sentry)),
        };
        match done {
            Ok(words) => ctx.reporter.note(words),
            Err(error) => ctx.reporter.skipped(what, format!("{error:#}")),
        }
    }
}

/// One release of one project.
struct Releases {
    http: Http,
    /// `…/api/0/organizations/{organization}/releases/`.
    base: Url,
    token: Secret,
    project: String,
    /// `app@0.1.0+0123456789ab`: the name under which the app reports its errors.
    version: String,
}

impl Releases {
    fn of(ctx: &Context, release: &str) -> Result<Self> {
        let root = ctx.environment.get("SENTRY_URL").unwrap_or("https://sentry.io");
        let mut base = base_url("SENTRY_URL", root)?;
        let organization = ctx.required("SENTRY_ORG")?;
        base.path_segments_mut()
            .map_err(|()| anyhow!("`SENTRY_URL` cannot have a path"))?
            .pop_if_empty()
            .extend(["api", "0", "organizations", organization.expose(), "releases", ""]);
        Ok(Self {
            http: ctx.http()?,
            base,
            token: ctx.required("SENTRY_AUTH_TOKEN")?,
            project: ctx.required("SENTRY_PROJECT")?.expose().to_owned(),
            version: release.to_owned(),
        })
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

    /// An address of the release; in it `+` is written `%2B`, as `sentry-cli` does.
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
