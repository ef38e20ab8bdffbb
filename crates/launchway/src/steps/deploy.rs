//! Step: deploy. The pushed image live on Render and proved by the app's own responses, or the service rolled back.
//!
//! A deploy is a transaction. The service is read before anything is written, the difference is a plan with a hash,
//! variables are written one by one, the image is requested by digest, only our own deploy is followed, and the running
//! app has to report its commit and to stay healthy. When any of that fails, variables and image are put back; when even
//! that fails, the error is a page of facts for the person who finishes by hand.

mod app_check;
mod attach;
mod automatic_rollback;
mod changes;
mod diagnosis;
mod digest;
mod interrupted;
mod kept_release;
mod manual_steps;
mod plan_lines;
mod proof;
mod record;
mod recover;
mod release;
mod report_plan;
mod request;
pub(crate) mod rollback;
mod rollout;
mod sentry;
mod service_state;
mod target;
mod watch;

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::context::Context;
use crate::timings::Timings;
use launchway_core::exit::{Exit, Failure};
use launchway_core::http::NetworkPolicy;
use launchway_render::image;
use sentry::SentryPlan;

pub(crate) use record::{Concluded, DeploymentRecord};
pub(crate) use report_plan::ReportPlan;

use changes::{Wanted, reserved};
use digest::Source;
use interrupted::Choice;
use rollout::{Chosen, Rollout};
use target::Target;

/// Which way a release goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Deploy,
    Rollback,
}

impl From<Kind> for launchway_report::DeploymentKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Deploy => Self::Deploy,
            Kind::Rollback => Self::Rollback,
        }
    }
}

/// What the caller decides about a deploy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// The hash that the plan must have.
    pub(crate) expect: Option<String>,
    /// The deploy, `dep-…`, to take up instead of requesting one.
    pub(crate) attach: Option<String>,
    /// Those of Render, or those of a rehearsal.
    pub(crate) timings: Timings,
}

impl Options {
    /// A new deploy, whatever its plan.
    pub(crate) fn new(timings: Timings) -> Self {
        Self { expect: None, attach: None, timings }
    }
}

/// What a deploy achieved, for the run record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Deployment {
    /// Render's id, `dep-…`.
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) digest: String,
    /// The app's address.
    pub(crate) url: String,
    /// The commit that the app itself reported.
    pub(crate) commit: String,
    /// Names, never values.
    pub(crate) variables_written: Vec<String>,
    pub(crate) milliseconds: u64,
}

/// What a deploy will do.
#[derive(Clone, Debug)]
pub(crate) struct DeployPlan {
    /// Where the digest comes from.
    source: Source,
    /// A deploy to take up instead of requesting one.
    attach: Option<String>,
    rollout: Rollout,
}

impl fmt::Display for DeployPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.rollout.first_lines();
        lines.push(format!("take the digest from {}, and look it up in the registry", self.source));
        match &self.attach {
            Some(id) => lines.push(format!("resume deploy {id}")),
            None => lines.extend(self.rollout.request_lines()),
        }
        lines.extend(self.rollout.proof_lines());
        f.write_str(&lines.join("\n"))
    }
}

impl DeployPlan {
    /// The plan by the configuration and local files only.
    ///
    /// It needs no variable to be set and no image to be pushed, so that it can be explained before either.
    pub(crate) fn new(ctx: &Context, options: &Options) -> Result<Self> {
        if let Some(id) = &options.attach
            && (options.expect.is_some() || !id.starts_with("dep-"))
        {
            let message = format!("`--attach {id}` takes the id of a deploy, `dep-…`, not a plan");
            return Err(Failure::new(Exit::Usage, message).into());
        }
        let sentry = SentryPlan::of(ctx);
        let rollout = Rollout {
            expect: options.expect.clone(),
            check: ctx.config.deploy.check.clone(),
            commit: Some(ctx.git.tag()),
            queue: options.timings.queue,
            environment: planned_environment(ctx),
            sentry_release: sentry.is_on().then(|| sentry.release(&ctx.git.commit)),
            ..rollout(ctx, Kind::Deploy, options.timings, sentry)
        };
        Ok(Self { source: Source::of(ctx)?, attach: options.attach.clone(), rollout })
    }

    /// The plan with what it would change of the service in its current state, where Render lets us read that.
    pub(crate) fn explained(&self, ctx: &Context) -> Vec<String> {
        let changes = || self.rollout.preview(ctx, |target| self.choose(target));
        explained(ctx, &self.to_string(), self.attach.is_none().then_some(changes))
    }

