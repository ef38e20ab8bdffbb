//! The accounts of an image: reads and edits `/etc/passwd` and `/etc/group` like the tools of its base.
//!
//! Leaves alone what concerns passwords (`/etc/shadow`, which contains dates) and nested containers (`/etc/subuid`).

use super::Tree;
use crate::base_image::files::Node;
use crate::final_stage::{Dialect, Login, NewGroup, NewUser};
use crate::layer::{Entry, Kind, Owner};
use crate::user::{User, lines, unknown};

const PASSWD: &str = "etc/passwd";
const GROUP: &str = "etc/group";

/// The group of a system account that names none.
const NOGROUP: &str = "nogroup";

/// The ranges of account numbers (`/etc/login.defs`, `adduser.conf`).
const SYSTEM: std::ops::RangeInclusive<u32> = 100..=999;
const ORDINARY: std::ops::RangeInclusive<u32> = 1000..=60000;

/// Which tools a base has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
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

    pub(super) fn family(&self) -> Family {
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
    pub(super) fn needs(&self, tool: &str) -> Result<(), String> {
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

    /// Fails if the base's `adduser` or `addgroup` lacks an option, or rejects the name.
    fn speaks(&self, tool: &str, dialect: Option<&Dialect>, name: &str, system: bool) -> Result<(), String> {
        // Debian, AdduserCommon.pm: `name_regex` and `sys_name_regex`.
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
        let debians = name.chars().all(is_part) && (system || !name.starts_with('_'));
        match (self.family(), dialect) {
            (Family::Debian, Some(Dialect::BusyBox(word))) => Err(format!(
                "the base image has Debian's `{tool}`, which lacks `{word}`: use long options, as in `--system`"
            )),
            (Family::BusyBox, Some(Dialect::Debian(word))) => Err(format!(
                "the base image has BusyBox's `{tool}`, which lacks `{word}`: use its letters, as in `-S`"
            )),
            (Family::Other, _) => Err(format!(
                "the base image's `{tool}` is neither Debian's nor BusyBox's: use `useradd` or `groupadd`"
            )),
            (Family::Debian, _) if !debians => Err(format!(
                "Debian's `{tool}` rejects the name `{name}`: start with a letter, and use only `a-z`, `0-9`, `-` and `_`"
            )),
            (Family::Debian | Family::BusyBox, _) => Ok(()),
        }
    }

    /// Whether Debian's tools leave a system account of this name unchanged.
    fn has_system(&self, file: &str, name: &str, wanted: Option<u32>) -> bool {
        let id = self.account(file, name).ok().and_then(|fields| fields.get(2)?.parse().ok());
        id.is_some_and(|id| SYSTEM.contains(&id) && wanted.is_none_or(|wanted| wanted == id))
    }

    pub(super) fn add_group(&mut self, group: &NewGroup) -> Result<(), String> {
        let NewGroup { groupadd, dialect, name, gid, system, force } = group;
        let tool = if *groupadd { "groupadd" } else { "addgroup" };
        self.needs(tool)?;
        if !groupadd {
            self.speaks(tool, dialect.as_ref(), name, *system)?;
        }
        if self.account(GROUP, name).is_ok() {
            let debians = !groupadd && *system && self.family() == Family::Debian;
            let is_fine = *force || debians && self.has_system(GROUP, name, *gid);
            return if is_fine { Ok(()) } else { Err(format!("the group `{name}` exists already")) };
        }
        let used = self.ids(GROUP);
        let gid = match gid {
            Some(gid) if !used.contains(gid) => *gid,
            // `groupadd --force` chooses another number.
            Some(gid) if !force => return Err(format!("the group number {gid} is taken")),
            Some(_) | None => free(&used, *system, *groupadd)?,
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
        let NewUser { useradd, dialect, name, system, .. } = user;
        let tool = if *useradd { "useradd" } else { "adduser" };
        self.needs(tool)?;
        if !useradd {
            self.speaks(tool, dialect.as_ref(), name, *system)?;
        }
        let family = self.family();
        let debians = !useradd && family == Family::Debian;
        let busybox = !useradd && family == Family::BusyBox;
        if self.account(PASSWD, name).is_ok() {
            if debians && *system && self.has_system(PASSWD, name, user.uid) {
                return Ok(());
            }
            return Err(format!("the user `{name}` exists already"));
        }
        if busybox && user.login == Login::Password {
            return Err("BusyBox's `adduser` asks for a password: add `-D`".to_owned());
        }
        // The groups are checked before the user's own is made: no command makes half an account.
        user.groups.iter().try_for_each(|group| self.account(GROUP, group).map(drop))?;
        let (uid, gid) = self.new_ids(user)?;
        let home = match &user.home {
            Some(home) => home.clone(),
            None if *system && debians => "/nonexistent".to_owned(),
            None => format!("/home/{name}"),
        };
        // BusyBox, adduser.c: "newly created users inherit root's shell setting".
        let of_root = lines(self.text(PASSWD)).find(|fields| fields.get(2) == Some(&"0"));
        let of_root = of_root.and_then(|fields| fields.get(6).copied()).filter(|shell| !shell.is_empty());
        let shell = user.shell.as_deref().unwrap_or(match (useradd, system, family) {
            (false, true, Family::Debian) => "/usr/sbin/nologin",
            (false, false, Family::Debian) if user.login == Login::Never => "/usr/sbin/nologin",
            (false, false, Family::Debian) | (true, _, Family::Other) => "/bin/bash",
            // Alpine, main/busybox: "adduser: default to /sbin/nologin as shell for system accounts".
            (false, true, _) if self.has("etc/alpine-release") => "/sbin/nologin",
            (false, true, _) => "/bin/false",
            (false, false, Family::BusyBox) => of_root.unwrap_or("/bin/sh"),
            _ => "/bin/sh",
        });
        let comment = match (&user.comment, family) {
            // Debian's has four parts.
            (Some(comment), Family::Debian) if !useradd => {
                format!("{comment}{}", ",".repeat(3_usize.saturating_sub(comment.matches(',').count())))
            }
            (None, Family::Debian) if !useradd && !system => ",,,".to_owned(),
            (None, Family::BusyBox) if !useradd => "Linux User,,,".to_owned(),
            (comment, _) => comment.clone().unwrap_or_default(),
        };
        let line = format!("{name}:x:{uid}:{gid}:{comment}:{home}:{shell}");
        self.append(PASSWD, &line)?;
        for group in &user.groups {
            self.add_member(name, group)?;
        }
        // BusyBox, adduser.c: a user is also a member of its primary group, unless that is its own.
        if busybox && (user.group.is_some() || *system) {
            self.add_member(name, user.group.as_deref().unwrap_or(NOGROUP))?;
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
            let home = home.trim_matches('/');
            if busybox {
                // BusyBox, adduser.c: makes no folders above, and takes over a folder that is there.
                let above =
                    self.real(home)?.rsplit_once('/').map_or(String::new(), |(above, _)| above.to_owned());
                if home.is_empty() {
                    return Err("BusyBox's `adduser` would take over `/`: add `-H`".to_owned());
                }
                if !self.is_folder(&above) {
                    return Ok(());
                }
                if self.has(home) {
                    return self.change(home, false, |entry| {
                        (entry.owner, entry.mode) = (Owner { uid, gid }, mode);
                        Ok(())
                    });
                }
            }
            self.make_home(home, Owner { uid, gid }, mode, !(debians && *system))?;
        }
        Ok(())
    }

    /// The numbers of a new user and of its group, which is made if it is its own.
    fn new_ids(&mut self, user: &NewUser) -> Result<(u32, u32), String> {
        let NewUser { useradd, name, system, .. } = user;
        let (uids, gids) = (self.ids(PASSWD), self.ids(GROUP));
        let own_group = user.own_group.unwrap_or(user.group.is_none() && (*useradd || !system));
        // Debian's chooses the numbers of a system account one by one.
        let same = own_group && !useradd && !(*system && self.family() == Family::Debian);
        let uid = match user.uid {
            Some(uid) if uids.contains(&uid) => return Err(format!("the user number {uid} is taken")),
            Some(uid) => uid,
            None if same => free(&[uids, gids.clone()].concat(), *system, false)?,
            None => free(&uids, *system, *useradd)?,
        };
        let gid = match &user.group {
            Some(group) => match group.parse() {
                Ok(gid) if gids.contains(&gid) => gid,
                Ok(gid) => return Err(format!("no group has the number {gid}")),
                Err(_) => self.group_id(group)?,
            },
            None if own_group => {
                if self.account(GROUP, name).is_ok() {
                    return Err(format!("the group `{name}` exists already: name it as the user's group"));
                }
                let is_taken = gids.contains(&uid);
                let gid = match (useradd, user.uid) {
                    (false, Some(_)) if is_taken => return Err(format!("the group number {uid} is taken")),
                    (false, Some(_)) => uid,
                    (false, None) if same => uid,
                    // shadow-utils take the user's number if it is one for a group.
                    (true, _) if !is_taken && (if *system { 1..=999 } else { ORDINARY }).contains(&uid) => {
                        uid
                    }
                    (false, None) | (true, _) => free(&gids, *system, *useradd)?,
                };
                self.append(GROUP, &format!("{name}:x:{gid}:"))?;
                gid
            }
            None if *useradd => 100,
            None => self.group_id(NOGROUP)?,
        };
        Ok((uid, gid))
    }

    fn make_home(&mut self, home: &str, owner: Owner, mode: u32, copies: bool) -> Result<(), String> {
        if self.has(home) {
            return Ok(());
        }
        self.folder(home, Owner::default())?;
        let home = self.real(home)?;
        if let Some(entry) = self.entries.get_mut(&home) {
            (entry.owner, entry.mode) = (owner, mode);
        }
        if !copies {
            return Ok(());
        }
        let of_base = self.base.below("etc/skel").into_iter().map(|(path, node)| (path, node.clone()));
        let of_base: Vec<_> =
            of_base.filter(|(path, _)| !self.entries.contains_key(&format!("etc/skel/{path}"))).collect();
        for (path, node) in of_base {
            let (kind, mode) = match &node {
                Node::Folder { mode, .. } => (Kind::Directory, *mode),
                Node::Link(target) => (Kind::Link(target.to_string()), 0o777),
                Node::File => {
                    let why = "which goes into a new home folder, is not a short text with the mode 0644";
                    let hint = "make the folder with `mkdir` and `chown`";
                    let refused = || format!("`/etc/skel/{path}` of the base image, {why}: {hint}");
                    let text = self.base.accounts(&format!("etc/skel/{path}")).ok_or_else(refused)?;
                    (Kind::Text(text.to_owned()), 0o644)
                }
            };
            self.entries.insert(format!("{home}/{path}"), Entry { kind, owner, mode });
        }
        let own: Vec<_> = self.entries.range("etc/skel/".to_owned().."etc/skel0".to_owned()).collect();
        let own: Vec<_> = own
            .into_iter()
            .filter_map(|(path, entry)| Some((path.strip_prefix("etc/skel")?.to_owned(), entry.clone())))
            .collect();
        self.entries
            .extend(own.into_iter().map(|(path, entry)| (format!("{home}{path}"), Entry { owner, ..entry })));
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
