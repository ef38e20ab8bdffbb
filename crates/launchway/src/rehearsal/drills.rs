//! Drills: injects a fault on purpose. A push or a deploy must then end as stated, and leave the service as stated.
//!
//! Each drill has its own fakes, on which an earlier release is live, and runs the pipeline's own program as a process:
//! only a process can be interrupted and killed.

mod drill;
mod drilled_service;
mod releases;
mod run;
mod table;
mod xtask_process;

use anyhow::Result;

use super::fakes::Fakes;
use crate::context::Context;
use crate::executor::{self, Request, Scope};
use crate::table::StepId;
use crate::table::rule::Trigger;
use crate::turn::Turn;
use launchway_core::environment::Environment;
use launchway_core::events::{Drilled, Event, Reporter};
use launchway_core::exit::{Exit, Failure};
use launchway_core::http::NetworkPolicy;
use launchway_image::unpack::remove_unpacked;

use drill::{Drill, Fault};
use releases::Releases;
use run::Ran;
use table::DRILLS;

/// The heading above the columns of [`Event::Drill`].
const HEADING: &str = "\n          drill                     time  exit  image    variables latest";

/// Prints the drills with their faults and their expected ends, for a tree that is dirty or not.
pub(crate) fn list(name: &str, is_dirty: bool, reporter: &Reporter) -> Result<()> {
    let drills = if name == "list" { DRILLS.iter().collect() } else { chosen(name)? };
    let lines = |drill: &Drill| {
        let Drill { name, description, .. } = drill;
        format!("{name:<20} {}\n{:<20} {description}\n", drill.expected(is_dirty), "")
    };
    let mut text = String::new();
    // The plan of one drill needs no heading.
    if name == "list" {
        text += "How each drill must end: its exit code, the image and variables on Render, and the tag `latest` in the registry\n\n";
    }
    text.extend(drills.into_iter().map(lines));
    reporter.page(text.trim_end());
    Ok(())
}

/// Runs one drill, or `all`. Fails with [`Exit::CheckFailed`] and the names of those that do not end as stated.
pub(crate) fn run(ctx: &Context, name: &str) -> Result<()> {
    let drills = chosen(name)?;
    let _turns = (ctx.turn(Turn::REHEARSAL)?, ctx.turn(Turn::OUTPUT)?);
    let folder = ctx.output().join("rehearsal");
    if folder.exists() {
        remove_unpacked(&folder)?;
    }
    fs_err::create_dir_all(&folder)?;
    build(ctx)?;
    let releases = Releases::read(&ctx.output().join("image"), ctx.git.tag())?;
    Fakes::announce_machine(&ctx.config, &ctx.reporter);
    let is_alone = drills.len() == 1;
    if !is_alone {
        ctx.reporter.text(HEADING);
    }
    let mut failed = Vec::new();
    for drill in &drills {
        ctx.interrupt.check()?;
        if ctx.git.dirty && drill.faults.iter().any(|fault| matches!(fault, Fault::TagTaken)) {
            ctx.reporter
                .skipped(drill.name, "the tag of a tree with uncommitted changes may move: commit first");
            continue;
        }
        if ctx.config.deploy.environment.is_empty() && drill.faults.iter().any(Fault::concerns_variables) {
            ctx.reporter.skipped(drill.name, "`deploy.environment` lists no variables");
            continue;
        }
        let Ran { drilled, printed } = run::run(ctx, &releases, drill, &folder)?;
        if !drilled.passed {
            failed.push(drill.name);
        }
        if is_alone {
            ctx.reporter.page(format!("\nThe run prints:\n\n{}", printed.trim_matches('\n')));
            let Drilled { expected, observed, .. } = &drilled;
            ctx.reporter.page(format!("\nexpected  {expected}\nobserved  {observed}"));
            ctx.reporter.text(HEADING);
        }
        ctx.reporter.emit(Event::Drill(drilled));
    }
    // The secrets of the last drill no longer matter; the developer's own do.
    ctx.reporter.redact(ctx.redactor());
    if failed.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} of {} drills did not end as expected: {}; their output is in {}",
        failed.len(),
        drills.len(),
        failed.join(", "),
        folder.join("drills").display()
    );
    Err(Failure::new(Exit::CheckFailed, message).into())
}

fn chosen(name: &str) -> Result<Vec<&'static Drill>> {
    if name == "all" {
        return Ok(DRILLS.iter().collect());
    }
    let drill = DRILLS.iter().find(|drill| drill.name == name).ok_or_else(|| {
        let message = format!("unknown drill `{name}`: `cargo xtask rehearse --drill list` lists them");
        Failure::new(Exit::Usage, message)
    })?;
    Ok(vec![drill])
}

/// Builds the image once for all drills.
fn build(ctx: &Context) -> Result<()> {
    let request = Request {
        scope: Scope::Step(StepId::DockerBuild),
        trigger: Trigger::push(&ctx.config.branch),
        options: crate::executor::plan::Options::of_rehearsal(&ctx.config),
        explain: false,
        keep_going: false,
        reuse: false,
    };
    // It is not pushed from here: each drill has its own registry.
    let image = format!("127.0.0.1:0/{}", Fakes::REPOSITORY);
    let rehearsed =
        ctx.rehearsed(Environment::of([("PIPELINE_IMAGE", image)]), NetworkPolicy::Only(Vec::new()));
    executor::run(&rehearsed, &request).map(drop)
}

#[cfg(test)]
mod tests;
