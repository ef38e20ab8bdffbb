//! Cargo's configuration files: those of the commit apply; one of the machine that could change the binary ends the
//! build.
//!
//! Cargo reads them from its working directory, from the folders above it and from its home; none can be excluded.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};
use toml::{Table, Value};

use super::sources::Sources;
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_image::binary::Platform;

/// What the build takes from the files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// The commit's own flags for the compiler.
    pub(super) flags: Vec<String>,
    /// A linker, to replace one that only this machine sets.
    pub(super) linker: Option<&'static str>,
}

/// Within one folder, only the first one applies.
const NAMES: [&str; 2] = [".cargo/config", ".cargo/config.toml"];

/// Tables and keys that do not affect the binary: where packages come from, under the lock file's checksums, and how
/// cargo works and reports.
const HARMLESS: [&str; 17] = [
    "alias",
    "cache",
    "cargo-new",
    "credential-alias",
    "doc",
    "future-incompat-report",
    "http",
    "install",
    "net",
    "registries",
    "registry",
    "resolver",
    "source",
    "term",
    "profile.bench",
    "profile.dev",
    "profile.test",
];

/// Keys that the build sets itself, or that concern other commands.
const OVERRIDDEN: [&str; 11] = [
    "build.build-dir",
    "build.incremental",
    "build.jobs",
    "build.rustc-workspace-wrapper",
    "build.rustc-wrapper",
    "build.rustdoc",
    "build.rustdocflags",
    "build.rustflags",
    "build.target",
    "build.target-dir",
    "build.warnings",
];

/// Reads the files; fails with [`Exit::Usage`] if a setting of the machine could change the binary.
pub(super) fn read(target: &str, sources: &Sources, cargo_home: &Path) -> Result<Settings> {
    let own = own(sources)?;
    let mut settings = Settings { flags: flags(&own, target)?, linker: None };
    let has_linker = |table: &Table| at(table, &["target", target, "linker"]).is_some();
    let mut problems = Vec::new();
    for (place, table) in foreign(sources, cargo_home)? {
        // The working tree's copy of a file of the commit.
        if own.contains(&table) {
            continue;
        }
        let is_native = Platform::of_target(target)?.processor() == std::env::consts::ARCH;
        for key in reaching(&table, target) {
            if key.starts_with("target.") && key.ends_with(".linker") && is_native {
                if !own.iter().any(has_linker) {
                    settings.linker = Some("cc");
                }
            } else {
                problems.push(format!("  `{key}` in {}", place.display()));
            }
        }
    }
    if problems.is_empty() {
        return Ok(settings);
    }
    let message = format!(
        "the image of a commit is the same on every machine, but these settings of this machine would change it:\n{}\nremove them, or move them to the repository's `.cargo/config.toml`",
        problems.join("\n")
    );
    Err(Failure::new(Exit::Usage, message).into())
}

/// The commit's own files, from the top of the checkout down to the workspace, and the files that they include.
fn own(sources: &Sources) -> Result<Vec<Table>> {
    let mut files = Files::default();
    let text = |place: &Path| sources.text_from_top(place);
    let mut folders: Vec<&Path> = sources.inside().ancestors().collect();
    folders.reverse();
    for folder in folders {
        for place in NAMES.map(|name| folder.join(name)) {
            if let Some(found) = text(&place)? {
                files.add(place, &found, &text)?;
                break;
            }
        }
    }
    Ok(files.tables.into_iter().map(|(_, table)| table).collect())
}

/// The files outside of the sources that cargo reads, and the files that they include.
fn foreign(sources: &Sources, cargo_home: &Path) -> Result<Vec<(PathBuf, Table)>> {
    let outside =
        |folder: &&Path| !folder.starts_with(sources.checkout.folder()) || sources.checkout.is_in_place();
    let above = sources.context.root().ancestors().filter(outside);
    let places = above.flat_map(|folder| NAMES.map(|name| folder.join(name)));
    let mut places: Vec<PathBuf> =
        places.chain(["config", "config.toml"].map(|name| cargo_home.join(name))).collect();
    // Cargo's home is usually above the checkout.
    places.sort();
    places.dedup();
    let text = |place: &Path| {
        place.is_file().then(|| fs_err::read_to_string(place)).transpose().or_exit(Exit::Usage)
    };
    let mut files = Files::default();
    for place in places {
        if let Some(found) = text(&place)? {
            files.add(place, &found, &text)?;
        }
    }
    Ok(files.tables)
}

