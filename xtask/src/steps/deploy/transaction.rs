//! A deploy while it runs: what it knows, and what it has changed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, anyhow};

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::http::Http;
use crate::render::api::{Api, ApiError, Asked};
use crate::render::environment::{Change, difference, words};
use crate::render::model::{Deploy, Phase, Service};
use crate::render::{image, preflight};
use crate::secret::Secret;

use super::{Action, Deployment, Pace, digest, proof};

/// The state that the actions of one run share.
pub(super) struct Transaction<'a> {
    ctx: &'a Context,
    api: Api,
    app: Http,
    pace: Pace,
    started: Instant,
    /// Deploys are listed from here on: a day covers all that may be under way, whatever this machine's clock says.
    since: SystemTime,
    /// The values to write, read before anything is asked, so that none is found missing half-way.
    wanted: Vec<(String, Secret)>,
    service: Service,
    digest: String,
    /// The variables that were written, or that may have been.
    written: Vec<String>,
    /// Render may have taken our request without saying which deploy it became.
    asked: bool,
    /// Our own deploy, as last seen.
    deploy: Option<Deploy>,
    commit: String,
}

impl<'a> Transaction<'a> {
    /// Missing variables are an error with [`Exit::Missing`] that names them all.
    pub(super) fn begin(ctx: &'a Context, pace: Pace) -> Result<Self> {
        let names = &ctx.config.deploy.environment;
        let all = ["RENDER_API_KEY", "RENDER_SERVICE_ID"].into_iter().chain(names.iter().map(String::as_str));
        let missing: Vec<String> =
            all.filter_map(|name| ctx.required(name).err()).map(|error| error.to_string()).collect();
        if !missing.is_empty() {
            return Err(Failure::new(Exit::Missing, missing.join("\n")).into());
        }
        let wanted =
            names.iter().map(|name| Ok((name.clone(), ctx.required(name)?))).collect::<Result<_>>()?;
        Ok(Self {
            ctx,
            api: Api::new(ctx, pace.backoff)?,
            app: ctx.http()?,
            pace,
            started: Instant::now(),
            since: SystemTime::now() - Duration::from_hours(24),
            wanted,
            service: Service::default(),
            digest: String::new(),
            written: Vec::new(),
            asked: false,
            deploy: None,
            commit: String::new(),
        })
    }

    pub(super) fn execute(&mut self, action: &Action) -> Result<()> {
        match action {
            Action::CheckService { image, .. } => self.check_service(image),
            Action::NoteUnderWay => self.note_under_way(),
            Action::ResolveDigest { source } => {
                self.digest = digest::digest(self.ctx, source)?.to_string();
                Ok(())
            }
            Action::WriteVariables { names } => self.write_variables(names),
            Action::AskForDeploy { image } => self.ask_for_deploy(image),
            Action::Follow { timeout } => self.follow(*timeout),
            Action::CompareDigest => self.compare_digest(),
            Action::AskApp { path, .. } => self.ask_app(path),
        }
    }

