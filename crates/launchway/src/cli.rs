//! The command line; the help text is the doc comment.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::steps::deploy::rollback::To;
use crate::steps::test_coverage::Shard;
use crate::table::{JobId, StepId};
use launchway_core::events::terminal::Verbosity;
use launchway_core::exit::Exit;
use launchway_image::Engine;

/// The pipeline: from commit to live, the same on a laptop as on GitHub.
///
/// Without a command it prints the pipeline.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = exit_codes(), disable_help_subcommand = true, max_term_width = 80)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

/// The options that every command takes.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Shared {
    /// Print the plan and run nothing.
    #[arg(long, global = true)]
    pub(crate) explain: bool,
    /// The output format; json prints one event per line.
    #[arg(long, global = true, value_enum, default_value_t = Format::Human, value_name = "FORMAT")]
    pub(crate) format: Format,
    /// Print only failures and requested text.
    #[arg(long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print commands with their environment, and full paths.
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
    /// Run the pipeline as GitHub would for this branch.
    Ci(Ci),
    /// Check formatting, the workflow, the Dockerfile, clippy and the documentation.
    Lint,
    /// Run all tests once, under coverage, then check every crate's threshold.
    TestCoverage(TestCoverage),
    /// Build the image of this commit, in target/xtask/image.
    DockerBuild(DockerBuild),
    /// Push the image to the registry: the commit's tag, verified, then `latest`.
    Push,
    /// Deploy the pushed image to Render and prove that the service runs it.
    Deploy(Deploy),
    /// Roll back to an earlier release, image and environment, with the same proof as a deploy.
    Rollback(Rollback),
    /// Run the whole pipeline against a registry, a Render and a Sentry on loopback; nothing leaves this machine.
    #[cfg(feature = "rehearsal")]
    Rehearse(Rehearse),
    /// Generate the GitHub workflows for the pipeline and for rollbacks.
    Workflow(Workflow),
    /// List every deployment: what went live, what failed and why, what was rolled back.
    History,
    /// Print the SBOM of the shipped binary as CycloneDX JSON.
    Sbom,
    /// Generate secrets for the service.
    #[command(subcommand)]
    Secrets(Secrets),
    /// Check tools, variables, Dockerfile, package and branch, and say how to get what is missing.
    Doctor,
    /// Set Launchway up in a service's repository.
    #[cfg(feature = "init")]
    Init(Init),
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Secrets {
    /// Print a new random key without storing it.
    Generate,
}

#[derive(Debug, Args)]
pub(crate) struct Ci {
    /// Run only this job; repeatable.
    #[arg(long, value_enum, value_name = "JOB")]
    pub(crate) job: Vec<JobId>,
    /// Apply the branch rule to this branch instead of the current one.
    #[arg(long, value_name = "BRANCH")]
    pub(crate) branch: Option<String>,
    /// After a failure, continue with the steps that do not depend on the failed one.
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Run every step, even those that have already passed on the same files.
    #[arg(long)]
    pub(crate) fresh: bool,
}

/// Reads the name of an engine.
fn engine() -> impl TypedValueParser<Value = Engine> {
    let value = |engine: Engine| {
        PossibleValue::new(engine.name()).help(match engine {
            Engine::Builtin => "Launchway's own: no daemon, byte-for-byte reproducible",
            Engine::Docker => "`docker build` of the same Dockerfile",
        })
    };
    PossibleValuesParser::new(Engine::ALL.map(value))
        .map(|name| Engine::ALL.into_iter().find(|engine| engine.name() == name).unwrap_or_default())
}

