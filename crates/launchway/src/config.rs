//! `[workspace.metadata.pipeline]` of the root `Cargo.toml`, read into one validated value.

mod check;
mod login;
mod manifest;
mod own_check;
mod test_service;
mod variables;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Deserializer};

use crate::table::{Job, JobId};
pub(crate) use check::image;
#[cfg(feature = "init")]
pub(crate) use check::{is_debian_package, test_variable as check_test_variable};
use launchway_core::command::Call;
use launchway_core::exit::{Exit, OrExit as _};
use launchway_image::Engine;
use launchway_image::smoke::Port;
pub(crate) use login::Login;
pub(crate) use manifest::is_root;
pub(crate) use own_check::OwnCheck;
#[cfg(any(test, feature = "init"))]
pub(crate) use test_service::Ports;
pub(crate) use test_service::TestService;
#[cfg(feature = "init")]
pub(crate) use test_service::check as check_test_services;
pub(crate) use variables::{EnvironmentName, ServiceVariable, Variable};

/// The image that `init` writes where a repository does not reveal its own: nothing is released under it.
pub(crate) const PLACEHOLDER_IMAGE: &str = "docker.io/acme/service";

/// How the pipeline is set up for this workspace.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The name of the table that it was read from.
    #[serde(skip)]
    pub(crate) table: &'static str,
    /// The package that ships; in a single-package repository it may be left out.
    #[serde(default)]
    pub(crate) package: String,
    /// The binary that ships; named like the package by default.
    #[serde(default)]
    pub(crate) binary: String,
    /// The branch that builds and deploys.
    pub(crate) branch: String,
    /// The image's repository, without a tag; `PIPELINE_IMAGE` in the environment replaces it.
    pub(crate) image: String,
    /// Whether the image's registry requires a login.
    #[serde(default = "yes")]
    pub(crate) login: bool,
    /// The required coverage in percent of lines, 0 to 100.
    pub(crate) coverage: f64,
    /// The engine that builds the image unless `--engine` sets another.
    #[serde(default)]
    pub(crate) engine: Engine,
    /// The file whose final stage describes the image, relative to the workspace root.
    #[serde(default = "dockerfile")]
    pub(crate) dockerfile: String,
    /// The target triple that the shipped binary is built for.
    pub(crate) target: String,
    /// The file of the generated workflow, in `.github/workflows`.
    #[serde(default = "workflow")]
    pub(crate) workflow: String,
    #[serde(default)]
    pub(crate) build: BuildConfig,
    #[serde(default)]
    pub(crate) lint: LintConfig,
    #[serde(default)]
    pub(crate) test: TestConfig,
    pub(crate) deploy: DeployConfig,
    #[serde(default)]
    pub(crate) rehearse: RehearseConfig,
}

/// `[workspace.metadata.pipeline.build]`: the release build of the builtin engine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct BuildConfig {
    /// Debian packages that compiling the workspace needs: installed on a CI machine, left to the developer elsewhere.
    #[serde(default)]
    pub(crate) packages: Vec<String>,
    /// Features in addition to the package's default features.
    #[serde(default)]
    pub(crate) features: Vec<String>,
    /// Whether the package's default features are enabled.
    #[serde(default = "yes")]
    pub(crate) default_features: bool,
    /// Cargo's profile.
    #[serde(default = "profile")]
    pub(crate) profile: String,
    /// Variables that every compilation gets; the release build in addition to the toolchain's.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
}

impl Default for BuildConfig {
    fn default() -> Self {
        Self {
            packages: Vec::new(),
            features: Vec::new(),
            default_features: true,
            profile: profile(),
            environment: BTreeMap::new(),
        }
    }
}

impl BuildConfig {
    /// The folder below `target/<triple>` in which cargo leaves the binary.
    pub(crate) fn folder(&self) -> &str {
        match self.profile.as_str() {
            "dev" | "test" => "debug",
            "bench" => "release",
            other => other,
        }
    }

    /// A cargo call with the features of the release build.
    pub(crate) fn with_features(&self, mut call: Call) -> Call {
        if !self.default_features {
            call = call.arg("--no-default-features");
        }
        if !self.features.is_empty() {
            call = call.args(["--features".to_owned(), self.features.join(",")]);
        }
        call
    }
}

/// `[workspace.metadata.pipeline.lint]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LintConfig {
    /// Whether `cargo fmt` checks the workspace.
    #[serde(default = "yes")]
    pub(crate) fmt: bool,
    /// Whether clippy runs.
    #[serde(default = "yes")]
    pub(crate) clippy: bool,
    /// Whether the documentation must build without warnings.
    #[serde(default = "yes")]
    pub(crate) doc: bool,
    /// Further checks, which run after the others.
    #[serde(default)]
    pub(crate) checks: Vec<OwnCheck>,
    /// Files, and folders with a trailing `/`, that no check reads: the step need not run again when they change.
    #[serde(default)]
    pub(crate) unread: Vec<String>,
}

impl Default for LintConfig {
    fn default() -> Self {
        Self { fmt: true, clippy: true, doc: true, checks: Vec::new(), unread: Vec::new() }
    }
}

