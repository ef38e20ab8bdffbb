//! What cargo knows about the workspace and the shipped package.

use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use crate::config::Config;
use launchway_core::call;
use launchway_core::exit::{Exit, OrExit as _};
use launchway_image::Engine;
use launchway_image::binary::Platform;
use launchway_image::dockerfile::Dockerfile;
use launchway_image::final_stage::{Binaries, FinalStage};

/// The workspace, according to `cargo metadata`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Workspace {
    /// The version of the shipped package.
    pub(crate) version: String,
    /// Every binary, with its package.
    pub(crate) programs: Vec<Program>,
}

/// A binary and its package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) package: String,
    pub(crate) binary: String,
}

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

/// The version of the shipped package.
///
/// Fails with [`Exit::Usage`] if the workspace lacks the package, or the package lacks the configured binary.
pub(crate) fn version(root: &Path, config: &Config) -> Result<String> {
    read(root, config).map(|workspace| workspace.version)
}

/// Reads the workspace; the errors are those of [`version`].
pub(crate) fn read(root: &Path, config: &Config) -> Result<Workspace> {
    let metadata = call!("cargo metadata --no-deps --format-version 1").read(root)?;
    shipped(&metadata, &config.package, &config.binary).or_exit(Exit::Usage)
}

impl Workspace {
    /// The names of the binaries that an image may contain.
    pub(crate) fn binaries(&self, package: &str, binary: &str) -> Binaries {
        let (own, others): (Vec<&Program>, Vec<&Program>) =
            self.programs.iter().partition(|program| program.package == package);
        let names = |programs: Vec<&Program>| {
            let names = programs.into_iter().map(|program| program.binary.clone());
            names.filter(|name| name != binary).collect()
        };
        Binaries { shipped: binary.to_owned(), beside: names(own), others: names(others) }
    }

    /// The programs with these names; one of the shipped package takes precedence over another with the same name.
    pub(crate) fn programs<'a>(
        &self,
        package: &str,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Vec<Program> {
        let find = |name: &str| {
            let of_name = || self.programs.iter().filter(|program| program.binary == name);
            let own = of_name().find(|program| program.package == package).or_else(|| of_name().next());
            let otherwise = || Program { package: package.to_owned(), binary: name.to_owned() };
            own.cloned().unwrap_or_else(otherwise)
        };
        names.into_iter().map(find).collect()
    }
}

fn shipped(metadata: &str, package: &str, binary: &str) -> Result<Workspace> {
    let Metadata { packages } = serde_json::from_str(metadata)?;
    let listed =
        |names: Vec<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let Some(found) = packages.iter().find(|found| found.name == package) else {
        let names = listed(packages.iter().map(|package| package.name.as_str()).collect());
        anyhow::bail!("`package` is `{package}`, which is not a package of this workspace: it has {names}");
    };
    let programs: Vec<&str> = found.binaries().collect();
    if !programs.contains(&binary) {
        let has = if programs.is_empty() { "none".to_owned() } else { listed(programs) };
        anyhow::bail!("the package `{package}` has no binary `{binary}`: it has {has} (see `binary`)");
    }
    let programs = packages.iter().flat_map(|package| {
        let program = |binary: &str| Program { package: package.name.clone(), binary: binary.to_owned() };
        package.binaries().map(program).collect::<Vec<_>>()
    });
    Ok(Workspace { version: found.version.clone(), programs: programs.collect() })
}

impl Package {
    fn binaries(&self) -> impl Iterator<Item = &str> {
        let programs = self.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "bin"));
        programs.map(|target| target.name.as_str())
    }
}

/// The packages whose binaries the image contains, the shipped one first; only that one if the workspace or the
/// Dockerfile cannot be read, which ends the build anyway.
pub(crate) fn shipped_packages(root: &Path, config: &Config) -> Vec<String> {
    let Config { package, binary, engine, dockerfile, target, .. } = config;
    let names = |workspace: &Workspace| {
        let file = Dockerfile::new(dockerfile, &fs_err::read_to_string(root.join(dockerfile))?);
        let binaries = workspace.binaries(package, binary);
        FinalStage::programs(&file, &binaries, Platform::of_target(target)?)
    };
    let mut packages = vec![package.clone()];
    if *engine == Engine::Builtin
        && let Ok(workspace) = read(root, config)
        && let Ok(names) = names(&workspace)
    {
        let programs = workspace.programs(package, names.iter().map(String::as_str));
        packages.extend(programs.into_iter().map(|program| program.package).filter(|name| name != package));
        packages.dedup();
    }
    packages
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
        let workspace = shipped(METADATA, "app", "app").unwrap();
        assert_eq!(workspace.version, "1.2.3");
        let Binaries { beside, others, .. } = workspace.binaries("app", "app");
        assert_eq!((beside, others), (Vec::new(), vec!["report".to_owned()]));
        let programs = workspace.programs("app", ["app", "report"]);
        let packages: Vec<&str> = programs.iter().map(|program| program.package.as_str()).collect();
        assert_eq!(packages, ["app", "tools"]);
        assert_eq!(shipped(METADATA, "tools", "report").unwrap().version, "0.1.0");
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
