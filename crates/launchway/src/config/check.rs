//! Values of the configuration that are well-formed but cannot work.

use std::path::{Component, Path};
use std::slice;
use std::time::Duration;

use anyhow::{Result, bail};

use super::{
    BuildConfig, Config, DeployConfig, EnvironmentName, OwnCheck, TestConfig, TestRunner, test_service,
};
use crate::steps::test_coverage::Shard;
use crate::table::{self, Job, JobId};
use launchway_image::binary::Platform;
use launchway_image::smoke::Port;
use launchway_registry::Repository;

pub(super) fn check(config: &Config) -> Result<()> {
    for (key, value) in [
        ("package", &config.package),
        ("binary", &config.binary),
        ("branch", &config.branch),
        ("image", &config.image),
        ("target", &config.target),
    ] {
        if value.trim().is_empty() || value.contains(char::is_whitespace) {
            bail!("`{key}` must be a name without spaces, but is `{value}`");
        }
    }
    branch(&config.branch)?;
    image("image", &config.image)?;
    Platform::of_target(&config.target)?;
    if !(0.0..=100.0).contains(&config.coverage) {
        bail!("`coverage` must be a percentage from 0 to 100, but is {}", config.coverage);
    }
    for (key, names) in [("build", &config.build.packages), ("test", &config.test.packages)] {
        if let Some(name) = names.iter().find(|name| !is_debian_package(name)) {
            bail!("`{key}.packages` lists `{name}`, which is not a valid Debian package name");
        }
    }
    config.test.environment.keys().try_for_each(|name| test_variable(name))?;
    test_service::check(&config.test.services)?;
    config.lint.checks.iter().try_for_each(OwnCheck::check)?;
    shards(&config.test)?;
    dockerfile(&config.dockerfile)?;
    workflow(&config.workflow)?;
    build(&config.build)?;
    deploy(&config.deploy)?;
    for name in config.rehearse.environment.keys() {
        variable("rehearse.environment", name)?;
    }
    let (job, most) = (config.minutes(JobId::Deploy.job()), Job::MOST_MINUTES);
    if job > most {
        bail!(
            "`deploy.timeout` and `deploy.bake` are too long: with a rollback, which waits for up to two more deploys, the deploy job could take {job} minutes, but GitHub stops a job after {most}"
        );
    }
    Ok(())
}

/// A variable that tests may get.
pub(crate) fn test_variable(name: &str) -> Result<()> {
    variable("test.environment", name)?;
    if name.starts_with("CARGO") || name.starts_with("RUSTC") || name.ends_with("FLAGS") {
        bail!(
            "`test.environment` sets `{name}`: configure the toolchain in `.cargo/config.toml`, in a profile or in `rust-toolchain.toml`"
        );
    }
    Ok(())
}

/// Whether a package of Debian may have this name.
pub(crate) fn is_debian_package(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(plain) && name.chars().all(|c| plain(c) || "+.-".contains(c))
}

/// Checks an image's repository; `key` names its source in errors.
pub(crate) fn image(key: &str, text: &str) -> Result<()> {
    if let Err(error) = text.parse::<Repository>() {
        bail!("`{key}` must be a repository such as `docker.io/acme/app`: {error}");
    }
    Ok(())
}

/// Checks a branch name by git's rules (`git help check-ref-format`), restricted to characters that are safe between
/// the quotes of a workflow expression.
fn branch(name: &str) -> Result<()> {
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c)) {
        bail!("`branch` may contain only letters, digits, `.`, `_`, `/` and `-`, but is `{name}`");
    }
    let is_component = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with('.')
            && part.rsplit_once('.').is_none_or(|(_, end)| end != "lock")
    };
    let is_branch = !name.starts_with('-') && name != "HEAD" && !name.contains("..");
    if !is_branch || !name.split('/').all(is_component) {
        bail!("`branch` is `{name}`, which is not a valid branch name for git");
    }
    Ok(())
}

/// GitHub runs the files in its folder that have one of two extensions.
fn workflow(name: &str) -> Result<()> {
    let stem = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml"));
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if stem.is_none_or(str::is_empty) || !name.chars().all(is_part) {
        bail!("`workflow` must be a file name such as `main.yaml`, but is `{name}`");
    }
    Ok(())
}

