//! The doctests of the workspace's libraries, and whether there are any.
//!
//! Cargo would compile every library again only to find that none has a doctest, so the sources are searched first.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Deserialize;

use launchway_core::call;
use launchway_core::command::Call;

/// The call that runs the doctests, unless no library can have one.
///
/// They do not count as coverage: cargo-llvm-cov needs a nightly compiler for that. They link libraries that are compiled
/// with a workspace wrapper, `env`: cargo keeps these apart from the instrumented ones, and shares the dependencies.
pub(super) fn call(root: &Path, target: &Path) -> Option<Call> {
    // If the search fails, there may be some.
    let may_have_some = libraries(root).and_then(|libraries| {
        libraries.iter().try_fold(false, |found, library| Ok(found || library.may_have_doctests()?))
    });
    may_have_some.unwrap_or(true).then(|| {
        call!("cargo test --doc --no-fail-fast --locked --workspace")
            .env("CARGO_TARGET_DIR", target.to_string_lossy())
            .env("RUSTC_WORKSPACE_WRAPPER", "env")
    })
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    doctest: bool,
    src_path: PathBuf,
}

/// A library whose documentation cargo would test.
struct Library {
    package: PathBuf,
    /// The file of its root module.
    entry: PathBuf,
}

fn libraries(root: &Path) -> Result<Vec<Library>> {
    let metadata = call!("cargo metadata --no-deps --format-version 1").read(root)?;
    let Metadata { packages } = serde_json::from_str(&metadata)?;
    let of_package = |package: Package| {
        let folder = package.manifest_path.parent().unwrap_or(root).to_owned();
        let targets = package.targets.into_iter().filter(|target| target.doctest);
        targets.map(move |target| Library { package: folder.clone(), entry: target.src_path })
    };
    Ok(packages.into_iter().flat_map(of_package).collect())
}

impl Library {
    fn may_have_doctests(&self) -> Result<bool> {
        Ok(!self.entry.starts_with(&self.package) || folder_may(&self.package, &self.package)?)
    }
}

fn folder_may(folder: &Path, package: &Path) -> Result<bool> {
    for entry in fs_err::read_dir(folder)? {
        let (path, kind) = {
            let entry = entry?;
            (entry.path(), entry.file_type()?)
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let found = if kind.is_dir() {
            // Other targets: a library reaches them only with `#[path]` or `include!`, which the search finds.
            let is_apart = matches!(&*name, "target" | "tests" | "benches" | "examples") && folder == package;
            let is_package = path.join("Cargo.toml").is_file();
            !is_apart && !is_package && !name.starts_with('.') && folder_may(&path, package)?
        } else {
            name.ends_with(".rs") && (kind.is_symlink() || text_may(&fs_err::read_to_string(&path)?))
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a source file may contain a doctest, or include a text that does.
fn text_may(text: &str) -> bool {
    text.lines().map(str::trim_start).any(|line| match line.strip_prefix("//") {
        // Code is fenced, or indented.
        Some(comment) if comment.starts_with(['/', '!']) && !comment.starts_with("//") => {
            let text = &comment[1..];
            ["```", "~~~"].iter().any(|fence| text.contains(fence))
                || ["    ", "\t"].iter().any(|indent| text.starts_with(indent))
        }
        Some(_) => false,
        None => {
            ["/**", "/*!", "#[path"].iter().any(|start| line.starts_with(start))
                || has_doc_attribute(line)
                || includes_code(line)
        }
    })
}

/// Whether documentation is written as `doc = …`, on the line of its attribute or on a separate line.
fn has_doc_attribute(line: &str) -> bool {
    let mut parts = line.split("doc");
    let mut before = parts.next().unwrap_or_default();
    parts.any(|after| {
        let is_word = !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let value = after.trim_start().strip_prefix('=');
        let is_variable = before.ends_with("let ") || before.ends_with("let mut ");
        before = after;
        is_word && !is_variable && value.is_some_and(|value| !value.starts_with('='))
    })
}

/// Whether a macro includes code: `include!`, or another crate's, such as `include_proto!`.
fn includes_code(line: &str) -> bool {
    line.split("include").skip(1).any(|after| {
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        after[end..].starts_with('!') && !matches!(&after[..end], "_str" | "_bytes")
    })
}

#[cfg(test)]
mod tests;
