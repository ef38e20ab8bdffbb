//! The manifest around the configuration: of a workspace, or of a repository with a single package.

use anyhow::{Result, bail};
use serde::Deserialize;

use super::Config;

/// The parts of a `Cargo.toml` that are read here.
#[derive(Deserialize)]
struct Manifest {
    package: Option<Package>,
    workspace: Option<Workspace>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Workspace {
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    pipeline: Option<Config>,
}

/// Whether a manifest configures a pipeline.
pub(crate) fn is_root(manifest: &str) -> bool {
    ["[workspace.metadata.pipeline]", "[package.metadata.pipeline]"]
        .iter()
        .any(|section| manifest.lines().any(|line| line.trim_start().starts_with(section)))
}

/// The configuration, with defaults from the package.
pub(super) fn parse(text: &str) -> Result<Config> {
    let Manifest { package, workspace } = toml::from_str(text)?;
    let (name, of_package) =
        package.map_or((None, None), |Package { name, metadata }| (Some(name), metadata));
    let of_workspace = workspace.and_then(|workspace| workspace.metadata);
    let pipeline = |metadata: Option<Metadata>| metadata.and_then(|metadata| metadata.pipeline);
    let (mut config, table) = match (pipeline(of_workspace), pipeline(of_package)) {
        (Some(config), None) => (config, "workspace.metadata.pipeline"),
        (None, Some(config)) => (config, "package.metadata.pipeline"),
        (None, None) => {
            bail!("neither `[workspace.metadata.pipeline]` nor `[package.metadata.pipeline]` exists")
        }
        (Some(_), Some(_)) => {
            bail!("both `[workspace.metadata.pipeline]` and `[package.metadata.pipeline]` exist: remove one")
        }
    };
    config.table = table;
    if config.package.is_empty() {
        config.package = name.unwrap_or_default();
    }
    if config.binary.is_empty() {
        config.binary.clone_from(&config.package);
    }
    Ok(config)
}
