//! The files of a base image: a `COPY` has a different meaning if its target is a folder there.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Result, bail, ensure};

use crate::layer::Owner;
use crate::layer_reader::{Entry, Kind, LayerReader};
use launchway_registry::Digest;

/// The files of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// By folder and name: a path costs only its last part, however deep it is.
    places: BTreeMap<Key, Place>,
    /// The contents of the account files, and of those for new home folders.
    accounts: BTreeMap<Key, String>,
    /// The id of the last folder, and of the last layer.
    folders: u32,
    layers: u8,
    /// The approximate memory that the places take, in bytes.
    held: usize,
}

/// The id of a folder, and a name in it.
type Key = (u32, Box<str>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    node: Node,
    /// The last layer that contained it, or something below it.
    layer: u8,
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Folder {
        /// Its id, in the order of discovery.
        number: u32,
        /// The number of its owner.
        uid: u32,
        /// The number of its group.
        gid: u32,
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link with this target.
    Link(Box<str>),
    /// A file, or anything else that is not a folder.
    File,
}

/// The root's number.
const ROOT: u32 = 0;

impl Files {
    /// The memory that the files of an image may take, in bytes.
    const ROOM: usize = 48 << 20;
    /// What a place takes besides its name.
    const PLACE: usize = 128;
    /// The longest account file that is read, in bytes.
    pub(crate) const LONGEST_ACCOUNTS: u64 = 1 << 20;
    /// The longest file of a new home folder that is read, in bytes.
    const LONGEST_OF_HOME: u64 = 64 << 10;
    /// How many files are read.
    const MOST_TEXTS: usize = 64;
    /// How many parts a path may have, including those of the links on its way.
    const LONGEST_WAY: usize = 256;

    /// What is at a path without leading or trailing `/`; a link at the path itself is not followed.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.places.get(&self.key(path)?).map(|place| &place.node)
    }

    /// Everything at and below the folder at a path, by relative paths, folders before their content.
    pub fn below(&self, path: &str) -> Vec<(String, &Node)> {
        let root = if path.is_empty() { Some(ROOT) } else { self.get(path).and_then(Node::number) };
        let mut found = Vec::new();
        let mut left: Vec<(String, u32)> = root.map(|number| (String::new(), number)).into_iter().collect();
        while let Some((above, folder)) = left.pop() {
            for ((_, name), place) in self.places.range((folder, Box::from(""))..(folder + 1, Box::from("")))
            {
                let path = if above.is_empty() { name.to_string() } else { format!("{above}/{name}") };
                left.extend(place.node.number().map(|number| (path.clone(), number)));
                found.push((path, &place.node));
            }
        }
        found
    }

    /// The text of `etc/passwd`, `etc/group`, or a short file in `etc/skel`.
    pub fn accounts(&self, path: &str) -> Option<&str> {
        self.accounts.get(&self.key(path)?).map(String::as_str)
    }

    fn key(&self, path: &str) -> Option<Key> {
        let (mut folder, mut parts) = (ROOT, path.split('/').peekable());
        while let Some(part) = parts.next() {
            let key = (folder, Box::from(part));
            if parts.peek().is_none() {
                return Some(key);
            }
            folder = self.places.get(&key)?.node.number()?;
        }
        None
    }

    /// Applies a layer on top of those below, and returns its diff ID.
    ///
    /// OCI image specification, "Image Layer Filesystem Changeset".
    pub fn add(&mut self, layer: impl Read, reader: &mut LayerReader<'_>) -> Result<Digest> {
        self.layers += 1;
        reader.read(layer, |entry| self.place(entry))
    }

    fn place(&mut self, mut entry: Entry<'_>) -> Result<()> {
        // A Dockerfile cannot contain a name that is not UTF-8.
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        let (above, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if entry.kind == Kind::Opaque {
            if let Some(folder) = self.folder(&path, false)? {
                self.clear(folder, Some(self.layers));
            }
            return Ok(());
        }
        if name.is_empty() {
            // The root is already there.
            return Ok(());
        }
        let Some(folder) = self.folder(above, entry.kind != Kind::Whiteout)? else { return Ok(()) };
        let key = (folder, Box::from(name));
        let there = self.places.get(&key).and_then(|place| place.node.number());
        if !(entry.kind == Kind::Folder && there.is_some()) {
            // It is no longer a folder.
            self.remove(&key);
        }
        let node = match &entry.kind {
            Kind::Whiteout | Kind::Opaque => return Ok(()),
            Kind::Folder => {
                let number = there.unwrap_or_else(|| self.number());
                Node::Folder { number, uid: entry.uid, gid: entry.gid, mode: entry.mode }
            }
            Kind::Symlink(target) => Node::Link(String::from_utf8_lossy(target).into()),
            Kind::File | Kind::HardLink(_) | Kind::Device => Node::File,
        };
        let longest = match path.as_str() {
            "etc/passwd" | "etc/group" => Self::LONGEST_ACCOUNTS,
            path if path.starts_with("etc/skel/") && entry.mode == 0o644 => Self::LONGEST_OF_HOME,
            _ => 0,
        };
        if longest > 0
            && entry.kind == Kind::File
            && (longest == Self::LONGEST_ACCOUNTS || self.accounts.len() < Self::MOST_TEXTS)
        {
            let mut text = String::new();
            // A file that is not text contains no accounts.
            let read = entry.contents.by_ref().take(longest).read_to_string(&mut text);
            if read.is_ok() && (longest == Self::LONGEST_ACCOUNTS || text.len() as u64 != longest) {
                self.accounts.insert(key.clone(), text);
            }
        }
        self.put(key, node)
    }

    fn put(&mut self, key: Key, node: Node) -> Result<()> {
        let before = self.places.get(&key).map_or(0, |before| Self::size(&key, &before.node));
        self.held = self.held - before + Self::size(&key, &node);
        ensure!(self.held <= Self::ROOM, "has more files than a plan can hold");
        self.places.insert(key, Place { node, layer: self.layers });
        Ok(())
    }

    fn size((_, name): &Key, node: &Node) -> usize {
        let target = if let Node::Link(target) = node { target.len() } else { 0 };
        Self::PLACE + name.len() + target
    }

    fn number(&mut self) -> u32 {
        self.folders += 1;
        self.folders
    }

    /// The folder at a path, with links followed. Missing folders are created as engines do, or the result is `None`.
    fn folder(&mut self, path: &str, make: bool) -> Result<Option<u32>> {
        let mut found = Vec::new();
        let mut left: Vec<Box<str>> = path.split('/').rev().map(Box::from).collect();
        let mut way = 0;
        while let Some(part) = left.pop() {
            way += 1;
            ensure!(way <= Self::LONGEST_WAY, "leads through too many links");
            match &*part {
                "" | "." => continue,
                ".." => {
                    found.pop();
                    continue;
                }
                _ => {}
            }
            let key = (found.last().copied().unwrap_or(ROOT), part);
            match self.places.get_mut(&key) {
                Some(Place { node: Node::Folder { number, .. }, layer }) => {
                    if make {
                        *layer = self.layers;
                    }
                    found.push(*number);
                }
                Some(Place { node: Node::Link(target), .. }) => {
                    if target.starts_with('/') {
                        found.clear();
                    }
                    left.extend(target.split('/').rev().map(Box::from));
                }
                None if make => {
                    let number = self.number();
                    self.put(key, Node::Folder { number, uid: 0, gid: 0, mode: 0o755 })?;
                    found.push(number);
                }
                Some(Place { node: Node::File, .. }) if make => bail!("has a part that is not a folder"),
                _ => return Ok(None),
            }
        }
        Ok(Some(found.last().copied().unwrap_or(ROOT)))
    }

    /// Removes a place and everything below it.
    fn remove(&mut self, key: &Key) {
        self.accounts.remove(key);
        if let Some(Place { node, .. }) = self.places.remove(key) {
            self.held -= Self::size(key, &node);
            if let Some(number) = node.number() {
                self.clear(number, None);
            }
        }
    }

    /// Removes the content of a folder, except for what this layer has there.
    fn clear(&mut self, folder: u32, kept: Option<u8>) {
        let mut left = vec![folder];
        while let Some(folder) = left.pop() {
            let names = self.places.range((folder, Box::from(""))..(folder + 1, Box::from("")));
            for key in names.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
                let Some(place) = self.places.get(&key) else { continue };
                let number = place.node.number();
                if Some(place.layer) != kept {
                    self.held -= Self::size(&key, &place.node);
                    self.places.remove(&key);
                    self.accounts.remove(&key);
                }
                // What the layer does not have contains nothing of the layer.
                left.extend(number);
            }
        }
    }
}

impl Node {
    fn number(&self) -> Option<u32> {
        match *self {
            Self::Folder { number, .. } => Some(number),
            Self::Link(_) | Self::File => None,
        }
    }

    /// The owner and the mode, if it is a folder.
    pub fn folder(&self) -> Option<(Owner, u32)> {
        match *self {
            Self::Folder { uid, gid, mode, .. } => Some((Owner { uid, gid }, mode)),
            Self::Link(_) | Self::File => None,
        }
    }
}

#[cfg(test)]
mod tests;
