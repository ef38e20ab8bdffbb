//! The user that runs an image's program.

use crate::layer::Owner;

/// A user, as a container engine finds it in the image's account files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Its number, and that of its group.
    pub owner: Owner,
    /// Further groups, whose files it may use too.
    pub groups: Vec<u32>,
    /// Its home folder.
    pub home: String,
}

impl User {
    /// The user of an image's `USER`, by the texts of `/etc/passwd` and `/etc/group`; the error is a sentence.
    ///
    /// As runc does: "When the user doesn't have a primary group, then the image will be run with the `root` group." Other
    /// groups count only if `USER` names no group.
    pub fn find(text: &str, passwd: &str, group: &str) -> Result<Self, String> {
        let (name, group_name) = text.split_once(':').unwrap_or((text, ""));
        let number = if name.is_empty() { Ok(0) } else { name.parse::<u32>() };
        let line = lines(passwd).find(|fields| match &number {
            Ok(number) => fields.get(2).and_then(|field| field.parse().ok()) == Some(*number),
            Err(_) => fields.first() == Some(&name),
        });
        let Some(fields) = line else {
            let uid = number.map_err(|_| unknown(name, "etc/passwd"))?;
            let owner = Owner { uid, gid: group_id(group_name, group)?.unwrap_or(0) };
            return Ok(Self { owner, groups: Vec::new(), home: "/".to_owned() });
        };
        let of = |place: usize| {
            let field = fields.get(place).and_then(|field| field.parse().ok());
            field.ok_or_else(|| format!("the line of `{name}` in `/etc/passwd` is not valid"))
        };
        let known = fields.first().copied().unwrap_or_default();
        let is_member = |fields: &Vec<&str>| {
            fields.get(3).is_some_and(|members| members.split(',').any(|member| member == known))
        };
        let groups = lines(group).filter(|_| group_name.is_empty()).filter(is_member);
        Ok(Self {
            owner: Owner { uid: of(2)?, gid: group_id(group_name, group)?.map_or_else(|| of(3), Ok)? },
            groups: groups.filter_map(|fields| fields.get(2)?.parse().ok()).collect(),
            home: fields.get(5).filter(|home| !home.is_empty()).unwrap_or(&"/").to_string(),
        })
    }

    /// What it may do with a file that is not its own alone: `rwx` as the last three bits.
    pub fn rights(&self, owner: Owner, mode: u32) -> u32 {
        let shift = if owner.uid == self.owner.uid {
            6
        } else if owner.gid == self.owner.gid || self.groups.contains(&owner.gid) {
            3
        } else {
            0
        };
        mode >> shift & 0o7
    }
}

/// The number of a group by its name or number; `None` if it is not named.
fn group_id(name: &str, group: &str) -> Result<Option<u32>, String> {
    if name.is_empty() {
        return Ok(None);
    }
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    let line = lines(group).find(|fields| fields.first() == Some(&name));
    let number = line.and_then(|fields| fields.get(2)?.parse().ok());
    number.map(Some).ok_or_else(|| unknown(name, "etc/group"))
}

/// The error for a name that an account file does not have.
pub(crate) fn unknown(name: &str, file: &str) -> String {
    format!("`{name}` is not in `/{file}` of the image at this point: use a number")
}

/// The fields of every line of an account file.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/srv:/bin/sh\nbare:x:7:7\n";
    const GROUP: &str = "root:x:0:root\napp:x:1001:\nweb:x:50:other,app\ndisk:x:6:app2\nlogs:x:51:app\n";

    #[test]
    fn a_user_is_found_as_an_engine_finds_it() {
        for (text, uid, gid, groups, home) in [
            ("", 0, 0, &[0][..], "/root"),
            ("app", 1000, 1001, &[50, 51], "/srv"),
            ("1000", 1000, 1001, &[50, 51], "/srv"),
            ("app:web", 1000, 50, &[], "/srv"),
            ("1000:1001", 1000, 1001, &[], "/srv"),
            ("9", 9, 0, &[], "/"),
            ("9:logs", 9, 51, &[], "/"),
            (":web", 0, 50, &[], "/root"),
            ("bare", 7, 7, &[], "/"),
        ] {
            let user = User { owner: Owner { uid, gid }, groups: groups.to_vec(), home: home.to_owned() };
            assert_eq!(User::find(text, PASSWD, GROUP), Ok(user), "{text}");
        }
        for (text, named) in [("nobody", "`nobody` is not in `/etc/passwd`"), ("app:none", "in `/etc/group`")]
        {
            assert!(User::find(text, PASSWD, GROUP).unwrap_err().contains(named), "{text}");
        }
    }

    #[test]
    fn rights_are_those_of_the_owner_the_group_or_everybody() {
        let user = User::find("app", PASSWD, GROUP).unwrap();
        for (uid, gid, rights) in [(1000, 0, 0o7), (0, 1001, 0o5), (0, 51, 0o5), (0, 6, 0o4), (1000, 50, 0o7)]
        {
            assert_eq!(user.rights(Owner { uid, gid }, 0o754), rights, "{uid}:{gid}");
        }
    }
}
