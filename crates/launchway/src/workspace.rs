//! What cargo says of the package that is shipped.

use anyhow::Result;
use serde::Deserialize;

use crate::context::Context;
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
/// A package that the workspace lacks, and one without a binary of its name, is an error with [`Exit::Usage`].
pub(crate) fn version(ctx: &Context) -> Result<String> {
    let metadata = call!("cargo metadata --no-deps --format-version 1").read(&ctx.root)?;
    shipped(&metadata, &ctx.config.app).or_exit(Exit::Usage)
}

fn shipped(metadata: &str, app: &str) -> Result<String> {
    let Metadata { packages } = serde_json::from_str(metadata)?;
    let listed =
        |names: Vec<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let Some(package) = packages.iter().find(|package| package.name == app) else {
        let names = listed(packages.iter().map(|package| package.name.as_str()).collect());
        anyhow::bail!("`app` is `{app}`, which is not a package of this workspace: it has {names}");
    };
    let programs = package.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "bin"));
    let programs: Vec<&str> = programs.map(|target| target.name.as_str()).collect();
    if !programs.contains(&app) {
        let has = if programs.is_empty() { "none".to_owned() } else { listed(programs) };
        anyhow::bail!("`app` is `{app}`, but that package has no binary `{app}`: it has {has}");
    }
    Ok(package.version.clone())
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
        assert_eq!(shipped(METADATA, "app").unwrap(), "1.2.3");
        for (app, expected) in [
            ("nope", "not a package of this workspace: it has `app`, `tools`, `wire`"),
            ("tools", "has no binary `tools`: it has `report`"),
            ("wire", "has no binary `wire`: it has none"),
        ] {
            let error = shipped(METADATA, app).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
