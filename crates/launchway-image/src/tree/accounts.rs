//! The accounts of an image: reads and edits `/etc/passwd` and `/etc/group` like the tools of its base.
//!
//! Leaves alone what concerns passwords (`/etc/shadow`, which contains dates) and nested containers (`/etc/subuid`),
//! and does not copy `/etc/skel` to home folders.

use super::Tree;
use crate::final_stage::{NewGroup, NewUser};
use crate::layer::{Entry, Kind, Owner};
use crate::user::{User, lines, unknown};

const PASSWD: &str = "etc/passwd";
const GROUP: &str = "etc/group";

/// The ranges of account numbers (`/etc/login.defs`, `adduser.conf`).
const SYSTEM: std::ops::RangeInclusive<u32> = 100..=999;
const ORDINARY: std::ops::RangeInclusive<u32> = 1000..=60000;

/// Which tools a base has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Debian,
    BusyBox,
    Other,
}

impl Tree {
    /// `USER`: numbers, or names that the image knows.
    pub(super) fn user(&self, text: &str) -> Result<User, String> {
        User::find(text, self.text(PASSWD), self.text(GROUP))
    }

    /// The numbers of a user and of its primary group.
    pub(super) fn user_ids(&self, name: &str) -> Result<(u32, u32), String> {
        let fields = self.account(PASSWD, name)?;
        Ok((number(&fields, 2, PASSWD)?, number(&fields, 3, PASSWD)?))
    }

    /// The number of a group.
    pub(super) fn group_id(&self, name: &str) -> Result<u32, String> {
        number(&self.account(GROUP, name)?, 2, GROUP)
    }

    /// The fields of a name's line in one of the image's account files.
    fn account(&self, file: &str, name: &str) -> Result<Vec<&str>, String> {
        lines(self.text(file)).find(|fields| fields.first() == Some(&name)).ok_or_else(|| unknown(name, file))
    }

    /// The text of an account file: ours, or else the base's.
    fn text(&self, file: &str) -> &str {
        let own = match self.entries.get(file).map(|entry| &entry.kind) {
            Some(Kind::File(_) | Kind::Text(_)) => self.accounts.get(file).map(String::as_str),
            Some(_) => None,
            None => self.base.accounts(file),
        };
        own.unwrap_or_default()
    }

    fn write(&mut self, file: &str, text: String) -> Result<(), String> {
        self.folder("etc", Owner::default())?;
        self.accounts.insert(file.to_owned(), text.clone());
        let entry = Entry { kind: Kind::Text(text), owner: Owner::default(), mode: 0o644 };
        self.entries.insert(file.to_owned(), entry);
        Ok(())
    }

    fn append(&mut self, file: &str, line: &str) -> Result<(), String> {
        let text = self.text(file);
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        self.write(file, format!("{text}{end}{line}\n"))
    }

    fn family(&self) -> Family {
        let real = |path: &str| self.real(path).unwrap_or_default();
        if self.has("etc/debian_version") {
            Family::Debian
        } else if ["bin/busybox", "usr/bin/busybox"].iter().any(|path| self.has(path))
            || real("bin/sh").ends_with("busybox")
        {
            Family::BusyBox
        } else {
            Family::Other
        }
    }

    /// A tool that the base lacks would fail in `docker build` too.
    fn needs(&self, tool: &str) -> Result<(), String> {
        let folders = ["usr/sbin", "sbin", "usr/bin", "bin", "usr/local/sbin", "usr/local/bin"];
        if folders.iter().any(|folder| self.has(&format!("{folder}/{tool}"))) {
            return Ok(());
        }
        let other = match tool {
            "useradd" => "adduser",
            "adduser" => "useradd",
            "groupadd" => "addgroup",
            _ => "groupadd",
        };
        let has = folders.iter().any(|folder| self.has(&format!("{folder}/{other}")));
        let hint = if has { format!(": it has `{other}`") } else { String::new() };
        Err(format!("the base image has no `{tool}`{hint}"))
    }

    pub(super) fn add_group(&mut self, group: &NewGroup) -> Result<(), String> {
        let NewGroup { groupadd, name, gid, system, force } = group;
        self.needs(if *groupadd { "groupadd" } else { "addgroup" })?;
        if lines(self.text(GROUP)).any(|fields| fields.first() == Some(&name.as_str())) {
            return if *force { Ok(()) } else { Err(format!("the group `{name}` exists already")) };
        }
        let used = self.ids(GROUP);
        let gid = match gid {
            Some(gid) if used.contains(gid) => return Err(format!("the group number {gid} is taken")),
            Some(gid) => *gid,
            None => free(&used, *system, *groupadd)?,
        };
        self.append(GROUP, &format!("{name}:x:{gid}:"))
    }

    pub(super) fn add_member(&mut self, user: &str, group: &str) -> Result<(), String> {
        self.account(PASSWD, user)?;
        self.account(GROUP, group)?;
        let text: String = self
            .text(GROUP)
            .lines()
            .map(|line| {
                let members = line.rsplit(':').next().unwrap_or_default();
                let is_member = members.split(',').any(|member| member == user);
                match line.split(':').next() {
                    Some(name) if name == group && members.is_empty() => format!("{line}{user}\n"),
                    Some(name) if name == group && !is_member => format!("{line},{user}\n"),
                    _ => format!("{line}\n"),
                }
            })
            .collect();
        self.write(GROUP, text)
    }

