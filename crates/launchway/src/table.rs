//! The pipeline: its jobs, its steps, the variables it needs and the tools it uses. Nothing else states them.
//!
//! `ci` executes this table, `workflow` renders it, and the help, `doctor` and the README show it.

pub(crate) mod rule;

use std::fmt;

use serde::{Deserialize, Serialize};

use rule::When;

/// A job, as on GitHub.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    /// One line for people.
    pub(crate) title: &'static str,
    pub(crate) needs: Option<JobId>,
    pub(crate) when: When,
    pub(crate) steps: &'static [StepId],
    /// The pipeline's own variables that its steps require; the configuration adds the service's.
    pub(crate) variables: &'static [&'static str],
    /// The pipeline's own variables that are optional for its steps; each documents what is skipped without it.
    pub(crate) optional: &'static [&'static str],
    /// The limit in minutes on a fresh machine, which first compiles the pipeline; the configuration's timeouts are
    /// added.
    pub(crate) minutes: u64,
}

impl Job {
    /// GitHub's own limit for a job.
    pub(crate) const MOST_MINUTES: u64 = 360;
}

/// The jobs in order; each needs the one before.
pub(crate) const PIPELINE: [Job; 3] = [
    Job {
        id: JobId::Test,
        title: "lint, tests, coverage",
        needs: None,
        when: When::Always,
        steps: &[StepId::Lint, StepId::TestCoverage],
        variables: &[],
        optional: &[],
        minutes: 45,
    },
    Job {
        id: JobId::Build,
        title: "image, pushed to the registry",
        needs: Some(JobId::Test),
        when: When::Release,
        steps: &[StepId::DockerBuild, StepId::Push],
        variables: &LOGIN,
        optional: &[],
        minutes: 45,
    },
    Job {
        id: JobId::Deploy,
        title: "the image live on Render",
        needs: Some(JobId::Build),
        when: When::Release,
        steps: &[StepId::Deploy],
        variables: &["RENDER_API_KEY", "RENDER_SERVICE_ID"],
        // With the registry's login, the job reads a private image and writes the ledger.
        optional: &[
            "REGISTRY_USERNAME",
            "REGISTRY_TOKEN",
            "SENTRY_AUTH_TOKEN",
            "SENTRY_ORG",
            "SENTRY_PROJECT",
        ],
        minutes: 20,
    },
];

/// The job of the workflow for rollbacks, which somebody starts: with what a deploy has, and no job before it.
pub(crate) const ROLLBACK: Job = Job {
    id: JobId::Rollback,
    title: "an earlier release, live again on Render",
    needs: None,
    when: When::Requested,
    steps: &[StepId::Rollback],
    ..PIPELINE[2]
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum JobId {
    Test,
    Build,
    Deploy,
    /// Not a part of a run of the pipeline.
    #[value(skip)]
    Rollback,
}

impl JobId {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Build => "build",
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
        }
    }

    pub(crate) fn job(self) -> &'static Job {
        match self {
            Self::Test => &PIPELINE[0],
            Self::Build => &PIPELINE[1],
            Self::Deploy => &PIPELINE[2],
            Self::Rollback => &ROLLBACK,
        }
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A step: one subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StepId {
    Lint,
    TestCoverage,
    DockerBuild,
    Push,
    Deploy,
    Rollback,
}

impl StepId {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lint => "lint",
            Self::TestCoverage => "test-coverage",
            Self::DockerBuild => "docker-build",
            Self::Push => "push",
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
        }
    }

    /// The job that the step belongs to.
    pub(crate) fn job(self) -> JobId {
        match self {
            Self::Lint | Self::TestCoverage => JobId::Test,
            Self::DockerBuild | Self::Push => JobId::Build,
            Self::Deploy => JobId::Deploy,
            Self::Rollback => JobId::Rollback,
        }
    }

    /// Whether the step reads its job's variables.
    pub(crate) fn reads_variables(self) -> bool {
        matches!(self, Self::Push | Self::Deploy | Self::Rollback)
    }

    /// The step of the same job whose result this step needs.
    pub(crate) fn needs(self) -> Option<Self> {
        match self {
            Self::Push => Some(Self::DockerBuild),
            Self::Lint | Self::TestCoverage | Self::DockerBuild | Self::Deploy | Self::Rollback => None,
        }
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One of the pipeline's own variables.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    /// Whether its value must never be shown.
    pub(crate) secret: bool,
    pub(crate) meaning: &'static str,
    /// How to get a value; for the login, the registry determines that (`config::login`).
    pub(crate) source: &'static str,
}

