//! A deploy while it runs: what it knows, what it has changed, and its end when it does not go well.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::sentry;
use launchway_core::events::milliseconds;
use launchway_core::exit::{Exit, Failure};
use launchway_core::secret::Secret;
use launchway_render::{image, preflight};

use super::apply::Fate;
use super::base::Base;
use super::plan::{Plan, reserved};
use super::remote::{Release, Remote};
use super::rollback::To;
use super::snapshot::{Snapshot, Standing};
use super::undo::Choice;
use super::{Action, Deployment, Kind, Pace, check, digest, proof};

/// What is attempted, and how.
pub(super) struct Goal {
    pub(super) kind: Kind,
    pub(super) pace: Pace,
    /// What to do when the run is asked to end half-way.
    pub(super) ask: fn(&Context) -> Choice,
}

/// The state that the actions of one run share.
pub(super) struct Transaction<'a> {
    pub(super) ctx: &'a Context,
    pub(super) kind: Kind,
    pub(super) remote: Remote<'a>,
    began: report::Time,
    started: Instant,
    /// What stands in the way, told together.
    problems: Vec<String>,
    /// The variables to set, and those to take away. Read before anything is asked, so that none is missing half-way.
    wanted: Vec<(String, Option<Secret>)>,
    pub(super) release: Option<Release>,
    pub(super) base: Option<Base>,
    plan: Option<Plan>,
    /// The variables that were written, or that may have been.
    pub(super) written: Vec<(String, Option<Secret>)>,
    pub(super) fate: Fate,
    /// What the running app answered.
    commit: String,
    pub(super) timeout: Duration,
}

impl<'a> Transaction<'a> {
    /// Missing variables are an error with [`Exit::Missing`] that names them all, reserved ones one with [`Exit::Usage`].
    pub(super) fn begin(ctx: &'a Context, kind: Kind, pace: Pace) -> Result<Self> {
        let names = match kind {
            Kind::Deploy => ctx.config.deploy.names(),
            // The variables are those of the release.
            Kind::Rollback => Vec::new(),
        };
        let all = ["RENDER_API_KEY", "RENDER_SERVICE_ID"].into_iter().chain(names.iter().map(String::as_str));
        let missing: Vec<String> =
            all.filter_map(|name| ctx.required(name).err()).map(|error| error.to_string()).collect();
        if !missing.is_empty() {
            return Err(Failure::new(Exit::Missing, missing.join("\n")).into());
        }
        let refused = reserved(names.iter().map(String::as_str));
        if !refused.is_empty() {
            let message = format!("Render sets these itself, and a deploy cannot: {}", refused.join(", "));
            return Err(Failure::new(Exit::Usage, message).into());
        }
        let wanted =
            names.iter().map(|name| Ok((name.clone(), Some(ctx.required(name)?)))).collect::<Result<_>>()?;
        Ok(Self {
            ctx,
            kind,
            remote: Remote::new(ctx, pace)?,
            began: now(),
            started: Instant::now(),
            problems: Vec::new(),
            wanted,
            release: None,
            base: None,
            plan: None,
            written: Vec::new(),
            fate: Fate::NotAsked,
            commit: String::new(),
            timeout: ctx.config.deploy.timeout,
        })
    }

    pub(super) fn execute(&mut self, action: &Action) -> Result<()> {
        match action {
            Action::CheckService { image, .. } => self.check_service(image),
            Action::NoteUnderWay { wait } => self.note_under_way(*wait),
            Action::ResolveDigest { source } => {
                let found = digest::release(self.ctx, source);
                self.release = Some(self.unless_in_the_way(found)?);
                Ok(())
            }
            Action::ChooseRelease { to } => self.choose_release(to),
            Action::Compare { names, expect } => self.compare(names, expect.as_deref()),
            Action::CheckApp { arguments } => self.check_app(arguments),
            Action::Confirm => self.confirm(),
            Action::WriteVariables { names } => self.write_variables(names),
            Action::AskForDeploy { .. } => {
                let release = self.release.clone().context("the plan has no release")?;
                if self.kind == Kind::Deploy {
                    sentry::announce(self.ctx, &self.new_commits());
                }
                self.remote.ask(&release, &mut self.fate)
            }
            Action::Attach { id } => self.attach(id),
            Action::Follow { timeout } => {
                self.timeout = *timeout;
                let Fate::Ours(deploy) = &mut self.fate else { anyhow::bail!("the plan follows no deploy") };
                self.remote.follow(deploy, *timeout)
            }
            Action::CompareDigest => {
                let release = self.release.as_ref().context("the plan has no release")?;
                proof::compare(self.fate.deploy().context("the plan asks for no deploy")?, release)
            }
            Action::AskApp { commit, .. } => {
                let known = self.release.as_ref().and_then(|release| release.commit.clone());
                let Fate::Ours(deploy) = &mut self.fate else { anyhow::bail!("the plan asks for no deploy") };
                self.commit = self.remote.prove(deploy, commit.as_deref().or(known.as_deref()))?;
                Ok(())
            }
            Action::Bake { health, version, time } => {
                let version = version.as_deref();
                let Fate::Ours(deploy) = &mut self.fate else { anyhow::bail!("the plan asks for no deploy") };
                self.remote.bake(deploy, &self.commit, (health, version), *time)
            }
            Action::Reconcile => {
                let environment = self.environment_name();
                sentry::deployed(self.ctx, self.kind, &self.commit, self.began, &environment);
                self.reconcile()
            }
            Action::Keep => {
                self.keep(Standing::Proved);
                Ok(())
            }
        }
    }