    /// Does exactly what is planned, or undoes what it has changed.
    ///
    /// An error carries [`Exit::DeployFailed`] where the service is unchanged or rolled back, [`Exit::NotRolledBack`] where
    /// it names what is left changed, [`Exit::Superseded`] where somebody else's newer deploy won, and
    /// [`Exit::Interrupted`] where the run was interrupted and the service is unchanged or rolled back.
    pub(crate) fn run(&self, ctx: &Context) -> Concluded {
        self.run_with(ctx, Choice::on_terminal)
    }

    fn run_with(&self, ctx: &Context, ask: fn(&Context) -> Choice) -> Concluded {
        let choose = |target: &Target<'_>| self.choose(target);
        // Before the first request, so that no variable turns out to be missing half-way.
        if let Err(error) = wanted(ctx, &self.rollout.variables) {
            return self.rollout.refuse(ctx, error);
        }
        match &self.attach {
            Some(id) => self.rollout.attach(ctx, ask, id, choose),
            None => self.rollout.run(ctx, ask, choose),
        }
    }

    fn choose(&self, target: &Target<'_>) -> Result<Chosen> {
        let release = digest::release(target.ctx, &self.source)?;
        Ok(Chosen { release, wanted: wanted(target.ctx, &self.rollout.variables)? })
    }
}

/// The name of the environment by the variables that a deploy sets, as far as they are set.
fn planned_environment(ctx: &Context) -> Option<String> {
    let names = ctx.config.deploy.names();
    let value = |name: &str| ctx.environment.get(name).filter(|_| names.iter().any(|own| own == name));
    ctx.config.deploy.environment_name(value)
}

/// What the plans of a deploy and of a rollback share.
fn rollout(ctx: &Context, kind: Kind, timings: Timings, sentry: SentryPlan) -> Rollout {
    let deploy = &ctx.config.deploy;
    let service = ctx
        .environment
        .get("RENDER_SERVICE_ID")
        .map_or_else(|| "`RENDER_SERVICE_ID`".to_owned(), |id| format!("`{id}`"));
    Rollout {
        kind,
        service,
        image: image::repository(ctx.image()),
        variables: deploy.names(),
        expect: None,
        check: Vec::new(),
        health: deploy.health.clone(),
        version: deploy.version.clone(),
        commit: None,
        queue: Duration::ZERO,
        timings,
        environment: None,
        sentry,
        sentry_release: None,
        report: ReportPlan::of(ctx, &timings),
    }
}

/// The variables to set. Missing ones are an error with [`Exit::Missing`] that names them all, reserved ones one with
/// [`Exit::Usage`].
fn wanted(ctx: &Context, names: &[String]) -> Result<Wanted> {
    let all = ["RENDER_API_KEY", "RENDER_SERVICE_ID"].into_iter().chain(names.iter().map(String::as_str));
    let missing: Vec<String> =
        all.filter_map(|name| ctx.required(name).err()).map(|error| error.to_string()).collect();
    if !missing.is_empty() {
        return Err(Failure::new(Exit::Missing, missing.join("\n")).into());
    }
    let refused = reserved(names.iter().map(String::as_str));
    if !refused.is_empty() {
        let message = format!("only Render sets these, a deploy cannot: {}", refused.join(", "));
        return Err(Failure::new(Exit::Usage, message).into());
    }
    names.iter().map(|name| Ok((name.clone(), Some(ctx.required(name)?)))).collect()
}

/// The lines of a plan, with those of what it changes where they can be had.
fn explained(
    ctx: &Context,
    plan: &str,
    changes: Option<impl FnOnce() -> Result<Vec<String>>>,
) -> Vec<String> {
    let mut lines: Vec<String> = plan.lines().map(str::to_owned).collect();
    // A rehearsal that is only explained has started no service that could be read.
    let has_service = !matches!(&ctx.network, NetworkPolicy::Only(bound) if bound.is_empty());
    match changes.filter(|_| has_service).map(|changes| changes()) {
        None => {}
        Some(Ok(changes)) => lines.extend(changes),
        Some(Err(error)) => {
            let why = format!("what that would change is unknown: {error:#}");
            lines.extend(why.lines().map(str::to_owned));
        }
    }
    lines
}

#[cfg(test)]
mod tests;
