//! Unpacks layers to disk without letting an archive escape from its folder.
//!
//! Based on OCI image spec 1.1, "Image Layer Filesystem Changeset". Devices and ownership need root: devices are left out,
//! and owners are noted.

use std::cell::Cell;
use std::ffi::OsStr;
use std::io::{Read, Take};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context as _, bail, ensure};
use flate2::read::MultiGzDecoder;
use fs_err::File;
use ring::digest::{Context, SHA256};
use tar::{Archive, Entry, EntryType};

use super::rights::{Owned, Rights};
use crate::server::hex;

/// More than any of our unpacked images, less than would fill a laptop's disk.
const MAX_UNPACKED: u64 = 2 << 30;
const MAX_ENTRIES: usize = 1_000_000;
/// How many bytes may come between two files: long names, which the archive buffers in memory.
const MAX_BETWEEN: u64 = 1 << 20;
const MAX_DEPTH: usize = 128;

/// Unpacks one layer over the content of `root`, checks it against its `diff_id`, and notes whose its files are.
pub(crate) fn unpack(
    layer: &Path,
    gzip: bool,
    diff_id: &str,
    root: &Path,
    rights: &mut Rights,
) -> anyhow::Result<()> {
    let root = fs_err::canonicalize(root)?;
    // First, because they hide content of the layers below, wherever they are among the layer's own files.
    walk(layer, gzip, |_, path| hide(path, &root))?;
    let actual = walk(layer, gzip, |entry, path| place(entry, path, &root, rights))?;
    ensure!(actual == diff_id, "the layer is {actual} but the config says {diff_id}");
    Ok(())
}

/// Visits every entry of a layer with its path below the root, and returns the layer's `diff_id`.
fn walk(
    layer: &Path,
    gzip: bool,
    mut show: impl FnMut(&mut Entry<'_, Hashed<Take<Box<dyn Read>>>>, &Path) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let file = File::open(layer)?;
    let plain: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let room = Rc::new(Cell::new(MAX_BETWEEN));
    let hashed =
        Hashed { inner: plain.take(MAX_UNPACKED), hash: Context::new(&SHA256), room: Rc::clone(&room) };
    let mut archive = Archive::new(hashed);
    for (number, entry) in archive.entries()?.enumerate() {
        ensure!(number < MAX_ENTRIES, "the layer has more than {MAX_ENTRIES} entries");
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        room.set(u64::MAX);
        relative(&path)
            .and_then(|path| show(&mut entry, &path))
            .with_context(|| format!("failed to unpack {}", path.display()))?;
        std::io::copy(&mut entry, &mut std::io::sink())?;
        room.set(MAX_BETWEEN);
    }
    room.set(u64::MAX);
    let mut rest = archive.into_inner();
    std::io::copy(&mut rest, &mut std::io::sink())?;
    ensure!(rest.inner.limit() > 0, "the layer is larger than {MAX_UNPACKED} bytes");
    Ok(format!("sha256:{}", hex(rest.hash.finish().as_ref())))
}

/// A program's location on disk, for a path inside the image in `root`.
pub(crate) fn inside(root: &Path, path: &Path) -> anyhow::Result<PathBuf> {
    Ok(root.join(relative(path)?))
}

/// Removes what a whiteout hides; `false` for any other entry.
fn hide(path: &Path, root: &Path) -> anyhow::Result<()> {
    let Some(hidden) = path.file_name().and_then(|name| name.as_bytes().strip_prefix(b".wh.")) else {
        return Ok(());
    };
    ensure!(!matches!(hidden, b"" | b"." | b".."), "a whiteout without a name");
    let parent = path.parent().unwrap_or(Path::new(""));
    // If there is no such folder, there is nothing to hide.
    let Ok(parent) = fs_err::canonicalize(root.join(parent)) else { return Ok(()) };
    ensure!(parent.starts_with(root), "the path leaves the image");
    if !parent.is_dir() {
        return Ok(());
    }
    if hidden != b".wh..opq" {
        return remove(&parent.join(OsStr::from_bytes(hidden)));
    }
    for hidden in fs_err::read_dir(parent)? {
        remove(&hidden?.path())?;
    }
    Ok(())
}

fn place<R: Read>(
    entry: &mut Entry<'_, R>,
    path: &Path,
    root: &Path,
    rights: &mut Rights,
) -> anyhow::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    if name.as_bytes().starts_with(b".wh.") {
        return Ok(());
    }
    let parent = root.join(parent);
    make_folder(&parent, root)?;
    // The real location: a parent may be a link, and a link's target is resolved from there.
    let parent = &fs_err::canonicalize(parent)?;
    let target = parent.join(name);
    let header = entry.header();
    // An empty field means root.
    let number = |id: std::io::Result<u64>| u32::try_from(id.unwrap_or(0));
    let owned = Owned { uid: number(header.uid())?, gid: number(header.gid())?, mode: header.mode()? };
    match header.entry_type() {
        EntryType::Directory => {
            make_folder(&target, root)?;
            // The target may be a link to the folder.
            rights.note(&fs_err::canonicalize(&target)?, owned);
            Ok(())
        }
        EntryType::Regular | EntryType::Continuous => {
            remove(&target)?;
            entry.unpack(&target)?;
            rights.note(&target, owned);
            Ok(())
        }
        EntryType::Link => {
            let source = inside(root, &entry.link_name()?.context("a link without a target")?)?;
            let folder = fs_err::canonicalize(source.parent().context("no parent")?)?;
            ensure!(folder.starts_with(root), "the link leaves the image");
            // Not resolved: a hard link to a symbolic link is that symbolic link.
            let source = folder.join(source.file_name().context("no name")?);
            remove(&target)?;
            rights.note_link(&source, &target);
            Ok(fs_err::hard_link(source, target)?)
        }
        EntryType::Symlink => {
            let link = entry.link_name()?.context("a link without a target")?.into_owned();
            let link = contained(&link, target.strip_prefix(root)?);
            remove(&target)?;
            Ok(fs_err::os::unix::fs::symlink(link, &target)?)
        }
        // Render creates a device, which only root can.
        EntryType::Char | EntryType::Block | EntryType::Fifo => remove(&target),
        EntryType::XGlobalHeader => Ok(()),
        other => bail!("entries of type {other:?} are not supported"),
    }
}

