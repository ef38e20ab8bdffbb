//! Prints the plan of a run without running it.

use std::time::SystemTime;

use anyhow::Result;

use super::Request;
use super::plan::Plan;
use super::selection::{Selected, skipped};
use crate::config::Config;
use crate::context::Context;
use crate::needs::Need;
use crate::reuse::github::{self, GitHubRun};
use crate::reuse::{Key, Memory, Passed};
use crate::steps::push;
use crate::table::StepId;
use crate::table::rule::on_github;
use crate::tools::Machine;
use launchway_core::events::Event;
use launchway_core::exit::{Exit, Reported};
use launchway_image::Engine;

/// Prints the plan. If a registry prevents a part of it, fails after printing the rest.
pub(super) fn explain(ctx: &Context, request: &Request, jobs: &[Selected]) -> Result<()> {
    let mut refused = None;
    let memory = Memory::read(&ctx.output(), GitHubRun::own(&ctx.environment).as_ref());
    for job in jobs {
        if let Some(reason) = &job.skipped {
            ctx.reporter.emit(skipped(job.id, reason));
            continue;
        }
        for step in &job.steps {
            if let Some(passed) = reusable(ctx, request, &memory, *step) {
                let lines = vec![format!("reused: {}", passed.words(SystemTime::now().into()))];
                ctx.reporter.emit(Event::Planned { step: step.to_string(), lines });
                continue;
            }
            let plan = Plan::of(*step, ctx, &request.options);
            let lines = match plan {
                Ok(plan) if !request.options.needs_tools(*step) => plan.explained(ctx),
                Ok(plan) => installs(ctx.machine(), &ctx.config, *step, request.options.image.engine)
                    .into_iter()
                    .chain(plan.explained(ctx))
                    .collect(),
                // The results of an earlier step do not exist yet.
                Err(error) if *step == StepId::Push => push::before_the_image(ctx)
                    .unwrap_or_else(|| vec![format!("cannot be planned: {error:#}")]),
                Err(error) => {
                    let line = format!("cannot be planned yet: {error:#}");
                    if *step == StepId::DockerBuild && Exit::of(&error) != Exit::Usage {
                        refused = refused.or(Some(Exit::of(&error)));
                    }
                    vec![line]
                }
            };
            ctx.reporter.emit(Event::Planned { step: step.to_string(), lines });
        }
    }
    refused.map_or(Ok(()), |exit| Err(Reported(exit).into()))
}

/// The earlier pass of a step that need not run again. If the key cannot be computed, the step runs.
///
/// On GitHub nothing on the machine itself counts: a cache may have brought it there.
pub(super) fn reusable(ctx: &Context, request: &Request, memory: &Memory, step: StepId) -> Option<Passed> {
    let may_reuse = request.reuse && request.options.is_whole(step);
    let key = may_reuse.then(|| Key::of(ctx.machine(), &ctx.config, step).ok().flatten()).flatten()?;
    if on_github(&ctx.environment) {
        github::find(ctx, &request.trigger, step, &key)
    } else {
        memory.find(step, &key).cloned()
    }
}

/// What the preflight of a step would install, and what it could not.
fn installs(machine: Machine<'_>, config: &Config, step: StepId, engine: Engine) -> Vec<String> {
    let line = |need: &Need| {
        if need.may_install(machine) {
            format!("install {need}")
        } else {
            format!("missing: {}", need.problem(machine))
        }
    };
    match Need::missing(machine, config, &[step], engine) {
        Ok(missing) => missing.iter().map(line).collect(),
        Err(error) => vec![format!("missing: {error:#}")],
    }
}
