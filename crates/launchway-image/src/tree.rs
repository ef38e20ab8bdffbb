//! The files of an image: what `COPY` finds in the build context.
//!
//! Dockerfile reference, "COPY". Modes are those that git knows: 0755 for folders and programs, 0644 for other files.

mod copy;

use std::collections::BTreeMap;

use anyhow::Result;

use super::base_image::files::{Files, Node};
use super::build_context::BuildContext;
use super::dockerfile::at;
use super::final_stage::{CopyStep, FinalStage, Step};
use super::layer::{Entry, Kind, Owner};
use copy::Finder;

/// The files of an image, without the binary, and where the binary goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// What the base has.
    base: Files,
    /// What our own account files hold.
    accounts: BTreeMap<String, String>,
    /// By path: relative to the image's root, `/` between the parts. Every folder above an entry is there too.
    pub entries: BTreeMap<String, Entry>,
    /// The binary's path in the image.
    pub binary: String,
    /// The owner of the binary.
    pub binary_owner: Owner,
    /// The permission bits of the binary.
    pub binary_mode: u32,
}

/// Finds the files that the final stage names in the context, as `.dockerignore` leaves it, and where they go above
/// the files of its base.
///
/// What is missing, ignored or outside is an error with [`Exit::Usage`](launchway_core::exit::Exit::Usage) that begins with the
/// file and the line.
pub fn resolve(context: &BuildContext, stage: &FinalStage, base: Files) -> Result<Tree> {
    let mut tree = Tree { base, ..Tree::default() };
    let finder = Finder::new(context)?;
    for step in &stage.steps {
        match step {
            Step::Folder { line, path } => {
                tree.folder(path, Owner::default()).map_err(|reason| at(&stage.file, *line, reason))?;
            }
            Step::Copy(step) => finder
                .copy(&mut tree, step)
                .map_err(|reason| at(&stage.file, step.line, format!("`{}`: {reason:#}", step.text)))?,
        }
    }
    tree.place_binary(&stage.binary).map_err(|reason| at(&stage.file, stage.binary.line, reason))?;
    Ok(tree)
}

/// Checks that all that the final stage copies is there; where it goes is not known without the base.
pub(super) fn check_sources(context: &BuildContext, stage: &FinalStage) -> Result<()> {
    let finder = Finder::new(context)?;
    let copies = stage.steps.iter().filter_map(|step| match step {
        Step::Copy(copy) => Some(copy),
        Step::Folder { .. } => None,
    });
    for copy in copies {
        for source in &copy.sources {
            let found = finder.find(source);
            found.map_err(|reason| at(&stage.file, copy.line, format!("`{}`: {reason:#}", copy.text)))?;
        }
    }
    Ok(())
}

impl Tree {
    /// A folder and those above it, where there are none. One of the base stays what it is there, and is listed all the
    /// same: engines make what is missing in a layer as they like.
    fn folder(&mut self, path: &str, owner: Owner) -> Result<(), String> {
        let path = self.real(path)?;
        check_names(&path)?;
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        for folder in ends.filter_map(|end| path.get(..end)).filter(|folder| !folder.is_empty()) {
            let (owner, mode) = match self.base.get(folder) {
                Some(node) if !self.entries.contains_key(folder) => {
                    node.folder().ok_or_else(|| format!("`/{folder}` is not a folder in the base image"))?
                }
                _ => (owner, 0o755),
            };
            let entry = self.entries.entry(folder.to_owned());
            if entry.or_insert(Entry { kind: Kind::Directory, owner, mode }).kind != Kind::Directory {
                return Err(format!("`/{folder}` is not a folder"));
            }
        }
        Ok(())
    }

