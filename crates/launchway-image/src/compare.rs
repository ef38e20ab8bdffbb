//! Compares the images of two engines for one Dockerfile, and recognises expected differences.
//!
//! Compares all settings and every file, but not the history, the order and number of layers, and the files' times.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context as _, Result};
use ring::digest::{Context as Hash, SHA256};
use serde_json::Value;

use super::layer_reader::{Bounds, Entry, Kind, LayerReader};
use super::layout::Layout;
use launchway_core::interrupt::Interrupt;
use launchway_registry::Digest;

/// A difference between the images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// A setting, or the path of a file.
    pub place: String,
    /// The builtin engine's result.
    pub builtin: String,
    /// The Docker engine's result.
    pub docker: String,
    /// Why the difference is expected; `None` if it is a fault.
    pub reason: Option<&'static str>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, builtin, docker, reason } = self;
        write!(f, "{place}: {builtin} (builtin), {docker} (docker): {}", reason.unwrap_or("not expected"))
    }
}

/// Finds where two images differ; `binary` is the path of the binary, without a leading `/`.
pub fn differences(
    interrupt: &Interrupt,
    builtin: &Layout,
    docker: &Layout,
    binary: &str,
) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    let mut add = |place: String, ours: Option<String>, theirs: Option<String>, reason| {
        if ours != theirs {
            let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
            found.push(Difference { place, builtin: or_none(ours), docker: or_none(theirs), reason });
        }
    };
    let (mut ours, mut theirs) = (settings(builtin)?, settings(docker)?);
    for key in keys(&ours, &theirs) {
        add(key.clone(), ours.remove(&key), theirs.remove(&key), known_setting(&key));
    }
    let (mut ours, mut theirs) = (files(interrupt, builtin)?, files(interrupt, docker)?);
    for path in keys(&ours, &theirs) {
        let place = format!("/{path}");
        match (ours.remove(&path), theirs.remove(&path)) {
            (Some(ours), Some(theirs)) => {
                add(place.clone(), Some(ours.to_string()), Some(theirs.to_string()), None);
                let reason =
                    (path == binary).then_some("compiled twice, with different linkers and C libraries");
                add(place, ours.contents, theirs.contents, reason);
            }
            (ours, theirs) => {
                add(place, ours.map(|file| file.to_string()), theirs.map(|file| file.to_string()), None);
            }
        }
    }
    Ok(found)
}

fn keys<V>(one: &BTreeMap<String, V>, other: &BTreeMap<String, V>) -> BTreeSet<String> {
    one.keys().chain(other.keys()).cloned().collect()
}

/// Why a setting may differ.
fn known_setting(key: &str) -> Option<&'static str> {
    match key {
        "created" => Some("Docker uses the build time, the builtin engine the commit time"),
        "config Image" => Some("the classic builder records the previous step here"),
        "config ArgsEscaped" => Some("BuildKit sets it, and it has a meaning on Windows only"),
        _ => None,
    }
}

/// The settings of an image by name, each environment variable and label separately; empty ones are left out.
fn settings(layout: &Layout) -> Result<BTreeMap<String, String>> {
    let file = layout.blob(&layout.config.digest);
    let config: Value =
        serde_json::from_slice(&fs_err::read(file)?).context("the configuration is not JSON")?;
    let mut settings = BTreeMap::new();
    for key in ["created", "architecture", "os"] {
        settings.insert(key.to_owned(), config.get(key).map_or_else(String::new, Value::to_string));
    }
    for (key, value) in config.get("config").and_then(Value::as_object).into_iter().flatten() {
        match value {
            Value::Object(map) if key == "Labels" => {
                settings.extend(map.iter().map(|(name, value)| (format!("label {name}"), value.to_string())));
            }
            Value::Array(pairs) if key == "Env" => {
                for pair in pairs.iter().filter_map(Value::as_str) {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    settings.insert(format!("variable {name}"), value.to_owned());
                }
            }
            value if says_nothing(value) => {}
            value => {
                settings.insert(format!("config {key}"), value.to_string());
            }
        }
    }
    Ok(settings)
}

/// Docker writes settings that are not set.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// A file of an image, as a container would see it.
#[derive(Debug)]
struct File {
    kind: String,
    mode: u32,
    owner: (u32, u32),
    /// Size and hash of a regular file.
    contents: Option<String>,
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:04o} {}:{}", self.kind, self.mode, self.owner.0, self.owner.1)
    }
}

/// All files of an image by path, with its layers applied in order (OCI image specification, "Image Layer Filesystem
/// Changeset").
fn files(interrupt: &Interrupt, layout: &Layout) -> Result<BTreeMap<String, File>> {
    let mut files = BTreeMap::new();
    let mut reader = LayerReader::new(interrupt, Bounds::IMAGE);
    for layer in &layout.layers {
        reader.read(fs_err::File::open(layout.blob(&layer.digest))?, |entry| lay(&mut files, entry))?;
    }
    Ok(files)
}

/// Applies an entry of a layer to the layers below.
fn lay(files: &mut BTreeMap<String, File>, mut entry: Entry<'_>) -> Result<()> {
    let path = entry.name();
    let target = |link: &[u8]| String::from_utf8_lossy(link).into_owned();
    let kind = match &entry.kind {
        Kind::Whiteout => {
            files.retain(|other, _| !is_at_or_below(other, &path));
            return Ok(());
        }
        Kind::Opaque => {
            let above = if path.is_empty() { path } else { format!("{path}/") };
            files.retain(|other, _| !is_at_or_below(other, &above));
            return Ok(());
        }
        _ if path.is_empty() => return Ok(()),
        Kind::File => "file".to_owned(),
        Kind::Folder => "folder".to_owned(),
        Kind::Symlink(link) => format!("link to {}", target(link)),
        Kind::HardLink(link) => format!("hard link to {}", target(link)),
        Kind::Device => "device".to_owned(),
    };
    let contents = if entry.kind == Kind::File {
        let mut hash = Hash::new(&SHA256);
        let size = std::io::copy(&mut entry.contents, &mut Hasher(&mut hash))?;
        Some(format!("{size} bytes, {}", Digest::finish(hash).short()))
    } else {
        None
    };
    let owner = (entry.uid, entry.gid);
    files.insert(path, File { kind, mode: entry.mode, owner, contents });
    Ok(())
}

fn is_at_or_below(path: &str, removed: &str) -> bool {
    path.strip_prefix(removed)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || removed.ends_with('/'))
}

/// A hash that can be written to.
struct Hasher<'a>(&'a mut Hash);

impl std::io::Write for Hasher<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
