//! What lies where in a base image: a `COPY` means one thing where there is a folder and another where there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read};

use anyhow::{Context as _, Result, ensure};
use flate2::bufread::MultiGzDecoder;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use tar::{Archive, EntryType};

use crate::image::digest::Digest;
use crate::image::ignore::clean;
use crate::image::layer::Owner;
use crate::interrupt::Interrupt;

/// The paths of an image, without a `/` in front or behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Files {
    nodes: BTreeMap<String, Node>,
    /// The contents of the account files.
    accounts: BTreeMap<String, String>,
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Node {
    Folder {
        uid: u32,
        gid: u32,
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link with this target.
    Link(String),
    /// A file, or what else is no folder.
    File,
}

/// The files that say who is who.
const ACCOUNTS: [&str; 2] = ["etc/passwd", "etc/group"];

impl Files {
    /// How many paths an image may have; one with more was made to fill the memory.
    const MOST: usize = 2_000_000;
    /// What a layer may unpack to, in bytes; one that is larger was made to keep us busy.
    const LONGEST: u64 = 16 << 30;
    /// The longest account file that is read, in bytes.
    const LONGEST_ACCOUNTS: u64 = 1 << 20;

    pub(crate) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// The text of `etc/passwd` or `etc/group`.
    pub(crate) fn accounts(&self, path: &str) -> Option<&str> {
        self.accounts.get(path).map(String::as_str)
    }

    /// Lays a layer over those below, and returns its diff ID: the digest of what it unpacks to.
    ///
    /// OCI image specification, "Image Layer Filesystem Changeset": a file `.wh.NAME` hides `NAME`, and `.wh..wh..opq` all
    /// that the layers below have in its folder.
    pub(crate) fn add(&mut self, layer: impl Read, interrupt: &Interrupt) -> Result<Digest> {
        let mut layer = BufReader::with_capacity(64 << 10, layer);
        let gzip = std::io::BufRead::fill_buf(&mut layer)?.starts_with(&[0x1f, 0x8b]);
        let tar: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(layer)) } else { Box::new(layer) };
        let mut archive =
            Archive::new(Hashed { inner: tar.take(Self::LONGEST), hash: Context::new(&SHA256) });
        let mut own = BTreeSet::new();
        for entry in archive.entries()? {
            interrupt.check()?;
            let mut entry = entry?;
            let path = clean(&String::from_utf8_lossy(&entry.path_bytes()));
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if let Some(hidden) = name.strip_prefix(".wh.") {
                let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
                match hidden {
                    ".wh..opq" => self.remove_below(&folder, &own),
                    hidden => self.remove(&format!("{folder}{hidden}")),
                }
                continue;
            }
            let Some(node) = node(&entry)? else { continue };
            if !matches!(node, Node::Folder { .. }) {
                // What was a folder is none any more.
                self.remove(&path);
            }
            if ACCOUNTS.contains(&path.as_str()) && entry.header().entry_type() == EntryType::Regular {
                let mut text = String::new();
                // One that is no text knows nobody.
                if entry.by_ref().take(Self::LONGEST_ACCOUNTS).read_to_string(&mut text).is_ok() {
                    self.accounts.insert(path.clone(), text);
                }
            }
            own.insert(path.clone());
            self.make_above(&path);
            self.nodes.insert(path, node);
            ensure!(self.nodes.len() <= Self::MOST, "it has more than {} files", Self::MOST);
        }
        // Behind the end of the tar there may be padding, which counts.
        let mut rest = archive.into_inner();
        std::io::copy(&mut rest, &mut std::io::sink())?;
        ensure!(rest.inner.limit() > 0, "a layer unpacks to more than {} bytes", Self::LONGEST);
        Ok(Digest::finish(rest.hash))
    }

    /// The folders above a path that no layer lists, as engines make them.
    fn make_above(&mut self, path: &str) {
        for (end, _) in path.rmatch_indices('/') {
            let Some(folder) = path.get(..end).filter(|folder| !self.nodes.contains_key(*folder)) else {
                return;
            };
            self.nodes.insert(folder.to_owned(), Node::Folder { uid: 0, gid: 0, mode: 0o755 });
        }
    }

    /// A path and all below it.
    fn remove(&mut self, path: &str) {
        self.nodes.remove(path);
        self.accounts.remove(path);
        self.remove_below(&format!("{path}/"), &BTreeSet::new());
    }

    /// All paths that begin so, but for those to keep.
    fn remove_below(&mut self, prefix: &str, kept: &BTreeSet<String>) {
        let below = self.nodes.range(prefix.to_owned()..).map(|(path, _)| path);
        let below = below.take_while(|path| path.starts_with(prefix)).filter(|path| !kept.contains(*path));
        for path in below.cloned().collect::<Vec<_>>() {
            self.nodes.remove(&path);
            self.accounts.remove(&path);
        }
    }
}

