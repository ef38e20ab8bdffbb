//! The files that an image is made of: those of the commit, or those of a dirty working tree that git knows or would add.
//!
//! They are compiled and packed from a folder of their own: what else lies in the checkout has no part in the image.

mod checkout;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};

pub(crate) use checkout::Checkout;

use crate::context::Context;
use crate::git;
use crate::git::files::{Content, File, Kind, contents, of_commit, of_tree};
use launchway_core::exit::{Exit, Failure, OrExit as _};

/// The files of the workspace, the context of its Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    /// By path: relative to the workspace root, `/` between the parts. Every folder above a file is there too.
    nodes: BTreeMap<String, Node>,
    /// The workspace root, once the files are checked out.
    pub(crate) root: PathBuf,
    /// How they get there.
    pub(crate) checkout: Checkout,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Folder,
    File { is_program: bool, content: Content },
    Link(String),
}

impl Sources {
    /// Lists the files. Nothing is written.
    pub(crate) fn read(ctx: &Context) -> Result<Self> {
        let Some(top) = git::top(&ctx.root) else { return Self::of_folder(&ctx.root) };
        let (files, what) = if ctx.git.dirty {
            (of_tree(top)?, "the files of the working tree that git knows or would add".to_owned())
        } else {
            (of_commit(top, &ctx.git.commit)?, format!("the files of commit {}", ctx.git.short()))
        };
        let inside = ctx.root.strip_prefix(top)?;
        let folder = ctx.output().join("source");
        let mut sources = Self {
            nodes: BTreeMap::new(),
            root: if inside.as_os_str().is_empty() { folder.clone() } else { folder.join(inside) },
            checkout: Checkout { files, folder, what },
        };
        sources.nodes = nodes(&sources.checkout.files, inside)?;
        Ok(sources)
    }

    /// What is in a folder that is no checkout, where it lies.
    pub(crate) fn of_folder(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs_err::read_dir(folder)? {
                let place = entry?.path();
                let kind = place.symlink_metadata()?;
                let kind = if kind.is_symlink() {
                    Kind::Link
                } else if kind.is_dir() {
                    folders.push(place);
                    continue;
                } else if std::os::unix::fs::PermissionsExt::mode(&kind.permissions()) & 0o100 != 0 {
                    Kind::Program
                } else {
                    Kind::Plain
                };
                files.push(File {
                    path: place.strip_prefix(root)?.to_owned(),
                    kind,
                    content: Content::Place(place),
                });
            }
        }
        let nodes = nodes(&files, Path::new(""))?;
        let checkout = Checkout { files: Vec::new(), folder: root.to_owned(), what: String::new() };
        Ok(Self { nodes, root: root.to_owned(), checkout })
    }

    /// What is at a path, whose folders may be links; a link that is the path itself is not followed.
    pub(crate) fn at(&self, path: &str) -> Result<Option<&Node>> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() {
            return Ok(Some(&Node::Folder));
        }
        let above = self.real(above).map_err(|_| anyhow!(leaves(path)))?;
        Ok(above.and_then(|above| self.nodes.get(&join(&above, name))))
    }

    pub(crate) fn is_folder(&self, path: &str) -> bool {
        let real = self.real(path).ok().flatten();
        real.is_some_and(|path| path.is_empty() || self.nodes.get(&path) == Some(&Node::Folder))
    }

    /// A path with its links followed, if it leads to something; one that leads out of the context is an error.
    pub(crate) fn real(&self, path: &str) -> Result<Option<String>> {
        /// As many as Linux follows.
        const LINKS: usize = 40;
        let mut found: Vec<String> = Vec::new();
        let mut left: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(part) = left.pop() {
            match part.as_str() {
                ".." if found.pop().is_none() => bail!(leaves(path)),
                "" | "." | ".." => continue,
                _ => found.push(part),
            }
            match self.nodes.get(&found.join("/")) {
                None => return Ok(None),
                Some(Node::Link(target)) => {
                    links += 1;
                    if links > LINKS || target.starts_with('/') {
                        bail!(leaves(path));
                    }
                    found.pop();
                    left.extend(target.split('/').rev().map(str::to_owned));
                }
                Some(_) => {}
            }
        }
        Ok(Some(found.join("/")))
    }

    /// The names in a folder, sorted.
    pub(crate) fn names(&self, folder: &str) -> Result<Vec<String>> {
        let start = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let below = self.nodes.range(start.clone()..).map_while(|(path, _)| path.strip_prefix(&start));
        let names: Vec<String> = below.filter(|name| !name.contains('/')).map(str::to_owned).collect();
        match names.iter().find(|name| name.contains(char::REPLACEMENT_CHARACTER)) {
            Some(name) => bail!("the name `{}` is not UTF-8", join(folder, name)),
            None => Ok(names),
        }
    }

    /// Where a file is once it is checked out.
    pub(crate) fn place(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The text of a file that has nothing to do with its place on the disk, where there is one.
    pub(crate) fn text(&self, path: &str) -> Result<Option<String>> {
        let Some(path) = self.real(path)? else { return Ok(None) };
        let Some(Node::File { content, .. }) = self.nodes.get(&path) else { return Ok(None) };
        Ok(Some(as_text(Path::new(&path), read(content)?)?))
    }

    /// The workspace's folder in the checkout.
    pub(crate) fn inside(&self) -> &Path {
        self.root.strip_prefix(self.checkout.folder()).unwrap_or(Path::new(""))
    }

    /// [`Self::text`] by the path from the top of the checkout, also of a file that lies beside the workspace.
    pub(crate) fn text_from_top(&self, path: &Path) -> Result<Option<String>> {
        if let Ok(inside) = path.strip_prefix(self.inside()) {
            return self.text(&inside.to_string_lossy());
        }
        let found = self.checkout.files.iter().find(|file| file.path == path && file.kind != Kind::Link);
        found.map(|file| as_text(path, read(&file.content)?)).transpose()
    }

    /// The text of a file without which there is no image.
    pub(crate) fn needed(&self, path: &str) -> Result<String> {
        self.text(path)?.ok_or_else(|| {
            let message = format!("`{path}` is not in the workspace root, as git has it: add and commit it");
            Failure::new(Exit::Usage, message).into()
        })
    }
}

