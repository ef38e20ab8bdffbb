//! Layers onto disk, without letting an archive out of its folder.
//!
//! After OCI image spec 1.1, "Image Layer Filesystem Changeset". What the images of this workspace do not have
//! (devices, ownership) is refused or left out.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use flate2::read::GzDecoder;
use fs_err::File;
use ring::digest::{Context, SHA256};
use tar::{Archive, Entry, EntryType};

use crate::server::hex;

/// More than any image of ours unpacked, less than what would fill a laptop's disk.
const MAX_UNPACKED: u64 = 2 << 30;

/// Unpacks one layer over what is already in `root` and checks it against its `diff_id`.
pub(crate) fn unpack(layer: &Path, gzip: bool, diff_id: &str, root: &Path) -> anyhow::Result<()> {
    let file = File::open(layer)?;
    let plain: Box<dyn Read> = if gzip { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
    let mut archive = Archive::new(Hashed { inner: plain.take(MAX_UNPACKED), hash: Context::new(&SHA256) });
    let root = fs_err::canonicalize(root)?;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        place(&mut entry, &path, &root).with_context(|| format!("failed to unpack {}", path.display()))?;
    }
    let mut rest = archive.into_inner();
    std::io::copy(&mut rest, &mut std::io::sink())?;
    ensure!(rest.inner.limit() > 0, "the layer is larger than {MAX_UNPACKED} bytes");
    let actual = format!("sha256:{}", hex(rest.hash.finish().as_ref()));
    ensure!(actual == diff_id, "the layer is {actual} but the config says {diff_id}");
    Ok(())
}

/// A program's place on disk: the path inside the image, whose root is `root`.
pub(crate) fn inside(root: &Path, path: &Path) -> anyhow::Result<PathBuf> {
    Ok(root.join(relative(path)?))
}

fn place<R: Read>(entry: &mut Entry<'_, R>, path: &Path, root: &Path) -> anyhow::Result<()> {
    let path = relative(path)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let parent = root.join(parent);
    make_folder(&parent, root)?;
    // Where it really is: a parent may be a link, and the depth of a link's target counts from there.
    let parent = &fs_err::canonicalize(parent)?;
    let target = parent.join(name);
    let name = name.to_str().unwrap_or_default();
    if name == ".wh..wh..opq" {
        for hidden in fs_err::read_dir(parent)? {
            remove(&hidden?.path())?;
        }
        return Ok(());
    }
    if let Some(hidden) = name.strip_prefix(".wh.") {
        ensure!(!matches!(hidden, "" | "." | ".."), "a whiteout without a name");
        return remove(&parent.join(hidden));
    }
    match entry.header().entry_type() {
        EntryType::Directory => make_folder(&target, root),
        EntryType::Regular | EntryType::Continuous => {
            remove(&target)?;
            entry.unpack(&target)?;
            Ok(())
        }
        EntryType::Link => {
            let source = inside(root, &entry.link_name()?.context("a link without a target")?)?;
            let folder = fs_err::canonicalize(source.parent().context("no parent")?)?;
            ensure!(folder.starts_with(root), "the link leaves the image");
            // Not followed: a hard link to a symbolic link is that symbolic link.
            let source = folder.join(source.file_name().context("no name")?);
            remove(&target)?;
            Ok(fs_err::hard_link(source, target)?)
        }
        EntryType::Symlink => {
            let link = entry.link_name()?.context("a link without a target")?.into_owned();
            let link = contained(&link, target.strip_prefix(root)?)?;
            remove(&target)?;
            Ok(fs_err::os::unix::fs::symlink(link, &target)?)
        }
        EntryType::XGlobalHeader => Ok(()),
        other => bail!("entries of type {other:?} are not supported"),
    }
}

/// The path below the root; `..` is refused rather than resolved, no honest archive has it.
fn relative(path: &Path) -> anyhow::Result<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => bail!("the path leaves the image"),
        }
    }
    Ok(clean)
}

/// The target of a symbolic link at `at`, written so that it means the same without a `chroot`.
fn contained(link: &Path, at: &Path) -> anyhow::Result<PathBuf> {
    let folder = at.parent().unwrap_or(Path::new(""));
    let depth = folder.components().count();
    let start = if link.is_absolute() { PathBuf::new() } else { folder.to_owned() };
    let mut resolved = start;
    for component in link.components() {
        match component {
            Component::Normal(name) => resolved.push(name),
            Component::ParentDir => ensure!(resolved.pop(), "the link leaves the image"),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    let mut relative: PathBuf = std::iter::repeat_n("..", depth).collect();
    relative.push(resolved);
    Ok(if relative.as_os_str().is_empty() { PathBuf::from(".") } else { relative })
}

/// Creates a folder and those above it, and makes sure that no link on the way led out.
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

/// Removes whatever is there, without following it.
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
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