/// `[workspace.metadata.pipeline.test]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestConfig {
    /// Debian packages that tests need: installed on a CI machine, left to the developer elsewhere.
    #[serde(default)]
    pub(crate) packages: Vec<String>,
    /// Variables for the tests.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// Containers that the tests connect to: GitHub starts them for the job, and elsewhere the step does.
    #[serde(default)]
    pub(crate) services: BTreeMap<String, TestService>,
    /// Files, and folders with a trailing `/`, that no test reads: the step need not run again when they change.
    #[serde(default)]
    pub(crate) unread: Vec<String>,
    /// What runs the tests.
    #[serde(default)]
    pub(crate) runner: TestRunner,
    /// How many runners of GitHub share the tests.
    #[serde(default = "one")]
    pub(crate) shards: u32,
}

/// What runs the tests, under cargo-llvm-cov.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TestRunner {
    /// `cargo test`: the tests of a program share a process.
    #[default]
    Cargo,
    /// cargo-nextest: each test in a process of its own, with its time; only it can run a part of the tests.
    Nextest,
}

impl Default for TestConfig {
    fn default() -> Self {
        Self {
            packages: Vec::new(),
            unread: Vec::new(),
            environment: BTreeMap::new(),
            services: BTreeMap::new(),
            runner: TestRunner::default(),
            shards: one(),
        }
    }
}

/// `[workspace.metadata.pipeline.deploy]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct DeployConfig {
    /// The service's variables, which a deploy sets.
    pub(crate) environment: Vec<ServiceVariable>,
    /// The name of the environment that a deploy changes, for Sentry and the run report.
    #[serde(default)]
    pub(crate) environment_name: EnvironmentName,
    /// The path that responds with 2xx when the service is up.
    pub(crate) health: String,
    /// How the service learns the port to listen on; by default from `PORT`, as on Render.
    #[serde(default)]
    pub(crate) port: Port,
    /// The path that returns `{"commit": "…", …}`; without it, digest and health are the only proof of a deploy.
    #[serde(default)]
    pub(crate) version: Option<String>,
    /// Arguments with which the image's own program checks the environment that a deploy is about to write; see
    /// `steps::deploy::app_check`. Without it, nothing is checked.
    #[serde(default)]
    pub(crate) check: Vec<String>,
    /// Where the service accepts run reports; without it, they go only to this machine and the ledger.
    #[serde(default)]
    pub(crate) reports: Option<SignedPath>,
    /// Where the service raises an error on request; without it, a rehearsal cannot prove that errors are reported.
    #[serde(default)]
    pub(crate) test_error: Option<SignedPath>,
    /// Sentry, if the service reports its errors to it.
    #[serde(default)]
    pub(crate) sentry: Option<SentryConfig>,
    /// How long a deploy may take to go live.
    #[serde(deserialize_with = "duration")]
    pub(crate) timeout: Duration,
    /// How long a live release is watched before it counts as deployed; not at all by default.
    #[serde(default, deserialize_with = "duration")]
    pub(crate) bake: Duration,
}

/// A path of the service that accepts signed requests only.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignedPath {
    pub(crate) path: String,
    /// The variable that holds the key of the signature.
    pub(crate) key: String,
}

/// `[workspace.metadata.pipeline.deploy.sentry]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SentryConfig {
    /// The variable that holds the service's DSN.
    pub(crate) dsn: String,
}

/// `[workspace.metadata.pipeline.rehearse]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RehearseConfig {
    /// Variables with which the smoke run and the rehearsal start the service.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
}

impl DeployConfig {
    /// What a deploy takes besides `timeout`: Render's list shows it after up to a minute, and after it is live, traffic
    /// switches to it within another.
    pub(crate) const AROUND_A_DEPLOY: Duration = Duration::from_secs(120);
    /// What a run takes besides its deploys: two minutes each to wait for another deploy, to restore the variables and to
    /// collect what could not be restored, one to cancel, and less than one for its reports.
    pub(crate) const AROUND_ALL: Duration = Duration::from_secs(480);

    /// The longest that a deploy can take, including the wait before it and the rollback after it.
    ///
    /// A rollback deploys the previous release up to twice. Of the requests to Render, only deliberate waits count: no
    /// plan allows for requests that take a minute each.
    pub(crate) fn longest(&self) -> Duration {
        let deploys = self.timeout.saturating_add(Self::AROUND_A_DEPLOY).saturating_mul(3);
        deploys.saturating_add(self.bake).saturating_add(Self::AROUND_ALL)
    }
}

impl Config {
    /// Reads the root manifest.
    ///
    /// Unknown keys, wrong types and values out of range are errors that name the key and the file.
    pub(crate) fn read(manifest: &Path) -> Result<Self> {
        let text = fs_err::read_to_string(manifest).or_exit(Exit::Usage)?;
        Self::parse(&text)
            .with_context(|| format!("the pipeline's configuration in {} is not valid", manifest.display()))
            .or_exit(Exit::Usage)
    }

    /// GitHub's limit for a job. GitHub kills a job that takes longer, including a deploy in the middle of its
    /// rollback, so the limit is computed from what the configuration allows a deploy.
    pub(crate) fn minutes(&self, job: &Job) -> u64 {
        let longest = match job.id {
            JobId::Test | JobId::Build => Duration::ZERO,
            JobId::Deploy | JobId::Rollback => self.deploy.longest(),
        };
        job.minutes.saturating_add(longest.as_secs().div_ceil(60))
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        let config = manifest::parse(text)?;
        check::check(&config)?;
        Ok(config)
    }
}

fn dockerfile() -> String {
    "Dockerfile".to_owned()
}

fn workflow() -> String {
    "main.yaml".to_owned()
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

fn profile() -> String {
    "release".to_owned()
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| {
        serde::de::Error::custom(format!("`{text}` is not a duration such as `10m`: {error}"))
    })
}

#[cfg(test)]
mod tests;
