//! `cargo xtask rehearse`: the same pipeline against a registry, a Render and a Sentry on loopback.
//!
//! The fakes share no code with the clients under test. A drill injects a fault into one of them.

pub(crate) mod drills;
mod fakes;
mod listeners;
mod proof;

use std::time::Duration;

use anyhow::Result;
use tokio::runtime::Runtime;

use crate::context::Context;
use crate::executor::plan::Options as StepOptions;
use crate::executor::{self, Proved, Request, Results, Scope};
use crate::table::JobId;
use crate::table::rule::Trigger;
use crate::turn::Turn;
use fakes::Fakes;
use launchway_core::environment::Environment;
use launchway_core::events::Proof;
use launchway_core::exit::{Exit, OrExit as _};
use launchway_core::http::NetworkPolicy;
use launchway_image::unpack::remove_unpacked;

/// Runs the pipeline as on the release branch, with all three jobs or these, and proves the result.
///
/// With `stay`, the fakes and the service keep running until the run is interrupted.
pub(crate) fn run(
    ctx: &Context,
    jobs: Option<Vec<JobId>>,
    explain: bool,
    stay: bool,
    fresh: bool,
) -> Result<()> {
    let request = Request {
        scope: Scope::Jobs(jobs),
        trigger: Trigger::push(&ctx.config.branch),
        options: StepOptions::of_rehearsal(&ctx.config),
        explain,
        keep_going: false,
        reuse: !fresh,
    };
    if explain {
        // Explaining starts and writes nothing: the addresses are not known yet.
        let image = format!("127.0.0.1:0/{}", Fakes::REPOSITORY);
        let variables =
            Environment::of([("PIPELINE_IMAGE", image.as_str()), ("RENDER_SERVICE_ID", Fakes::SERVICE)]);
        ctx.reporter.page("start a fake registry, a fake Render and a fake Sentry on loopback");
        executor::run(&ctx.rehearsed(variables, NetworkPolicy::Only(Vec::new())), &request)?;
        if deploys(&request) {
            ctx.reporter.page("prove that the image that was built is the one that runs, link by link");
        }
        return Ok(());
    }
    let _rehearsal = ctx.turn(Turn::REHEARSAL)?;
    let turn = ctx.turn(Turn::OUTPUT)?;
    let folder = ctx.output().join("rehearsal");
    // The fakes start empty: an earlier rehearsal's push must not pass for this one's.
    if folder.exists() {
        remove_unpacked(&folder)?;
    }
    fs_err::create_dir_all(&folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let fakes =
        runtime.block_on(Fakes::start(&ctx.config, &ctx.environment, &folder)).or_exit(Exit::Usage)?;
    fakes.announce(&ctx.config, &ctx.reporter, &ctx.git);
    let rehearsed = rehearse(ctx, &fakes, &request, &runtime);
    // After a failure too: the transcripts are kept, and no process is left.
    let kept = fakes.keep_transcripts(&ctx.reporter, &folder);
    if !stay && rehearsed.is_ok() && deploys(&request) {
        ctx.reporter.page("To look at it: cargo xtask rehearse --job build --job deploy --stay");
    }
    if stay && rehearsed.is_ok() {
        // From here on, only the fakes are needed.
        drop(turn);
        ctx.reporter.text(format!("\nthe service is at {} until Ctrl-C", fakes.render.url()));
        // Only an interrupt ends it, which is not an error here.
        while ctx.interrupt.sleep(Duration::from_secs(3600)).is_ok() {}
    }
    fakes.stop(&runtime);
    ctx.reporter.redact(ctx.redactor());
    rehearsed.and(kept)
}

/// Runs the pipeline against the fakes and proves the result.
fn rehearse(ctx: &Context, fakes: &Fakes, request: &Request, runtime: &Runtime) -> Result<()> {
    let ctx = ctx.rehearsed(fakes.environment(), NetworkPolicy::Only(fakes.addresses()?));
    let prove = |results: &Results| {
        if deploys(request) {
            return proved(&ctx, fakes, runtime, results);
        }
        ctx.reporter.note("nothing is proved, because the deploy job did not run");
        Proved::default()
    };
    executor::run_and_prove(&ctx, request, prove).map(drop)
}

/// Whether the deploy job is among those that were asked for.
fn deploys(request: &Request) -> bool {
    !matches!(&request.scope, Scope::Jobs(Some(jobs)) if !jobs.contains(&JobId::Deploy))
}

/// Proves what was deployed.
fn proved(ctx: &Context, fakes: &Fakes, runtime: &Runtime, results: &Results) -> Proved {
    let open: Vec<String> =
        listeners::open_to_others(&fakes.render.instance_pids()).iter().map(u16::to_string).collect();
    if !open.is_empty() {
        ctx.reporter.note(format!(
            "warning: the service listens on all interfaces, at port {}: while it runs here, other machines can reach it. Make it listen at the address in `LISTEN`",
            open.join(", ")
        ));
    }
    match proof::links(ctx, fakes, runtime, results) {
        Ok(links) => {
            let proof = Proof { links };
            Proved { result: proof::show(&ctx.reporter, &proof), proof: Some(proof) }
        }
        Err(error) => Proved { proof: None, result: Err(error) },
    }
}

#[cfg(test)]
mod tests;