    /// Puts something at a path, whose folders are made. A folder of the base keeps its owner and mode unless the step
    /// states others.
    fn put(&mut self, path: &str, mut entry: Entry, step: &CopyStep) -> Result<(), String> {
        let is_folder = |entry: &Entry| entry.kind == Kind::Directory;
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let above = self.real(above)?;
        self.folder(&above, entry.owner)?;
        let mut path = join(&above, name);
        check_names(&path)?;
        if is_folder(&entry) {
            // A link of the base to a folder stays one.
            path = self.real(&path)?;
        }
        let both = || format!("`/{path}` would be both a folder and a file");
        match (self.entries.get(&path), self.base.get(&path)) {
            (Some(old), _) if is_folder(old) && is_folder(&entry) => return Ok(()),
            (Some(old), _) if is_folder(old) || is_folder(&entry) => return Err(both()),
            (None, Some(node)) => match node.folder() {
                Some((owner, mode)) if is_folder(&entry) => {
                    entry.owner = if step.owner.is_some() { entry.owner } else { owner };
                    entry.mode = step.mode.unwrap_or(mode);
                }
                None if !is_folder(&entry) => {}
                _ => return Err(both()),
            },
            _ => {}
        }
        self.entries.insert(path, entry);
        Ok(())
    }

    /// A path with the links of the base followed, as far as nothing of ours lies over them.
    fn real(&self, path: &str) -> Result<String, String> {
        /// As many as Linux follows.
        const LINKS: usize = 40;
        let mut found: Vec<String> = Vec::new();
        let mut left: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(part) = left.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    found.pop();
                    continue;
                }
                _ => found.push(part),
            }
            let here = found.join("/");
            if let (None, Some(Node::Link(target))) = (self.entries.get(&here), self.base.get(&here)) {
                links += 1;
                if links > LINKS {
                    return Err(format!("`/{path}` leads through too many links of the base image"));
                }
                found.pop();
                if target.starts_with('/') {
                    found.clear();
                }
                left.extend(target.split('/').rev().map(str::to_owned));
            }
        }
        Ok(found.join("/"))
    }

    fn is_folder(&self, path: &str) -> bool {
        path.is_empty()
            || match self.entries.get(path) {
                Some(entry) => entry.kind == Kind::Directory,
                None => self.base.get(path).is_some_and(|node| node.folder().is_some()),
            }
    }

    /// Where one file of a `COPY` goes.
    fn target(&self, step: &CopyStep, name: &str) -> Result<String, String> {
        let target = self.real(&step.target)?;
        Ok(if step.into_folder || self.is_folder(&target) { join(&target, name) } else { target })
    }

    fn place_binary(&mut self, step: &CopyStep) -> Result<(), String> {
        let name = step.sources.first().and_then(|source| source.rsplit('/').next()).unwrap_or_default();
        self.binary = self.target(step, name)?;
        check_names(&self.binary)?;
        let is_folder = self.base.get(&self.binary).is_some_and(|node| node.folder().is_some());
        if self.entries.contains_key(&self.binary) || is_folder {
            return Err(format!(
                "{} something at `/{}`, where the binary goes",
                if is_folder { "the base image has" } else { "another `COPY` puts" },
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

    /// Whether a path of the image means the binary.
    pub fn is_binary(&self, path: &str) -> bool {
        self.real(path).is_ok_and(|path| path == self.binary)
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

    /// The fields of a name's line in one of the image's account files: ours, or else the base's.
    fn account(&self, file: &str, name: &str) -> Result<Vec<String>, String> {
        let own = match self.entries.get(file).map(|entry| &entry.kind) {
            Some(Kind::File(_)) => self.accounts.get(file).map(String::as_str),
            Some(_) => None,
            None => self.base.accounts(file),
        };
        own.unwrap_or_default()
            .lines()
            .map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>())
            .find(|fields| fields.first().is_some_and(|field| field == name))
            .ok_or_else(|| format!("`{name}` is not in `/{file}` of the image at this point: use a number"))
    }
}

fn field(fields: &[String], place: usize, file: &str, name: &str) -> Result<u32, String> {
    fields
        .get(place)
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| format!("the line of `{name}` in `/{file}` is not valid"))
}

/// OCI image specification, "Whiteouts": in a layer such a name means that another file is gone.
fn check_names(path: &str) -> Result<(), String> {
    let Some(name) = path.split('/').find(|name| name.starts_with(".wh.")) else { return Ok(()) };
    Err(format!(
        "`/{path}` would hide a file, as does every name in a layer that starts with `.wh.`: rename `{name}`, or exclude it with `.dockerignore`"
    ))
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

#[cfg(test)]
mod tests;
