//! Who runs an image's program, and what that user may do with the image's files.
//!
//! A user namespace that no root prepared has one user only: the one who runs this is the image's user inside. The owner
//! of every file therefore gets the rights that the image's user has. A program that changes its user, as some start
//! scripts do, cannot run there.

use std::collections::HashMap;
use std::fs::Permissions;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fs_err::File;

/// More than any account file has.
const MAX_ACCOUNTS: u64 = 1 << 20;

/// The owner, the group and the mode of a file.
#[derive(Clone, Copy)]
pub(crate) struct Owned {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
}

/// What the layers say of the files, by where they are on disk.
#[derive(Default)]
pub(crate) struct Rights(HashMap<PathBuf, Owned>);

/// The user that runs the program (runc, `GetExecUser`).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

impl User {
    /// Looks up an image's `User` in its account files.
    pub(crate) fn find(root: &Path, wanted: &str) -> anyhow::Result<Self> {
        let (passwd, group) = (accounts(root, "etc/passwd")?, accounts(root, "etc/group")?);
        let split = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
        let number = |line: &[String], place: usize| line.get(place)?.parse::<u32>().ok();
        let (user, of_group) = wanted.split_once(':').unwrap_or((wanted, ""));
        let user = if user.is_empty() { "0" } else { user };
        let line = passwd.lines().map(split).find(|line| match user.parse::<u32>() {
            Ok(uid) => number(line, 2) == Some(uid),
            Err(_) => line[0] == user,
        });
        let line = line.unwrap_or_default();
        let uid = number(&line, 2).or_else(|| user.parse().ok());
        let uid =
            uid.with_context(|| format!("unable to find user {user}: no matching entries in passwd file"))?;
        let mut found =
            Self { uid, gid: number(&line, 3).unwrap_or(0), groups: Vec::new(), home: "/".to_owned() };
        if let Some(home) = line.get(5).filter(|home| !home.is_empty()) {
            found.home.clone_from(home);
        }
        let mut groups = group.lines().map(split);
        if of_group.is_empty() {
            let is_member = |group: &Vec<String>| {
                let members = group.get(3).map_or("", String::as_str);
                line.first().is_some_and(|user| members.split(',').any(|member| member == user))
            };
            found.groups = groups.filter(is_member).filter_map(|group| number(&group, 2)).collect();
        } else {
            let named = groups.find(|group| group[0] == of_group).and_then(|group| number(&group, 2));
            let gid = of_group.parse().ok().or(named);
            found.gid = gid.with_context(|| {
                format!("unable to find group {of_group}: no matching entries in group file")
            })?;
        }
        Ok(found)
    }
}

impl Rights {
    pub(crate) fn note(&mut self, place: &Path, owned: Owned) {
        self.0.insert(place.to_owned(), owned);
    }

    /// Another name of a file.
    pub(crate) fn note_link(&mut self, file: &Path, place: &Path) {
        if let Some(owned) = self.0.get(file) {
            self.0.insert(place.to_owned(), *owned);
        }
    }

    /// Sets the rights on everything in a folder, then on the folder.
    pub(crate) fn set(&self, folder: &Path, user: &User) -> anyhow::Result<()> {
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

    fn set_one(&self, place: &Path, user: &User) -> anyhow::Result<()> {
        // What no layer names was made by an engine.
        let Owned { uid, gid, mode } =
            self.0.get(place).copied().unwrap_or(Owned { uid: 0, gid: 0, mode: 0o755 });
        let shift = match () {
            () if uid == user.uid => 6,
            () if gid == user.gid || user.groups.contains(&gid) => 3,
            () => 0,
        };
        Ok(fs_err::set_permissions(place, Permissions::from_mode((mode >> shift & 0o7) * 0o111))?)
    }
}

/// Makes the folders below one accessible again, so that it can be removed.
pub(crate) fn open(folder: &Path) {
    fs_err::set_permissions(folder, Permissions::from_mode(0o755)).ok();
    for entry in fs_err::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open(&entry.path());
        }
    }
}

/// An account file of the image; empty if it has none.
fn accounts(root: &Path, name: &str) -> anyhow::Result<String> {
    let inside = fs_err::canonicalize(root.join(name)).ok().filter(|file| file.starts_with(root));
    let Some(file) = inside else { return Ok(String::new()) };
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_ACCOUNTS).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
