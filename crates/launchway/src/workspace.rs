//! What cargo says of the package that is shipped.

use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use crate::config::Config;
use launchway_core::call;
use launchway_core::exit::{Exit, OrExit as _};

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// The version of the package that is shipped.
///
/// A package that the workspace lacks, and one without the configured binary, is an error with [`Exit::Usage`].
pub(crate) fn version(root: &Path, config: &Config) -> Result<String> {
    let metadata = call!("cargo metadata --no-deps --format-version 1").read(root)?;
    shipped(&metadata, &config.package, &config.binary).or_exit(Exit::Usage)
}

fn shipped(metadata: &str, package: &str, binary: &str) -> Result<String> {
    let Metadata { packages } = serde_json::from_str(metadata)?;
    let listed =
        |names: Vec<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let Some(found) = packages.iter().find(|found| found.name == package) else {
        let names = listed(packages.iter().map(|package| package.name.as_str()).collect());
        anyhow::bail!("`package` is `{package}`, which is not a package of this workspace: it has {names}");
    };
    let programs = found.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "bin"));
    let programs: Vec<&str> = programs.map(|target| target.name.as_str()).collect();
    if !programs.contains(&binary) {
        let has = if programs.is_empty() { "none".to_owned() } else { listed(programs) };
        anyhow::bail!("the package `{package}` has no binary `{binary}`: it has {has} (see `binary`)");
    }
    Ok(found.version.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{"packages":[
        {"name":"app","version":"1.2.3","targets":[{"name":"app","kind":["lib"]},{"name":"app","kind":["bin"]}]},
        {"name":"tools","version":"0.1.0","targets":[{"name":"report","kind":["bin"]}]},
        {"name":"wire","version":"0.1.0","targets":[{"name":"wire","kind":["lib"]}]}]}"#;

    #[test]
    fn what_is_shipped_must_be_there() {
        assert_eq!(shipped(METADATA, "app", "app").unwrap(), "1.2.3");
        assert_eq!(shipped(METADATA, "tools", "report").unwrap(), "0.1.0");
        for (package, expected) in [
            ("nope", "not a package of this workspace: it has `app`, `tools`, `wire`"),
            ("tools", "has no binary `tools`: it has `report`"),
            ("wire", "has no binary `wire`: it has none"),
        ] {
            let error = shipped(METADATA, package, package).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
