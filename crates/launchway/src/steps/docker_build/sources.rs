//! The files of an image: those of the commit, or those of a dirty working tree that git tracks or would add.
//!
//! They are compiled and packed in their own folder: nothing else in the checkout affects the image.

mod checkout;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};

pub(crate) use checkout::Checkout;

use crate::git::files::{Content, File, Kind, contents, of_commit, of_tree};
use crate::git::{self, Git};
use crate::project::output;
use launchway_core::exit::{Exit, OrExit as _};
use launchway_image::build_context::{BuildContext, Node};

/// The files of the checkout.
#[derive(Debug)]
pub(crate) struct Sources {
    /// Those of the workspace, which the Dockerfile can see.
    pub(crate) context: BuildContext,
    /// How they get to their folder.
    pub(crate) checkout: Checkout,
}

impl Sources {
    /// Lists the files without writing anything.
    pub(crate) fn read(root: &Path, git: &Git) -> Result<Self> {
        let Some(top) = git::top(root) else { return Self::of_folder(root) };
        let (files, what) = if git.dirty {
            (of_tree(top)?, "the files of the working tree that git tracks or would add".to_owned())
        } else {
            (of_commit(top, &git.commit)?, format!("the files of commit {}", git.short()))
        };
        let inside = root.strip_prefix(top)?;
        let folder = output(root).join("source");
        let root = if inside.as_os_str().is_empty() { folder.clone() } else { folder.join(inside) };
        let contents = inside_of(&files, inside)
            .map(|(path, file)| (path, file.content.clone()))
            .collect::<BTreeMap<_, _>>();
        let context = BuildContext::new(root, nodes(&files, inside)?, move |path| {
            read(contents.get(path).with_context(|| format!("the file `{path}` is missing"))?)
        });
        Ok(Self { context, checkout: Checkout { files, folder, what } })
    }

    /// The files of a folder that is not a checkout, used in place.
    pub(crate) fn of_folder(root: &Path) -> Result<Self> {
        let checkout = Checkout { files: Vec::new(), folder: root.to_owned(), what: String::new() };
        Ok(Self { context: BuildContext::of_folder(root)?, checkout })
    }

    /// The workspace's folder in the checkout.
    pub(crate) fn inside(&self) -> &Path {
        self.context.root().strip_prefix(self.checkout.folder()).unwrap_or(Path::new(""))
    }

    /// The text of a file by its path from the top of the checkout, including files outside of the workspace.
    pub(crate) fn text_from_top(&self, path: &Path) -> Result<Option<String>> {
        if let Ok(inside) = path.strip_prefix(self.inside()) {
            return self.context.text(&inside.to_string_lossy());
        }
        let found = self.checkout.files.iter().find(|file| file.path == path && file.kind != Kind::Link);
        found.map(|file| as_text(path, read(&file.content)?)).transpose()
    }
}

fn as_text(path: &Path, bytes: Vec<u8>) -> Result<String> {
    let text = String::from_utf8(bytes).ok();
    text.with_context(|| format!("`{}` is not UTF-8", path.display())).or_exit(Exit::Usage)
}

/// The files below a folder of the checkout, by their paths from there.
fn inside_of<'file>(files: &'file [File], inside: &Path) -> impl Iterator<Item = (String, &'file File)> {
    // A name that is not UTF-8 matters only to what copies it.
    files.iter().filter_map(move |file| {
        Some((file.path.strip_prefix(inside).ok()?.to_string_lossy().into_owned(), file))
    })
}

/// The kinds of the files below a folder of the checkout.
fn nodes(files: &[File], inside: &Path) -> Result<Vec<(String, Node)>> {
    let mut nodes = Vec::new();
    let mut links: BTreeMap<&Path, Vec<(String, &str)>> = BTreeMap::new();
    for (path, file) in inside_of(files, inside) {
        let node = match (&file.kind, &file.content) {
            (Kind::Link, Content::Blob { top, id }) => {
                links.entry(top).or_default().push((path, id));
                continue;
            }
            (Kind::Link, content) => Node::Link(String::from_utf8_lossy(&read(content)?).into_owned()),
            (kind, _) => Node::File { is_program: *kind == Kind::Program },
        };
        nodes.push((path, node));
    }
    for (top, links) in links {
        let ids: Vec<&str> = links.iter().map(|(_, id)| *id).collect();
        contents(top, &ids, |place, target| {
            let path = links.get(place).map(|(path, _)| path.clone()).unwrap_or_default();
            nodes.push((path, Node::Link(String::from_utf8_lossy(&target).into_owned())));
            Ok(())
        })?;
    }
    Ok(nodes)
}

/// A file's bytes, or a link's target.
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
