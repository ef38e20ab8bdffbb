//! Step: deploy. Makes the pushed image live on Render and proves it by the service's own responses, or rolls the
//! service back.
//!
//! A deploy is a transaction. It reads the service before it writes anything, and turns the difference into a plan with
//! a hash. It writes variables one by one, requests the image by digest, and watches only its own deploy; then the
//! running service must report its commit and stay healthy. If any of that fails, it restores variables and image; if
//! that fails too, the error is a page of facts for the person who finishes by hand.

mod app_check;
mod attach;
mod automatic_rollback;
mod changes;
mod diagnosis;
mod digest;
mod facts;
mod interrupted;
mod kept_release;
mod manual_steps;
mod plan_lines;
mod proof;
mod ready;
mod record;
mod recover;
mod release;
mod report_plan;
mod request;
pub(crate) mod rollback;
mod rollout;
mod sentry;
mod service_state;
mod shared_releases;
mod target;
mod watch;

use std::fmt;

use anyhow::Result;
use serde::Serialize;

use crate::config::{Config, DeployConfig};
use crate::context::Context;
use crate::steps::push;
use crate::table::StepId;
use crate::timings::Timings;
use launchway_core::environment::Environment;
use launchway_core::exit::{Exit, Failure};
use launchway_core::http::NetworkPolicy;

pub(crate) use record::{Announce, Concluded, DeploymentRecord, Start};
pub(crate) use report_plan::ReportPlan;
pub(crate) use shared_releases::share as share_releases;

use changes::{Wanted, reserved};
use digest::ReleaseLookup;
use interrupted::{Ask, Choice};
use rollout::{Chosen, Rollout};
use target::Target;

/// The direction of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Deploy,
    Rollback,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
        }
    }
}

impl From<Kind> for launchway_report::DeploymentKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Deploy => Self::Deploy,
            Kind::Rollback => Self::Rollback,
        }
    }
}

/// The caller's options for a deploy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// The hash that the plan must have.
    pub(crate) expect: Option<String>,
    /// The deploy, `dep-…`, to resume instead of requesting one.
    pub(crate) attach: Option<String>,
    /// The timings of Render, or of a rehearsal.
    pub(crate) timings: Timings,
}

impl Options {
    /// A new deploy, whatever its plan.
    pub(crate) fn new(timings: Timings) -> Self {
        Self { expect: None, attach: None, timings }
    }
}

/// The result of a deploy, for the run record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Deployment {
    /// Render's id, `dep-…`.
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) digest: String,
    /// The service's address.
    pub(crate) url: String,
    /// The commit that the service itself reported.
    pub(crate) commit: String,
    /// Names, never values.
    pub(crate) variables_written: Vec<String>,
    pub(crate) milliseconds: u64,
}

/// What a deploy will do.
#[derive(Clone, Debug)]
pub(crate) struct DeployPlan {
    lookup: ReleaseLookup,
    /// A deploy to resume instead of requesting one.
    attach: Option<String>,
    rollout: Rollout,
}

impl fmt::Display for DeployPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.rollout.first_lines();
        lines.push(format!("take the digest from {}, and look it up in the registry", self.lookup.source));
        match &self.attach {
            Some(id) => lines.push(format!("resume deploy {id}")),
            None => lines.extend(self.rollout.request_lines()),
        }
        lines.extend(self.rollout.proof_lines());
        f.write_str(&lines.join("\n"))
    }
}

impl DeployPlan {
    /// Plans from the configuration and local files only.
    ///
    /// Needs no variable to be set and no image to be pushed, so that a deploy can be explained before either.
    pub(crate) fn new(ctx: &Context, options: &Options) -> Result<Self> {
        if let Some(id) = &options.attach
            && (options.expect.is_some() || !id.starts_with("dep-"))
        {
            let message = format!("`--attach {id}` takes a deploy's id, `dep-…`, and no `--expect-plan`");
            return Err(Failure::new(Exit::Usage, message).into());
        }
        let Context { config, environment, git, .. } = ctx;
        let shared = Rollout::new(ctx.project(), environment, ctx.image(), Kind::Deploy, options.timings);
        let rollout = Rollout {
            expect: options.expect.clone(),
            check: config.deploy.check.clone(),
            commit: Some(git.tag()),
            queue: options.timings.queue,
            environment: planned_environment(&config.deploy, environment),
            sentry_release: shared.sentry.is_on().then(|| shared.sentry.release(&git.commit)),
            ..shared
        };
        // In a rehearsal, whose registry starts empty, the image comes only together with the deploy.
        let push = ctx.again(if ctx.is_rehearsal() { StepId::Deploy } else { StepId::Push });
        let given = environment.get("PIPELINE_DIGEST");
        let lookup = ReleaseLookup::new(given, push::record(&ctx.kept()), git.tag(), ctx.image(), &push)?;
        Ok(Self { lookup, attach: options.attach.clone(), rollout })
    }

