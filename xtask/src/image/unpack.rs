//! Layers as files again, in a folder that nothing of them can leave.
//!
//! What is read here was packed by this program, yet it is treated as anyone's: a path or a link that leads out of the
//! folder is an error, links are never followed while writing, and the sizes have a bound. Owners and the bits beyond
//! rwx are left out: the folder belongs to whoever runs this. Files that hide those of a layer below (whiteouts) are
//! refused, since nothing that we pack has them.

use std::io::{Read, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use flate2::read::GzDecoder;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use tar::{Archive, EntryType};

/// How much may be unpacked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// All the files together, in bytes.
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: 2 << 30, entries: 100_000 }
    }
}

/// Unpacks layers, the lowest first, into a folder that is there.
pub(crate) fn unpack<'a>(
    folder: &Path,
    layers: impl IntoIterator<Item = &'a [u8]>,
    bounds: Bounds,
) -> Result<()> {
    let mut left = bounds;
    for layer in layers {
        // What is not a file may be large too: long names, padding and the end of a tar have this much room.
        let longest = left.bytes.saturating_add(left.entries.saturating_mul(1024)).saturating_add(64 << 10);
        let mut archive = Archive::new(GzDecoder::new(layer).take(longest));
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = String::from_utf8(entry.path_bytes().into_owned())
                .context("a path in a layer is not UTF-8")?;
            left = left
                .after(entry.size())
                .with_context(|| format!("the image is larger than {} bytes", bounds.bytes))?;
            place(folder, &path, &mut entry).with_context(|| format!("cannot unpack `{path}`"))?;
        }
    }
    Ok(())
}

/// The file that a path of the image means, with its links followed as the image's own root would have it.
pub(crate) fn find(folder: &Path, path: &str) -> Result<PathBuf> {
    /// As many as Linux follows.
    const LINKS: usize = 40;
    let mut found = Vec::new();
    let mut left: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut links = 0;
    while let Some(part) = left.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                // Above the root is the root.
                found.pop();
                continue;
            }
            _ => found.push(part),
        }
        let here = folder.join(found.join("/"));
        let Ok(metadata) = here.symlink_metadata() else { bail!("`{path}` is not in the image") };
        if metadata.is_symlink() {
            links += 1;
            if links > LINKS {
                bail!("`{path}` leads through too many links");
            }
            let target = fs_err::read_link(&here)?;
            let target = target.to_str().context("a link leads to a name that is not UTF-8")?;
            found.pop();
            if target.starts_with('/') {
                found.clear();
            }
            left.extend(target.split('/').rev().map(str::to_owned));
        }
    }
    Ok(folder.join(found.join("/")))
}

/// The file of a program: a path is one of the image, a bare name is looked for in the `PATH` of its `NAME=value` pairs.
pub(crate) fn program(folder: &Path, working_dir: &str, env: &[String], name: &str) -> Result<PathBuf> {
    if name.starts_with('/') {
        return find(folder, name);
    }
    if name.contains('/') {
        return find(folder, &format!("{working_dir}/{name}"));
    }
    // Docker's own when the image has none.
    let set = env.iter().find_map(|pair| pair.strip_prefix("PATH="));
    let path = set.unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    path.split(':')
        .find_map(|place| find(folder, &format!("{place}/{name}")).ok())
        .with_context(|| format!("`{name}` is not in the image's `PATH`, {path}"))
}

/// The folder of the unpacked layers, removed when this is dropped.
pub(crate) struct Unpacked(pub(crate) PathBuf);

impl Unpacked {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        if folder.exists() {
            // Left by a run that was killed.
            fs_err::remove_dir_all(folder)?;
        }
        fs_err::create_dir_all(folder)?;
        Ok(Self(folder.to_owned()))
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        // The next run removes what is left.
        drop(fs_err::remove_dir_all(&self.0));
    }
}

impl Bounds {
    /// What is left after one more entry.
    fn after(self, size: u64) -> Option<Self> {
        Some(Self { bytes: self.bytes.checked_sub(size)?, entries: self.entries.checked_sub(1)? })
    }
}

/// Puts one entry where it belongs.
fn place(folder: &Path, path: &str, entry: &mut tar::Entry<'_, impl Read>) -> Result<()> {
    let kind = entry.header().entry_type();
    let Some(place) = inside(folder, path)? else {
        // The root itself.
        return Ok(());
    };
    let there = place.symlink_metadata().ok();
    if kind == EntryType::Directory {
        return match there {
            Some(metadata) if metadata.is_dir() => Ok(()),
            Some(_) => bail!("it is a folder, and a layer below has a file there"),
            None => Ok(fs_err::create_dir(place)?),
        };
    }
    if let Some(there) = there {
        if there.is_dir() {
            bail!("it is a file, and a layer below has a folder there");
        }
        fs_err::remove_file(&place)?;
    }
    match kind {
        EntryType::Regular => {
            let mode = entry.header().mode()? & 0o777 | 0o600;
            // `create_new` follows no link.
            let mut options = fs_err::OpenOptions::new();
            options.write(true).create_new(true).mode(mode);
            let mut file = options.open(place)?;
            std::io::copy(entry, &mut file)?;
            Ok(file.flush()?)
        }
        EntryType::Symlink => {
            let target = entry.link_name_bytes().context("it is a link to nothing")?;
            let target = String::from_utf8(target.into_owned()).context("its target is not UTF-8")?;
            Ok(symlink(target, place)?)
        }
        _ => bail!("it is neither a file nor a folder nor a symbolic link"),
    }
}

/// The place of an entry; every folder above it must be one, and not a link. `None` is the root.
fn inside(folder: &Path, path: &str) -> Result<Option<PathBuf>> {
    let mut place = folder.to_owned();
    let mut parts = Path::new(path).components().peekable();
    let mut any = false;
    while let Some(part) = parts.next() {
        let name = match part {
            Component::Normal(name) => name,
            Component::CurDir => continue,
            _ => bail!("it leaves the image"),
        };
        if name.as_encoded_bytes().starts_with(b".wh.") {
            bail!("it hides a file of a layer below, which is not supported");
        }
        any = true;
        place.push(name);
        if parts.peek().is_some() && !place.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
            bail!("a part of its path is not a folder");
        }
    }
    Ok(any.then_some(place))
}

#[cfg(test)]
mod tests;
