//! The build context: the files that a `COPY` of the final stage can see, wherever their contents are stored.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};

use launchway_core::exit::{Exit, Failure, OrExit as _};

/// Files by path, and where each of them will be when the image is packed.
pub struct BuildContext {
    /// By path: relative to the root, with `/` between the parts. Contains every parent folder too.
    nodes: BTreeMap<String, Node>,
    root: PathBuf,
    read: Read,
}

/// Reads the file at a path that is not a link.
type Read = Box<dyn Fn(&str) -> Result<Vec<u8>>>;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Folder,
    /// A file.
    File {
        /// Whether it may be executed.
        is_program: bool,
    },
    /// A symbolic link with this target.
    Link(String),
}

impl fmt::Debug for BuildContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, root, .. } = self;
        f.debug_struct("BuildContext").field("root", root).field("nodes", nodes).finish_non_exhaustive()
    }
}

impl BuildContext {
    /// The context of these files and links, to which their folders are added; `read` returns the contents of a file.
    ///
    /// The files need not exist in `root` before the image is packed.
    pub fn new(
        root: PathBuf,
        files: impl IntoIterator<Item = (String, Node)>,
        read: impl Fn(&str) -> Result<Vec<u8>> + 'static,
    ) -> Self {
        let mut nodes = BTreeMap::new();
        for (path, node) in files {
            for (end, _) in path.match_indices('/') {
                nodes.insert(path.get(..end).unwrap_or_default().to_owned(), Node::Folder);
            }
            nodes.insert(path, node);
        }
        Self { nodes, root, read: Box::new(read) }
    }

    /// The context of everything in a folder.
    pub fn of_folder(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs_err::read_dir(folder)? {
                let place = entry?.path();
                let metadata = place.symlink_metadata()?;
                let node = if metadata.is_symlink() {
                    Node::Link(fs_err::read_link(&place)?.to_string_lossy().into_owned())
                } else if metadata.is_dir() {
                    folders.push(place);
                    continue;
                } else {
                    Node::File { is_program: metadata.permissions().mode() & 0o100 != 0 }
                };
                // A name that is not UTF-8 matters only to what copies it.
                files.push((place.strip_prefix(root)?.to_string_lossy().into_owned(), node));
            }
        }
        let folder = root.to_owned();
        Ok(Self::new(root.to_owned(), files, move |path| Ok(fs_err::read(folder.join(path))?)))
    }

    /// The folder that contains the files when the image is packed.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What is at a path. Links to folders on the way are followed; a link at the path itself is not.
    pub fn at(&self, path: &str) -> Result<Option<&Node>> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() {
            return Ok(Some(&Node::Folder));
        }
        let above = self.real(above).map_err(|_| anyhow!(leaves(path)))?;
        Ok(above.and_then(|above| self.nodes.get(&join(&above, name))))
    }

    /// Whether a path leads to a folder.
    pub fn is_folder(&self, path: &str) -> bool {
        let real = self.real(path).ok().flatten();
        real.is_some_and(|path| path.is_empty() || self.nodes.get(&path) == Some(&Node::Folder))
    }

    /// Follows the links of a path; `None` if it leads to nothing. A path that leaves the context is an error.
    pub fn real(&self, path: &str) -> Result<Option<String>> {
        /// Linux follows the same number.
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
    pub fn names(&self, folder: &str) -> Result<Vec<String>> {
        let start = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let below = self.nodes.range(start.clone()..).map_while(|(path, _)| path.strip_prefix(&start));
        let names: Vec<String> = below.filter(|name| !name.contains('/')).map(str::to_owned).collect();
        match names.iter().find(|name| name.contains(char::REPLACEMENT_CHARACTER)) {
            Some(name) => bail!("the name `{}` is not UTF-8", join(folder, name)),
            None => Ok(names),
        }
    }

    /// Where a file is when the image is packed.
    pub fn place(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The text of a file, if it exists; follows links.
    pub fn text(&self, path: &str) -> Result<Option<String>> {
        let Some(path) = self.real(path)? else { return Ok(None) };
        let Some(Node::File { .. }) = self.nodes.get(&path) else { return Ok(None) };
        let text = String::from_utf8((self.read)(&path)?).ok();
        text.with_context(|| format!("`{path}` is not UTF-8")).or_exit(Exit::Usage).map(Some)
    }

    /// The text of a file that every image needs.
    pub fn needed(&self, path: &str) -> Result<String> {
        self.text(path)?.ok_or_else(|| {
            let message = format!("`{path}` is not tracked by git in the workspace root: add and commit it");
            Failure::new(Exit::Usage, message).into()
        })
    }
}

fn leaves(path: &str) -> String {
    format!("`{path}` is a link that leaves the context")
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}