#[derive(Debug, Args)]
pub(crate) struct TestCoverage {
    /// Run only this part of the tests, such as 2/3, and write what it covers to target/xtask/shards.
    #[arg(long, value_name = "I/N", conflicts_with = "merge")]
    pub(crate) shard: Option<Shard>,
    /// Merge the shards in these folders, such as target/xtask/shards, then check every crate's threshold.
    #[arg(long, value_name = "FOLDER", num_args = 1..)]
    pub(crate) merge: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DockerBuild {
    /// The engine that builds the image, instead of the configured one.
    #[arg(long, value_name = "ENGINE", value_parser = engine())]
    pub(crate) engine: Option<Engine>,
    /// Also write the image to one file, for `docker load` or any tool that reads OCI layouts.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Also load the image into the running Docker engine.
    #[arg(long)]
    pub(crate) load: bool,
    /// Build the commit twice, in different folders and home directories; exit with 1 if the images differ.
    #[arg(long, conflicts_with = "engine")]
    pub(crate) verify_reproducible: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// Deploy only if the plan has this hash, as printed by `deploy --explain`; otherwise write nothing and exit with 5.
    #[arg(long, value_name = "HASH")]
    pub(crate) expect_plan: Option<String>,
    /// Watch and prove a deploy of this commit that an earlier run requested.
    #[arg(long, value_name = "DEP", conflicts_with = "expect_plan")]
    pub(crate) attach: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// A commit, a digest or a deploy (`dep-…`); by default the previous release.
    #[arg(long, value_name = "RELEASE")]
    pub(crate) to: Option<To>,
    /// Roll back the image only; the service keeps the variables that it has.
    #[arg(long)]
    pub(crate) image_only: bool,
    /// Roll back only if the plan has this hash, as printed by `rollback --explain`.
    #[arg(long, value_name = "HASH")]
    pub(crate) expect_plan: Option<String>,
}

#[cfg(feature = "rehearsal")]
#[derive(Debug, Args)]
pub(crate) struct Rehearse {
    /// Run only this job; repeatable.
    #[arg(long, value_enum, value_name = "JOB")]
    pub(crate) job: Vec<JobId>,
    /// Run a drill, which injects a fault and checks how the pipeline ends: a name, `all` or `list`.
    #[arg(long, value_name = "NAME", conflicts_with = "job")]
    pub(crate) drill: Option<String>,
    /// Keep the fakes and the service running until Ctrl-C.
    #[arg(long, conflicts_with = "drill")]
    pub(crate) stay: bool,
    /// Run every step, even those that have already passed on the same files.
    #[arg(long)]
    pub(crate) fresh: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Workflow {
    /// Compare instead of writing; exit with 1 if a workflow differs.
    #[arg(long)]
    pub(crate) check: bool,
}

#[cfg(feature = "init")]
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// A folder in the repository; the current folder by default.
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    /// The package that ships.
    #[arg(long, value_name = "NAME")]
    pub(crate) package: Option<String>,
    /// The binary that ships.
    #[arg(long, value_name = "NAME")]
    pub(crate) binary: Option<String>,
    /// Depend on Launchway from this git repository instead of the one that this program was built from.
    #[arg(long, value_name = "URL", requires = "rev")]
    pub(crate) git: Option<String>,
    /// The commit of that repository to use.
    #[arg(long, value_name = "COMMIT", requires = "git")]
    pub(crate) rev: Option<String>,
    /// Skip the rehearsal at the end.
    #[arg(long)]
    pub(crate) no_rehearsal: bool,
}

impl Command {
    /// The step that the command runs, if it runs one.
    pub(crate) fn step(&self) -> Option<StepId> {
        match self {
            Self::Lint => Some(StepId::Lint),
            Self::TestCoverage(_) => Some(StepId::TestCoverage),
            Self::DockerBuild(_) => Some(StepId::DockerBuild),
            Self::Push => Some(StepId::Push),
            Self::Deploy(_) => Some(StepId::Deploy),
            Self::Rollback(_) => Some(StepId::Rollback),
            Self::Ci(_)
            | Self::Workflow(_)
            | Self::History
            | Self::Sbom
            | Self::Secrets(_)
            | Self::Doctor => None,
            #[cfg(feature = "rehearsal")]
            Self::Rehearse(_) => None,
            #[cfg(feature = "init")]
            Self::Init(_) => None,
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
    use crate::table::{PIPELINE, ROLLBACK};

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_fits_80_columns() {
        fn check(mut command: clap::Command) {
            for help in [command.render_help().to_string(), command.render_long_help().to_string()] {
                for line in help.lines() {
                    assert!(line.trim_end().chars().count() <= 80, "{}: {line}", command.get_name());
                }
            }
            command.get_subcommands().cloned().for_each(check);
        }
        let mut cli = Cli::command();
        cli.build();
        check(cli);
    }

    #[test]
    fn every_step_is_a_subcommand() {
        for step in PIPELINE.iter().chain([&ROLLBACK]).flat_map(|job| job.steps) {
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