fn deploy(deploy: &DeployConfig) -> Result<()> {
    let paths = [
        ("health", Some(&deploy.health)),
        ("version", deploy.version.as_ref()),
        ("reports", deploy.reports.as_ref().map(|signed| &signed.path)),
        ("test-error", deploy.test_error.as_ref().map(|signed| &signed.path)),
    ];
    for (key, path) in paths {
        let Some(path) = path else { continue };
        // Two slashes would start a host.
        if !path.starts_with('/') || path.starts_with("//") {
            bail!("`deploy.{key}` must be a path that starts with one `/`, but is `{path}`");
        }
        if let Some(wrong) = path.chars().find(|c| !c.is_ascii_graphic() || "#\\\"<>".contains(*c)) {
            bail!("`deploy.{key}` is `{path}`, but a path cannot contain {wrong:?}");
        }
    }
    for (key, time, may_be_zero) in [("timeout", deploy.timeout, false), ("bake", deploy.bake, true)] {
        if time < Duration::from_secs(1) && !(may_be_zero && time.is_zero()) {
            let time = humantime::format_duration(time);
            bail!("`deploy.{key}` must be at least 1s, but is {time}");
        }
    }
    let (key, words) = match &deploy.port {
        Port::Standard | Port::Fixed(_) => ("", &[][..]),
        Port::Variable { variable: name, value } => {
            variable("deploy.port", name)?;
            ("value", slice::from_ref(value))
        }
        Port::Arguments { arguments } => ("arguments", arguments.as_slice()),
    };
    if !key.is_empty() && !words.iter().any(|word| word.contains("$PORT")) {
        bail!("`deploy.port` has `{key}` without `$PORT`, which stands for the port");
    }
    let names = deploy.names();
    for (place, name) in names.iter().enumerate() {
        variable("deploy.environment", name)?;
        if names[..place].contains(name) {
            bail!("`deploy.environment` lists `{name}` twice");
        }
        if name == "PORT" || name.starts_with("RENDER") {
            bail!("`deploy.environment` lists `{name}`, which Render sets itself");
        }
        if table::variable(name).is_some() || table::SETTINGS.contains(&name.as_str()) {
            bail!("`deploy.environment` lists `{name}`, which is the pipeline's own");
        }
    }
    let environment_name = match &deploy.environment_name {
        EnvironmentName::Of { variable, .. } => Some(variable),
        EnvironmentName::Fixed(name) => {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
                bail!(
                    "`deploy.environment-name` must be 1 to 64 characters from `A-Z a-z 0-9 . _ -`, but is `{name}`"
                );
            }
            None
        }
    };
    let uses = [
        ("environment-name", environment_name),
        ("reports", deploy.reports.as_ref().map(|signed| &signed.key)),
        ("test-error", deploy.test_error.as_ref().map(|signed| &signed.key)),
        ("sentry", deploy.sentry.as_ref().map(|sentry| &sentry.dsn)),
    ];
    for (key, name) in uses {
        let Some(name) = name else { continue };
        if !names.contains(name) {
            bail!("`deploy.{key}` needs the variable `{name}`, which `deploy.environment` does not list");
        }
    }
    Ok(())
}

/// A name that shells, GitHub and Render accept.
pub(super) fn variable(key: &str, name: &str) -> Result<()> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_name) {
        bail!("`{key}` contains `{name}`, which is not a valid variable name: use letters, digits and `_`");
    }
    if name.to_ascii_uppercase().starts_with("GITHUB_") {
        bail!("`{key}` contains `{name}`, but GitHub reserves names that start with `GITHUB_`");
    }
    Ok(())
}

/// As many as a matrix of GitHub has jobs, and only with a test runner that can run a part of the tests.
fn shards(test: &TestConfig) -> Result<()> {
    if test.shards == 0 || test.shards > Shard::MOST {
        bail!("`test.shards` must be 1 to {}, but is {}", Shard::MOST, test.shards);
    }
    if test.shards > 1 && test.runner == TestRunner::Cargo {
        bail!(
            "`test.shards` is {}, but `cargo test` cannot run a part of the tests: set `test.runner = \"nextest\"`",
            test.shards
        );
    }
    Ok(())
}

/// A file below the workspace root.
fn dockerfile(path: &str) -> Result<()> {
    let is_inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || !is_inside {
        bail!("`dockerfile` must be a path below the workspace root, but is `{path}`");
    }
    Ok(())
}

fn build(build: &BuildConfig) -> Result<()> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-+./".contains(c);
    for (key, words) in
        [("features", build.features.as_slice()), ("profile", slice::from_ref(&build.profile))]
    {
        for word in words {
            if word.is_empty() || word.starts_with('-') || !word.chars().all(is_word) {
                bail!("`build.{key}` contains `{word}`, which cargo does not accept");
            }
        }
    }
    for name in build.environment.keys() {
        variable("build.environment", name)?;
        if name.starts_with("CARGO") || name.starts_with("RUST") {
            bail!(
                "`build.environment` sets `{name}`: configure the toolchain in `.cargo/config.toml`, in a profile or in `rust-toolchain.toml`"
            );
        }
    }
    Ok(())
}
