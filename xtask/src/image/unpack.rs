//! Layers as files again, in a folder that nothing of them can leave.
//!
//! What is read here may be anyone's: a path that leads out of the folder is an error, links are followed as the image's
//! own root would have it, and the sizes have a bound. Owners and the bits beyond rwx are left out: the folder belongs
//! to whoever runs this.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};
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

/// Unpacks the tars of layers, the lowest first, into a folder that is there.
pub(crate) fn unpack<R: Read>(
    folder: &Path,
    tars: impl IntoIterator<Item = R>,
    bounds: Bounds,
) -> Result<()> {
    let mut left = bounds;
    for tar in tars {
        // What is not a file may be large too: long names, padding and the end of a tar have this much room.
        let longest = left.bytes.saturating_add(left.entries.saturating_mul(1024)).saturating_add(64 << 10);
        let mut archive = Archive::new(tar.take(longest));
        let mut layer = Unpacking { folder, own: BTreeSet::new() };
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = String::from_utf8(entry.path_bytes().into_owned())
                .context("a path in a layer is not UTF-8")?;
            left = left
                .after(entry.size())
                .with_context(|| format!("the image is larger than {} bytes", bounds.bytes))?;
            layer.place(&path, &mut entry).with_context(|| format!("cannot unpack `{path}`"))?;
        }
    }
    Ok(())
}

/// The file that a path of the image means, with its links followed as the image's own root would have it.
pub(crate) fn find(folder: &Path, path: &str) -> Result<PathBuf> {
    resolve(folder, path, false)
}

/// The same; what is missing becomes a folder, where it may.
fn resolve(folder: &Path, path: &str, create: bool) -> Result<PathBuf> {
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
        let Ok(metadata) = here.symlink_metadata() else {
            if create {
                fs_err::create_dir(&here)?;
                continue;
            }
            bail!("`{path}` is not in the image");
        };
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

/// A layer that is being unpacked over those below it.
///
/// OCI image specification, "Image Layer Filesystem Changeset".
struct Unpacking<'a> {
    folder: &'a Path,
    /// What this layer brought, with the folders above it: its own whiteouts do not hide that.
    own: BTreeSet<PathBuf>,
}

impl Unpacking<'_> {
    /// Puts one entry where it belongs.
    fn place(&mut self, path: &str, entry: &mut tar::Entry<'_, impl Read>) -> Result<()> {
        let Some((above, name)) = split(path)? else {
            // The root itself.
            return Ok(());
        };
        let above = resolve(self.folder, &above, true)?;
        if !above.is_dir() {
            bail!("a part of its path is not a folder");
        }
        if name == ".wh..wh..opq" {
            return self.hide_all_in(&above);
        }
        if let Some(hidden) = name.strip_prefix(".wh.") {
            // It may name a part of a path, and never one above.
            let Some((_, hidden)) = split(hidden)? else { bail!("it hides nothing") };
            return remove(&above.join(hidden));
        }
        let place = above.join(name);
        let folders = place.ancestors().take_while(|above| *above != self.folder);
        self.own.extend(folders.map(Path::to_owned));
        let is_folder = entry.header().entry_type() == EntryType::Directory;
        if is_folder && place.symlink_metadata().is_ok_and(|there| there.is_dir()) {
            return Ok(());
        }
        // A path is what the last layer says.
        remove(&place)?;
        self.create(&place, entry)
    }

    fn create(&self, place: &Path, entry: &mut tar::Entry<'_, impl Read>) -> Result<()> {
        match entry.header().entry_type() {
            EntryType::Directory => Ok(fs_err::create_dir(place)?),
            EntryType::Regular => {
                let mode = entry.header().mode()? & 0o777 | 0o600;
                // `create_new` follows no link.
                let mut options = fs_err::OpenOptions::new();
                options.write(true).create_new(true).mode(mode);
                std::io::copy(entry, &mut options.open(place)?)?;
                Ok(())
            }
            EntryType::Symlink => Ok(symlink(target(entry)?, place)?),
            EntryType::Link => {
                let target = target(entry)?;
                let Some((above, name)) = split(&target)? else { bail!("it is a link to the root") };
                let file = find(self.folder, &above)?.join(name);
                if file.symlink_metadata().map_or(true, |file| file.is_dir()) {
                    bail!("it is a link to `{target}`, which is no file of the image");
                }
                Ok(fs_err::hard_link(file, place)?)
            }
            _ => bail!("it is neither a file nor a folder nor a link"),
        }
    }

    /// Hides what the layers below have in a folder.
    fn hide_all_in(&self, folder: &Path) -> Result<()> {
        for entry in fs_err::read_dir(folder)? {
            let path = entry?.path();
            if !self.own.contains(&path) {
                remove(&path)?;
            } else if path.symlink_metadata()?.is_dir() {
                self.hide_all_in(&path)?;
            }
        }
        Ok(())
    }
}

/// The folder above and the name of a path in the image; `None` is the root.
fn split(path: &str) -> Result<Option<(String, String)>> {
    let mut parts = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str().unwrap_or_default().to_owned()),
            Component::CurDir => {}
            _ => bail!("it leaves the image"),
        }
    }
    let name = parts.pop();
    Ok(name.map(|name| (parts.join("/"), name)))
}

/// The target of a link.
fn target(entry: &tar::Entry<'_, impl Read>) -> Result<String> {
    let target = entry.link_name_bytes().context("it is a link to nothing")?;
    String::from_utf8(target.into_owned()).context("its target is not UTF-8")
}

/// Removes whatever is there; a link is removed itself.
fn remove(place: &Path) -> Result<()> {
    match place.symlink_metadata() {
        Ok(there) if there.is_dir() => Ok(fs_err::remove_dir_all(place)?),
        Ok(_) => Ok(fs_err::remove_file(place)?),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
