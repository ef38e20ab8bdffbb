//! The checkout: its git root, its tracked files, and its cargo workspace or package.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::findings::{Found, Place};
use crate::git;
use launchway_core::call;
use launchway_core::exit::{Exit, Failure, OrExit as _};

/// A repository that may be adopted.
#[derive(Clone, Debug)]
pub(super) struct Repository {
    /// The git root.
    pub(super) top: PathBuf,
    /// The Cargo root, relative to the git root; empty if they are the same.
    pub(super) inside: PathBuf,
    /// The tracked files, relative to the git root.
    pub(super) files: Vec<String>,
    pub(super) cargo: Metadata,
}

/// The output of `cargo metadata --no-deps`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) packages: Vec<Package>,
    workspace_root: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) manifest_path: PathBuf,
    #[serde(default)]
    pub(super) default_run: Option<String>,
    #[serde(default)]
    pub(super) rust_version: Option<String>,
    pub(super) targets: Vec<Target>,
    pub(super) dependencies: Vec<Dependency>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Target {
    pub(super) name: String,
    kind: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Dependency {
    #[serde(default)]
    pub(super) path: Option<PathBuf>,
}

impl Package {
    /// Its binaries.
    pub(super) fn binaries(&self) -> impl Iterator<Item = &str> {
        let programs = self.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "bin"));
        programs.map(|target| target.name.as_str())
    }

    pub(super) fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new(""))
    }
}

impl Repository {
    /// Finds the repository that a folder belongs to.
    pub(super) fn find(start: &Path) -> Result<Self> {
        if !start.exists() {
            return Err(Failure::new(Exit::Usage, format!("{} does not exist", start.display())).into());
        }
        let start = fs_err::canonicalize(start).or_exit(Exit::Usage)?;
        let top = git::top(&start)
            .with_context(|| format!("{} is not in a git repository: run `git init`", start.display()))
            .or_exit(Exit::Usage)?
            .to_owned();
        let listed = git::text(&top, &["ls-files", "-z"])?;
        let files: Vec<String> =
            listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
        let root = cargo_root(&start, &top, &files)?;
        let cargo = metadata(&root)?;
        let root = fs_err::canonicalize(&cargo.workspace_root).or_exit(Exit::Usage)?;
        let inside = root
            .strip_prefix(&top)
            .with_context(|| {
                format!("the workspace {} is outside the repository {}", root.display(), top.display())
            })
            .or_exit(Exit::Usage)?
            .to_owned();
        Ok(Self { top, inside, files, cargo })
    }

    /// The Cargo root.
    pub(super) fn root(&self) -> PathBuf {
        self.top.join(&self.inside)
    }

    /// Translates a path in the Cargo root into one from the git root.
    pub(super) fn below(&self, path: &str) -> String {
        self.inside.join(path).to_string_lossy().into_owned()
    }

    /// Whether git tracks a file, given by its path from the git root.
    pub(super) fn tracks(&self, path: &str) -> bool {
        self.files.iter().any(|file| file == path)
    }

    /// The text of a file, given by its path from the git root; `None` if it is large, missing or not text.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        const LARGEST: u64 = 1 << 20;
        let path = self.top.join(path);
        let small = fs_err::symlink_metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= LARGEST);
        small.then(|| fs_err::read_to_string(&path).ok()).flatten()
    }

    /// The text of the Cargo root's `Cargo.toml`.
    pub(super) fn manifest(&self) -> Result<String> {
        fs_err::read_to_string(self.root().join("Cargo.toml")).or_exit(Exit::Usage)
    }

    /// The release branch: the remote's default branch, else the current one.
    pub(super) fn branch(&self) -> Option<Found<String>> {
        let git = |arguments: &[&str]| git::text(&self.top, arguments).ok();
        let remote = git(&["symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"]);
        let remote = remote.and_then(|name| name.strip_prefix("origin/").map(str::to_owned));
        let of_remote = remote.map(|name| Found::new(name, Place::of("origin/HEAD")));
        let current = || git(&["symbolic-ref", "--quiet", "--short", "HEAD"]);
        of_remote.or_else(|| Some(Found::new(current()?, Place::of("the current branch"))))
    }

    /// The owner and the name of the repository at its host, in lower case.
    pub(super) fn origin(&self) -> Option<Found<(String, String)>> {
        let url = git::text(&self.top, &["config", "--get", "remote.origin.url"]).ok()?;
        let (owner, name) = owner_and_name(&url)?;
        Some(Found::new((owner, name), Place::of("origin")))
    }
}

/// `https://host/owner/name.git` and `git@host:owner/name`.
fn owner_and_name(url: &str) -> Option<(String, String)> {
    let path = url.trim_end_matches('/').trim_end_matches(".git").to_ascii_lowercase();
    if !url.contains("://") && !url.contains(':') {
        return None;
    }
    let mut parts = path.rsplit(['/', ':']);
    let (name, owner) = (parts.next()?, parts.next()?);
    let is_part =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    (is_part(name) && is_part(owner)).then(|| (owner.to_owned(), name.to_owned()))
}

/// The folder of the relevant `Cargo.toml`: the nearest above `start`, else the only one nearest to the git root.
fn cargo_root(start: &Path, top: &Path, files: &[String]) -> Result<PathBuf> {
    let around = start.ancestors().take_while(|folder| folder.starts_with(top));
    if let Some(folder) = around.into_iter().find(|folder| folder.join("Cargo.toml").is_file()) {
        return Ok(folder.to_owned());
    }
    let inside = start.strip_prefix(top).unwrap_or(Path::new(""));
    let below = files
        .iter()
        .map(Path::new)
        .filter(|path| path.file_name().is_some_and(|name| name == "Cargo.toml") && path.starts_with(inside));
    let mut below: Vec<&Path> = below.filter_map(Path::parent).collect();
    below.sort_by_key(|folder| folder.components().count());
    let depth = below.first().map_or(0, |folder| folder.components().count());
    let nearest: Vec<&Path> =
        below.into_iter().filter(|folder| folder.components().count() == depth).collect();
    match nearest.as_slice() {
        [] => bail!(Failure::new(Exit::Usage, format!("no `Cargo.toml` in {} or below it", start.display()))),
        [only] => Ok(top.join(only)),
        several => {
            let folders: Vec<String> =
                several.iter().map(|folder| format!("`{}`", folder.display())).collect();
            let message = format!("there are several Cargo roots: pass one as PATH: {}", folders.join(", "));
            Err(Failure::new(Exit::Usage, message).into())
        }
    }
}

fn metadata(root: &Path) -> Result<Metadata> {
    let text = call!("cargo metadata --no-deps --offline --format-version 1").read(root);
    // The manifests are the repository's own, so an error in them is too.
    let text = text.map_err(|error| Failure::new(Exit::Usage, format!("{error:#}")))?;
    serde_json::from_str(&text).context("`cargo metadata` did not print JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_and_name_of_a_remote() {
        let some = Some(("acme".to_owned(), "web".to_owned()));
        for url in
            ["https://github.com/Acme/web.git", "git@github.com:acme/Web", "ssh://git@host:22/acme/web/"]
        {
            assert_eq!(owner_and_name(url), some, "{url}");
        }
        for url in ["/srv/git/web", "web", "https://host/"] {
            assert_ne!(owner_and_name(url), some, "{url}");
        }
        assert_eq!(owner_and_name("/srv/git/web"), None);
    }
}