    /// The plan, with the changes to the service in its current state if Render lets us read that.
    pub(crate) fn explained(&self, ctx: &Context) -> Vec<String> {
        let changes = || {
            let target = Target::open(ctx, self.rollout.timings.hurried())?;
            self.rollout.preview(target, |target| self.choose(target, &ctx.environment))
        };
        let is_known = self.attach.is_none() && has_service(&ctx.network);
        explained(&self.to_string(), is_known.then_some(changes))
    }

    /// Does exactly what is planned, or rolls back what it has changed.
    ///
    /// An error carries [`Exit::DeployFailed`] if the service is unchanged or rolled back, [`Exit::NotRolledBack`] if
    /// it lists what is left changed, [`Exit::Superseded`] if somebody else's newer deploy won, and
    /// [`Exit::Interrupted`] if the run was interrupted and the service is unchanged or rolled back.
    pub(crate) fn run(&self, ctx: &Context, announce: Announce<'_>) -> Concluded {
        self.run_with(ctx, announce, ask(ctx.is_rehearsal()))
    }

    fn run_with(&self, ctx: &Context, announce: Announce<'_>, ask: Ask) -> Concluded {
        // Before the first request, so that no variable turns out to be missing halfway.
        let target = wanted(&ctx.config, &ctx.environment, &self.rollout.variables)
            .and_then(|_| Target::open(ctx, self.rollout.timings));
        let choose = |target: &Target<'_>| self.choose(target, &ctx.environment);
        match (target, &self.attach) {
            (Err(error), _) => self.rollout.refuse(&ctx.reporter, error),
            (Ok(target), Some(id)) => self.rollout.attach(target, ask, id, choose),
            (Ok(target), None) => self.rollout.run(target, (announce, ask), choose),
        }
    }

    fn choose(&self, target: &Target<'_>, environment: &Environment) -> Result<Chosen> {
        let release = self.lookup.release(&target.registry, &target.reporter)?;
        Ok(Chosen { release, wanted: wanted(target.config, environment, &self.rollout.variables)? })
    }
}

/// What an interrupted run does with its deploy: only outside of a rehearsal is there somebody to ask.
fn ask(is_rehearsal: bool) -> Ask {
    if is_rehearsal { |_, _| Choice::RollBack } else { Choice::on_terminal }
}

/// The name of the environment, from the variables that a deploy sets, as far as they are set.
fn planned_environment(config: &DeployConfig, environment: &Environment) -> Option<String> {
    let names = config.names();
    config.environment_name(|name| environment.get(name).filter(|_| names.iter().any(|own| own == name)))
}

/// The variables to set. Missing ones are an error with [`Exit::Missing`] that lists them all; reserved ones are an
/// error with [`Exit::Usage`].
fn wanted(config: &Config, environment: &Environment, names: &[String]) -> Result<Wanted> {
    let value = |name: &str| config.secret(environment, name);
    let all = ["RENDER_API_KEY", "RENDER_SERVICE_ID"].into_iter().chain(names.iter().map(String::as_str));
    let missing: Vec<String> =
        all.filter_map(|name| value(name).err()).map(|error| error.to_string()).collect();
    if !missing.is_empty() {
        return Err(Failure::new(Exit::Missing, missing.join("\n")).into());
    }
    let refused = reserved(names.iter().map(String::as_str));
    if !refused.is_empty() {
        let message =
            format!("a deploy cannot set the variables that Render sets itself: {}", refused.join(", "));
        return Err(Failure::new(Exit::Usage, message).into());
    }
    names.iter().map(|name| Ok((name.clone(), Some(value(name)?)))).collect()
}

/// The lines of a plan, with its changes if they can be computed.
fn explained(plan: &str, changes: Option<impl FnOnce() -> Result<Vec<String>>>) -> Vec<String> {
    let mut lines: Vec<String> = plan.lines().map(str::to_owned).collect();
    match changes.map(|changes| changes()) {
        None => {}
        Some(Ok(changes)) => lines.extend(changes),
        Some(Err(error)) => {
            let why = format!("the changes cannot be computed: {error:#}");
            lines.extend(why.lines().map(str::to_owned));
        }
    }
    lines
}

/// Whether there is a service to read: a rehearsal that is only explained has not started one.
fn has_service(network: &NetworkPolicy) -> bool {
    !matches!(network, NetworkPolicy::Only(bound) if bound.is_empty())
}

#[cfg(test)]
mod tests;
