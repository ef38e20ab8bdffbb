//! A layer: a tar with the same bytes for the same files, then compressed.
//!
//! It has no traces of the machine: entries are sorted, times are 0, owners and modes are explicit, names are empty.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use launchway_registry::Digest;
use launchway_registry::oci::{Descriptor, LAYER};

/// One file, folder or link of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Its owner.
    pub owner: Owner,
    /// Permission bits, as in `0o755`.
    pub mode: u32,
}

/// The kind of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Directory,
    /// A file with the contents of this one.
    File(PathBuf),
    /// A file with this text.
    Text(String),
    /// A symbolic link with this target.
    Link(String),
}

/// The owner of an entry, in numbers: the host's kernel does not know the names in the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The number of the user.
    pub uid: u32,
    /// The number of the group.
    pub gid: u32,
}

/// A layer before compression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tar {
    /// The instructions that it comes from.
    pub origin: String,
    /// The digest of the bytes (OCI image configuration, "`DiffID`").
    pub diff_id: Digest,
    /// The bytes of the tar.
    pub bytes: Vec<u8>,
}

/// A layer, compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The instructions that it comes from.
    pub origin: String,
    /// The digest of the tar before compression (OCI image configuration, "`DiffID`").
    pub diff_id: Digest,
    /// The tar, compressed with gzip: Docker 20.10 cannot unpack zstd.
    pub bytes: Vec<u8>,
}

impl Tar {
    /// Packs the entries; their paths are relative to the root of the image, sorted, with `/` between the parts.
    pub fn pack<'a>(origin: String, entries: impl IntoIterator<Item = (&'a str, &'a Entry)>) -> Result<Self> {
        let bytes = archive(entries)?;
        Ok(Self { origin, diff_id: Digest::of(&bytes), bytes })
    }
}

impl Layer {
    /// The compression level.
    ///
    /// Half the time of level 6 for 3 % more bytes.
    pub(crate) const COMPRESSION: u32 = 4;

    /// Compresses a tar: the same bytes for the same tar.
    pub fn compress(tar: &Tar) -> Result<Self> {
        let mut gzip = Self::gzip();
        gzip.write_all(&tar.bytes)?;
        Ok(Self { origin: tar.origin.clone(), diff_id: tar.diff_id.clone(), bytes: gzip.finish()? })
    }

    /// Packs and compresses the entries.
    #[cfg(test)]
    pub fn pack<'a>(origin: String, entries: impl IntoIterator<Item = (&'a str, &'a Entry)>) -> Result<Self> {
        Self::compress(&Tar::pack(origin, entries)?)
    }

    /// What a tar is written to.
    pub(crate) fn gzip() -> GzEncoder<Vec<u8>> {
        GzBuilder::new().mtime(0).write(Vec::new(), Compression::new(Self::COMPRESSION))
    }

    /// The descriptor for the manifest.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::of(LAYER, &self.bytes)
    }
}

/// Whether a file is a pointer to one that git-LFS stores elsewhere
/// (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>).
pub fn is_lfs_pointer(file: &Path) -> Result<bool> {
    const START: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
    let mut start = Vec::new();
    fs_err::File::open(file)?.take(START.len() as u64).read_to_end(&mut start)?;
    Ok(start == START)
}

fn archive<'a>(entries: impl IntoIterator<Item = (&'a str, &'a Entry)>) -> Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    for (path, entry) in entries {
        let mut header = Header::new_ustar();
        // A constant, or every commit would change every layer; the commit's time is in the configuration.
        header.set_mtime(0);
        header.set_mode(entry.mode);
        header.set_uid(entry.owner.uid.into());
        header.set_gid(entry.owner.gid.into());
        let mut long = Vec::new();
        let contents = match &entry.kind {
            Kind::Directory => {
                header.set_entry_type(EntryType::Directory);
                set_path(&mut header, format!("{path}/"), &mut long);
                Vec::new()
            }
            Kind::File(source) => {
                set_path(&mut header, path.to_owned(), &mut long);
                fs_err::read(source)?
            }
            Kind::Text(text) => {
                set_path(&mut header, path.to_owned(), &mut long);
                text.clone().into_bytes()
            }
            Kind::Link(target) => {
                header.set_entry_type(EntryType::Symlink);
                set_path(&mut header, path.to_owned(), &mut long);
                if header.set_link_name_literal(target).is_err() {
                    long.push(("linkpath", target.clone()));
                }
                Vec::new()
            }
        };
        if !long.is_empty() {
            tar.append_pax_extensions(long.iter().map(|(key, value)| (*key, value.as_bytes())))?;
        }
        header.set_size(contents.len() as u64);
        header.set_cksum();
        tar.append(&header, contents.as_slice()).with_context(|| format!("cannot pack `{path}`"))?;
    }
    Ok(tar.into_inner()?)
}

/// Sets the path, or writes it before the entry if it is too long for the header (POSIX pax).
fn set_path(header: &mut Header, path: String, long: &mut Vec<(&'static str, String)>) {
    if header.set_path(Path::new(&path)).is_err() {
        long.push(("path", path));
    }
}

#[cfg(test)]
mod tests;