fn as_text(path: &Path, bytes: Vec<u8>) -> Result<String> {
    let text = String::from_utf8(bytes).ok();
    text.with_context(|| format!("`{}` is not UTF-8", path.display())).or_exit(Exit::Usage)
}

fn leaves(path: &str) -> String {
    format!("`{path}` is a link that leaves the context")
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The files below a folder of the checkout, and the folders that hold them.
fn nodes(files: &[File], inside: &Path) -> Result<BTreeMap<String, Node>> {
    let mut nodes = BTreeMap::new();
    let mut links: BTreeMap<&Path, Vec<(String, &str)>> = BTreeMap::new();
    for file in files {
        let Ok(path) = file.path.strip_prefix(inside) else { continue };
        // A name that is not UTF-8 matters only to what copies it.
        let path = path.to_string_lossy().into_owned();
        for (end, _) in path.match_indices('/') {
            nodes.insert(path.get(..end).unwrap_or_default().to_owned(), Node::Folder);
        }
        let node = match (&file.kind, &file.content) {
            (Kind::Link, Content::Blob { top, id }) => {
                links.entry(top).or_default().push((path, id));
                continue;
            }
            (Kind::Link, content) => Node::Link(String::from_utf8_lossy(&read(content)?).into_owned()),
            (kind, content) => Node::File { is_program: *kind == Kind::Program, content: content.clone() },
        };
        nodes.insert(path, node);
    }
    for (top, links) in links {
        let ids: Vec<&str> = links.iter().map(|(_, id)| *id).collect();
        contents(top, &ids, |place, target| {
            let path = links.get(place).map(|(path, _)| path.clone()).unwrap_or_default();
            nodes.insert(path, Node::Link(String::from_utf8_lossy(&target).into_owned()));
            Ok(())
        })?;
    }
    Ok(nodes)
}

/// A file's bytes, or what a link names.
fn read(content: &Content) -> Result<Vec<u8>> {
    match content {
        Content::Blob { top, id } => {
            let mut found = Vec::new();
            contents(top, &[id], |_, bytes| {
                found = bytes;
                Ok(())
            })?;
            Ok(found)
        }
        Content::Place(place) if place.is_symlink() => {
            Ok(std::os::unix::ffi::OsStringExt::into_vec(fs_err::read_link(place)?.into_os_string()))
        }
        Content::Place(place) => Ok(fs_err::read(place)?),
    }
}

#[cfg(test)]
mod tests;