/// The login for the image's registry: user name and token.
pub(crate) const LOGIN: [&str; 2] = ["REGISTRY_USERNAME", "REGISTRY_TOKEN"];

/// The same login by the names for images on Docker Hub. Every registry accepts either pair.
pub(crate) const DOCKER_HUB_LOGIN: [&str; 2] = ["DOCKERHUB_USERNAME", "DOCKERHUB_TOKEN"];

const ACCOUNT: &str = "the registry account that pushes";
const TOKEN: &str = "its access token";

/// The pipeline's own variables.
pub(crate) const VARIABLES: [Variable; 9] = [
    Variable { name: "REGISTRY_USERNAME", secret: false, meaning: ACCOUNT, source: "" },
    Variable { name: "REGISTRY_TOKEN", secret: true, meaning: TOKEN, source: "" },
    Variable { name: "DOCKERHUB_USERNAME", secret: false, meaning: ACCOUNT, source: "" },
    Variable { name: "DOCKERHUB_TOKEN", secret: true, meaning: TOKEN, source: "" },
    Variable {
        name: "RENDER_API_KEY",
        secret: true,
        meaning: "key of the Render API",
        source: "Render dashboard → Account settings → API keys",
    },
    Variable {
        name: "RENDER_SERVICE_ID",
        secret: false,
        meaning: "the image-backed web service, `srv-…`",
        source: "the address of the service's page in the Render dashboard",
    },
    Variable {
        name: "SENTRY_AUTH_TOKEN",
        secret: true,
        meaning: "records releases and deploys in Sentry",
        source: "Sentry → Settings → Auth tokens, an organization token",
    },
    Variable {
        name: "SENTRY_ORG",
        secret: false,
        meaning: "the Sentry organization's slug",
        source: "the address of the organization's page in Sentry",
    },
    Variable {
        name: "SENTRY_PROJECT",
        secret: false,
        meaning: "the Sentry project's slug",
        source: "the address of the project's page in Sentry",
    },
];

/// The variables that only matter if `deploy.sentry` is configured.
pub(crate) const SENTRY: [&str; 3] = ["SENTRY_AUTH_TOKEN", "SENTRY_ORG", "SENTRY_PROJECT"];

/// The variable that names a release for `rollback`, as the workflow for rollbacks sets it.
pub(crate) const RELEASE: &str = "XTASK_RELEASE";

/// The variable that names the drill to its own runs.
pub(crate) const DRILL: &str = "XTASK_DRILL";

/// The variable that passes the run state from job to job on GitHub.
pub(crate) const RUN_STATE: &str = "PIPELINE_RUN_STATE";

/// The file of what passed in `target/xtask`, and the artifact that a run on GitHub leaves for later ones.
pub(crate) const PASSED: &str = "passed.json";

/// For how many days a run on GitHub counts for the next push of the same files. The tree does not hold all that a step
/// depends on: the runner's image, a new release of Rust, the advisories against a crate.
pub(crate) const PASSED_DAYS: u32 = 3;

/// The variable that names the shard for test-coverage on GitHub: `2/3`.
pub(crate) const SHARD: &str = "PIPELINE_SHARD";

/// The variable that names the folder of the shards that test-coverage merges on GitHub.
pub(crate) const MERGE: &str = "PIPELINE_MERGE";

/// The variable that passes the results of the jobs that a merge needs: `lint=success shards=success`.
pub(crate) const NEEDS: &str = "PIPELINE_NEEDS";

/// Other settings that the environment can override; none is a secret.
pub(crate) const SETTINGS: [&str; 7] =
    ["PIPELINE_IMAGE", "RENDER_API_URL", "SENTRY_URL", RUN_STATE, SHARD, MERGE, NEEDS];

/// The names of [`VARIABLES`].
pub(crate) fn variable_names() -> impl Iterator<Item = &'static str> {
    VARIABLES.iter().map(|variable| variable.name)
}

/// Whether a variable belongs to the login at a registry.
pub(crate) fn is_login(name: &str) -> bool {
    LOGIN.contains(&name) || DOCKER_HUB_LOGIN.contains(&name)
}

/// The entry of [`VARIABLES`] with this name.
pub(crate) fn variable(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

#[cfg(test)]
mod tests;
