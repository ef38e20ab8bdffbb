//! The service that is deployed to, as every part of a deploy reaches it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use reqwest::Url;

use crate::context::Context;
use launchway_core::exit::{Exit, Failure};
use launchway_core::http::Http;
use launchway_core::secret::{Redactor, Secret};
use launchway_render::image;
use launchway_render::model::{Deploy, EnvVar, Service};
use launchway_render::preflight;
use launchway_render::{Account, Api};

use super::Pace;

/// The service, its API and its app.
pub(super) struct Remote<'a> {
    pub(super) ctx: &'a Context,
    pub(super) api: Api,
    /// For the app itself.
    pub(super) app: Http,
    pub(super) pace: Pace,
    /// As it was first read.
    pub(super) service: Service,
    /// Deploys are listed from here on: a day covers all that may be under way, whatever this machine's clock says.
    pub(super) since: SystemTime,
    /// The lines of the app's log that were shown, each with its time.
    pub(super) shown: RefCell<BTreeSet<(String, String)>>,
}

/// One image, as it is asked for and known again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Release {
    /// By which it is asked for.
    pub(super) digest: String,
    /// Of the manifest for Render's platform, where the first one is that of an index.
    pub(super) platform: Option<String>,
    /// Where somebody could tell.
    pub(super) commit: Option<String>,
}

impl Release {
    /// What a deploy runs: the digest that was asked for, or else the one that Render resolved a tag to.
    pub(super) fn of(deploy: &Deploy, commit: Option<String>) -> Option<Self> {
        let reference = deploy.image.as_ref().and_then(|image| image.reference.as_deref());
        let pinned = reference.and_then(|reference| reference.split_once('@')).map(|(_, digest)| digest);
        let digest = pinned.or(deploy.sha())?.to_owned();
        let platform = deploy.sha().filter(|sha| *sha != digest).map(str::to_owned);
        Some(Self { digest, platform, commit })
    }

    /// Whether a digest that Render tells is one of this release.
    pub(super) fn is(&self, digest: &str) -> bool {
        self.digest == digest || self.platform.as_deref() == Some(digest)
    }

    pub(super) fn words(&self) -> String {
        let commit = self.commit.as_deref().map_or_else(
            || "commit not known".to_owned(),
            |commit| format!("commit {}", super::short(commit)),
        );
        format!("{} ({commit})", self.digest)
    }
}

impl<'a> Remote<'a> {
    pub(super) fn new(ctx: &'a Context, pace: Pace) -> Result<Self> {
        let key = ctx.required("RENDER_API_KEY")?;
        ctx.reporter.redact_also([key.clone()]);
        let service = ctx.required("RENDER_SERVICE_ID")?.expose().to_owned();
        let account = Account { root: ctx.render_url()?, key, service };
        Ok(Self {
            ctx,
            api: Api::new(account, ctx.http()?, ctx.interrupt.clone(), pace.backoff)?,
            app: ctx.http()?,
            pace,
            service: Service::default(),
            since: SystemTime::now() - Duration::from_hours(24),
            shown: RefCell::default(),
        })
    }

    /// The repository that the pipeline ships.
    pub(super) fn repository(&self) -> String {
        image::repository(self.ctx.image())
    }

    /// A path of the running app.
    pub(super) fn address(&self, path: &str) -> Result<Url> {
        preflight::address(&self.service)?
            .join(path)
            .map_err(|error| Failure::new(Exit::Usage, format!("`{path}` is no path: {error}")).into())
    }

    /// The service's page; a rehearsal's service has none.
    pub(super) fn dashboard(&self) -> Option<String> {
        if self.ctx.is_rehearsal() {
            return None;
        }
        let told = &self.service.dashboard_url;
        if told.starts_with("https://dashboard.render.com/") && !told.contains(char::is_control) {
            return Some(told.clone());
        }
        let id = self.ctx.environment.get("RENDER_SERVICE_ID").unwrap_or_default();
        Some(format!("https://dashboard.render.com/web/{id}"))
    }

    /// From now on no value of these is shown, nor one of the pipeline's own.
    ///
    /// A variable that the pipeline does not know may hold anything; of those that it knows the table and the configuration say which are secret.
    pub(super) fn hide<'v>(&self, values: impl IntoIterator<Item = (&'v str, &'v Secret)>) {
        let secret = |(name, value): &(&str, &Secret)| {
            self.ctx
                .config
                .variable(name)
                .map_or_else(|| !Redactor::is_ordinary(value.expose()), |variable| variable.secret)
        };
        let more: Vec<Secret> = values.into_iter().filter(secret).map(|(_, value)| value.clone()).collect();
        self.api.hide(more.clone());
        self.ctx.reporter.redact_also(more);
    }

    /// The same for the variables of the service.
    pub(super) fn hide_variables(&self, variables: &[EnvVar]) {
        self.hide(variables.iter().map(|variable| (variable.key.as_str(), &variable.value)));
    }

    pub(super) fn note(&self, text: impl Into<String>) {
        self.ctx.reporter.note(text);
    }

    /// Asks again until there is something, for as long as traffic and lists may lag behind.
    pub(super) fn wait_for<T>(&self, mut look: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
        let end = Instant::now() + self.pace.patience;
        loop {
            if let Some(found) = look()? {
                return Ok(Some(found));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            self.ctx.interrupt.sleep(self.pace.poll)?;
        }
    }
}
