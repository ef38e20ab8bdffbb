//! The service that is deployed to: its API, the running service, and its settings as first read.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use reqwest::Url;

use crate::config::Config;
use crate::context::Context;
use launchway_core::events::Reporter;
use launchway_core::exit::{Exit, Failure};
use launchway_core::http::Http;
use launchway_core::interrupt::Interrupt;
use launchway_core::secret::{Redactor, Secret};
use launchway_registry::{Access, Client};
use launchway_render::image;
use launchway_render::model::{EnvVar, Service};
use launchway_render::preflight;
use launchway_render::{Account, Api};

use super::changes::Marker;
use super::kept_release::KeptReleases;
use crate::timings::Timings;

/// The Render service, its API, and the program that it runs.
pub(super) struct Target<'a> {
    pub(super) api: Api,
    /// For the service itself, and for Sentry.
    pub(super) http: Http,
    /// For the repository that the pipeline ships.
    pub(super) registry: Client,
    /// That repository, as configured.
    pub(super) image: &'a str,
    pub(super) config: &'a Config,
    pub(super) reporter: Reporter,
    pub(super) interrupt: Interrupt,
    pub(super) timings: Timings,
    /// Hashes the values of the service's variables.
    pub(super) marker: Marker,
    /// The releases that this machine keeps.
    pub(super) kept: KeptReleases,
    /// The page of the service if Render returns none; outside of drills, a rehearsal's service has none at all.
    dashboard: Option<String>,
    /// As first read.
    pub(super) service: Service,
    /// Where the list of deploys starts: a day covers everything that may be in progress, whatever this machine's clock
    /// says.
    pub(super) since: SystemTime,
    /// The lines of the service's log that were shown, each with its time.
    pub(super) shown: RefCell<BTreeSet<(String, String)>>,
}

impl<'a> Target<'a> {
    /// Built from the variables of this run. Requests nothing yet.
    pub(super) fn open(ctx: &'a Context, timings: Timings) -> Result<Self> {
        let Context { config, environment, reporter, interrupt, .. } = ctx;
        let key = config.secret(environment, "RENDER_API_KEY")?;
        reporter.redact_also([key.clone()]);
        let id = config.secret(environment, "RENDER_SERVICE_ID")?.expose().to_owned();
        // If no key signs for the service, as for a rollback, deployers share the API key.
        let shared = config.deploy.keys().into_iter().find_map(|name| environment.secret(name));
        let marker = Marker::new(&id, shared.as_ref().unwrap_or(&key))?;
        // A drill shows what a real run prints.
        let has_dashboard = !ctx.is_rehearsal() || ctx.drill().is_some();
        let dashboard = has_dashboard.then(|| format!("https://dashboard.render.com/web/{id}"));
        let http = ctx.http()?;
        let kept = KeptReleases::new(&ctx.kept(), key.clone(), &id);
        let account = Account { root: ctx.render_url()?, key: key.clone(), service: id };
        Ok(Self {
            api: Api::new(account, http.clone(), interrupt.clone(), timings.backoff)?,
            http,
            registry: ctx.registry(Access::Pull)?,
            image: ctx.image(),
            config,
            reporter: reporter.clone(),
            interrupt: interrupt.clone(),
            timings,
            marker,
            kept,
            dashboard,
            service: Service::default(),
            since: SystemTime::now() - Duration::from_secs(86400),
            shown: RefCell::default(),
        })
    }

    /// The repository that the pipeline ships.
    pub(super) fn repository(&self) -> String {
        image::repository(self.image)
    }

    /// The URL of a path of the running service.
    pub(super) fn address(&self, path: &str) -> Result<Url> {
        preflight::address(&self.service)?
            .join(path)
            .map_err(|error| Failure::new(Exit::Usage, format!("`{path}` is not a path: {error}")).into())
    }

    /// The service's page; outside of drills, a rehearsal's service has none.
    pub(super) fn dashboard(&self) -> Option<String> {
        let default = self.dashboard.as_ref()?;
        let given = &self.service.dashboard_url;
        let is_safe = given.starts_with("https://dashboard.render.com/") && !given.contains(char::is_control);
        Some(if is_safe { given } else { default }.clone())
    }

