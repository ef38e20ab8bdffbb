//! Makes a release live: what a deploy and a rollback have in common, from the first read to the last report.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use launchway_report::DeploymentOutcome;

use super::sentry::{SentryDeploy, SentryPlan};
use crate::config::DeployConfig;
use crate::git::Git;
use crate::project::{Project, output};
use launchway_core::environment::Environment;
use launchway_core::events::Reporter;
use launchway_core::exit::{Exit, Failure};
use launchway_core::secret::Secret;
use launchway_render::model::Deploy;
use launchway_render::{image, preflight};

use super::app_check::AppCheck;
use super::changes::{Changes, Wanted};
use super::interrupted::Ask;
use super::kept_release::Origin;
use super::ready::{Ready, keep};
use super::record::{Announce, Concluded, Draft};
use super::recover::recover;
use super::release::Release;
use super::request::{State, Unproved};
use super::service_state::ServiceState;
use super::target::Target;
use super::{Deployment, Kind, ReportPlan, proof};
use crate::timings::Timings;

/// Everything about a deploy or a rollback except the choice of its release.
#[derive(Clone, Debug)]
pub(super) struct Rollout {
    pub(super) kind: Kind,
    /// The workspace root.
    pub(super) root: PathBuf,
    /// The commit there.
    pub(super) git: Git,
    /// The id of the service, if it is known yet.
    pub(super) service: Option<String>,
    /// The repository of the image, in full.
    pub(super) image: String,
    /// The managed variables.
    pub(super) variables: Vec<String>,
    /// The hash that the changes must have.
    pub(super) expect: Option<String>,
    /// The arguments with which the image's program checks its environment; empty for no check.
    pub(super) check: Vec<String>,
    /// The health path.
    pub(super) health: String,
    /// The version path, if the service has one.
    pub(super) version: Option<String>,
    /// The commit that the service must report, if it is known yet.
    pub(super) commit: Option<String>,
    /// How long to wait for deploys in progress.
    pub(super) queue: Duration,
    pub(super) timings: Timings,
    /// The name of the environment, if it is known yet.
    pub(super) environment: Option<String>,
    pub(super) sentry: SentryPlan,
    /// The Sentry release, if it is known yet.
    pub(super) sentry_release: Option<String>,
    pub(super) report: ReportPlan,
}

/// A release and its variables.
pub(super) struct Chosen {
    pub(super) release: Release,
    pub(super) wanted: Wanted,
}

impl Rollout {
    /// What the plans of a deploy and of a rollback share.
    pub(super) fn new(
        project: Project<'_>,
        environment: &Environment,
        image: &str,
        kind: Kind,
        timings: Timings,
    ) -> Self {
        let Project { root, config, git } = project;
        let deploy = &config.deploy;
        Self {
            kind,
            root: root.to_owned(),
            git: git.clone(),
            service: environment.get("RENDER_SERVICE_ID").map(str::to_owned),
            image: image::repository(image),
            variables: deploy.names(),
            expect: None,
            check: Vec::new(),
            health: deploy.health.clone(),
            version: deploy.version.clone(),
            commit: None,
            queue: Duration::ZERO,
            timings,
            environment: None,
            sentry: SentryPlan::new(root, config, environment),
            sentry_release: None,
            report: ReportPlan::new(image, deploy, &timings),
        }
    }

