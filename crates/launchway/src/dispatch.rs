//! Dispatches the command line, and turns the result into an exit code.

use std::io::{self, ErrorKind, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::attestation::sbom;
use crate::cli::{Cli, Command, DockerBuild, Format, Secrets, TestCoverage};
use crate::context::{Context, find_root, settings};
use crate::executor::plan::Options as StepOptions;
use crate::executor::{self, Request, Scope};
use crate::git::Git;
#[cfg(feature = "init")]
use crate::init;
use crate::steps::deploy::rollback::To;
use crate::steps::deploy::{self, rollback};
use crate::steps::docker_build::Options;
use crate::steps::docker_build::reproducible;
use crate::steps::test_coverage::Part;
use crate::table::rule::{Trigger, on_github};
#[cfg(feature = "rehearsal")]
use crate::{cli::Rehearse, rehearsal};
use crate::{doctor, history, overview, workflow};
use launchway_core::events::github::GitHub;
use launchway_core::events::json::Json;
use launchway_core::events::terminal::{Look, Terminal};
use launchway_core::events::{Event, Failed, Reporter, Sink};
use launchway_core::exit::{Exit, Failure, Reported};
use launchway_core::interrupt::Interrupt;
use launchway_core::secret::{random_key, random_word};

/// Runs the command and reports how it ended.
pub(crate) fn run(cli: &Cli) -> Exit {
    let plain = || Sink::Terminal(Terminal::new(cli.shared.verbosity(), Look::default()));
    let reporter = Reporter::new(sink(cli).unwrap_or_else(|_| plain()));
    std::panic::set_hook(Box::new({
        let reporter = reporter.clone();
        move |panic| reporter.panicked(panic)
    }));
    let ended = guarded(|| dispatch(cli, &reporter));
    let exit = ended.map_or_else(|error| report(&reporter, &error), |()| Exit::Done);
    reporter.finish();
    let Some(error) = reporter.lost() else { return exit };
    let is_closed = |error: &io::Error| error.kind() == ErrorKind::BrokenPipe;
    // A reader that has closed the pipe knows that it has not read everything.
    if !error.downcast_ref().is_some_and(is_closed) {
        // If this cannot be written either, only the exit code is left.
        let text = reporter.redacted(&format!("{error:#}"));
        writeln!(io::stderr(), "error: some output could not be written: {text}").ok();
    }
    if exit == Exit::Done { Exit::Internal } else { exit }
}

/// Turns a panic, which has been printed with its location, into an error.
fn guarded(run: impl FnOnce() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        let message = "a bug in the pipeline ended the run; the panic message above shows where";
        Err(Failure::new(Exit::Internal, message).into())
    })
}

/// Reports a failed run, unless it has been reported.
fn report(reporter: &Reporter, error: &anyhow::Error) -> Exit {
    let exit = Exit::of(error);
    if error.is::<Reported>() {
        return exit;
    }
    let root = std::env::current_dir().map_err(anyhow::Error::from).and_then(|here| find_root(&here));
    let guide = root.ok().and_then(|root| executor::guide(&root));
    reporter.emit(Event::Failed(Failed { guide, ..Failed::of(error) }));
    exit
}

