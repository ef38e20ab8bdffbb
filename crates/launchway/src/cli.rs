//! The command line; the help text is the doc comment.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::steps::deploy::rollback::To;
use crate::table::{JobId, StepId};
use launchway_core::events::terminal::Verbosity;
use launchway_core::exit::Exit;
use launchway_image::Engine;

/// The pipeline: from commit to live, the same on a laptop as on GitHub.
///
/// Without a command it prints the pipeline.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = exit_codes(), disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

/// What every command takes.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Shared {
    /// Print the plan, run nothing.
    #[arg(long, global = true)]
    pub(crate) explain: bool,
    /// How to print what happens; json is one event a line.
    #[arg(long, global = true, value_enum, default_value_t = Format::Human, value_name = "FORMAT")]
    pub(crate) format: Format,
    /// Print failures and requested text only.
    #[arg(long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print commands with their environment, and paths in full.
    #[arg(long, global = true)]
    pub(crate) verbose: bool,
}

impl Shared {
    pub(crate) fn verbosity(self) -> Verbosity {
        match self {
            Self { quiet: true, .. } => Verbosity::Quiet,
            Self { verbose: true, .. } => Verbosity::Verbose,
            _ => Verbosity::Normal,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Human,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The pipeline, as GitHub would run it for this branch.
    Ci(Ci),
    /// Formatting, clippy, the workflow, the recipe, the documentation.
    Lint,
    /// All tests, once, under coverage; then the threshold for every crate.
    TestCoverage,
    /// The image of this commit, in target/xtask/image.
    DockerBuild(DockerBuild),
    /// The image to the registry: the commit's tag, verified, then `latest`.
    Push,
    /// The pushed image live on Render, proved by asking the running app.
    Deploy(Deploy),
    /// An earlier release live again, image and environment, proved as a deploy is.
    Rollback(Rollback),
    /// The whole pipeline on this machine: a registry, a Render and a Sentry on loopback; nothing leaves it.
    Rehearse(Rehearse),
    /// Write the GitHub workflow from the pipeline table.
    Workflow(Workflow),
    /// Every attempt to deploy: what became live, what failed and why, what was rolled back.
    History,
    /// The bill of materials of the shipped binary, as JSON on standard output.
    Sbom,
    /// Secrets for the service.
    #[command(subcommand)]
    Secrets(Secrets),
    /// Tools, secrets, branch, Docker: what is missing and how to get it.
    Doctor,
    /// Set the pipeline up in the repository of a service that has none.
    Init(Init),
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Secrets {
    /// A new random key, on standard output and nowhere else.
    Generate,
}

#[derive(Debug, Args)]
pub(crate) struct Ci {
    /// Only these jobs; may be given more than once.
    #[arg(long, value_enum, value_name = "JOB")]
    pub(crate) job: Vec<JobId>,
    /// Decide as on this branch instead of the one that git is on.
    #[arg(long, value_name = "BRANCH")]
    pub(crate) branch: Option<String>,
    /// Go on with the steps that do not need the one that failed.
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Run every step, also what passed on the same files before.
    #[arg(long)]
    pub(crate) fresh: bool,
}

/// Reads the name of an engine.
fn engine() -> impl TypedValueParser<Value = Engine> {
    let value = |engine: Engine| {
        PossibleValue::new(engine.name()).help(match engine {
            Engine::Builtin => "Ours: no daemon, byte for byte reproducible",
            Engine::Docker => "`docker build` of the same Dockerfile",
        })
    };
    PossibleValuesParser::new(Engine::ALL.map(value))
        .map(|name| Engine::ALL.into_iter().find(|engine| engine.name() == name).unwrap_or_default())
}

#[derive(Debug, Args)]
pub(crate) struct DockerBuild {
    /// What follows the recipe, instead of the engine in the configuration.
    #[arg(long, value_name = "ENGINE", value_parser = engine())]
    pub(crate) engine: Option<Engine>,
    /// Write the image into one file too, for `docker load` or another tool that reads OCI layouts.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Put the image into the running Docker engine too.
    #[arg(long)]
    pub(crate) load: bool,
    /// Build the commit twice, in other folders and homes, and compare; a difference exits 1.
    #[arg(long, conflicts_with = "engine")]
    pub(crate) verify_reproducible: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// Deploy only this plan, as `deploy --explain` printed its hash; another one exits 5, and nothing is written.
    #[arg(long, value_name = "HASH")]
    pub(crate) expect_plan: Option<String>,
    /// Take up the watch and the proof of a deploy of this commit that was asked for before.
    #[arg(long, value_name = "DEP", conflicts_with = "expect_plan")]
    pub(crate) attach: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// A commit, a digest or a deploy, `dep-…`; without it the release that was live before.
    #[arg(long, value_name = "RELEASE")]
    pub(crate) to: Option<To>,
    /// Go back only with this plan, as `rollback --explain` printed its hash.
    #[arg(long, value_name = "HASH")]
    pub(crate) expect_plan: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Rehearse {
    /// Only these jobs; may be given more than once.
    #[arg(long, value_enum, value_name = "JOB")]
    pub(crate) job: Vec<JobId>,
    /// Break a stand-in on purpose and see whether push and deploy end as they must: a drill, `all` or `list`.
    #[arg(long, value_name = "NAME", conflicts_with = "job")]
    pub(crate) drill: Option<String>,
    /// Keep the stand-ins and the app up until Ctrl-C.
    #[arg(long, conflicts_with = "drill")]
    pub(crate) stay: bool,
    /// Run every step, also what passed on the same files before.
    #[arg(long)]
    pub(crate) fresh: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Workflow {
    /// Compare instead of writing; a difference exits 1.
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// A folder of the repository, the current one if absent.
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    /// The package that ships.
    #[arg(long, value_name = "NAME")]
    pub(crate) package: Option<String>,
    /// The binary that ships.
    #[arg(long, value_name = "NAME")]
    pub(crate) binary: Option<String>,
    /// Take Launchway from a git repository instead of the place that this program was built from.
    #[arg(long, value_name = "URL", requires = "rev")]
    pub(crate) git: Option<String>,
    /// The commit of that repository.
    #[arg(long, value_name = "COMMIT", requires = "git")]
    pub(crate) rev: Option<String>,
    /// Do not rehearse in the end.
    #[arg(long)]
    pub(crate) no_rehearsal: bool,
}

impl Command {
    /// The step, where the command is one.
    pub(crate) fn step(&self) -> Option<StepId> {
        match self {
            Self::Lint => Some(StepId::Lint),
            Self::TestCoverage => Some(StepId::TestCoverage),
            Self::DockerBuild(_) => Some(StepId::DockerBuild),
            Self::Push => Some(StepId::Push),
            Self::Deploy(_) => Some(StepId::Deploy),
            Self::Ci(_)
            | Self::Rollback(_)
            | Self::Rehearse(_)
            | Self::Workflow(_)
            | Self::History
            | Self::Sbom
            | Self::Secrets(_)
            | Self::Doctor
            | Self::Init(_) => None,
        }
    }
}

fn exit_codes() -> String {
    let lines: Vec<String> =
        Exit::ALL.iter().map(|exit| format!("  {:>3}  {}", exit.code(), exit.meaning())).collect();
    format!("Exit codes:\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::table::PIPELINE;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_step_is_a_subcommand() {
        for step in PIPELINE.iter().flat_map(|job| job.steps) {
            let cli = Cli::try_parse_from(["cargo xtask", step.name()]).unwrap();
            assert_eq!(cli.command.unwrap().step(), Some(*step));
        }
    }

    #[test]
    fn the_help_lists_the_exit_codes() {
        let help = Cli::command().render_help().to_string();
        assert!(
            help.contains("130  interrupted") && help.contains("  4  the registry refused or failed"),
            "{help}"
        );
    }
}
