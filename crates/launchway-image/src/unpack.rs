//! Unpacks layers into a folder that no entry can leave.
//!
//! The input is untrusted: a path that leads out of the folder is an error, links are resolved within the image's root,
//! and sizes are limited. Owners and special permission bits are dropped: the folder belongs to the user who runs this,
//! and `rights` can give that user the rights of the image's user. A device becomes an empty file: only root could
//! create one.

mod rights;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Error, Result, bail, ensure};
use fs_err::os::unix::fs::OpenOptionsExt as _;

use super::base_image::files::Files;
use super::final_stage::DEFAULT_PATH;
use super::layer_reader::{Entry, Kind, LayerReader};
use super::user::User;

use rights::Rights;
pub use rights::remove as remove_unpacked;

/// Unpacks layers, the lowest first, into an existing folder.
pub fn unpack<R: Read>(
    folder: &Path,
    layers: impl IntoIterator<Item = R>,
    mut reader: LayerReader<'_>,
) -> Result<()> {
    unpack_with(folder, layers, &mut reader, &mut Rights::default())
}

/// Unpacks layers for a user of the image, found once they are there: the owner of a file may do with it what that user
/// may.
///
/// `prepare` adds what the image does not hold, before the rights are set.
pub fn unpack_for<R: Read>(
    folder: &Path,
    layers: impl IntoIterator<Item = R>,
    mut reader: LayerReader<'_>,
    user: impl FnOnce(&Path) -> Result<User>,
    prepare: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<User> {
    let mut rights = Rights::default();
    unpack_with(folder, layers, &mut reader, &mut rights)?;
    let user = user(folder)?;
    prepare(folder)?;
    // Root may do everything.
    if user.owner.uid != 0 {
        rights.set(folder, &user)?;
    }
    Ok(user)
}

/// The user of an image's `USER`, by the account files of the unpacked image.
pub fn user(folder: &Path, text: &str) -> Result<User> {
    let (passwd, group) = (accounts(folder, "etc/passwd")?, accounts(folder, "etc/group")?);
    User::find(text, &passwd, &group).map_err(Error::msg)
}

/// The text of an account file; empty if the image has none.
fn accounts(folder: &Path, path: &str) -> Result<String> {
    let Ok(file) = find(folder, path) else { return Ok(String::new()) };
    let mut bytes = Vec::new();
    fs_err::File::open(file)?.take(Files::LONGEST_ACCOUNTS).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unpack_with<R: Read>(
    folder: &Path,
    layers: impl IntoIterator<Item = R>,
    reader: &mut LayerReader<'_>,
    rights: &mut Rights,
) -> Result<()> {
    let hasher = RandomState::new();
    for layer in layers {
        let mut layer_of = Unpacking { folder, hasher: &hasher, own: HashSet::new(), rights };
        reader.read(layer, |entry| layer_of.place(entry))?;
    }
    Ok(())
}

/// The file at a path of the image, with links resolved within the image's root.
pub fn find(folder: &Path, path: &str) -> Result<PathBuf> {
    resolve(folder, path.as_bytes(), false)
}

/// Like [`find`], but may create missing folders.
fn resolve(folder: &Path, path: &[u8], create: bool) -> Result<PathBuf> {
    /// How many parts a path may have, including those of the links on its way.
    const LONGEST_WAY: usize = 256;
    let mut found: Vec<Vec<u8>> = Vec::new();
    let parts = |path: &[u8]| path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect();
    let mut left: Vec<Vec<u8>> = parts(path);
    let mut way = 0;
    while let Some(part) = left.pop() {
        way += 1;
        ensure!(way <= LONGEST_WAY, "`{}` leads through too many links", String::from_utf8_lossy(path));
        match part.as_slice() {
            b"" | b"." => continue,
            b".." => {
                // The parent of the root is the root.
                found.pop();
                continue;
            }
            _ => found.push(part),
        }
        let here = folder.join(OsStr::from_bytes(&found.join(&b'/')));
        let Ok(metadata) = here.symlink_metadata() else {
            if create {
                fs_err::create_dir(&here)?;
                continue;
            }
            bail!("`{}` is not in the image", String::from_utf8_lossy(path));
        };
        if metadata.is_symlink() {
            let target = fs_err::read_link(&here)?;
            found.pop();
            if target.is_absolute() {
                found.clear();
            }
            let mut behind: Vec<Vec<u8>> = parts(target.as_os_str().as_bytes());
            left.append(&mut behind);
        }
    }
    Ok(folder.join(OsStr::from_bytes(&found.join(&b'/'))))
}

/// The file of a program: either a path in the image, or a name that is looked up in the `PATH` of its `NAME=value`
/// pairs.
pub fn program(folder: &Path, working_dir: &str, env: &[String], name: &str) -> Result<PathBuf> {
    find(folder, &program_path(folder, working_dir, env, name)?)
}

/// The path of a program in the image, links not followed.
pub fn program_path(folder: &Path, working_dir: &str, env: &[String], name: &str) -> Result<String> {
    if name.starts_with('/') {
        return Ok(name.to_owned());
    }
    if name.contains('/') {
        return Ok(format!("{}/{name}", working_dir.trim_end_matches('/')));
    }
    // Docker's own default if the image has none.
    let set = env.iter().find_map(|pair| pair.strip_prefix("PATH="));
    let path = set.unwrap_or(DEFAULT_PATH);
    path.split(':')
        .map(|place| format!("{place}/{name}"))
        .find(|path| find(folder, path).is_ok())
        .with_context(|| format!("`{name}` is not in the image's `PATH`, {path}"))
}

/// What a container engine adds to the variables of an image: its own `PATH`, and the home folder of the user.
pub fn engine_variables(user: &User) -> [(&'static str, &str); 2] {
    [("PATH", DEFAULT_PATH), ("HOME", &user.home)]
}

/// The folder of the unpacked layers, removed on drop.
pub struct Unpacked(PathBuf);

impl Unpacked {
    /// Creates the folder, replacing an existing one.
    pub fn new(folder: &Path) -> Result<Self> {
        if folder.exists() {
            // Left by a killed run.
            rights::remove(folder)?;
        }
        fs_err::create_dir_all(folder)?;
        Ok(Self(folder.to_owned()))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        // The next run removes what is left.
        drop(rights::remove(&self.0));
    }
}

/// A layer that is being unpacked on top of those below it.
///
/// OCI image specification, "Image Layer Filesystem Changeset".
struct Unpacking<'a> {
    folder: &'a Path,
    hasher: &'a RandomState,
    /// Hashes of the paths in this layer, including their parents: its own whiteouts do not hide those.
    own: HashSet<u64>,
    rights: &'a mut Rights,
}

impl Unpacking<'_> {
    /// Unpacks one entry.
    fn place(&mut self, entry: Entry<'_>) -> Result<()> {
        if entry.kind == Kind::Opaque {
            return self.hide_all_in(&resolve(self.folder, &entry.path, true)?);
        }
        let (above, name) = split(&entry.path);
        if name.is_empty() {
            // The root itself.
            self.rights.note(self.folder, &entry);
            return Ok(());
        }
        let above = resolve(self.folder, above, true)?;
        ensure!(above.is_dir(), "has a part that is not a folder");
        let place = above.join(OsStr::from_bytes(name));
        if entry.kind == Kind::Whiteout {
            return remove(&place);
        }
        let folders = place.ancestors().take_while(|above| *above != self.folder);
        for own in folders {
            if !self.own.insert(self.hasher.hash_one(own)) {
                // Its parents are there too.
                break;
            }
        }
        self.rights.note(&place, &entry);
        let is_folder = entry.kind == Kind::Folder;
        if is_folder && place.symlink_metadata().is_ok_and(|there| there.is_dir()) {
            return Ok(());
        }
        // The last layer determines what a path is.
        remove(&place)?;
        self.create(&place, entry)
    }

    fn create(&mut self, place: &Path, mut entry: Entry<'_>) -> Result<()> {
        match &entry.kind {
            Kind::Folder => Ok(fs_err::create_dir(place)?),
            Kind::File | Kind::Device => {
                // `create_new` follows no link.
                let mut options = fs_err::OpenOptions::new();
                options.write(true).create_new(true).mode(entry.mode & 0o777 | 0o600);
                std::io::copy(&mut entry.contents, &mut options.open(place)?)?;
                Ok(())
            }
            Kind::Symlink(target) => Ok(symlink(OsStr::from_bytes(target), place)?),
            Kind::HardLink(target) => {
                let shown = String::from_utf8_lossy(target);
                let (above, name) = split(target);
                let file = resolve(self.folder, above, false)?.join(OsStr::from_bytes(name));
                if file.symlink_metadata().map_or(true, |file| file.is_dir()) {
                    bail!("is a link to `{shown}`, which is not a file in the image");
                }
                self.rights.note_link(&file, place);
                Ok(fs_err::hard_link(file, place)?)
            }
            Kind::Whiteout | Kind::Opaque => Ok(()),
        }
    }

    /// Hides what the layers below have in a folder.
    fn hide_all_in(&self, folder: &Path) -> Result<()> {
        for entry in fs_err::read_dir(folder)? {
            let path = entry?.path();
            if !self.own.contains(&self.hasher.hash_one(&*path)) {
                remove(&path)?;
            } else if path.symlink_metadata()?.is_dir() {
                self.hide_all_in(&path)?;
            }
        }
        Ok(())
    }
}

/// The parent folder and the name of a path in the image.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let slash = path.iter().rposition(|byte| *byte == b'/');
    slash.map_or((&[], path), |slash| {
        (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default())
    })
}

/// Removes whatever is there; does not follow a link.
fn remove(place: &Path) -> Result<()> {
    match place.symlink_metadata() {
        Ok(there) if there.is_dir() => Ok(fs_err::remove_dir_all(place)?),
        Ok(_) => Ok(fs_err::remove_file(place)?),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
