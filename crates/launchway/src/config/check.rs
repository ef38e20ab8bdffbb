//! Values of the configuration that are well-formed but cannot work.

use std::time::Duration;

use anyhow::{Result, bail};

use super::{Config, DeployConfig};
use crate::table::{Job, JobId};
use launchway_image::binary::Platform;
use launchway_registry::Repository;

pub(super) fn check(config: &Config) -> Result<()> {
    for (key, value) in [
        ("app", &config.app),
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
    for name in &config.test.packages {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if !name.starts_with(plain) || !name.chars().all(|c| plain(c) || "+.-".contains(c)) {
            bail!("`test.packages` names `{name}`, which is not the name of a Debian package");
        }
    }
    deploy(&config.deploy)?;
    let (job, most) = (JobId::Deploy.job().timeout_minutes(config), Job::MOST_MINUTES);
    if job > most {
        bail!(
            "`deploy.timeout` and `deploy.bake` are too long: with an undo, which waits for two more deploys, the deploy \
             job could take {job} minutes, and GitHub ends a job after {most}"
        );
    }
    Ok(())
}

/// An image's repository; `key` says in an error where it was read.
pub(crate) fn image(key: &str, text: &str) -> Result<()> {
    if let Err(error) = text.parse::<Repository>() {
        bail!("`{key}` must be a repository such as `docker.io/acme/app`: {error}");
    }
    Ok(())
}

/// A name that git takes (`git help check-ref-format`), and of characters that can stand between the quotes of a
/// workflow's expression.
fn branch(name: &str) -> Result<()> {
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c)) {
        bail!("`branch` must be of letters, digits, `.`, `_`, `/` and `-`, but is `{name}`");
    }
    let is_component = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with('.')
            && part.rsplit_once('.').is_none_or(|(_, end)| end != "lock")
    };
    let is_branch = !name.starts_with('-') && name != "HEAD" && !name.contains("..");
    if !is_branch || !name.split('/').all(is_component) {
        bail!("`branch` is `{name}`, which git does not take as the name of a branch");
    }
    Ok(())
}

fn deploy(deploy: &DeployConfig) -> Result<()> {
    let paths = [
        ("health", Some(&deploy.health)),
        ("version", Some(&deploy.version)),
        ("canary", deploy.canary.as_ref()),
        ("reports", deploy.reports.as_ref()),
    ];
    for (key, path) in paths {
        let Some(path) = path else { continue };
        // After two slashes would stand a host.
        if !path.starts_with('/') || path.starts_with("//") {
            bail!("`deploy.{key}` must be a path that starts with one `/`, but is `{path}`");
        }
        if let Some(wrong) = path.chars().find(|c| !c.is_ascii_graphic() || "#\\\"<>".contains(*c)) {
            bail!("`deploy.{key}` is `{path}`, and a path has no {wrong:?} in it");
        }
    }
    for (key, time, may_be_zero) in [("timeout", deploy.timeout, false), ("bake", deploy.bake, true)] {
        if time < Duration::from_secs(1) && !(may_be_zero && time.is_zero()) {
            let time = humantime::format_duration(time);
            bail!("`deploy.{key}` must be at least 1s, but is {time}");
        }
    }
    for (place, name) in deploy.environment.iter().enumerate() {
        if deploy.environment[..place].contains(name) {
            bail!("`deploy.environment` names `{name}` twice");
        }
        if name == "PORT" || name.starts_with("RENDER") {
            bail!("`deploy.environment` names `{name}`, which Render sets itself");
        }
        if !JobId::Deploy.job().variables.contains(&name.as_str()) {
            bail!(
                "`deploy.environment` names `{name}`, which the workflow would not pass on: add it to the deploy job and \
                 the variables in crates/launchway/src/pipeline.rs"
            );
        }
    }
    Ok(())
}
