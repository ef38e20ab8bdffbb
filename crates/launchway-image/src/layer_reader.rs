//! Reads the entries of a layer one by one, whichever builder wrote it.
//!
//! A layer is read within limits: on its unpacked size, the number of its entries, and the length of each name and
//! header. Engines read archives in Go; whatever Go's `archive/tar` and the `tar` crate would interpret differently is
//! an error here.

use std::io::{BufRead, BufReader, Read};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::bufread::MultiGzDecoder;
use ring::digest::{Context, SHA256};
use tar::{Archive, EntryType, Header};

use launchway_core::interrupt::Interrupt;
use launchway_registry::Digest;

/// Limits for all layers of one image together.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Their unpacked size, in bytes. A larger image was made to fill a disk.
    pub bytes: u64,
    /// How many entries they have.
    pub entries: u64,
}

impl Bounds {
    /// The limits for an image.
    pub const IMAGE: Self = Self { bytes: 16 << 30, entries: 1_000_000 };
    /// The largest compressed layer, in bytes.
    pub const PACKED: u64 = 4 << 30;
}

/// The longest path and the longest target of a link, in bytes (Linux, `PATH_MAX`).
const LONGEST_PATH: usize = 4095;
/// The longest name in a path, in bytes (Linux, `NAME_MAX`).
const LONGEST_NAME: usize = 255;
/// The deepest nesting of folders.
const DEEPEST: usize = 128;
/// The longest header before an entry, in bytes: it contains long names and extended attributes.
const LONGEST_HEADER: u64 = 1 << 20;

/// The kind of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link with this target.
    Symlink(Vec<u8>),
    /// Another name of the file at this path.
    HardLink(Vec<u8>),
    /// A device or a pipe.
    Device,
    /// The layers below no longer have this path.
    Whiteout,
    /// The layers below no longer have anything in this folder.
    Opaque,
}

/// An entry of a layer.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Without leading, trailing or doubled `/`, and without `.` and `..`; empty for the root.
    pub path: Vec<u8>,
    /// Its kind.
    pub kind: Kind,
    /// The number of its owner.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Its contents.
    pub contents: Contents<'a>,
}

/// The contents of a file; empty for anything else.
pub struct Contents<'a>(&'a mut dyn Read);

impl Read for Contents<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl std::fmt::Debug for Contents<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Contents")
    }
}

impl Entry<'_> {
    /// The path for messages.
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }
}

/// Reads the layers of an image, one after another.
#[derive(Debug)]
pub struct LayerReader<'a> {
    interrupt: &'a Interrupt,
    bounds: Bounds,
    left: Bounds,
}

impl<'a> LayerReader<'a> {
    /// Reads the layers of one image, which share the limits.
    pub fn new(interrupt: &'a Interrupt, bounds: Bounds) -> Self {
        Self { interrupt, bounds, left: bounds }
    }

    /// Passes on each entry of a layer, which may be compressed with gzip, and returns its diff ID: the digest of the
    /// unpacked bytes.
    ///
    /// An error names the entry.
    pub fn read(&mut self, layer: impl Read, each: impl FnMut(Entry<'_>) -> Result<()>) -> Result<Digest> {
        let read = self.read_tar(plain(layer)?, each);
        // Otherwise the error would be blamed on the layer.
        self.interrupt.check()?;
        read
    }

    fn read_tar(&mut self, tar: impl Read, mut each: impl FnMut(Entry<'_>) -> Result<()>) -> Result<Digest> {
        let Self { interrupt, bounds, left } = self;
        let stream = Stream {
            inner: tar,
            hash: Context::new(&SHA256),
            left: &mut left.bytes,
            bound: bounds.bytes,
            interrupt,
        };
        let mut archive = Archive::new(stream);
        let mut before = Before::default();
        // Raw: the crate would read headers of any length into memory.
        for entry in archive.entries()?.raw(true) {
            let mut entry = entry?;
            let fewer = left.entries.checked_sub(1);
            left.entries =
                fewer.with_context(|| format!("the image has more than {} entries", bounds.entries))?;
            let header = entry.header().clone();
            match header.entry_type() {
                EntryType::XHeader => before.read_pax(&bounded(&mut entry)?)?,
                EntryType::GNULongName => before.long_path = Some(bounded(&mut entry)?),
                EntryType::GNULongLink => before.long_link = Some(bounded(&mut entry)?),
                // Engines ignore all of them.
                EntryType::XGlobalHeader => before = Before::default(),
                _ => {
                    let (size, before) = (entry.size(), std::mem::take(&mut before));
                    let path = before.path(&header);
                    let read = before
                        .entry(&header, &path, size, &mut entry)
                        .and_then(|entry| entry.map_or(Ok(()), &mut each));
                    read.with_context(|| format!("its entry `{}`", beginning(&path)))?;
                }
            }
        }
        // There may be padding after the end of the tar, which counts.
        let mut rest = archive.into_inner();
        std::io::copy(&mut rest, &mut std::io::sink())?;
        Ok(Digest::finish(rest.hash))
    }
}

/// The tar of a layer that may be compressed with gzip.
///
/// The first bytes are more reliable than a media type: `docker save` does not compress.
pub fn plain<'a>(layer: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let mut layer = BufReader::with_capacity(64 << 10, layer);
    let gzip = layer.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if gzip { Box::new(MultiGzDecoder::new(layer)) } else { Box::new(layer) })
}

