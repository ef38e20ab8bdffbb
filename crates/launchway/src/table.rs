//! The pipeline: its jobs, its steps, the variables it needs and the tools it uses. The only place that states them.
//!
//! `ci` executes this table, `workflow` renders it, and the help, `doctor` and the README show it.

pub(crate) mod rule;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::steps::deploy;
use rule::When;

/// What GitHub calls a job.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    /// One line for people.
    pub(crate) title: &'static str,
    pub(crate) needs: Option<JobId>,
    pub(crate) when: When,
    pub(crate) steps: &'static [StepId],
    /// The variables that its steps read; on GitHub each comes from the secret of that name.
    pub(crate) variables: &'static [&'static str],
    /// The variables that its steps can do without, at the price of what each says of itself.
    pub(crate) optional: &'static [&'static str],
    /// How many minutes it may take on a fresh machine, which compiles the pipeline first, without what the configuration
    /// adds.
    minutes: u64,
}

impl Job {
    /// GitHub ends every job after so many minutes.
    pub(crate) const MOST_MINUTES: u64 = 360;

    /// GitHub's bound on the job. What takes longer is killed, a deploy with its undo: so it is of the configuration's own
    /// bounds.
    pub(crate) fn timeout_minutes(&self, config: &Config) -> u64 {
        let longest = match self.id {
            JobId::Test | JobId::Build => Duration::ZERO,
            JobId::Deploy => deploy::longest(&config.deploy),
        };
        self.minutes.saturating_add(longest.as_secs().div_ceil(60))
    }
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
        variables: &["DOCKERHUB_USERNAME", "DOCKERHUB_TOKEN"],
        optional: &[],
        minutes: 45,
    },
    Job {
        id: JobId::Deploy,
        title: "the image live on Render",
        needs: Some(JobId::Build),
        when: When::Release,
        steps: &[StepId::Deploy],
        variables: &[
            "RENDER_API_KEY",
            "RENDER_SERVICE_ID",
            "SERVER_TYPE",
            "HOSTS",
            "SECRET_KEY",
            "SENTRY_DSN",
        ],
        // The registry's login reads a private image and writes the ledger.
        optional: &[
            "DOCKERHUB_USERNAME",
            "DOCKERHUB_TOKEN",
            "SENTRY_AUTH_TOKEN",
            "SENTRY_ORG",
            "SENTRY_PROJECT",
        ],
        minutes: 20,
    },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum JobId {
    Test,
    Build,
    Deploy,
}

impl JobId {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Build => "build",
            Self::Deploy => "deploy",
        }
    }

    pub(crate) fn job(self) -> &'static Job {
        match self {
            Self::Test => &PIPELINE[0],
            Self::Build => &PIPELINE[1],
            Self::Deploy => &PIPELINE[2],
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
}

impl StepId {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lint => "lint",
            Self::TestCoverage => "test-coverage",
            Self::DockerBuild => "docker-build",
            Self::Push => "push",
            Self::Deploy => "deploy",
        }
    }

    /// The job that the step belongs to.
    pub(crate) fn job(self) -> JobId {
        match self {
            Self::Lint | Self::TestCoverage => JobId::Test,
            Self::DockerBuild | Self::Push => JobId::Build,
            Self::Deploy => JobId::Deploy,
        }
    }

    /// Those of its job's variables that the step reads.
    pub(crate) fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Lint | Self::TestCoverage | Self::DockerBuild => &[],
            Self::Push | Self::Deploy => self.job().job().variables,
        }
    }

    /// Those of its job's optional variables that the step reads.
    pub(crate) fn optional(self) -> &'static [&'static str] {
        match self {
            Self::Lint | Self::TestCoverage | Self::DockerBuild => &[],
            Self::Push | Self::Deploy => self.job().job().optional,
        }
    }

    /// The step of the same job whose result it takes; without it the step cannot run.
    pub(crate) fn needs(self) -> Option<Self> {
        match self {
            Self::Push => Some(Self::DockerBuild),
            Self::Lint | Self::TestCoverage | Self::DockerBuild | Self::Deploy => None,
        }
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A variable that the pipeline reads.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    /// Whether its value must never be shown.
    pub(crate) sensitive: bool,
    pub(crate) meaning: &'static str,
    /// How to get a value.
    pub(crate) source: &'static str,
}

/// Every variable that a job names; on GitHub each is a secret.
pub(crate) const VARIABLES: [Variable; 11] = [
    Variable {
        name: "DOCKERHUB_USERNAME",
        sensitive: false,
        meaning: "the registry account that pushes",
        source: "your Docker Hub user name",
    },
    Variable {
        name: "DOCKERHUB_TOKEN",
        sensitive: true,
        meaning: "its access token",
        source: "Docker Hub → Account settings → Personal access tokens, with read and write permission",
    },
    Variable {
        name: "RENDER_API_KEY",
        sensitive: true,
        meaning: "key of the Render API",
        source: "Render dashboard → Account settings → API keys",
    },
    Variable {
        name: "RENDER_SERVICE_ID",
        sensitive: false,
        meaning: "the image-backed web service, `srv-…`",
        source: "the address of the service's page in the Render dashboard",
    },
    Variable {
        name: "SERVER_TYPE",
        sensitive: false,
        meaning: "how the app runs: `TEST` or `PROD`",
        source: "`PROD` for a service that people use, `TEST` elsewhere",
    },
    Variable {
        name: "HOSTS",
        sensitive: false,
        meaning: "addresses that the app answers to, comma-separated",
        source: "your service's host name, as in `app.onrender.com,www.example.com`",
    },
    Variable {
        name: "SECRET_KEY",
        sensitive: true,
        meaning: "key of all cryptographic signing, at least 50 characters",
        source: "`cargo xtask secrets generate`",
    },
    Variable {
        name: "SENTRY_DSN",
        sensitive: true,
        meaning: "where the app reports its errors",
        source: "Sentry → your project → Settings → Client keys (DSN)",
    },
    Variable {
        name: "SENTRY_AUTH_TOKEN",
        sensitive: true,
        meaning: "tells Sentry of releases and deploys",
        source: "Sentry → Settings → Auth tokens, an organization token",
    },
    Variable {
        name: "SENTRY_ORG",
        sensitive: false,
        meaning: "the Sentry organization's slug",
        source: "the address of the organization's page in Sentry",
    },
    Variable {
        name: "SENTRY_PROJECT",
        sensitive: false,
        meaning: "the Sentry project's slug",
        source: "the address of the project's page in Sentry",
    },
];

/// The variable in which a job on GitHub is given what the jobs before it did.
pub(crate) const RUN_STATE: &str = "PIPELINE_RUN_STATE";

/// What the environment can move besides: no secrets.
pub(crate) const SETTINGS: [&str; 4] = ["PIPELINE_IMAGE", "RENDER_API_URL", "SENTRY_URL", RUN_STATE];

/// The names of [`VARIABLES`].
pub(crate) fn variable_names() -> impl Iterator<Item = String> {
    VARIABLES.iter().map(|variable| variable.name.to_owned())
}

/// The entry of [`VARIABLES`] with this name.
pub(crate) fn variable(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

#[cfg(test)]
mod tests;