    /// What was achieved, once every action was done.
    pub(super) fn deployment(&self) -> Result<Deployment> {
        let deploy = self.fate.deploy().context("the plan asks for no deploy")?;
        Ok(Deployment {
            id: deploy.id.clone(),
            status: deploy.status.to_string(),
            digest: self.release.as_ref().map(|release| release.digest.clone()).unwrap_or_default(),
            url: preflight::address(&self.remote.service)?.to_string(),
            commit: self.commit.clone(),
            variables_written: self.written.iter().map(|(name, _)| name.clone()).collect(),
            milliseconds: milliseconds(self.started.elapsed()),
        })
    }

    /// The plan for people, once there is one.
    pub(super) fn planned(&self) -> Vec<String> {
        self.plan.as_ref().map(Plan::lines).unwrap_or_default()
    }

    pub(super) fn plan_hash(&self) -> Option<String> {
        self.plan.as_ref().map(Plan::hash)
    }

    pub(super) fn deploy_id(&self) -> Option<String> {
        self.fate.deploy().map(|deploy| deploy.id.clone())
    }

    /// What was to become live, and what was live before.
    pub(super) fn releases(&self) -> (Option<&Release>, Option<&Release>) {
        (self.release.as_ref(), self.base.as_ref().and_then(|base| base.release.as_ref()))
    }

    /// The environment that the service's variables make it.
    pub(super) fn environment_name(&self) -> String {
        let value = |variable: &str| {
            let ours =
                self.wanted.iter().find(|(name, _)| name == variable).and_then(|(_, value)| value.as_ref());
            Some(ours.or_else(|| self.base.as_ref()?.value(variable))?.expose())
        };
        self.ctx.config.deploy.environment_name(value).unwrap_or_default()
    }

    /// The commits that are new on the service, as far as git knows what it runs.
    fn new_commits(&self) -> Vec<report::Commit> {
        let (_, previous) = self.releases();
        let previous = previous.and_then(|release| release.commit.as_deref());
        self.ctx.commits_since(previous)
    }

    fn check_service(&mut self, image: &str) -> Result<()> {
        let service = self.remote.api.service()?;
        self.problems = preflight::problems(&service, image);
        for remark in preflight::remarks(&service, &self.ctx.config.deploy.health) {
            self.remote.note(remark);
        }
        if self.problems.is_empty() {
            self.remote.note(format!("service `{}`: {}", service.name, preflight::address(&service)?));
        }
        self.remote.service = service;
        Ok(())
    }

    fn note_under_way(&self, wait: bool) -> Result<()> {
        let (remote, mut told) = (&self.remote, BTreeSet::new());
        let end = Instant::now() + if wait { remote.pace.queue } else { Duration::ZERO };
        let open = loop {
            let mut open = remote.api.deploys(remote.since)?;
            open.retain(|deploy| deploy.status.is_open());
            if open.is_empty() || Instant::now() >= end {
                break open;
            }
            for deploy in open.into_iter().filter(|deploy| told.insert(deploy.id.clone())) {
                let patience = humantime::format_duration(remote.pace.queue);
                remote.note(format!(
                    "deploy {} is {}: waiting up to {patience} for it to end",
                    deploy.id, deploy.status
                ));
            }
            self.ctx.interrupt.sleep(remote.pace.poll)?;
        };
        for deploy in open {
            remote.note(format!(
                "deploy {} is {}: Render finishes it first, or cancels it, as the workspace is set",
                deploy.id, deploy.status
            ));
        }
        Ok(())
    }

    /// The result, or everything that stands in the way of it and of the service.
    fn unless_in_the_way<T>(&mut self, found: Result<T>) -> Result<T> {
        let mut problems = std::mem::take(&mut self.problems);
        if problems.is_empty() {
            return found;
        }
        problems.extend(found.err().map(|error| format!("{error:#}")));
        let message = format!(
            "the service `{}` cannot be deployed to:\n- {}",
            self.remote.service.name,
            problems.join("\n- ")
        );
        Err(Failure::new(Exit::DeployFailed, message).into())
    }

    fn choose_release(&mut self, to: &To) -> Result<()> {
        let found = to.choose(&self.remote);
        let (release, variables) = self.unless_in_the_way(found)?;
        let names = self.ctx.config.deploy.names();
        let ours = |name: &String| names.contains(name) && reserved([name.as_str()]).is_empty();
        self.wanted = variables.into_iter().filter(|(name, _)| ours(name)).collect();
        self.release = Some(release);
        Ok(())
    }

