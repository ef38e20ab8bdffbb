//! The files of an image: what the recipe's `COPY`s find in the context.
//!
//! Dockerfile reference, "COPY". Modes are stated instead of copied, since a checkout's depend on the umask:
//! 0755 for folders and programs, 0644 for other files.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::ignore::{Ignore, clean, is_valid, matches};
use super::layer::{Entry, Kind, Owner};
use super::recipe::{CopyStep, Recipe, Step, at};
use crate::exit::{Exit, OrExit as _};

/// The files of an image, without the binary, and where the binary goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    /// By path: relative to the image's root, `/` between the parts. Every folder above an entry is there too.
    pub(crate) entries: BTreeMap<String, Entry>,
    /// The binary's path in the image.
    pub(crate) binary: String,
    pub(crate) binary_owner: Owner,
    pub(crate) binary_mode: u32,
}

/// Finds the files that the recipe names in the context at `root`, as `.dockerignore` leaves it.
///
/// What is missing, ignored or outside is an error with [`Exit::Usage`] that begins with `Dockerfile:LINE:`.
pub(crate) fn resolve(root: &Path, recipe: &Recipe) -> Result<Tree> {
    let rules = root.join(".dockerignore");
    let ignore = if rules.is_file() {
        Ignore::parse(&fs_err::read_to_string(rules)?).or_exit(Exit::Usage)?
    } else {
        Ignore::default()
    };
    let mut tree = Tree::default();
    let finder = Finder { root: fs_err::canonicalize(root)?, ignore };
    for step in &recipe.steps {
        match step {
            Step::Folder { line, path } => {
                tree.folder(path, Owner::default()).map_err(|reason| at(*line, reason))?;
            }
            Step::Copy(step) => finder
                .copy(&mut tree, step)
                .map_err(|reason| at(step.line, format!("`{}`: {reason:#}", step.text)))?,
        }
    }
    tree.place_binary(&recipe.binary).map_err(|reason| at(recipe.binary.line, reason))?;
    Ok(tree)
}

impl Tree {
    /// A folder and those above it, where there are none.
    fn folder(&mut self, path: &str, owner: Owner) -> Result<(), String> {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        for folder in ends.filter_map(|end| path.get(..end)).filter(|folder| !folder.is_empty()) {
            let entry = self.entries.entry(folder.to_owned()).or_insert(Entry {
                kind: Kind::Directory,
                owner,
                mode: 0o755,
            });
            if entry.kind != Kind::Directory {
                return Err(format!("`/{folder}` is not a folder"));
            }
        }
        Ok(())
    }

    fn put(&mut self, path: &str, entry: Entry) -> Result<(), String> {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above, entry.owner)?;
        }
        let is_folder = |entry: &Entry| entry.kind == Kind::Directory;
        match self.entries.get(path) {
            Some(old) if is_folder(old) && is_folder(&entry) => {}
            Some(old) if is_folder(old) || is_folder(&entry) => {
                return Err(format!("`/{path}` would be a folder and a file"));
            }
            _ => {
                self.entries.insert(path.to_owned(), entry);
            }
        }
        Ok(())
    }

    fn is_folder(&self, path: &str) -> bool {
        path.is_empty() || self.entries.get(path).is_some_and(|entry| entry.kind == Kind::Directory)
    }

    /// Where one file of a `COPY` goes.
    fn target(&self, step: &CopyStep, name: &str) -> String {
        if step.into_folder || self.is_folder(&step.target) {
            join(&step.target, name)
        } else {
            step.target.clone()
        }
    }

    fn place_binary(&mut self, step: &CopyStep) -> Result<(), String> {
        let name = step.sources.first().and_then(|source| source.rsplit('/').next()).unwrap_or_default();
        self.binary = self.target(step, name);
        if self.entries.contains_key(&self.binary) {
            return Err(format!(
                "another `COPY` puts something at `/{}`, where the binary goes",
                self.binary
            ));
        }
        self.binary_owner = self.owner(step.owner.as_deref())?;
        self.binary_mode = step.mode.unwrap_or(0o755);
        // The layer of files holds the folders above it, so that the binary's own layer is the binary.
        if let Some((above, _)) = self.binary.clone().rsplit_once('/') {
            self.folder(above, self.binary_owner)?;
        }
        Ok(())
    }

    /// `--chown`: numbers, or names that the image's own `/etc/passwd` and `/etc/group` know.
    ///
    /// "Providing a UID without GID will use the same numeric UID as the GID."
    fn owner(&self, text: Option<&str>) -> Result<Owner, String> {
        let Some(text) = text else { return Ok(Owner::default()) };
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let (uid, own_gid) = if let Ok(uid) = user.parse() {
            (uid, uid)
        } else {
            let fields = self.account("etc/passwd", user)?;
            (field(&fields, 2, "etc/passwd", user)?, field(&fields, 3, "etc/passwd", user)?)
        };
        let gid = match group {
            None => own_gid,
            Some(group) => match group.parse() {
                Ok(gid) => gid,
                Err(_) => field(&self.account("etc/group", group)?, 2, "etc/group", group)?,
            },
        };
        Ok(Owner { uid, gid })
    }

    /// The fields of a name's line in one of the image's account files.
    fn account(&self, file: &str, name: &str) -> Result<Vec<String>, String> {
        let unknown = || format!("`{name}` is not in `/{file}` of the image up to here: use a number");
        let Some(Kind::File(path)) = self.entries.get(file).map(|entry| &entry.kind) else {
            return Err(unknown());
        };
        let text = fs_err::read_to_string(path).map_err(|error| error.to_string())?;
        text.lines()
            .map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>())
            .find(|fields| fields.first().is_some_and(|field| field == name))
            .ok_or_else(unknown)
    }
}

fn field(fields: &[String], place: usize, file: &str, name: &str) -> Result<u32, String> {
    fields
        .get(place)
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| format!("the line of `{name}` in `/{file}` is not valid"))
}

/// Looks for files in the context.
struct Finder {
    /// Without symbolic links.
    root: PathBuf,
    ignore: Ignore,
}

impl Finder {
    fn copy(&self, tree: &mut Tree, step: &CopyStep) -> Result<()> {
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
                let target = tree.target(step, name);
                put(tree, step, owner, &real, &target)?;
            }
        }
        Ok(())
    }

    /// The paths in the context that a source names; nothing is an error.
    fn find(&self, source: &str) -> Result<Vec<String>> {
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
                    tree.put(&target, entry).map_err(anyhow::Error::msg)?;
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
    tree.put(target, entry).map_err(anyhow::Error::msg)
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

#[cfg(test)]
mod tests;