/// What an entry is; `None` for one that is no file at all.
fn node<R: Read>(entry: &tar::Entry<'_, R>) -> Result<Option<Node>> {
    let header = entry.header();
    Ok(match header.entry_type() {
        // Some tools leave out who owns it, which engines read as root.
        EntryType::Directory => Some(Node::Folder {
            uid: u32::try_from(header.uid().unwrap_or_default())?,
            gid: u32::try_from(header.gid().unwrap_or_default())?,
            mode: header.mode()? & 0o7777,
        }),
        EntryType::Symlink => {
            let target = entry.link_name_bytes().context("a link in it leads nowhere")?;
            Some(Node::Link(String::from_utf8_lossy(&target).into_owned()))
        }
        EntryType::XGlobalHeader => None,
        _ => Some(Node::File),
    })
}

impl Node {
    pub(crate) fn folder(&self) -> Option<(Owner, u32)> {
        match *self {
            Self::Folder { uid, gid, mode } => Some((Owner { uid, gid }, mode)),
            Self::Link(_) | Self::File => None,
        }
    }
}

/// Hashes what is read through it.
struct Hashed<R> {
    inner: R,
    hash: Context,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, kind, text) in entries {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(*kind);
            header.set_mode(0o1777);
            header.set_uid(3);
            header.set_gid(4);
            header.set_path(path).unwrap();
            let is_link = *kind == EntryType::Symlink;
            if is_link {
                header.set_link_name(text).unwrap();
            }
            let text = if is_link { "" } else { text };
            header.set_size(text.len() as u64);
            header.set_cksum();
            tar.append(&header, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn paths(files: &Files) -> Vec<&str> {
        files.nodes.keys().map(String::as_str).collect()
    }

    #[test]
    fn layers_hide_what_is_below_them() {
        use EntryType::{Directory, Regular, Symlink};

        let mut files = Files::default();
        let first = tar(&[
            ("./", Directory, ""),
            ("./etc/", Directory, ""),
            ("./etc/passwd", Regular, "me:x:7:9::/:\n"),
            ("bin", Symlink, "usr/bin"),
            ("usr/bin/", Directory, ""),
            ("usr/bin/tool", Regular, "x"),
            ("var/", Directory, ""),
            ("var/a", Regular, ""),
            ("var/b/c", Regular, ""),
        ]);
        assert_eq!(files.add(first.as_slice(), &Interrupt::default()).unwrap(), Digest::of(&first));
        assert_eq!(files.get("bin"), Some(&Node::Link("usr/bin".to_owned())));
        assert_eq!(files.get("etc").unwrap().folder(), Some((Owner { uid: 3, gid: 4 }, 0o1777)));
        assert_eq!(files.accounts("etc/passwd"), Some("me:x:7:9::/:\n"));

        let second = tar(&[
            ("etc/.wh.passwd", Regular, ""),
            ("usr/bin", Regular, "a file now"),
            ("var/new", Regular, ""),
            ("var/.wh..wh..opq", Regular, ""),
        ]);
        // Compressed, and with what some tools leave behind the end.
        let mut padded = second.clone();
        padded.resize(second.len() + 10_240, 0);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut gzip, &padded).unwrap();
        let gzip = gzip.finish().unwrap();
        assert_eq!(files.add(gzip.as_slice(), &Interrupt::default()).unwrap(), Digest::of(&padded));
        assert_eq!(paths(&files), ["", "bin", "etc", "usr", "usr/bin", "var", "var/new"]);
        assert_eq!((files.get("usr/bin"), files.accounts("etc/passwd")), (Some(&Node::File), None));
    }

    #[test]
    fn folders_that_are_not_listed_are_there() {
        let mut files = Files::default();
        files.add(tar(&[("a/b/c", EntryType::Regular, "")]).as_slice(), &Interrupt::default()).unwrap();
        assert_eq!(paths(&files), ["a", "a/b", "a/b/c"]);
    }

    #[test]
    fn what_is_no_layer_is_an_error() {
        let mut files = Files::default();
        files.add(&b"\x28\xb5\x2f\xfd and so on"[..], &Interrupt::default()).unwrap_err();
        files.add(&b"\x1f\x8b and so on"[..], &Interrupt::default()).unwrap_err();
        let interrupt = Interrupt::default();
        interrupt.set();
        files.add(tar(&[("a", EntryType::Regular, "")]).as_slice(), &interrupt).unwrap_err();
    }
}
