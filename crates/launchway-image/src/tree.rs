//! The files of an image: what `COPY` takes from the build context, and where it goes.
//!
//! Follows the Dockerfile reference, "COPY". Modes are those that git stores: 0755 for folders and programs, 0644 for
//! other files.

mod accounts;
mod copy;
mod run;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::base_image::files::{Files, Node};
use super::build_context::BuildContext;
use super::dockerfile::at;
use super::final_stage::{CopyStep, DEFAULT_PATH, FinalStage, ShellForm, Step};
use super::layer::{Entry, Kind, Owner};
use super::user::User;
use copy::Finder;
use launchway_registry::oci::Settings;

/// The files of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The files of the base.
    base: Files,
    /// The contents of our own account files.
    accounts: BTreeMap<String, String>,
    /// By path: relative to the image's root, with `/` between the parts. Contains every parent folder too.
    pub entries: BTreeMap<String, Entry>,
    /// The paths of the binaries that cargo compiles, with their names.
    pub programs: BTreeMap<String, String>,
    /// The user that runs the image's program.
    pub user: User,
}

/// Finds the files that the final stage copies from the context, without those that `.dockerignore` excludes, and where
/// they go on top of the base's files. The binaries are those in the folder `compiled`.
///
/// A file that is missing, excluded or outside is an error with [`Exit::Usage`](launchway_core::exit::Exit::Usage) that
/// starts with the file and the line.
pub fn resolve(context: &BuildContext, stage: &FinalStage, base: Files, compiled: &Path) -> Result<Tree> {
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
            Step::Program { name, copy } => tree
                .place_program(name, copy, compiled.join(name))
                .map_err(|reason| at(&stage.file, copy.line, reason))?,
            Step::Run { user, commands, .. } => {
                for (line, command) in commands {
                    tree.run(command, user)
                        .map_err(|reason| at(&stage.file, *line, format!("`RUN`: {reason}")))?;
                }
            }
        }
    }
    tree.check_shells(stage)?;
    tree.user = match (tree.user(&stage.settings.user), stage.user_line) {
        (Ok(user), _) => user,
        (Err(reason), Some(line)) => return Err(at(&stage.file, line, format!("`USER`: {reason}"))),
        // The base's own concern.
        (Err(_), None) => User::default(),
    };
    Ok(tree)
}

/// Checks that everything that the final stage copies exists; its targets are unknown without the base.
pub(super) fn check_sources(context: &BuildContext, stage: &FinalStage) -> Result<()> {
    let finder = Finder::new(context)?;
    let copies = stage.steps.iter().filter_map(|step| match step {
        Step::Copy(copy) => Some(copy),
        Step::Folder { .. } | Step::Program { .. } | Step::Run { .. } => None,
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
    /// Adds a folder and its parents. A folder of the base keeps its attributes, but is listed too: engines create
    /// missing parents in a layer with attributes of their own choice.
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

    /// Adds something at a path, and its parent folders. A folder of the base keeps its owner and mode unless the step
    /// sets others.
    fn put(&mut self, path: &str, mut entry: Entry, step: &CopyStep) -> Result<(), String> {
        let is_folder = |entry: &Entry| entry.kind == Kind::Directory;
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let above = self.real(above)?;
        self.folder(&above, entry.owner)?;
        let mut path = join(&above, name);
        check_names(&path)?;
        if is_folder(&entry) {
            // A link of the base to a folder is kept.
            path = self.real(&path)?;
        }
        if self.programs.contains_key(&path) {
            return Err(format!("it puts something at `/{path}`, where the binary is"));
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

    /// A path with the links of the base followed, unless our own files cover them.
    fn real(&self, path: &str) -> Result<String, String> {
        /// Linux follows the same number.
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

    /// The target of one file of a `COPY`.
    fn target(&self, step: &CopyStep, name: &str) -> Result<String, String> {
        let target = self.real(&step.target)?;
        Ok(if step.into_folder || self.is_folder(&target) { join(&target, name) } else { target })
    }

    fn place_program(&mut self, name: &str, step: &CopyStep, compiled: PathBuf) -> Result<(), String> {
        let path = self.target(step, name)?;
        check_names(&path)?;
        let is_folder = self.base.get(&path).is_some_and(|node| node.folder().is_some());
        if self.entries.contains_key(&path) || is_folder {
            return Err(format!(
                "{} something at `/{path}`, where the binary goes",
                if is_folder { "the base image has" } else { "another `COPY` puts" },
            ));
        }
        let owner = self.owner(step.owner.as_deref())?;
        // The layer of files contains its parent folders, so that the binary's own layer is only the binary.
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above, owner)?;
        }
        let mode = step.mode.unwrap_or(0o755);
        self.entries.insert(path.clone(), Entry { kind: Kind::File(compiled), owner, mode });
        self.programs.insert(path, name.to_owned());
        Ok(())
    }

    /// The path of the binary that a container starts by this name, if it is one of ours.
    pub fn program(&self, name: &str, settings: &Settings) -> Option<&str> {
        let path = if name.starts_with('/') {
            name.to_owned()
        } else if name.contains('/') {
            format!("{}/{name}", settings.working_dir)
        } else {
            let set = settings.env.iter().find_map(|pair| pair.strip_prefix("PATH="));
            let folders = set.unwrap_or(DEFAULT_PATH).split(':');
            folders.map(|folder| format!("{folder}/{name}")).find(|path| self.has(path))?
        };
        let real = self.real(&path).ok()?;
        self.programs.get_key_value(&real).map(|(path, _)| path.as_str())
    }

    /// Whether there is something at a path, links followed.
    fn has(&self, path: &str) -> bool {
        self.real(path).is_ok_and(|path| self.entries.contains_key(&path) || self.base.get(&path).is_some())
    }

    /// A command in shell form needs a shell.
    fn check_shells(&self, stage: &FinalStage) -> Result<()> {
        let (Some(shell), false) = (stage.shells.first(), self.has("bin/sh")) else { return Ok(()) };
        let ShellForm { line, instruction, .. } = shell;
        let words = shell.words().unwrap_or_else(|| vec!["program".to_owned(), "argument".to_owned()]);
        let words = serde_json::to_string(&words).unwrap_or_default().replace("\",\"", "\", \"");
        Err(at(
            &stage.file,
            *line,
            format!(
                "`{instruction}` in shell form needs `/bin/sh`, which the image does not have: write it as `{words}`"
            ),
        ))
    }

    /// `--chown`: numbers, or names in the image's own `/etc/passwd` and `/etc/group`.
    ///
    /// "Providing a UID without GID will use the same numeric UID as the GID."
    fn owner(&self, text: Option<&str>) -> Result<Owner, String> {
        let Some(text) = text else { return Ok(Owner::default()) };
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let (uid, own_gid) = if let Ok(uid) = user.parse() { (uid, uid) } else { self.user_ids(user)? };
        let gid = match group {
            None => own_gid,
            Some(group) => match group.parse() {
                Ok(gid) => gid,
                Err(_) => self.group_id(group)?,
            },
        };
        Ok(Owner { uid, gid })
    }
}

/// OCI image specification, "Whiteouts": in a layer, such a name removes another file.
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