    fn compare(&mut self, names: &[String], expect: Option<&str>) -> Result<()> {
        self.wanted.retain(|(name, _)| names.contains(name));
        self.remote
            .hide(self.wanted.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_ref()?))));
        let (base, plan) = self.read()?;
        let hash = plan.hash();
        if let Some(expect) = expect.filter(|expect| *expect != hash) {
            let message = format!(
                "the plan is {hash} and not {expect}: nothing was written\n{}",
                plan.lines().join("\n")
            );
            return Err(Failure::new(Exit::DeployFailed, message).into());
        }
        plan.lines().into_iter().for_each(|line| self.remote.note(line));
        (self.base, self.plan) = (Some(base), Some(plan));
        Ok(())
    }

    /// With the variables that the service keeps, and ours over them.
    fn check_app(&self, arguments: &[String]) -> Result<()> {
        let base = self.base.as_ref().context("there is no plan")?;
        let release = self.release.as_ref().context("the plan has no release")?;
        let mut variables: BTreeMap<String, Secret> =
            base.variables.iter().map(|variable| (variable.key.clone(), variable.value.clone())).collect();
        for (name, value) in &self.wanted {
            match value {
                Some(value) => drop(variables.insert(name.clone(), value.clone())),
                None => drop(variables.remove(name)),
            }
        }
        check::run(self.ctx, release, &variables, arguments)
    }

    /// Render has no way to write only where nothing has changed, so everything is read again just before.
    fn confirm(&mut self) -> Result<()> {
        let (base, plan) = self.read()?;
        let problems = preflight::problems(&base.service, &self.remote.repository());
        if self.plan_hash() != Some(plan.hash()) || !problems.is_empty() {
            let message = format!(
                "the service has changed since the plan was made, and nothing was written: look at the new plan with `--explain`, then try again\n{}",
                plan.lines().into_iter().chain(problems).collect::<Vec<_>>().join("\n")
            );
            return Err(Failure::new(Exit::DeployFailed, message).into());
        }
        if let (Some(live), Some(release)) = (&base.live, &base.release) {
            let ours = self.ctx.config.deploy.names();
            let variables = ours.iter().map(|name| (name.clone(), base.value(name).cloned())).collect();
            self.keep_as(&live.id, Standing::Found, release, variables);
        }
        self.base = Some(base);
        Ok(())
    }

    fn read(&self) -> Result<(Base, Plan)> {
        let base = self.remote.base()?;
        let release = self.release.as_ref().context("the plan has no release")?;
        let plan = Plan::new(self.ctx, &base, release, &self.wanted)?;
        Ok((base, plan))
    }

    fn write_variables(&mut self, names: &[String]) -> Result<()> {
        let plan = self.plan.as_ref().context("there is no plan")?;
        for (name, value) in plan.writes(&self.wanted).into_iter().filter(|(name, _)| names.contains(name)) {
            self.ctx.interrupt.check()?;
            // Also where it is refused: an earlier try of the same call may have worked.
            self.written.push((name.clone(), value.clone()));
            let done = match value {
                Some(value) => self.remote.api.put_variable(name, value),
                None => self.remote.api.delete_variable(name),
            };
            done?;
        }
        Ok(())
    }

    /// A release that is live and proved stays so, whatever the settings name; but they must not bring an old one back.
    fn reconcile(&self) -> Result<()> {
        let release = self.release.as_ref().context("the plan has no release")?;
        let stored = self.remote.store_image(&image::pinned(&self.remote.repository(), &release.digest));
        match stored {
            Ok(()) => self.remote.note("the service's settings name this digest"),
            Err(error) if Exit::of(&error) == Exit::Interrupted => return Err(error),
            Err(error) => self.ctx.reporter.skipped(
                "image in the service's settings",
                format!("they name another one, which the next deploy by hand would bring: {error:#}"),
            ),
        }
        Ok(())
    }

    /// Keeps our own release for a rollback. That it cannot be kept is no reason to fail.
    pub(super) fn keep(&self, standing: Standing) {
        let (Some(deploy), Some(release)) = (self.fate.deploy(), &self.release) else { return };
        let mut release = release.clone();
        if standing == Standing::Proved && release.commit.is_none() {
            release.commit = Some(self.commit.clone());
        }
        let ours = self.ctx.config.deploy.names();
        let value = |name: &String| {
            let wanted =
                self.wanted.iter().find(|(wanted, _)| wanted == name).map(|(_, value)| value.clone());
            wanted.unwrap_or_else(|| self.base.as_ref()?.value(name).cloned())
        };
        let variables = ours.iter().map(|name| (name.clone(), value(name))).collect();
        self.keep_as(&deploy.id, standing, &release, variables);
    }

    fn keep_as(
        &self,
        id: &str,
        standing: Standing,
        release: &Release,
        variables: BTreeMap<String, Option<Secret>>,
    ) {
        let snapshot = Snapshot { id: id.to_owned(), standing, release: release.clone(), variables };
        if let Err(error) = snapshot.keep(self.ctx) {
            self.ctx.reporter.skipped("snapshot for a rollback", format!("{error:#}"));
        }
    }
}

/// Now, for a record.
pub(super) fn now() -> report::Time {
    SystemTime::now().into()
}