/// Configuration files, each after those that it includes, because it overrides them.
#[derive(Default)]
struct Files {
    seen: BTreeSet<PathBuf>,
    tables: Vec<(PathBuf, Table)>,
}

impl Files {
    /// Adds a file and the files that it includes, which `read` looks up; cargo itself reports missing ones.
    fn add(
        &mut self,
        place: PathBuf,
        text: &str,
        read: &dyn Fn(&Path) -> Result<Option<String>>,
    ) -> Result<()> {
        let mut table: Table =
            text.parse().with_context(|| format!("{} is not TOML", place.display())).or_exit(Exit::Usage)?;
        self.seen.insert(place.clone());
        let included = match table.remove("include") {
            Some(Value::Array(included)) => included,
            included => included.into_iter().collect(),
        };
        for included in included {
            let path = included.get("path").unwrap_or(&included).as_str().unwrap_or_default();
            let Some(other) = joined(place.parent().unwrap_or(Path::new("")), path) else {
                let message = format!(
                    "`{}` includes `{path}`, which is outside the repository: move it inside",
                    place.display()
                );
                return Err(Failure::new(Exit::Usage, message).into());
            };
            if !self.seen.contains(&other)
                && let Some(text) = read(&other)?
            {
                self.add(other, &text, read)?;
            }
        }
        self.tables.push((place, table));
        Ok(())
    }
}

/// Resolves a path in a folder; `None` if the folder is in the checkout and the path leads out of it.
fn joined(folder: &Path, path: &str) -> Option<PathBuf> {
    if folder.is_absolute() {
        return Some(folder.join(path));
    }
    let mut found = PathBuf::new();
    for part in folder.join(path).components() {
        match part {
            Component::Normal(name) => found.push(name),
            Component::ParentDir if found.pop() => {}
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(found)
}

/// The keys of a file that could change the binary.
fn reaching(table: &Table, target: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in table {
        let Some(inner) = value.as_table() else {
            found.push(name.clone());
            continue;
        };
        if HARMLESS.contains(&name.as_str()) {
            continue;
        }
        for (key, value) in inner {
            let path = format!("{name}.{key}");
            let of_target = value.as_table().filter(|_| name == "target");
            match of_target {
                // They are for another target.
                Some(_) if key != target && !key.starts_with("cfg(") => {}
                Some(keys) => {
                    let keys = keys
                        .keys()
                        .filter(|key| !["runner", "rustflags", "rustdocflags"].contains(&key.as_str()));
                    found.extend(keys.map(|key| format!("{path}.{key}")));
                }
                None if HARMLESS.contains(&path.as_str()) || OVERRIDDEN.contains(&path.as_str()) => {}
                None => found.push(path),
            }
        }
    }
    found
}

/// The commit's flags, as cargo would find them: those of the target, or else those of the build.
fn flags(own: &[Table], target: &str) -> Result<Vec<String>> {
    let list = |path: &[&str]| -> Vec<String> {
        own.iter().filter_map(|table| at(table, path)).flat_map(words).collect()
    };
    for (key, value) in
        own.iter().filter_map(|table| at(table, &["target"])).filter_map(Value::as_table).flatten()
    {
        if key.starts_with("cfg(") && value.get("rustflags").is_some() {
            let message = format!(
                "`.cargo/config.toml`: `target.'{key}'.rustflags` is not supported: the image has one target, so write `target.{target}.rustflags`"
            );
            return Err(Failure::new(Exit::Usage, message).into());
        }
    }
    let of_target = list(&["target", target, "rustflags"]);
    Ok(if of_target.is_empty() { list(&["build", "rustflags"]) } else { of_target })
}

fn at<'table>(table: &'table Table, path: &[&str]) -> Option<&'table Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, key| value.get(key))
}

/// Flags as one string, separated by spaces, or as a list.
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
