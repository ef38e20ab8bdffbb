//! Writes the files of an image to their own folder.
//!
//! An unchanged file is not rewritten and keeps its time: cargo recompiles what is newer than its last build.
//! Modes do not depend on the umask, and files left by a build are removed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::read;
use crate::git::files::{Content, File, Kind, contents};
use launchway_core::file::write_whole;
use launchway_core::interrupt::Interrupt;

/// Files, and the folder that must contain them and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkout {
    pub(super) files: Vec<File>,
    pub(super) folder: PathBuf,
    /// The files in words.
    pub(super) what: String,
}

/// For each written file: its source, and the file system's metadata of the copy.
type Record = BTreeMap<String, (String, String)>;

impl Checkout {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether there is nothing to do, because the files are used in place.
    pub(crate) fn is_in_place(&self) -> bool {
        self.what.is_empty()
    }

    /// Brings the folder up to date, and keeps other runs away from it until the returned file is closed.
    pub(crate) fn run(&self, interrupt: &Interrupt) -> Result<fs_err::File> {
        fs_err::create_dir_all(&self.folder)?;
        let lock = fs_err::File::create(self.folder.with_extension("lock"))?;
        while let Err(error) = lock.file().try_lock() {
            if let std::fs::TryLockError::Error(error) = error {
                return Err(error.into());
            }
            interrupt.check()?;
            std::thread::sleep(Interrupt::TICK);
        }
        let place = self.folder.with_extension("json");
        let before: Record = fs_err::read(&place)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        self.remove_others()?;
        let mut record = Record::new();
        let mut missing: BTreeMap<Option<&Path>, Vec<(&File, &str)>> = BTreeMap::new();
        for file in &self.files {
            let (origin, state) = (origin(file), state(&self.folder.join(&file.path)));
            let key = file.path.to_str().unwrap_or_default();
            match before.get(key) {
                Some(known) if known == &(origin.clone(), state.clone()) && !key.is_empty() => {
                    record.insert(key.to_owned(), (origin, state));
                }
                _ => match &file.content {
                    Content::Blob { top, id } => missing.entry(Some(top)).or_default().push((file, id)),
                    Content::Place(_) => missing.entry(None).or_default().push((file, "")),
                },
            }
        }
        let mut write = |file: &File, bytes: &[u8]| -> Result<()> {
            interrupt.check()?;
            let place = self.folder.join(&file.path);
            self.write(file, bytes).with_context(|| format!("cannot write {}", place.display()))?;
            if let Some(key) = file.path.to_str() {
                record.insert(key.to_owned(), (origin(file), state(&place)));
            }
            Ok(())
        };
        for (top, files) in missing {
            match top {
                Some(top) => {
                    let ids: Vec<&str> = files.iter().map(|(_, id)| *id).collect();
                    contents(top, &ids, |place, bytes| {
                        files.get(place).map_or(Ok(()), |(file, _)| write(file, &bytes))
                    })?;
                }
                None => files.iter().try_for_each(|(file, _)| write(file, &read(&file.content)?))?,
            }
        }
        if record != before {
            write_whole(&place, &serde_json::to_vec(&record)?)?;
        }
        Ok(lock)
    }

    /// Removes everything that is neither one of the files nor a folder of one.
    fn remove_others(&self) -> Result<()> {
        let mut folders = BTreeSet::new();
        let mut files = BTreeSet::new();
        for file in &self.files {
            files.insert(file.path.as_path());
            folders.extend(file.path.ancestors().skip(1));
        }
        let mut left = vec![PathBuf::new()];
        while let Some(folder) = left.pop() {
            for entry in fs_err::read_dir(self.folder.join(&folder))? {
                let entry = entry?;
                let path = folder.join(entry.file_name());
                let is_folder = entry.file_type()?.is_dir();
                if is_folder && folders.contains(path.as_path()) {
                    left.push(path);
                } else if is_folder {
                    fs_err::remove_dir_all(entry.path())?;
                } else if !files.contains(path.as_path()) {
                    fs_err::remove_file(entry.path())?;
                }
            }
        }
        Ok(())
    }

    /// Writes a file, unless it is there with this content.
    fn write(&self, file: &File, bytes: &[u8]) -> Result<()> {
        let place = self.folder.join(&file.path);
        let mode = if file.kind == Kind::Program { 0o755 } else { 0o644 };
        if let Ok(metadata) = place.symlink_metadata() {
            let is_same = match file.kind {
                Kind::Link => {
                    metadata.is_symlink() && fs_err::read_link(&place)?.as_os_str().as_bytes() == bytes
                }
                _ => metadata.is_file() && metadata.nlink() == 1 && fs_err::read(&place)? == bytes,
            };
            if is_same && (file.kind == Kind::Link || metadata.mode() & 0o7777 == mode) {
                return Ok(());
            }
            fs_err::remove_file(&place)?;
        }
        for folder in file.path.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
            let folder = self.folder.join(folder);
            if !folder.is_dir() {
                fs_err::create_dir(&folder)?;
            }
            if folder.metadata()?.mode() & 0o7777 != 0o755 {
                fs_err::set_permissions(&folder, PermissionsExt::from_mode(0o755))?;
            }
        }
        if file.kind == Kind::Link {
            symlink(OsStr::from_bytes(bytes), &place)?;
        } else {
            fs_err::write(&place, bytes)?;
            fs_err::set_permissions(&place, PermissionsExt::from_mode(mode))?;
        }
        Ok(())
    }
}

impl fmt::Display for Checkout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "check out {} to {}", self.what, self.folder.display())
    }
}

/// Identifies the source of a copy, so that a change is noticed.
fn origin(file: &File) -> String {
    let content = match &file.content {
        Content::Blob { id, .. } => id.clone(),
        Content::Place(place) => state(place),
    };
    format!("{:?} {content}", file.kind)
}

/// The metadata of a file that changes whenever the file does.
fn state(place: &Path) -> String {
    place.symlink_metadata().map_or_else(
        |_| "missing".to_owned(),
        |it| {
            let (modified, changed) = ((it.mtime(), it.mtime_nsec()), (it.ctime(), it.ctime_nsec()));
            format!("{modified:?} {changed:?} {} {} {:o}", it.size(), it.ino(), it.mode())
        },
    )
}