fn dispatch(cli: &Cli, reporter: &Reporter) -> Result<()> {
    // Needs no service, so it runs before anything is read.
    if let Some(Command::Secrets(Secrets::Generate)) = cli.command {
        let explained = || Ok("print 50 random characters".to_owned());
        reporter.text(if cli.shared.explain { explained() } else { random_key() }?);
        return Ok(());
    }
    #[cfg(feature = "init")]
    if let Some(Command::Init(options)) = &cli.command {
        return init::run(options, cli.shared.explain, reporter);
    }
    let here = std::env::current_dir().context("the current folder no longer exists")?;
    let root = find_root(&here)?;
    let Some(command) = &cli.command else {
        reporter.text(overview::text(&settings(&root, reporter)?.0));
        return Ok(());
    };
    let ctx = Context::read(root, reporter.clone(), Interrupt::install()?)?;
    let request = |scope, branch: Option<&str>| -> Result<Request> {
        Ok(Request {
            scope,
            trigger: Trigger::read(&ctx.environment, &ctx.git, branch),
            options: StepOptions::of_run(&ctx.config, ctx.is_rehearsal()),
            explain: cli.shared.explain,
            keep_going: false,
            // On GitHub a job runs its steps one by one.
            reuse: on_github(&ctx.environment),
        })
    };
    match command {
        Command::Ci(ci) => {
            let jobs = (!ci.job.is_empty()).then(|| ci.job.clone());
            let request = request(Scope::Jobs(jobs), ci.branch.as_deref())?;
            ctx.reporter.started(heading(&ctx.git, &format!("ci, {}", request.trigger)));
            executor::run(&ctx, &Request { keep_going: ci.keep_going, reuse: !ci.fresh, ..request })?;
        }
        Command::TestCoverage(options) => {
            let request = request(Scope::Step(crate::table::StepId::TestCoverage), None)?;
            executor::run(&ctx, &with_part(&ctx, options, request)?)?;
        }
        Command::Lint | Command::Push => {
            if let Some(step) = command.step() {
                executor::run(&ctx, &request(Scope::Step(step), None)?)?;
            }
        }
        Command::DockerBuild(options) if options.verify_reproducible => {
            reproducible::run(&ctx, cli.shared.explain)?;
        }
        Command::DockerBuild(options) => {
            let request = request(Scope::Step(crate::table::StepId::DockerBuild), None)?;
            executor::run(&ctx, &with_image(&ctx, options, request)?)?;
        }
        Command::Deploy(options) => {
            let request = request(Scope::Step(crate::table::StepId::Deploy), None)?;
            let (expect, attach) = (options.expect_plan.clone(), options.attach.clone());
            let deploy = deploy::Options { expect, attach, ..request.options.deploy.clone() };
            let options = StepOptions { deploy, ..request.options.clone() };
            executor::run(&ctx, &Request { options, ..request })?;
        }
        Command::Rollback(options) => {
            let request = request(Scope::Step(crate::table::StepId::Rollback), None)?;
            let to = options.to.clone().map_or_else(|| To::named(&ctx.environment), |to| Ok(Some(to)))?;
            let (image_only, expect) = (options.image_only, options.expect_plan.clone());
            let rollback = rollback::Options { to: to.unwrap_or_default(), image_only, expect };
            let options = StepOptions { rollback, ..request.options.clone() };
            executor::run(&ctx, &Request { options, ..request })?;
        }
        #[cfg(feature = "rehearsal")]
        Command::Rehearse(options) => rehearse(&ctx, options, cli.shared.explain)?,
        Command::Workflow(_) if cli.shared.explain => {
            let [pipeline, rollback] =
                workflow::names(&ctx.config.workflow).map(|name| workflow::path(&name));
            ctx.reporter.page(format!("generate {pipeline} and {rollback} from the pipeline table"));
        }
        Command::Workflow(options) if options.check => {
            workflow::check(&ctx.root, &ctx.config, &ctx.reporter)?;
        }
        Command::Workflow(_) => workflow::write(&ctx.root, &ctx.config, &ctx.reporter)?,
        Command::History if cli.shared.explain => {
            ctx.reporter
                .page("read target/xtask/history and the registry's tag `ledger`, and list the deployments");
        }
        Command::History => history::show(&ctx, cli.shared.format == Format::Json)?,
        Command::Sbom if cli.shared.explain => {
            ctx.reporter.text(sbom::call(&ctx.root, &ctx.config).to_string());
        }
        // The reporter adds the last line break.
        Command::Sbom => ctx.reporter.text(sbom::document(&ctx.root, &ctx.config)?.trim_end()),
        // Handled above.
        Command::Secrets(Secrets::Generate) => {}
        #[cfg(feature = "init")]
        Command::Init(_) => {}
        Command::Doctor if cli.shared.explain => ctx
            .reporter
            .page("check tools, variables, branch and Docker, and say what is missing and how to get it"),
        Command::Doctor => doctor::run(&ctx)?,
    }
    Ok(())
}

/// Adds the part of the tests that the command names. Paths are relative to where the command was started.
fn with_part(ctx: &Context, options: &TestCoverage, request: Request) -> Result<Request> {
    let merge = options.merge.iter().map(std::path::absolute).collect::<io::Result<Vec<_>>>()?;
    let tests = Part::of(ctx, options.shard, &merge)?;
    let options = StepOptions { tests, ..request.options.clone() };
    Ok(Request { options, ..request })
}

/// Adds the command's options for the image.
fn with_image(ctx: &Context, options: &DockerBuild, request: Request) -> Result<Request> {
    let image = Options {
        engine: options.engine.unwrap_or(ctx.config.engine),
        // Relative to where the command was started, not to the workspace root.
        output: options.output.as_ref().map(std::path::absolute).transpose()?,
        load: options.load,
    };
    let options = StepOptions { image, ..request.options.clone() };
    Ok(Request { options, ..request })
}

#[cfg(feature = "rehearsal")]
fn rehearse(ctx: &Context, options: &Rehearse, explain: bool) -> Result<()> {
    let jobs = (!options.job.is_empty()).then(|| options.job.clone());
    match &options.drill {
        Some(name) if name == "list" || explain => {
            rehearsal::drills::list(name, ctx.git.dirty, &ctx.reporter)
        }
        Some(name) => {
            ctx.reporter.started(heading(&ctx.git, &format!("rehearse, drill {name}")));
            rehearsal::drills::run(ctx, name)
        }
        None => {
            ctx.reporter.started(heading(&ctx.git, "rehearse"));
            rehearsal::run(ctx, jobs, explain, options.stay, options.fresh)
        }
    }
}

fn heading(git: &Git, what: &str) -> String {
    let dirty = if git.dirty { " with uncommitted changes" } else { "" };
    format!("{what}: commit {}{dirty}", git.short())
}

/// Chooses how events are shown: JSON for programs, GitHub's own commands, and text for people.
fn sink(cli: &Cli) -> Result<Sink> {
    let file = |name| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let verbosity = cli.shared.verbosity();
    Ok(match cli.shared.format {
        Format::Json => Sink::Json(Json(verbosity)),
        Format::Human if std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") => {
            let (summary, output) = (file("GITHUB_STEP_SUMMARY"), file("GITHUB_OUTPUT"));
            let checkout = file("GITHUB_WORKSPACE");
            Sink::GitHub(GitHub::new(verbosity, checkout, summary, output, random_word()?))
        }
        Format::Human => Sink::Terminal(Terminal::new(verbosity, Look::of_process())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_internal_error() {
        assert!(guarded(|| Ok(())).is_ok());
        let error = guarded(|| panic!("of this test")).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Internal);
    }
}