    pub(super) fn add_user(&mut self, user: &NewUser) -> Result<(), String> {
        let NewUser { useradd, name, system, .. } = user;
        self.needs(if *useradd { "useradd" } else { "adduser" })?;
        if lines(self.text(PASSWD)).any(|fields| fields.first() == Some(&name.as_str())) {
            return Err(format!("the user `{name}` exists already"));
        }
        let family = self.family();
        let (uids, gids) = (self.ids(PASSWD), self.ids(GROUP));
        let own_group = user.own_group.unwrap_or(user.group.is_none() && (*useradd || !system));
        let uid = match user.uid {
            Some(uid) if uids.contains(&uid) => return Err(format!("the user number {uid} is taken")),
            Some(uid) => uid,
            // `adduser` gives the group the same number, if possible.
            None if own_group && !useradd => free(&[uids, gids.clone()].concat(), *system, false)?,
            None => free(&uids, *system, *useradd)?,
        };
        let gid = match &user.group {
            Some(group) => group.parse().map_or_else(|_| self.group_id(group), Ok)?,
            None if own_group => {
                let gid = if gids.contains(&uid) { free(&gids, *system, *useradd)? } else { uid };
                if lines(self.text(GROUP)).any(|fields| fields.first() == Some(&name.as_str())) {
                    return Err(format!("the group `{name}` exists already: name it as the user's group"));
                }
                self.append(GROUP, &format!("{name}:x:{gid}:"))?;
                gid
            }
            None if *useradd => 100,
            None => self.group_id("nogroup").unwrap_or(65_534),
        };
        let debians = !useradd && family == Family::Debian;
        let home = match &user.home {
            Some(home) => home.clone(),
            None if *system && debians => "/nonexistent".to_owned(),
            None => format!("/home/{name}"),
        };
        let shell = user.shell.as_deref().unwrap_or(match (useradd, system, family) {
            (false, true, Family::Debian) => "/usr/sbin/nologin",
            (false, true, _) => "/sbin/nologin",
            (false, false, Family::Debian) | (true, _, Family::Other) => "/bin/bash",
            _ => "/bin/sh",
        });
        let comment = user.comment.as_deref().unwrap_or(match (useradd, family) {
            (false, Family::BusyBox) => "Linux User",
            _ => "",
        });
        self.append(PASSWD, &format!("{name}:x:{uid}:{gid}:{comment}:{home}:{shell}"))?;
        for group in &user.groups {
            self.add_member(name, group)?;
        }
        // Debian 12, adduser.conf: `EXTRA_GROUPS`.
        if debians && !system && self.group_id("users").is_ok() {
            self.add_member(name, "users")?;
        }
        let makes_home = match (useradd, family) {
            (true, Family::Debian | Family::BusyBox) => false,
            (true, Family::Other) => !system,
            (false, _) => home != "/nonexistent",
        };
        if user.create_home.unwrap_or(makes_home) {
            let mode = match (useradd, system, family) {
                (false, _, Family::BusyBox) => 0o2755,
                (false, false, Family::Debian) | (true, _, Family::Other) => 0o700,
                _ => 0o755,
            };
            self.make_home(home.trim_matches('/'), Owner { uid, gid }, mode)?;
        }
        Ok(())
    }

    fn make_home(&mut self, home: &str, owner: Owner, mode: u32) -> Result<(), String> {
        if self.has(home) {
            return Ok(());
        }
        self.folder(home, Owner::default())?;
        let home = self.real(home)?;
        if let Some(entry) = self.entries.get_mut(&home) {
            (entry.owner, entry.mode) = (owner, mode);
        }
        Ok(())
    }

    /// The numbers in an account file.
    fn ids(&self, file: &str) -> Vec<u32> {
        lines(self.text(file)).filter_map(|fields| fields.get(2)?.parse().ok()).collect()
    }
}

/// An unused number: shadow-utils choose the one above the highest, or for a system account the one below the lowest;
/// `adduser` chooses the lowest.
fn free(used: &[u32], system: bool, shadow: bool) -> Result<u32, String> {
    let range = if system { SYSTEM } else { ORDINARY };
    let taken = || used.iter().filter(|id| range.contains(id));
    let is_free = |id: &u32| !used.contains(id);
    let found = match (shadow, system) {
        (true, true) => {
            let below = taken().min().map_or(*range.end(), |lowest| lowest - 1);
            (*range.start()..=below).rev().find(is_free).or_else(|| range.clone().rev().find(is_free))
        }
        (true, false) => {
            let above = taken().max().map_or(*range.start(), |highest| highest + 1);
            (above..=*range.end()).find(is_free).or_else(|| range.clone().find(is_free))
        }
        (false, _) => range.clone().find(is_free),
    };
    found.ok_or_else(|| "no number of an account is free".to_owned())
}

fn number(fields: &[&str], place: usize, file: &str) -> Result<u32, String> {
    let name = fields.first().copied().unwrap_or_default();
    let number = fields.get(place).and_then(|field| field.parse().ok());
    number.ok_or_else(|| format!("the line of `{name}` in `/{file}` is not valid"))
}
