//! Sentry's release API: a release with its commits before it is deployed, and the deploy of it once it is proved.
//!
//! <https://docs.sentry.io/api/releases/>. It is asked only where `SENTRY_AUTH_TOKEN`, `SENTRY_ORG` and
//! `SENTRY_PROJECT` are set, and a Sentry that does not answer is told as a skip: it never fails a deploy.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, bail};
use report::{Commit, Time};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};

use crate::context::Context;
use crate::steps::deploy::Kind;
use crate::table::SENTRY as VARIABLES;
use crate::workspace::version;
use launchway_core::http::{Http, base_url, first_words};
use launchway_core::secret::{Redactor, Secret};

/// For one request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Makes the release of this commit, with the commits that are new in it, newest first.
pub(crate) fn announce(ctx: &Context, commits: &[Commit]) {
    told(ctx, &ctx.git.commit, "Sentry release", |sentry| {
        sentry.create(commits)?;
        let commits = match commits.len() {
            1 => "1 commit".to_owned(),
            many => format!("{many} commits"),
        };
        Ok(format!("Sentry release {} with {commits}", sentry.version))
    });
}

/// Records that the release of a commit was deployed to the environment with this name, under which the service
/// reports its errors, too; a new release is finalised with it.
pub(crate) fn deployed(ctx: &Context, kind: Kind, commit: &str, started: Time, environment: &str) {
    told(ctx, commit, "Sentry deploy", |sentry| {
        let finished = SystemTime::now().into();
        if kind == Kind::Deploy {
            sentry.finalise(finished)?;
        }
        sentry.record(environment, started, finished)?;
        Ok(format!("Sentry knows of the deploy of {} to {environment}", sentry.version))
    });
}

/// Does it where Sentry is configured, and tells what came of it.
fn told(ctx: &Context, commit: &str, what: &str, act: impl FnOnce(&Releases) -> Result<String>) {
    if ctx.config.deploy.sentry.is_none() {
        return;
    }
    let lacking: Vec<&str> = VARIABLES.into_iter().filter(|name| !ctx.environment.has(name)).collect();
    if lacking.len() == VARIABLES.len() {
        return;
    }
    let done = if lacking.is_empty() {
        Releases::of(ctx, commit).and_then(|sentry| act(&sentry))
    } else {
        Err(anyhow!("not set: {}", lacking.join(", ")))
    };
    match done {
        Ok(words) => ctx.reporter.note(words),
        Err(error) => ctx.reporter.skipped(what, format!("{error:#}")),
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
    fn of(ctx: &Context, commit: &str) -> Result<Self> {
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
            version: format!(
                "{}@{}+{}",
                ctx.config.package,
                version(ctx)?,
                commit.get(..12).unwrap_or(commit)
            ),
        })
    }

    /// 201 for a new one, 208 for one that is there.
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
            .map_err(|error| anyhow!(error.without_url()))
            .with_context(|| format!("{} does not answer", self.base.host_str().unwrap_or_default()))?;
        match response.status() {
            status if status.is_success() => Ok(()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                bail!(
                    "Sentry refuses `SENTRY_AUTH_TOKEN`: it needs the scope `project:releases` (or `org:ci`)"
                )
            }
            StatusCode::NOT_FOUND => {
                bail!(
                    "Sentry does not find it: look at `SENTRY_ORG` and `SENTRY_PROJECT`{}",
                    first_words(response, &Redactor::new([self.token.clone()]))
                )
            }
            status => bail!(
                "Sentry answers {status}{}",
                first_words(response, &Redactor::new([self.token.clone()]))
            ),
        }
    }
}

#[cfg(test)]
mod tests;
