//! Applies the commands of a `RUN` to the files.

use super::accounts::Family;
use super::{Tree, check_names, join};
use crate::base_image::files::Node;
use crate::final_stage::Command;
use crate::layer::{Entry, Kind, Owner};
use crate::user::User;

impl Tree {
    /// Performs a command as a user; empty means root. The error is a sentence without a location.
    pub(super) fn run(&mut self, command: &Command, user: &str) -> Result<(), String> {
        let by = self.user(user)?;
        let root_only = |tool: &str| {
            let words =
                || format!("only root may `{tool}`, and it runs as `{user}`: move it before `USER {user}`");
            if by.owner.uid == 0 { Ok(()) } else { Err(words()) }
        };
        match command {
            Command::MakeFolders { paths, parents, mode } => {
                for path in paths {
                    // coreutils keep the bit that a folder inherits.
                    let kept = if self.family() == Family::BusyBox { 0 } else { 0o2000 };
                    let is_new = self.make_folder(path, *parents, &by)?;
                    if let (true, Some(mode), Some(entry)) =
                        (is_new, mode, self.entries.get_mut(&self.real(path)?))
                    {
                        entry.mode = mode.apply(0o777, true) | entry.mode & kept;
                    }
                }
                Ok(())
            }
            Command::ChangeOwner { owner, paths, recursive } => {
                root_only("chown")?;
                let change = self.new_owner(owner)?;
                for path in paths {
                    self.change(path, *recursive, |entry| {
                        entry.owner.uid = change.0.unwrap_or(entry.owner.uid);
                        entry.owner.gid = change.1.unwrap_or(entry.owner.gid);
                        if entry.kind != Kind::Directory {
                            // chown(2): who takes over a program does not take over its rights.
                            let of_group = if entry.mode & 0o010 == 0 { 0 } else { 0o2000 };
                            entry.mode &= !(0o4000 | of_group);
                        }
                        Ok(())
                    })?;
                }
                Ok(())
            }
            Command::ChangeMode { mode, paths, recursive } => {
                // BusyBox's clears what coreutils keep.
                let kept = if self.family() == Family::BusyBox && mode.is_number() { 0o1777 } else { 0o7777 };
                for path in paths {
                    self.change(path, *recursive, |entry| {
                        if by.owner.uid != 0 && by.owner.uid != entry.owner.uid {
                            return Err(format!(
                                "it runs as `{user}`, who does not own it: move it before `USER {user}`"
                            ));
                        }
                        if !matches!(entry.kind, Kind::Link(_)) {
                            entry.mode = mode.apply(entry.mode & kept, entry.kind == Kind::Directory);
                        }
                        Ok(())
                    })?;
                }
                Ok(())
            }
            Command::AddUser(user) => root_only("add users").and_then(|()| self.add_user(user)),
            Command::AddGroup(group) => root_only("add groups").and_then(|()| self.add_group(group)),
            Command::AddMember { addgroup, user, group } => {
                root_only("change groups")?;
                self.needs(if *addgroup { "addgroup" } else { "adduser" })?;
                if *addgroup && self.family() != Family::BusyBox {
                    return Err(format!(
                        "only BusyBox's `addgroup` adds a user: use `adduser {user} {group}`"
                    ));
                }
                self.add_member(user, group)
            }
        }
    }

