//! The SBOM: the crates that are linked into the shipped binary, as `CycloneDX` 1.5.
//!
//! `cargo tree` determines them, because it resolves features as a build of this one package does.
//! `cargo metadata` does not: it unifies the features of all members, and would list what only the pipeline links.
//!
//! Build dependencies and procedural macros run during compilation and are not linked, so they are omitted, with
//! everything that only they use. The standard library and the C library are linked, but no lock file lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::Config;
use crate::workspace;
use launchway_core::call;
use launchway_core::command::Call;
use launchway_core::encode::percent_encoded;
use launchway_core::exit::{Exit, OrExit as _};

/// What the document does not cover. It says so itself.
const SCOPE: &str = "the linked crates, without build dependencies, procedural macros, the standard library and the C library";

/// The source of a crates.io package in cargo's lock file.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The document, ending in a line break.
///
/// It does not name the commit, so a commit that changes none of this reuses the registry's blob: the image that the
/// document is attached to is the link to the commit.
pub(crate) fn document(root: &Path, config: &Config) -> Result<String> {
    let tree = call(root, config)
        .read(root)
        .with_context(|| format!("cannot list the crates that are linked into `{}`", config.package))
        .or_exit(Exit::Usage)?;
    let lock = fs_err::read_to_string(root.join("Cargo.lock")).or_exit(Exit::Usage)?;
    let bom = bom(&Graph::parse(&tree, &config.package)?, &Lock::parse(&lock)?, &config.target);
    Ok(serde_json::to_string_pretty(&bom?)? + "\n")
}

/// Lists the linked crates, one per line, each with its depth in front.
pub(crate) fn call(root: &Path, config: &Config) -> Call {
    let (target, format) = (&config.target, "{p}|{l}");
    let call = call!("cargo tree --locked --edges normal,no-proc-macro --prefix depth --format {format}");
    let packages = workspace::shipped_packages(root, config);
    let call = packages.iter().fold(call, |call, package| call.args(["--package", package]));
    config.build.with_features(call.args(["--target", target]))
}

/// The dependency graph, keyed by what `cargo tree` calls a package: `name v1.2.3`, followed by its source unless that
/// is crates.io.
#[derive(Debug, Default, PartialEq, Eq)]
struct Graph {
    /// The shipped package.
    root: String,
    packages: BTreeMap<String, Package>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Package {
    license: String,
    needs: BTreeSet<String>,
}

impl Graph {
    /// Reads `0app v0.1.0 (/w/app)|MIT`, `1bytes v1.12.2|MIT`, … A repeated package ends in ` (*)`, and its
    /// dependencies are not repeated.
    fn parse(text: &str, shipped: &str) -> Result<Self> {
        let mut graph = Self::default();
        let (mut above, mut roots) = (Vec::<String>::new(), Vec::<String>::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            let unknown = || format!("`cargo tree` printed `{line}`, which is not a package");
            let digits = line.bytes().take_while(u8::is_ascii_digit).count();
            let (depth, rest) = line.split_at(digits);
            let depth: usize = depth.parse().with_context(unknown)?;
            let rest = rest.strip_suffix(" (*)").unwrap_or(rest);
            let (package, license) = rest.rsplit_once('|').with_context(unknown)?;
            above.truncate(depth);
            match above.last() {
                Some(parent) => {
                    graph.packages.entry(parent.clone()).or_default().needs.insert(package.to_owned());
                }
                None => roots.push(package.to_owned()),
            }
            license.clone_into(&mut graph.packages.entry(package.to_owned()).or_default().license);
            above.push(package.to_owned());
        }
        let is_shipped = |root: &&String| root.split(' ').next() == Some(shipped);
        graph.root = roots.iter().find(is_shipped).or(roots.first()).cloned().unwrap_or_default();
        // Those whose programs the image holds too.
        roots.retain(|root| *root != graph.root);
        graph.packages.entry(graph.root.clone()).or_default().needs.extend(roots);
        Ok(graph)
    }
}

/// The parts of `Cargo.lock` that the tree does not show.
#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

impl Lock {
    fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context("`Cargo.lock` cannot be parsed").or_exit(Exit::Usage)
    }

    /// The lock file's entry for what the tree calls `name v1.2.3` or `name v1.2.3 (source)`.
    fn find(&self, package: &str) -> Result<&Locked> {
        let mut words = package.splitn(3, ' ');
        let name = words.next().unwrap_or_default();
        let version = words.next().unwrap_or_default().trim_start_matches('v');
        let elsewhere = words.next().is_some();
        self.package
            .iter()
            .find(|locked| {
                (locked.name.as_str(), locked.version.as_str()) == (name, version)
                    && (locked.source.as_deref() == Some(CRATES_IO)) != elsewhere
            })
            .with_context(|| format!("`Cargo.lock` does not list `{package}`"))
            .or_exit(Exit::Usage)
    }
}

impl Locked {
    /// The package URL (<https://github.com/package-url/purl-spec>, type `cargo`).
    ///
    /// A workspace package has none: the plain URL would be that of an unrelated crate on crates.io.
    fn purl(&self) -> Option<String> {
        let place = match self.source.as_deref()? {
            CRATES_IO => String::new(),
            source if source.starts_with("git+") => format!("?vcs_url={}", percent_encoded(source)),
            source => format!("?repository_url={}", percent_encoded(source)),
        };
        // A `+` in a version would be decoded as a space.
        Some(format!("pkg:cargo/{}@{}{place}", self.name, percent_encoded(&self.version)))
    }

    /// The component's id inside the document.
    fn reference(&self) -> String {
        self.purl().unwrap_or_else(|| format!("{}@{}", self.name, self.version))
    }

    fn component(&self, kind: &str, license: &str) -> Value {
        let mut component = json!({
            "type": kind,
            "bom-ref": self.reference(),
            "name": self.name,
            "version": self.version,
        });
        let mut set = |key: &str, value: Value| {
            if let Some(fields) = component.as_object_mut() {
                fields.insert(key.to_owned(), value);
            }
        };
        if let Some(purl) = self.purl() {
            set("purl", purl.into());
        }
        if let Some(checksum) = &self.checksum {
            set("hashes", json!([{ "alg": "SHA-256", "content": checksum }]));
        }
        if !license.is_empty() {
            // The old notation (the Cargo book, "The license and license-file fields").
            let expression = license.replace('/', " OR ");
            set("licenses", json!([{ "expression": expression }]));
        }
        component
    }
}

fn bom(graph: &Graph, lock: &Lock, target: &str) -> Result<Value> {
    let mut components = BTreeMap::new();
    let mut dependencies = BTreeMap::new();
    let mut shipped = Value::Null;
    for (name, package) in &graph.packages {
        let locked = lock.find(name)?;
        let mut needs = BTreeSet::new();
        for name in &package.needs {
            needs.insert(lock.find(name)?.reference());
        }
        dependencies.insert(locked.reference(), needs);
        if *name == graph.root {
            shipped = locked.component("application", &package.license);
            shipped["properties"] = json!([
                { "name": "launchway:scope", "value": SCOPE },
                { "name": "launchway:target", "value": target },
            ]);
        } else {
            components.insert(locked.reference(), locked.component("library", &package.license));
        }
    }
    let dependencies = dependencies.into_iter().map(|(of, on)| json!({ "ref": of, "dependsOn": on }));
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": shipped },
        "components": components.into_values().collect::<Vec<_>>(),
        "dependencies": dependencies.collect::<Vec<_>>(),
    }))
}

#[cfg(test)]
mod tests;
