//! Finds the sources of a `COPY` in the context, without those that `.dockerignore` excludes.

use anyhow::{Context as _, Result};

use super::{Tree, join};
use crate::build_context::{BuildContext, Node};
use crate::dockerignore::{Ignore, clean, is_valid, matches};
use crate::final_stage::CopyStep;
use crate::layer::{Entry, Kind, Owner};
use launchway_core::exit::{Exit, OrExit as _};

/// Searches the context.
pub(super) struct Finder<'context> {
    context: &'context BuildContext,
    ignore: Ignore,
}

impl<'context> Finder<'context> {
    pub(super) fn new(context: &'context BuildContext) -> Result<Self> {
        let rules = context.text(".dockerignore")?.unwrap_or_default();
        Ok(Self { context, ignore: Ignore::parse(&rules).or_exit(Exit::Usage)? })
    }

    pub(super) fn copy(&self, tree: &mut Tree, step: &CopyStep) -> Result<()> {
        let mut found = Vec::new();
        for source in &step.sources {
            found.extend(self.find(source)?);
        }
        if found.len() > 1 && !step.into_folder {
            anyhow::bail!("it copies several files ({}), so its target must end with `/`", found.len());
        }
        let owner = tree.owner(step.owner.as_deref()).map_err(anyhow::Error::msg)?;
        for path in found {
            let real = self.real(&path)?;
            if self.context.is_folder(&real) {
                tree.folder(&step.target, owner).map_err(anyhow::Error::msg)?;
                self.folder(tree, step, owner, &real, &step.target)?;
            } else {
                let name = path.rsplit('/').next().unwrap_or_default();
                let target = tree.target(step, name).map_err(anyhow::Error::msg)?;
                self.put(tree, step, owner, &real, &target)?;
            }
        }
        Ok(())
    }

    /// The paths in the context that match a source; none is an error.
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
                // A pattern does not match through a link.
                found.retain(|path| matches!(self.context.at(path), Ok(Some(Node::Folder))));
            }
            if part.contains(['*', '?', '[', '\\']) {
                walking = true;
                // Here `**` means the same as `*`.
                let pattern = part.replace("**", "*");
                let mut next = Vec::new();
                for folder in found.iter().filter(|folder| self.context.is_folder(folder)) {
                    let names =
                        self.context.names(folder)?.into_iter().filter(|name| matches(&pattern, name));
                    next.extend(names.map(|name| join(folder, &name)));
                }
                found = next;
            } else {
                found = found.iter().map(|folder| join(folder, part)).collect();
            }
        }
        let mut there = Vec::new();
        for path in found {
            if self.context.at(&path)?.is_some() && self.is_in_context(&path) {
                there.push(path);
            }
        }
        if there.is_empty() {
            anyhow::bail!(
                "`{source}` matches nothing in the context: the files that git tracks and `.dockerignore` does not exclude"
            );
        }
        Ok(there)
    }

    /// Copies the content of a folder of the context into a folder of the image, without following links.
    fn folder(
        &self,
        tree: &mut Tree,
        step: &CopyStep,
        owner: Owner,
        folder: &str,
        target: &str,
    ) -> Result<()> {
        for name in self.context.names(folder)? {
            let (path, target) = (join(folder, &name), join(target, &name));
            if !self.is_in_context(&path) {
                continue;
            }
            if matches!(self.context.at(&path)?, Some(Node::Folder)) {
                if !self.ignore.excludes(&path) {
                    let mode = step.mode.unwrap_or(0o755);
                    let entry = Entry { kind: Kind::Directory, owner, mode };
                    tree.put(&target, entry, step).map_err(anyhow::Error::msg)?;
                }
                self.folder(tree, step, owner, &path, &target)?;
            } else {
                self.put(tree, step, owner, &path, &target)?;
            }
        }
        Ok(())
    }

    /// Whether a path is included in the context, or may contain something that is.
    fn is_in_context(&self, path: &str) -> bool {
        path.is_empty()
            || !self.ignore.excludes(path)
            || (self.context.is_folder(path) && self.ignore.may_bring_back_below(path))
    }

    /// Resolves a source's links, which must not lead out of the context or to something excluded.
    fn real(&self, path: &str) -> Result<String> {
        let real = self.context.real(path)?.with_context(|| format!("`{path}` is a link to nothing"))?;
        if !self.is_in_context(&real) {
            anyhow::bail!("`{real}` is excluded from the context by `.dockerignore`");
        }
        Ok(real)
    }

    /// Adds a file or a link of the context.
    fn put(&self, tree: &mut Tree, step: &CopyStep, owner: Owner, path: &str, target: &str) -> Result<()> {
        let entry = match self.context.at(path)? {
            Some(Node::Link(link)) => Entry { kind: Kind::Link(link.clone()), owner, mode: 0o777 },
            Some(Node::File { is_program, .. }) => {
                let mode = step.mode.unwrap_or(if *is_program { 0o755 } else { 0o644 });
                if ACCOUNTS.contains(&target) {
                    tree.accounts.insert(target.to_owned(), self.context.text(path)?.unwrap_or_default());
                }
                Entry { kind: Kind::File(self.context.place(path)), owner, mode }
            }
            Some(Node::Folder) | None => anyhow::bail!("`{path}` is neither a file nor a link"),
        };
        tree.put(target, entry, step).map_err(anyhow::Error::msg)
    }
}

/// The image's files that map names to numbers.
const ACCOUNTS: [&str; 2] = ["etc/passwd", "etc/group"];
