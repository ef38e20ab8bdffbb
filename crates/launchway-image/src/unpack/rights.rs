//! The rights that an image's user has on its files, as those of the files' owner.
//!
//! The owner is whoever unpacks: only root could give files to others.

use std::collections::HashMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::layer::Owner;
use crate::layer_reader::{Entry, Kind};
use crate::user::User;

/// What the layers say of the files, by where they are unpacked.
#[derive(Debug, Default)]
pub(super) struct Rights(HashMap<PathBuf, (Owner, u32)>);

impl Rights {
    pub(super) fn note(&mut self, place: &Path, entry: &Entry<'_>) {
        if matches!(entry.kind, Kind::File | Kind::Folder | Kind::Device) {
            let owner = Owner { uid: entry.uid, gid: entry.gid };
            self.0.insert(place.to_owned(), (owner, entry.mode));
        }
    }

    /// Another name of a file that is already there.
    pub(super) fn note_link(&mut self, file: &Path, place: &Path) {
        if let Some(rights) = self.0.get(file).copied() {
            self.0.insert(place.to_owned(), rights);
        }
    }

    /// Sets the rights in a folder and on it, those of what lies in a folder before its own.
    pub(super) fn set(&self, folder: &Path, user: &User) -> Result<()> {
        for entry in fs_err::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.set(&entry.path(), user)?;
            } else if kind.is_file() {
                self.set_one(&entry.path(), user)?;
            }
        }
        self.set_one(folder, user)
    }

    fn set_one(&self, place: &Path, user: &User) -> Result<()> {
        let before = place.symlink_metadata()?.permissions().mode();
        // What no layer has was made by an engine, for root.
        let (owner, mode) =
            self.0.get(place).copied().unwrap_or((Owner::default(), 0o755 & (before | 0o100)));
        let bits = user.rights(owner, mode) * 0o111;
        if bits != before & 0o777 {
            fs_err::set_permissions(place, Permissions::from_mode(bits))?;
        }
        Ok(())
    }
}

/// Removes a folder, also where its rights forbid it.
pub fn remove(folder: &Path) -> std::io::Result<()> {
    if fs_err::remove_dir_all(folder).is_ok() {
        return Ok(());
    }
    open(folder)?;
    fs_err::remove_dir_all(folder)
}

fn open(folder: &Path) -> std::io::Result<()> {
    fs_err::set_permissions(folder, Permissions::from_mode(0o700))?;
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open(&entry.path())?;
        }
    }
    Ok(())
}