/// As much of a path as fits into a message.
fn beginning(path: &[u8]) -> String {
    const SHOWN: usize = 100;
    let text = String::from_utf8_lossy(path.get(..SHOWN).unwrap_or(path));
    format!("{}{}", text.escape_debug(), if path.len() > SHOWN { "…" } else { "" })
}

/// The contents of an entry that describes the next one.
fn bounded(entry: &mut tar::Entry<'_, impl Read>) -> Result<Vec<u8>> {
    let size = entry.size();
    ensure!(size <= LONGEST_HEADER, "a header in it has {size} bytes, but the limit is {LONGEST_HEADER}");
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The metadata before an entry.
#[derive(Debug, Default)]
struct Before {
    /// The supported records of POSIX pax; of a repeated one, the last applies.
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    is_sparse: bool,
    /// The records of GNU tar, which take precedence.
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Before {
    /// Parses records `LENGTH KEY=VALUE
    /// `; a value may be any bytes (POSIX, `pax`, "Extended Header").
    fn read_pax(&mut self, mut records: &[u8]) -> Result<()> {
        const NOT_VALID: &str = "a header in it is not valid";
        while !records.is_empty() {
            let space = records.iter().position(|byte| *byte == b' ').context(NOT_VALID)?;
            let length: Option<usize> = number(records.get(..space).unwrap_or_default());
            let length = length.filter(|length| *length > space + 1).context(NOT_VALID)?;
            let (record, rest) = records.split_at_checked(length).context(NOT_VALID)?;
            let record = record.strip_suffix(b"\n").and_then(|record| record.get(space + 1..));
            let record = record.context(NOT_VALID)?;
            let equals = record.iter().position(|byte| *byte == b'=').context(NOT_VALID)?;
            let (key, value) = (record.get(..equals).unwrap_or_default(), record.get(equals + 1..));
            // An empty value removes an earlier one.
            let value = value.filter(|value| !value.is_empty());
            match key {
                b"path" => self.path = value.map(<[u8]>::to_vec),
                b"linkpath" => self.link = value.map(<[u8]>::to_vec),
                b"size" => self.size = value.map(|value| number(value).context(NOT_VALID)).transpose()?,
                b"uid" => self.uid = value.map(|value| number(value).context(NOT_VALID)).transpose()?,
                b"gid" => self.gid = value.map(|value| number(value).context(NOT_VALID)).transpose()?,
                key => self.is_sparse |= key.starts_with(b"GNU.sparse."),
            }
            records = rest;
        }
        Ok(())
    }

    fn path(&self, header: &Header) -> Vec<u8> {
        let long = self.long_path.as_deref().map(until_nul);
        let path = long.or(self.path.as_deref());
        path.map_or_else(|| header.path_bytes().into_owned(), <[u8]>::to_vec)
    }

    fn link(&self, header: &Header) -> Vec<u8> {
        let long = self.long_link.as_deref().map(until_nul);
        let link = long.or(self.link.as_deref()).map(<[u8]>::to_vec);
        link.or_else(|| Some(header.link_name_bytes()?.into_owned())).unwrap_or_default()
    }

    /// The entry with this header; `None` for an old engine's bookkeeping.
    fn entry<'a>(
        &self,
        header: &Header,
        written: &[u8],
        size: u64,
        contents: &'a mut dyn Read,
    ) -> Result<Option<Entry<'a>>> {
        ensure!(
            header.entry_type() != EntryType::GNUSparse && !self.is_sparse,
            "is a sparse file, which is not supported: write it in full"
        );
        ensure!(self.size.is_none_or(|said| said == size), "states two different sizes");
        let mut path = clean(written)?;
        let kind = match header.entry_type() {
            EntryType::Regular if header.as_bytes().get(156) == Some(&0) && written.ends_with(b"/") => {
                // The old notation for folders.
                Kind::Folder
            }
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Directory => Kind::Folder,
            EntryType::Symlink => Kind::Symlink(target(self.link(header))?),
            EntryType::Link => Kind::HardLink(clean(&target(self.link(header))?).context("is a link")?),
            EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Device,
            other => bail!("has the type {:?}, which a layer cannot contain", char::from(other.as_byte())),
        };
        ensure!(kind == Kind::File || size == 0, "has contents but is not a file");
        let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let name = path.get(start..).unwrap_or_default();
        let kind = match name.strip_prefix(b".wh.") {
            None => kind,
            Some(b".wh..opq") => {
                path.truncate(start.saturating_sub(1));
                Kind::Opaque
            }
            // Bookkeeping of aufs, which Docker once used.
            Some(hidden) if hidden.starts_with(b".wh.") => return Ok(None),
            Some(b"" | b"." | b"..") => bail!("is a whiteout without a name"),
            Some(_) if size > 0 => {
                bail!("has contents, but its name hides a file of the layers below: rename it")
            }
            Some(_) => {
                path.drain(start..start + 4);
                Kind::Whiteout
            }
        };
        let owner = |said: Option<u32>, id: std::io::Result<u64>| match said {
            Some(id) => Ok(id),
            // Some tools omit the owner, which engines read as root.
            None => u32::try_from(id.unwrap_or_default()).context("has an owner that is not a number"),
        };
        let (uid, gid) = (owner(self.uid, header.uid())?, owner(self.gid, header.gid())?);
        let mode = header.mode()? & 0o7777;
        Ok(Some(Entry { path, kind, uid, gid, mode, contents: Contents(contents) }))
    }
}