/// The path below the root; rejects `..` instead of resolving it, because no honest archive contains it.
fn relative(path: &Path) -> anyhow::Result<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => bail!("the path leaves the image"),
        }
    }
    ensure!(clean.components().count() <= MAX_DEPTH, "the path is too deep");
    Ok(clean)
}

/// The target of a symbolic link at `at`, rewritten so that it works without a `chroot`.
fn contained(link: &Path, at: &Path) -> PathBuf {
    let folder = at.parent().unwrap_or(Path::new(""));
    let depth = folder.components().count();
    let start = if link.is_absolute() { PathBuf::new() } else { folder.to_owned() };
    let mut resolved = start;
    for component in link.components() {
        match component {
            Component::Normal(name) => resolved.push(name),
            // The parent of the root is the root.
            Component::ParentDir => drop(resolved.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    let mut relative: PathBuf = std::iter::repeat_n("..", depth).collect();
    relative.push(resolved);
    if relative.as_os_str().is_empty() { PathBuf::from(".") } else { relative }
}

/// Creates a folder and its parents, and verifies that no link leads out.
fn make_folder(folder: &Path, root: &Path) -> anyhow::Result<()> {
    let mut current = root.to_owned();
    for component in folder.strip_prefix(root)?.components() {
        current.push(component);
        if fs_err::symlink_metadata(&current).is_err() {
            fs_err::create_dir(&current)?;
        }
        ensure!(fs_err::canonicalize(&current)?.starts_with(root), "the path leaves the image");
    }
    ensure!(current.is_dir(), "the path leads through a file");
    Ok(())
}

/// Removes whatever is there, without following links.
fn remove(path: &Path) -> anyhow::Result<()> {
    match fs_err::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(metadata) if metadata.is_dir() => Ok(fs_err::remove_dir_all(path)?),
        Ok(_) => Ok(fs_err::remove_file(path)?),
    }
}

/// Hashes what is read through it.
struct Hashed<R> {
    inner: R,
    hash: Context,
    /// How many more bytes may be read.
    room: Rc<Cell<u64>>,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let left = self.room.get().checked_sub(read as u64);
        self.room.set(left.ok_or_else(|| std::io::Error::other("a header in the layer is too long"))?);
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
