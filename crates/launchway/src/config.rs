//! `[workspace.metadata.pipeline]` of the root `Cargo.toml`, read into one validated value.

mod check;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Deserializer};

pub(crate) use check::image;
use launchway_core::exit::{Exit, OrExit as _};
use launchway_image::Engine;

/// What the pipeline is told about the workspace.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The package, and the binary of the same name, that is shipped.
    pub(crate) app: String,
    /// The branch that builds and deploys.
    pub(crate) branch: String,
    /// The image's repository, without a tag; `PIPELINE_IMAGE` in the environment replaces it.
    pub(crate) image: String,
    /// The least coverage that passes, in percent of lines, 0 to 100.
    pub(crate) coverage: f64,
    /// What follows the recipe when `--engine` does not say.
    #[serde(default)]
    pub(crate) engine: Engine,
    /// The target triple that the shipped binary is built for.
    pub(crate) target: String,
    #[serde(default)]
    pub(crate) lint: LintConfig,
    #[serde(default)]
    pub(crate) test: TestConfig,
    pub(crate) deploy: DeployConfig,
}

/// `[workspace.metadata.pipeline.lint]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LintConfig {
    /// Files, and folders with a `/` at their end, that no check reads: the step need not run again for them.
    #[serde(default)]
    pub(crate) unread: Vec<String>,
}

/// `[workspace.metadata.pipeline.test]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestConfig {
    /// Debian packages that tests need: installed on a CI machine, and elsewhere left to the developer.
    #[serde(default)]
    pub(crate) packages: Vec<String>,
    /// Files, and folders with a `/` at their end, that no test reads: the step need not run again for them.
    #[serde(default)]
    pub(crate) unread: Vec<String>,
}

/// `[workspace.metadata.pipeline.deploy]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeployConfig {
    /// The path that answers 2xx when the app is up.
    pub(crate) health: String,
    /// The path that answers `{"commit": "…", …}`.
    pub(crate) version: String,
    /// The path that raises an error on a signed request; without it a rehearsal cannot prove that errors are reported.
    #[serde(default)]
    pub(crate) canary: Option<String>,
    /// The path under which the app takes the reports of runs; without it they stay here and in the ledger.
    #[serde(default)]
    pub(crate) reports: Option<String>,
    /// How long a deploy may take before it is given up.
    #[serde(deserialize_with = "duration")]
    pub(crate) timeout: Duration,
    /// How long a release that is live is watched before it counts as deployed; nothing where this is absent.
    #[serde(default, deserialize_with = "duration")]
    pub(crate) bake: Duration,
    /// Arguments for the image's own entry point, which judges the environment that is about to be written; see
    /// `steps::deploy::check`. Nothing is judged where this is absent.
    #[serde(default)]
    pub(crate) check: Vec<String>,
    /// The variables that a deploy sets on the service.
    pub(crate) environment: Vec<String>,
}

impl Config {
    /// Reads the root manifest.
    ///
    /// Unknown keys, wrong types and values out of range are errors that name the key and the file.
    pub(crate) fn read(manifest: &Path) -> Result<Self> {
        let text = fs_err::read_to_string(manifest).or_exit(Exit::Usage)?;
        Self::parse(&text)
            .with_context(|| {
                format!("`[workspace.metadata.pipeline]` in {} is not valid", manifest.display())
            })
            .or_exit(Exit::Usage)
    }

    fn parse(text: &str) -> Result<Self> {
        let Manifest { workspace: Workspace { metadata: Metadata { pipeline } } } = toml::from_str(text)?;
        check::check(&pipeline)?;
        Ok(pipeline)
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| {
        serde::de::Error::custom(format!("`{text}` is not a duration such as `10m`: {error}"))
    })
}

#[derive(Deserialize)]
struct Manifest {
    workspace: Workspace,
}

#[derive(Deserialize)]
struct Workspace {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    pipeline: Config,
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[workspace.metadata.pipeline]
app = "app"
branch = "master"
image = "docker.io/acme/app"
coverage = 80
target = "x86_64-unknown-linux-gnu"
[workspace.metadata.pipeline.deploy]
health = "/healthz"
version = "/version"
timeout = "10m"
environment = ["SECRET_KEY"]
"#;