    /// Makes a release live and proves it; rolls everything back if that fails.
    pub(super) fn run(
        &self,
        mut target: Target<'_>,
        (announce, ask): (Announce<'_>, Ask),
        choose: impl FnOnce(&Target<'_>) -> Result<Chosen>,
    ) -> Concluded {
        let mut draft = Draft::begin(self);
        let result = self.deploy(&mut target, (announce, ask), choose, &mut draft);
        draft.conclude(&target.reporter, Some(&target), self, result)
    }

    /// Ends the deployment before it starts.
    pub(super) fn refuse(&self, reporter: &Reporter, error: anyhow::Error) -> Concluded {
        Draft::begin(self).conclude(reporter, None, self, Err((DeploymentOutcome::Unchanged, error)))
    }

    fn deploy(
        &self,
        target: &mut Target<'_>,
        (announce, ask): (Announce<'_>, Ask),
        choose: impl FnOnce(&Target<'_>) -> Result<Chosen>,
        draft: &mut Draft,
    ) -> Result<Deployment, (DeploymentOutcome, anyhow::Error)> {
        let unchanged = |error| (DeploymentOutcome::Unchanged, error);
        let (mut ready, changes) = self.prepare(target, choose, draft).map_err(unchanged)?;
        if ready.before.as_ref().is_some_and(|before| before.live.is_some()) {
            announce(draft.start(&target.reporter, self));
        }
        let failed = match self.write_and_request(target, &mut ready, &changes) {
            Ok(deploy) => match self.finish(target, &ready, deploy, draft) {
                Ok(deployment) => return Ok(deployment),
                Err(failed) => failed,
            },
            Err(failed) => failed,
        };
        draft.saw(&failed.state);
        Err(recover(target, self.kind, &ready, failed, ask))
    }

    /// Resumes a deploy that was requested before and proves it; rolls everything back if that fails.
    pub(super) fn attach(
        &self,
        mut target: Target<'_>,
        ask: Ask,
        id: &str,
        choose: impl FnOnce(&Target<'_>) -> Result<Chosen>,
    ) -> Concluded {
        let mut draft = Draft::begin(self);
        let result = self.take_up(&mut target, ask, id, choose, &mut draft);
        draft.conclude(&target.reporter, Some(&target), self, result)
    }

    fn take_up(
        &self,
        target: &mut Target<'_>,
        ask: Ask,
        id: &str,
        choose: impl FnOnce(&Target<'_>) -> Result<Chosen>,
        draft: &mut Draft,
    ) -> Result<Deployment, (DeploymentOutcome, anyhow::Error)> {
        let unchanged = |error| (DeploymentOutcome::Unchanged, error);
        let Chosen { release, wanted } = self.choose(target, choose, draft).map_err(unchanged)?;
        let attached = target.attach(id, &release).map_err(unchanged)?;
        if let Some(before) = &attached.before {
            draft.found(self, before);
        }
        let environment = self.environment_of(&target.config.deploy, &wanted, attached.before.as_ref());
        draft.environment = Some(environment.clone());
        let (before, written) = (attached.before, attached.written);
        let ready = Ready { release, wanted, before, written, environment };
        self.finish(target, &ready, attached.deploy, draft).map_err(|failed| {
            draft.saw(&failed.state);
            recover(target, self.kind, &ready, failed, ask)
        })
    }

    /// Reads everything and writes nothing.
    fn prepare(
        &self,
        target: &mut Target<'_>,
        choose: impl FnOnce(&Target<'_>) -> Result<Chosen>,
        draft: &mut Draft,
    ) -> Result<(Ready, Changes)> {
        let Chosen { release, wanted } = self.choose(target, choose, draft)?;
        let (before, changes) = compare(target, &release, &wanted, self.expect.as_deref())?;
        draft.found(self, &before);
        draft.plan = Some(changes.hash());
        draft.changes = Some(changes.facts());
        let environment = self.environment_of(&target.config.deploy, &wanted, Some(&before));
        draft.environment = Some(environment.clone());
        target.interrupt.check()?;
        if !self.check.is_empty() {
            let check = AppCheck {
                arguments: &self.check,
                output: &output(&self.root),
                image: target.image,
                registry: &target.registry,
                reporter: &target.reporter,
                interrupt: &target.interrupt,
            };
            check.run(&release, &before.environment_with(&wanted))?;
        }
        let before = self.confirm(target, &release, &wanted, &changes)?;
        target.interrupt.check()?;
        let ready = Ready { release, wanted, before: Some(before), written: Wanted::new(), environment };
        Ok((ready, changes))
    }

    /// Checks the service and finds the release. Reports the problems of both together.
    fn choose(
        &self,
        target: &mut Target<'_>,
        choose: impl FnOnce(&Target<'_>) -> Result<Chosen>,
        draft: &mut Draft,
    ) -> Result<Chosen> {
        let mut problems = target.check_service(&self.image, &self.health)?;
        draft.service = Some(target.service.clone());
        target.interrupt.check()?;
        target.wait_for_others(self.queue)?;
        let chosen = choose(target);
        if !problems.is_empty() {
            problems.extend(chosen.err().map(|error| format!("{error:#}")));
            let message = format!(
                "the service `{}` cannot be deployed to:\n- {}",
                target.service.name,
                problems.join("\n- ")
            );
            return Err(Failure::new(Exit::DeployFailed, message).into());
        }
        let chosen = chosen?;
        draft.release = Some(chosen.release.clone());
        target.interrupt.check()?;
        Ok(chosen)
    }

    /// Reads everything again just before the first write: Render cannot make a write depend on the value that it
    /// replaces.
    fn confirm(
        &self,
        target: &Target<'_>,
        release: &Release,
        wanted: &Wanted,
        planned: &Changes,
    ) -> Result<ServiceState> {
        let before = target.read()?;
        let changes = Changes::new(&target.marker, &before, release, wanted);
        let problems = preflight::problems(&before.service, &self.image);
        if changes != *planned || !problems.is_empty() {
            let message = format!(
                "the service has changed since the plan was made, so nothing was written: read the new plan with `--explain`, then try again\n{}",
                changes.lines().into_iter().chain(problems).collect::<Vec<_>>().join("\n")
            );
            return Err(Failure::new(Exit::DeployFailed, message).into());
        }
        if let (Some(live), Some(found)) = (&before.live, &before.release) {
            let value = |name: &String| (name.clone(), before.value(name).cloned());
            keep(target, &live.id, Origin::Found, found, self.variables.iter().map(value).collect());
        }
        Ok(before)
    }

    /// Writes the variables that differ, then requests the deploy.
    fn write_and_request(
        &self,
        target: &Target<'_>,
        ready: &mut Ready,
        changes: &Changes,
    ) -> Result<Deploy, Unproved> {
        let Target { interrupt, http, reporter, .. } = target;
        for (name, value) in changes.writes(&ready.wanted) {
            interrupt.check().map_err(Unproved::not_requested)?;
            // Even if Render refuses it: an earlier attempt at the same call may have worked.
            ready.written.push((name.clone(), value.clone()));
            let done = match value {
                Some(value) => target.api.put_variable(name, value),
                None => target.api.delete_variable(name),
            };
            done.map_err(Unproved::not_requested)?;
        }
        interrupt.check().map_err(Unproved::not_requested)?;
        if self.kind == Kind::Deploy {
            let previous = ready.before.as_ref().and_then(|before| before.release.as_ref());
            let previous = previous.and_then(|release| release.commit.as_deref());
            let commits = self.git.published_since(&self.root, previous, reporter);
            let release = self.sentry_release.as_deref().unwrap_or_default();
            self.sentry.announce(http, reporter, release, &commits);
        }
        target.request(&ready.release)
    }

    /// From a deploy that Render accepted to one that is proved, reconciled, kept, and recorded in Sentry.
    fn finish(
        &self,
        target: &Target<'_>,
        ready: &Ready,
        mut deploy: Deploy,
        draft: &mut Draft,
    ) -> Result<Deployment, Unproved> {
        draft.id = Some(deploy.id.clone());
        let commit = match self.prove(target, &ready.release, &mut deploy) {
            Ok(commit) => commit,
            Err(error) => return Err(Unproved { state: State::Ours(Box::new(deploy)), error }),
        };
        ready.keep(target, &deploy, Origin::Proved, Some(&commit));
        let release = self.sentry_release.clone().unwrap_or_else(|| self.sentry.release(&commit));
        let deployed = SentryDeploy {
            kind: self.kind,
            release: &release,
            started: draft.started,
            environment: &ready.environment,
        };
        self.sentry.deployed(&target.http, &target.reporter, deployed);
        let address = preflight::address(&target.service);
        let url = match address {
            Ok(url) => url.to_string(),
            Err(error) => return Err(Unproved { state: State::Ours(Box::new(deploy)), error }),
        };
        Ok(Deployment {
            id: deploy.id,
            status: deploy.status.to_string(),
            digest: ready.release.digest.clone(),
            url,
            commit,
            variables_written: ready.written.iter().map(|(name, _)| name.clone()).collect(),
            milliseconds: draft.milliseconds(),
        })
    }

    /// Watches the deploy until it is live, and proves that it runs the release and stays healthy.
    fn prove(&self, target: &Target<'_>, release: &Release, deploy: &mut Deploy) -> Result<String> {
        target.watch(deploy)?;
        target.interrupt.check()?;
        proof::compare(deploy, release)?;
        let commit = self.commit.as_deref().or(release.commit.as_deref());
        let commit = target.prove(deploy, &self.health, self.version.as_deref(), commit)?;
        if !self.timings.bake.is_zero() {
            target.bake(deploy, &commit, (&self.health, self.version.as_deref()), self.timings.bake)?;
        }
        // A live and proved release stays, whatever image the settings have; but they must not bring back an earlier
        // one.
        match target.store_image(&image::pinned(&self.image, &release.digest)) {
            Ok(()) => target.note("the service's settings have this digest"),
            Err(error) if Exit::of(&error) == Exit::Interrupted => return Err(error),
            Err(error) => target.reporter.skipped(
                "image in the service's settings",
                format!("they have another digest, which the next manual deploy would use: {error:#}"),
            ),
        }
        Ok(commit)
    }

    /// The name of the environment: the planned one, or that of the service's variables.
    fn environment_of(
        &self,
        config: &DeployConfig,
        wanted: &Wanted,
        before: Option<&ServiceState>,
    ) -> String {
        let value = |name: &str| {
            let ours = wanted.iter().find(|(wanted, _)| wanted == name);
            let value = ours.and_then(|(_, value)| value.as_ref());
            value.or_else(|| before?.value(name)).map(Secret::expose)
        };
        let planned = self.environment.clone();
        planned.or_else(|| config.environment_name(value)).unwrap_or_default()
    }

    /// What the plan would change on the service in its current state, determined without writing.
    pub(super) fn preview(
        &self,
        mut target: Target<'_>,
        choose: impl FnOnce(&Target<'_>) -> Result<Chosen>,
    ) -> Result<Vec<String>> {
        let hurried = Self { queue: Duration::ZERO, ..self.clone() };
        let Chosen { release, wanted } = hurried.choose(&mut target, choose, &mut Draft::begin(self))?;
        // `--explain` shows the plan, whatever hash was expected.
        let (_, changes) = compare(&target, &release, &wanted, None)?;
        Ok(changes.lines())
    }
}

/// Reads the service and shows what would change.
fn compare(
    target: &Target<'_>,
    release: &Release,
    wanted: &Wanted,
    expect: Option<&str>,
) -> Result<(ServiceState, Changes)> {
    target.hide(wanted.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_ref()?))));
    let before = target.read()?;
    let changes = Changes::new(&target.marker, &before, release, wanted);
    let hash = changes.hash();
    if let Some(expect) = expect.filter(|expect| *expect != hash) {
        let message = format!(
            "the plan is {hash} instead of {expect}: nothing was written\n{}",
            changes.lines().join("\n")
        );
        return Err(Failure::new(Exit::DeployFailed, message).into());
    }
    changes.lines().into_iter().for_each(|line| target.note(line));
    Ok((before, changes))
}
