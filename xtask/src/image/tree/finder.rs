//! What a `COPY` finds in the context, as `.dockerignore` leaves it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{Tree, join};
use crate::exit::{Exit, OrExit as _};
use crate::image::ignore::{Ignore, clean, is_valid, matches};
use crate::image::layer::{Entry, Kind, Owner};
use crate::image::recipe::CopyStep;

/// Looks for files in the context.
pub(super) struct Finder {
    /// Without symbolic links.
    root: PathBuf,
    ignore: Ignore,
}

impl Finder {
    pub(super) fn new(root: &Path) -> Result<Self> {
        let rules = root.join(".dockerignore");
        let ignore = if rules.is_file() {
            Ignore::parse(&fs_err::read_to_string(rules)?).or_exit(Exit::Usage)?
        } else {
            Ignore::default()
        };
        Ok(Self { root: fs_err::canonicalize(root)?, ignore })
    }

    pub(super) fn copy(&self, tree: &mut Tree, step: &CopyStep) -> Result<()> {
        let mut found = Vec::new();
        for source in &step.sources {
            found.extend(self.find(source)?);
        }
        if found.len() > 1 && !step.into_folder {
            anyhow::bail!("it copies {} things, so its target must end with `/`", found.len());
        }
        let owner = tree.owner(step.owner.as_deref()).map_err(anyhow::Error::msg)?;
        for path in found {
            let real = self.real(&path)?;
            let inside = self.inside(&real)?;
            if real.is_dir() {
                tree.folder(&step.target, owner).map_err(anyhow::Error::msg)?;
                self.folder(tree, step, owner, &inside, &step.target)?;
            } else {
                let name = path.rsplit('/').next().unwrap_or_default();
                let target = tree.target(step, name).map_err(anyhow::Error::msg)?;
                put(tree, step, owner, &real, &target)?;
            }
        }
        Ok(())
    }

    /// The paths in the context that a source names; nothing is an error.
    pub(super) fn find(&self, source: &str) -> Result<Vec<String>> {
        let mut depth = 0_usize;
        for part in source.split('/') {
            depth = match part {
                "" | "." => depth,
                ".." => depth.checked_sub(1).with_context(|| format!("`{source}` leaves the context"))?,
                _ => depth + 1,
            };
        }
        let source = clean(source);
        if !is_valid(&source) {
            anyhow::bail!("`{source}` is not a valid pattern");
        }
        let mut found = vec![String::new()];
        let mut walking = false;
        for part in source.split('/').filter(|part| !part.is_empty()) {
            if walking {
                // A pattern finds nothing behind a link.
                found.retain(|path| self.root.join(path).symlink_metadata().is_ok_and(|it| it.is_dir()));
            }
            if part.contains(['*', '?', '[', '\\']) {
                walking = true;
                // Here `**` is no more than `*`.
                let pattern = part.replace("**", "*");
                let mut next = Vec::new();
                for folder in found.iter().filter(|folder| self.root.join(folder).is_dir()) {
                    let names = self.list(folder)?.into_iter().filter(|name| matches(&pattern, name));
                    next.extend(names.map(|name| join(folder, &name)));
                }
                found = next;
            } else {
                found = found.iter().map(|folder| join(folder, part)).collect();
            }
        }
        found.retain(|path| self.root.join(path).symlink_metadata().is_ok() && self.is_in_context(path));
        if found.is_empty() {
            anyhow::bail!("`{source}` matches nothing in the context, as `.dockerignore` leaves it");
        }
        Ok(found)
    }

    /// Copies what is in a folder of the context, without following links, into a folder of the image.
    fn folder(
        &self,
        tree: &mut Tree,
        step: &CopyStep,
        owner: Owner,
        folder: &str,
        target: &str,
    ) -> Result<()> {
        for name in self.list(folder)? {
            let (path, target) = (join(folder, &name), join(target, &name));
            let file = self.root.join(&path);
            if !self.is_in_context(&path) {
                continue;
            }
            if file.symlink_metadata()?.is_dir() {
                if !self.ignore.excludes(&path) {
                    let mode = step.mode.unwrap_or(0o755);
                    let entry = Entry { kind: Kind::Directory, owner, mode };
                    tree.put(&target, entry, step).map_err(anyhow::Error::msg)?;
                }
                self.folder(tree, step, owner, &path, &target)?;
            } else {
                put(tree, step, owner, &file, &target)?;
            }
        }
        Ok(())
    }

    /// Whether a path belongs to the context, or may hold something that does.
    fn is_in_context(&self, path: &str) -> bool {
        path.is_empty()
            || !self.ignore.excludes(path)
            || (self.root.join(path).is_dir() && self.ignore.may_bring_back_below(path))
    }

    /// The names in a folder, sorted.
    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs_err::read_dir(self.root.join(folder))? {
            let entry = entry?;
            let name = entry.file_name().into_string().ok();
            names.push(name.with_context(|| format!("the name {} is not UTF-8", entry.path().display()))?);
        }
        names.sort();
        Ok(names)
    }

    /// What a source is once its links are followed, which must not lead out of the context.
    fn real(&self, path: &str) -> Result<PathBuf> {
        let real = fs_err::canonicalize(self.root.join(path))?;
        if !real.starts_with(&self.root) {
            anyhow::bail!("`{path}` is a link that leaves the context");
        }
        Ok(real)
    }

    /// A real path as one in the context, which must not be ignored: a link may lead there.
    fn inside(&self, real: &Path) -> Result<String> {
        let path = real.strip_prefix(&self.root)?.to_str().context("its name is not UTF-8")?.to_owned();
        if !self.is_in_context(&path) {
            anyhow::bail!("`{path}` is kept out of the context by `.dockerignore`");
        }
        Ok(path)
    }
}

/// Adds a file or a link of the context.
fn put(tree: &mut Tree, step: &CopyStep, owner: Owner, file: &Path, target: &str) -> Result<()> {
    let metadata = file.symlink_metadata()?;
    let entry = if metadata.is_symlink() {
        let link = fs_err::read_link(file)?;
        let link = link
            .to_str()
            .with_context(|| format!("{} is a link to a name that is not UTF-8", file.display()))?;
        Entry { kind: Kind::Link(link.to_owned()), owner, mode: 0o777 }
    } else if metadata.is_file() {
        let is_program = metadata.permissions().mode() & 0o100 != 0;
        let mode = step.mode.unwrap_or(if is_program { 0o755 } else { 0o644 });
        Entry { kind: Kind::File(file.to_owned()), owner, mode }
    } else {
        anyhow::bail!("{} is neither a file nor a folder nor a link", file.display());
    };
    tree.put(target, entry, step).map_err(anyhow::Error::msg)
}