    /// What was achieved, once every action was done.
    pub(super) fn deployment(&self) -> Result<Deployment> {
        let deploy = self.deploy.as_ref().context("the plan asks for no deploy")?;
        Ok(Deployment {
            id: deploy.id.clone(),
            status: deploy.status.to_string(),
            digest: self.digest.clone(),
            url: preflight::address(&self.service)?.to_string(),
            commit: self.commit.clone(),
            variables_written: self.written.clone(),
            milliseconds: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Ends a deploy that failed: cancels ours where it is still under way, and adds to the error what stays changed.
    pub(super) fn give_up(&mut self, error: anyhow::Error) -> anyhow::Error {
        let mut left = Vec::new();
        if let Some(deploy) = self.deploy.clone() {
            let id = &deploy.id;
            match deploy.status.phase() {
                Phase::UnderWay | Phase::Unknown => match self.api.cancel(id) {
                    Ok(_) => self.note(format!("deploy {id} is cancelled")),
                    Err(refused) => left.extend(self.not_cancelled(id, refused)),
                },
                Phase::Live => left.push(format!("deploy {id} stays live, unproved")),
                Phase::Deactivated | Phase::Failed | Phase::Canceled => {}
            }
        } else if self.asked {
            left.push("the deploy that was asked for may still begin: look at the service's page".to_owned());
        }
        if !self.written.is_empty() {
            left.push(format!(
                "these variables keep what was written, and the next deploy of any kind takes them up: {}",
                self.written.join(", ")
            ));
        }
        if left.is_empty() {
            return error;
        }
        let exit = match Exit::of(&error) {
            kept @ (Exit::Interrupted | Exit::Superseded) => kept,
            _ => Exit::NotRolledBack,
        };
        Failure::new(exit, format!("{error:#}\nnot put back: {}", left.join("\nnot put back: "))).into()
    }

    /// What a deploy that cannot be cancelled leaves: often it has ended in the meantime.
    fn not_cancelled(&self, id: &str, refused: ApiError) -> Option<String> {
        match self.api.deploy(id) {
            Ok(now) if now.status.phase() == Phase::Live => {
                Some(format!("deploy {id} went live in the meantime"))
            }
            Ok(now) if !now.status.is_open() => {
                self.note(format!("deploy {id} ended as {}", now.status));
                None
            }
            _ => Some(format!(
                "deploy {id} could not be cancelled and may still go live: {:#}",
                anyhow::Error::from(refused)
            )),
        }
    }

    fn check_service(&mut self, image: &str) -> Result<()> {
        self.service = self.api.service()?;
        let name = &self.service.name;
        let problems = preflight::problems(&self.service, image);
        if !problems.is_empty() {
            let message = format!("the service `{name}` cannot be deployed to:\n- {}", problems.join("\n- "));
            return Err(Failure::new(Exit::DeployFailed, message).into());
        }
        self.note(format!("service `{name}`: {}", preflight::address(&self.service)?));
        for remark in preflight::remarks(&self.service, &self.ctx.config.deploy.health) {
            self.note(remark);
        }
        Ok(())
    }

    fn note_under_way(&self) -> Result<()> {
        for deploy in self.api.deploys(self.since)?.iter().filter(|deploy| deploy.status.is_open()) {
            self.note(format!(
                "deploy {} is {}: Render finishes it first, or cancels it, as the workspace is set",
                deploy.id, deploy.status
            ));
        }
        Ok(())
    }

    fn write_variables(&mut self, names: &[String]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let current = self.api.variables()?;
        let wanted =
            difference(&current, self.wanted.iter().filter(|(name, _)| names.contains(name)).cloned());
        self.note(format!("variables: {}", words(&wanted, &current)));
        for variable in wanted.into_iter().filter(|variable| variable.change != Change::Unchanged) {
            let put = self.api.put_variable(&variable.name, &variable.value);
            if !matches!(put, Err(ApiError::Refused(_))) {
                self.written.push(variable.name);
            }
            put?;
        }
        Ok(())
    }

    fn ask_for_deploy(&mut self, image: &str) -> Result<()> {
        let known: BTreeSet<String> =
            self.api.deploys(self.since)?.into_iter().map(|deploy| deploy.id).collect();
        let pinned = image::pinned(image, &self.digest);
        self.note(format!("asking for `{pinned}`"));
        let deploy = match self.api.create_deploy(&pinned) {
            Ok(Asked::Created(deploy)) if !deploy.id.is_empty() => deploy,
            Ok(_) => {
                self.note("Render took the deploy and did not say which it is: looking for it");
                self.adopt(image, &known, None)?
            }
            // A connection that was never made, or a limit that never ended, asked for nothing.
            Err(ApiError::Unavailable { untouched: false, why, .. }) => {
                self.note(format!("whether Render took the deploy is not clear ({why}): looking for it"));
                self.adopt(image, &known, Some(&why))?
            }
            Err(error) => return Err(error.into()),
        };
        self.note(format!("deploy {}: {}", deploy.id, deploy.status));
        self.deploy = Some(deploy);
        Ok(())
    }

    /// Finds our own deploy among those that were not there before: asked for through the API, of exactly our image.
    fn adopt(&mut self, image: &str, known: &BTreeSet<String>, doubt: Option<&str>) -> Result<Deploy> {
        self.asked = true;
        let end = Instant::now() + self.pace.patience;
        loop {
            let ours = self
                .api
                .deploys(self.since)?
                .into_iter()
                .filter(|deploy| {
                    let reference = deploy.image.as_ref().and_then(|image| image.reference.as_deref());
                    !known.contains(&deploy.id)
                        && deploy.trigger.as_deref() == Some("api")
                        && reference.is_some_and(|found| image::is_pinned(found, image, &self.digest))
                })
                .max_by(|a, b| a.created_at.cmp(&b.created_at));
            if let Some(deploy) = ours {
                return Ok(deploy);
            }
            if Instant::now() >= end {
                let reason = doubt.map_or_else(String::new, |why| format!(" ({why})"));
                return Err(Failure::new(
                    Exit::DeployFailed,
                    format!(
                        "no deploy of ours appeared within {}{reason}",
                        humantime::format_duration(self.pace.patience)
                    ),
                )
                .into());
            }
            self.ctx.interrupt.sleep(self.pace.poll)?;
        }
    }

    /// Looks at our deploy until it ends or `timeout` has passed since this began.
    fn follow(&mut self, timeout: Duration) -> Result<()> {
        let end = Instant::now() + timeout;
        let mut deploy = self.deploy.clone().context("the plan follows no deploy")?;
        let id = deploy.id.clone();
        let mut trouble = String::new();
        while deploy.status.is_open() {
            if Instant::now() >= end {
                let message = format!(
                    "deploy {id} is still {} after {}",
                    deploy.status,
                    humantime::format_duration(timeout)
                );
                return Err(Failure::new(Exit::DeployFailed, message).into());
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.api.deploy(&id) {
                Ok(now) => {
                    if now.status != deploy.status {
                        let remark =
                            if now.status.phase() == Phase::Unknown { ", a status new to us" } else { "" };
                        self.note(format!("deploy {id}: {}{remark}", now.status));
                    }
                    trouble.clear();
                    // The id is the one thing that must not get lost.
                    deploy = Deploy { id: id.clone(), ..now };
                    self.deploy = Some(deploy.clone());
                    if deploy.status.is_open() {
                        self.ctx.interrupt.sleep(self.pace.poll.min(left))?;
                    }
                }
                // An outage of the API is not one of the deploy.
                Err(ApiError::Unavailable { after, why, .. }) => {
                    if why != trouble {
                        self.note(format!("the Render API is not available ({why}): asking on"));
                        trouble = why;
                    }
                    let wait = self.pace.poll.max(after.unwrap_or_default());
                    self.ctx.interrupt.sleep(wait.min(left))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.ended(&deploy)
    }

    fn ended(&self, deploy: &Deploy) -> Result<()> {
        let id = &deploy.id;
        let failed = match deploy.status.phase() {
            Phase::Live => return Ok(()),
            Phase::Deactivated => Failure::new(
                Exit::Superseded,
                format!("deploy {id} was live and is {}: a newer deploy took its place", deploy.status),
            ),
            Phase::Canceled => match self.newer_than(deploy) {
                Some(newer) => Failure::new(
                    Exit::Superseded,
                    format!("deploy {id} was cancelled for the newer deploy {newer}"),
                ),
                None => Failure::new(Exit::DeployFailed, format!("deploy {id} was cancelled")),
            },
            Phase::Failed | Phase::UnderWay | Phase::Unknown => {
                Failure::new(Exit::DeployFailed, format!("deploy {id} ended as {}", deploy.status))
            }
        };
        Err(failed.into())
    }

    /// The id of a deploy that was asked for after ours.
    fn newer_than(&self, ours: &Deploy) -> Option<String> {
        let deploys = self.api.deploys(self.since).ok()?;
        deploys
            .into_iter()
            .filter(|other| other.id != ours.id && other.created_at > ours.created_at)
            .max_by(|a, b| a.created_at.cmp(&b.created_at))
            .map(|newer| newer.id)
    }

    fn compare_digest(&self) -> Result<()> {
        let found = self.deploy.as_ref().and_then(Deploy::sha);
        if found == Some(self.digest.as_str()) {
            return Ok(());
        }
        let message = format!(
            "Render runs {}, but {} was asked for",
            found.unwrap_or("an image whose digest it does not tell"),
            self.digest
        );
        Err(Failure::new(Exit::DeployFailed, message).into())
    }

    fn ask_app(&mut self, path: &str) -> Result<()> {
        let url = preflight::address(&self.service)?.join(path).map_err(|error| {
            anyhow!(Failure::new(Exit::Usage, format!("`deploy.version` is no path: {error}")))
        })?;
        let answer = proof::ask_until(self.ctx, &self.app, &url, self.pace.poll, self.pace.patience);
        match answer {
            Ok(commit) => {
                self.note(format!("{url} answers commit {}", self.ctx.git.short()));
                self.commit = commit;
                Ok(())
            }
            Err(error) => {
                // Somebody else's commit may answer because somebody else's deploy has taken over.
                if let Some(deploy) = &self.deploy
                    && let Ok(now) = self.api.deploy(&deploy.id)
                    && now.status.phase() == Phase::Deactivated
                {
                    let ended = self.ended(&now);
                    self.deploy = Some(now);
                    ended?;
                }
                Err(error)
            }
        }
    }

    fn note(&self, text: impl Into<String>) {
        self.ctx.reporter.note(text);
    }
}