    /// Redacts the values of these variables from now on.
    ///
    /// An unmanaged variable may contain anything; for the others, the table and the configuration say which are
    /// secret.
    pub(super) fn hide<'v>(&self, values: impl IntoIterator<Item = (&'v str, &'v Secret)>) {
        let secret = |(name, value): &(&str, &Secret)| {
            self.config
                .variable(name)
                .map_or_else(|| !Redactor::is_ordinary(value.expose()), |variable| variable.secret)
        };
        let more: Vec<Secret> = values.into_iter().filter(secret).map(|(_, value)| value.clone()).collect();
        self.api.hide(more.clone());
        self.reporter.redact_also(more);
    }

    /// Redacts the values of the service's variables from now on.
    pub(super) fn hide_variables(&self, variables: &[EnvVar]) {
        self.hide(variables.iter().map(|variable| (variable.key.as_str(), &variable.value)));
    }

    pub(super) fn note(&self, text: impl Into<String>) {
        self.reporter.note(text);
    }

    /// Polls until there is a result, for as long as traffic and lists may lag behind.
    pub(super) fn wait_for<T>(&self, mut look: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
        let end = Instant::now() + self.timings.settle;
        loop {
            if let Some(found) = look()? {
                return Ok(Some(found));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            self.interrupt.sleep(self.timings.poll)?;
        }
    }

    /// Reads the service and reports noteworthy facts. Returns what prevents a deploy.
    pub(super) fn check_service(&mut self, image: &str, health: &str) -> Result<Vec<String>> {
        let service = self.api.service()?;
        let problems = preflight::problems(&service, image);
        for remark in preflight::remarks(&service, health) {
            self.note(remark);
        }
        if problems.is_empty() {
            self.note(format!("service `{}`: {}", service.name, preflight::address(&service)?));
        }
        self.service = service;
        Ok(problems)
    }

    /// Reports the deploys in progress, after waiting up to `wait` for them to end: the plan starts from what they
    /// leave.
    pub(super) fn wait_for_others(&self, wait: Duration) -> Result<()> {
        let mut reported = BTreeSet::new();
        let end = Instant::now() + wait;
        let open = loop {
            let mut open = self.api.deploys(self.since)?;
            open.retain(|deploy| deploy.status.is_open());
            if open.is_empty() || Instant::now() >= end {
                break open;
            }
            for deploy in open.into_iter().filter(|deploy| reported.insert(deploy.id.clone())) {
                let wait = humantime::format_duration(wait);
                self.note(format!(
                    "deploy {} is {}: waiting up to {wait} for it to end",
                    deploy.id, deploy.status
                ));
            }
            self.interrupt.sleep(self.timings.poll)?;
        };
        for deploy in open {
            self.note(format!(
                "deploy {} is {}: Render finishes it first or cancels it, depending on the workspace's settings",
                deploy.id, deploy.status
            ));
        }
        Ok(())
    }

    /// Sets this image in the service's settings, unless they have it.
    pub(super) fn store_image(&self, image: &str) -> Result<()> {
        let now = self.api.service()?;
        let named = |path: &str| {
            let digest = image.split_once('@').map(|(_, digest)| digest);
            path == image || digest.is_some_and(|digest| image::is_pinned(path, image, digest))
        };
        if now.image_path.as_deref().is_some_and(named) {
            return Ok(());
        }
        let credential = now.registry_credential.as_ref().map(|credential| credential.id.as_str());
        let owner = if now.owner_id.is_empty() { &self.service.owner_id } else { &now.owner_id };
        let stored = self.api.set_image(owner, image, credential.filter(|id| !id.is_empty()))?;
        match stored.image_path {
            Some(path) if named(&path) => Ok(()),
            other => bail!("Render keeps `{}` instead of `{image}`", other.unwrap_or_default()),
        }
    }
}
