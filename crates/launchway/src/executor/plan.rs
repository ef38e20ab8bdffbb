//! Plan, then run: what a step will do, as a value that `--explain` prints and that running consumes.

use std::fmt;

use anyhow::Result;

use super::Results;
use crate::config::Config;
use crate::context::Context;
use crate::history;
use crate::run_state::RunState;
use crate::steps::deploy::rollback::{self, RollbackPlan};
use crate::steps::deploy::{DeployPlan, Start};
use crate::steps::docker_build::DockerBuildPlan;
use crate::steps::lint::LintPlan;
use crate::steps::push::PushPlan;
use crate::steps::test_coverage::{Part, TestCoveragePlan};
use crate::steps::{deploy, docker_build, lint, push, test_coverage};
use crate::table::StepId;
use crate::timings::Timings;

/// The command line's options for the steps.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) tests: Part,
    pub(crate) image: docker_build::Options,
    /// Its timings are those of a rollback, too.
    pub(crate) deploy: deploy::Options,
    pub(crate) rollback: rollback::Options,
}

impl Options {
    /// The defaults.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            tests: Part::default(),
            image: config.engine.into(),
            deploy: deploy::Options::new(Timings::of(&config.deploy)),
            rollback: rollback::Options::default(),
        }
    }

    /// The options of this process, which a drill may have started.
    pub(crate) fn of_run(config: &Config, is_rehearsal: bool) -> Self {
        if is_rehearsal { Self::of_rehearsal(config) } else { Self::of(config) }
    }

    /// The arguments of a step's command line besides its name.
    pub(crate) fn arguments(&self, step: StepId) -> String {
        match &self.tests {
            Part::Shard(shard) if step == StepId::TestCoverage => format!(" --shard {shard}"),
            Part::Merge(folders) if step == StepId::TestCoverage => {
                let folders = folders.iter().map(|folder| format!(" {}", folder.display()));
                format!(" --merge{}", folders.collect::<String>())
            }
            _ if step == StepId::Rollback => self.rollback.arguments(),
            _ => String::new(),
        }
    }

    /// Whether a step does all that its name says, so that its result can be reused.
    pub(crate) fn is_whole(&self, step: StepId) -> bool {
        step != StepId::TestCoverage || self.tests == Part::Whole
    }

    /// Whether a step needs what [`Need`](crate::needs::Need) lists for it: merging shards only reads files.
    pub(crate) fn needs_tools(&self, step: StepId) -> bool {
        step != StepId::TestCoverage || !matches!(self.tests, Part::Merge(_))
    }

    /// The defaults, with the timings of a rehearsal.
    pub(crate) fn of_rehearsal(config: &Config) -> Self {
        let timings = Timings::of_rehearsal(&config.deploy);
        Self { deploy: deploy::Options::new(timings), ..Self::of(config) }
    }
}

/// What one step will do.
pub(crate) enum Plan {
    Lint(LintPlan),
    TestCoverage(TestCoveragePlan),
    DockerBuild(DockerBuildPlan),
    Push(PushPlan),
    Deploy(DeployPlan),
    Rollback(RollbackPlan),
}

impl Plan {
    pub(crate) fn of(step: StepId, ctx: &Context, options: &Options) -> Result<Self> {
        Ok(match step {
            StepId::Lint => Self::Lint(lint::plan(ctx)),
            StepId::TestCoverage => Self::TestCoverage(test_coverage::plan(ctx, &options.tests)?),
            StepId::DockerBuild => Self::DockerBuild(docker_build::plan(ctx, &options.image)?),
            StepId::Push => Self::Push(push::plan(ctx)?),
            StepId::Deploy => Self::Deploy(DeployPlan::new(ctx, &options.deploy)?),
            StepId::Rollback => {
                Self::Rollback(RollbackPlan::new(ctx, options.rollback.clone(), options.deploy.timings))
            }
        })
    }

    /// What it will do, line by line.
    pub(crate) fn lines(&self) -> Vec<String> {
        let plan: &dyn fmt::Display = match self {
            Self::Lint(plan) => plan,
            Self::TestCoverage(plan) => plan,
            Self::DockerBuild(plan) => plan,
            Self::Push(plan) => plan,
            Self::Deploy(plan) => plan,
            Self::Rollback(plan) => plan,
        };
        plan.to_string().lines().map(str::to_owned).collect()
    }

    /// The lines for `--explain`, with everything that can be determined without changing anything.
    pub(crate) fn explained(&self, ctx: &Context) -> Vec<String> {
        match self {
            Self::Push(plan) => plan.explained(ctx),
            Self::Deploy(plan) => plan.explained(ctx),
            Self::Rollback(plan) => plan.explained(ctx),
            other => other.lines(),
        }
    }

    /// Runs the plan and adds its outcome to the results.
    pub(crate) fn run(&self, ctx: &Context, so_far: &RunState, results: &mut Results) -> Result<()> {
        let announce = |start: Start| history::begin(ctx, so_far, &start);
        match self {
            Self::Lint(plan) => plan.run(&ctx.runner(), ctx.project())?,
            Self::TestCoverage(plan) => {
                let tested = plan.run(&ctx.runner());
                results.tests = tested.tests;
                results.coverage = tested.result?;
            }
            Self::DockerBuild(plan) => results.image = Some(plan.run(&ctx.runner())?),
            Self::Push(plan) => results.pushed = Some(plan.run(ctx)?),
            Self::Deploy(plan) => results.conclude(plan.run(ctx, &announce))?,
            Self::Rollback(plan) => results.conclude(plan.run(ctx, &announce))?,
        }
        Ok(())
    }
}