    /// Whether it was not there before.
    fn make_folder(&mut self, path: &str, parents: bool, by: &User) -> Result<bool, String> {
        let real = self.real(path)?;
        if self.is_folder(&real) {
            return if parents {
                Ok(false)
            } else {
                Err(format!("`/{path}` is there already: use `mkdir -p`"))
            };
        }
        if self.has(&real) {
            return Err(format!("`/{path}` is not a folder"));
        }
        let mut above = real.as_str();
        while !self.is_folder(above) {
            above = above.rsplit_once('/').map_or("", |(above, _)| above);
        }
        let direct = real.rsplit_once('/').map_or("", |(above, _)| above);
        if !parents && above != direct {
            return Err(format!("`/{direct}`, the parent of `/{path}`, does not exist: use `mkdir -p`"));
        }
        if !self.may_write(above, by) {
            return Err(format!("`/{above}` belongs to another user: make `/{path}` before `USER`"));
        }
        let (group, mode) = self.attributes(above);
        self.folder(&real, by.owner)?;
        // inode(7): what is made in a folder with this bit has its group, and folders the bit too.
        if mode & 0o2000 != 0 {
            for (end, _) in real.match_indices('/').chain([(real.len(), "")]) {
                let new = real.get(..end).filter(|new| new.len() > above.len());
                if let Some(entry) = new.and_then(|new| self.entries.get_mut(new)) {
                    entry.owner.gid = group.gid;
                    entry.mode |= 0o2000;
                }
            }
        }
        Ok(true)
    }

    /// The owner and the mode of a folder.
    fn attributes(&self, folder: &str) -> (Owner, u32) {
        let of_base = || self.base.get(folder).and_then(Node::folder);
        let own = self.entries.get(folder).map(|entry| (entry.owner, entry.mode));
        own.or_else(of_base).unwrap_or((Owner::default(), 0o755))
    }

    fn may_write(&self, folder: &str, by: &User) -> bool {
        let (owner, mode) = self.attributes(folder);
        by.owner.uid == 0 || by.rights(owner, mode) & 0o2 != 0
    }

    /// What `chown` changes: the user, the group, or both.
    fn new_owner(&self, text: &str) -> Result<(Option<u32>, Option<u32>), String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let ids = match user.parse() {
            _ if user.is_empty() => None,
            Ok(uid) => Some((uid, None)),
            Err(_) => self.user_ids(user).map(|(uid, gid)| Some((uid, Some(gid))))?,
        };
        let gid = match group {
            None => None,
            // `user:` is the user with its own group.
            Some("") => ids.and_then(|(_, gid)| gid),
            Some(group) => Some(group.parse().map_or_else(|_| self.group_id(group), Ok)?),
        };
        Ok((ids.map(|(uid, _)| uid), gid))
    }

    /// Changes the owner or mode of what is at a path, and below.
    pub(super) fn change(
        &mut self,
        path: &str,
        recursive: bool,
        change: impl Fn(&mut Entry) -> Result<(), String>,
    ) -> Result<(), String> {
        let real = self.real(path)?;
        let mut paths = vec![real.clone()];
        if recursive {
            let start = if real.is_empty() { String::new() } else { format!("{real}/") };
            let own = self.entries.range(start.clone()..).map(|(path, _)| path);
            let own: Vec<String> = own.take_while(|path| path.starts_with(&start)).cloned().collect();
            let of_base = self.base.below(&real).into_iter().map(|(path, _)| join(&real, &path));
            let of_base: Vec<String> = of_base.filter(|path| !self.entries.contains_key(path)).collect();
            paths.extend(own.into_iter().chain(of_base));
        }
        for path in paths.iter().filter(|path| !path.is_empty()) {
            check_names(path)?;
            let mut entry = match (self.entries.get(path), self.base.get(path)) {
                (Some(entry), _) => entry.clone(),
                (None, Some(Node::Link(target))) => {
                    Entry { kind: Kind::Link(target.to_string()), owner: Owner::default(), mode: 0o777 }
                }
                (None, Some(node)) => {
                    let (owner, mode) = node.folder().ok_or_else(|| {
                        format!("`/{path}` is a file of the base image, which the builtin engine does not copy into another layer")
                    })?;
                    Entry { kind: Kind::Directory, owner, mode }
                }
                (None, None) => return Err(format!("`/{path}` does not exist")),
            };
            let before = entry.clone();
            change(&mut entry)?;
            if entry == before {
                continue;
            }
            if let Some((above, _)) = path.rsplit_once('/') {
                self.folder(above, Owner::default())?;
            }
            self.entries.insert(path.clone(), entry);
        }
        Ok(())
    }
}