    fn error(text: &str) -> String {
        format!("{:#}", Config::parse(text).unwrap_err())
    }

    #[test]
    fn reads_a_manifest() {
        let config = Config::parse(GOOD).unwrap();
        assert_eq!(config.engine, Engine::Builtin);
        assert_eq!(config.deploy.timeout, Duration::from_mins(10));
        assert_eq!(config.deploy.canary, None);
    }

    #[test]
    fn every_error_names_its_key() {
        for (from, to, expected) in [
            ("coverage = 80", "coverage = 180", "`coverage` must be a percentage"),
            ("coverage = 80", "coverage = \"80\"", "coverage"),
            ("coverage = 80", "coverage = 80\ncolour = 1", "unknown field `colour`"),
            ("app = \"app\"", "app = \"\"", "`app` must be a name"),
            ("\"/healthz\"", "\"healthz\"", "`deploy.health` must be a path"),
            ("\"10m\"", "\"soon\"", "`soon` is not a duration"),
            ("\"10m\"", "\"0s\"", "`deploy.timeout`"),
            ("\"10m\"", "\"2h\"", "the deploy job could take"),
            ("\"10m\"", "\"500000000000 years\"", "the deploy job could take"),
            ("\"10m\"", "\"10m\"\nbake = \"6h\"", "GitHub ends a job after 360"),
            ("[\"SECRET_KEY\"]", "[\"SECRET_KY\"]", "`SECRET_KY`, which the workflow would not pass on"),
            ("\"master\"", "\"it's\"", "`branch` must be of letters"),
            ("\"master\"", "\"a..b\"", "git does not take"),
            ("\"master\"", "\"-x\"", "git does not take"),
            ("\"master\"", "\"/x\"", "git does not take"),
            ("\"master\"", "\"x/\"", "git does not take"),
            ("\"master\"", "\"a//b\"", "git does not take"),
            ("\"master\"", "\"a/.b\"", "git does not take"),
            ("\"master\"", "\"x.lock/y\"", "git does not take"),
            ("\"master\"", "\"x.\"", "git does not take"),
            ("\"master\"", "\"HEAD\"", "git does not take"),
            ("acme/app\"", "Acme/App\"", "`image` must be a repository such as `docker.io/acme/app`: `Acme`"),
            ("acme/app\"", "acme/app:latest\"", "must name a repository only, without `latest`"),
            ("docker.io/acme", "https://docker.io/acme", "the address of a web page"),
            ("docker.io/acme", "docker.io:port/acme", "is not a registry's `host`"),
            ("docker.io/acme", "hub.docker.com/r/acme", "the address of a web page"),
            ("docker.io/acme/app", "docker.io/", "is not part of a repository's name"),
            ("x86_64-unknown-linux-gnu", "x86_64-pc-windows-gnu", "`target` is `x86_64-pc-windows-gnu`"),
            ("coverage = 80", "coverage = nan", "`coverage` must be a percentage"),
            ("coverage = 80", "coverage = -1", "`coverage` must be a percentage"),
            ("\"/version\"", "\"//example.com/version\"", "`deploy.version` must be a path"),
            ("\"/version\"", "\"/the version\"", "a path has no ' ' in it"),
            ("\"/version\"", "\"/version#commit\"", "a path has no '#' in it"),
            ("\"10m\"", "\"10ms\"", "`deploy.timeout` must be at least 1s, but is 10ms"),
            ("\"10m\"", "\"10m\"\nbake = \"1day\"", "GitHub ends a job after 360"),
            ("\"10m\"", "\"10m\"\nbake = \"1ns\"", "`deploy.bake` must be at least 1s"),
            ("[\"SECRET_KEY\"]", "[\"SECRET_KEY\", \"SECRET_KEY\"]", "names `SECRET_KEY` twice"),
            ("[\"SECRET_KEY\"]", "[\"PORT\"]", "which Render sets itself"),
            ("branch = \"master\"", "", "missing field `branch`"),
            ("coverage = 80", "coverage = 80\ntest.packages = [\"a; b\"]", "`test.packages` names `a; b`"),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD);
            assert!(error(&text).contains(expected), "{to}: {}", error(&text));
        }
    }

    #[test]
    fn this_workspace_is_configured() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
        assert_eq!(Config::read(&manifest).unwrap().app, "app");
    }
}