fn number<N: std::str::FromStr>(text: &[u8]) -> Option<N> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A path below the root; rejects `..` instead of resolving it, because no honest layer contains it.
fn clean(path: &[u8]) -> Result<Vec<u8>> {
    ensure!(
        path.len() <= LONGEST_PATH,
        "has a path of {} bytes, but the limit is {LONGEST_PATH}",
        path.len()
    );
    ensure!(!path.contains(&0), "has a NUL byte in its path");
    let mut parts = Vec::new();
    for part in path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")) {
        ensure!(part != b"..", "leaves the image");
        ensure!(
            part.len() <= LONGEST_NAME,
            "has a name of {} bytes, but the limit is {LONGEST_NAME}",
            part.len()
        );
        parts.push(part);
    }
    ensure!(parts.len() <= DEEPEST, "lies {} folders deep, but the limit is {DEEPEST}", parts.len());
    Ok(parts.join(&b'/'))
}

/// The target of a link, unresolved.
fn target(link: Vec<u8>) -> Result<Vec<u8>> {
    ensure!(!link.is_empty(), "is a link to nothing");
    ensure!(link.len() <= LONGEST_PATH && !link.contains(&0), "is a link to an invalid path");
    Ok(link)
}

/// The unpacked layer, hashed and counted while it is read.
struct Stream<'a, R> {
    inner: R,
    hash: Context,
    left: &'a mut u64,
    bound: u64,
    interrupt: &'a Interrupt,
}

impl<R: Read> Read for Stream<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.interrupt.check().map_err(std::io::Error::other)?;
        let read = self.inner.read(buffer)?;
        *self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| std::io::Error::other(format!("the image is larger than {} bytes", self.bound)))?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
