//! The commands of a `RUN` that the builtin engine performs itself: those that create folders and accounts, or change
//! owners and modes.

use super::mode::Mode;

/// A command that creates or changes files. Paths are as in [`CopyStep`](super::CopyStep): without a leading `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `mkdir`.
    MakeFolders {
        /// The folders.
        paths: Vec<String>,
        /// Whether parents are created too, and an existing folder is fine.
        parents: bool,
        /// The mode of the last folder of each path.
        mode: Option<Mode>,
    },
    /// `chown`.
    ChangeOwner {
        /// `user`, `user:group`, `user:` or `:group`.
        owner: String,
        /// The paths to change.
        paths: Vec<String>,
        /// Including everything below.
        recursive: bool,
    },
    /// `chmod`.
    ChangeMode {
        /// The mode.
        mode: Mode,
        /// The paths to change.
        paths: Vec<String>,
        /// Including everything below.
        recursive: bool,
    },
    /// `useradd` and `adduser`.
    AddUser(NewUser),
    /// `groupadd` and `addgroup`.
    AddGroup(NewGroup),
    /// `adduser USER GROUP` and `addgroup USER GROUP`.
    AddMember {
        /// Whether it is `addgroup`.
        addgroup: bool,
        /// The user.
        user: String,
        /// The group.
        group: String,
    },
}

/// The two programs that are called `adduser` and `addgroup`, with an option that only this one understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Debian's.
    Debian(String),
    /// `BusyBox`'s, as in Alpine.
    BusyBox(String),
}

/// How `adduser` lets a new account log in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Login {
    /// With a password that it asks for.
    #[default]
    Password,
    /// Without setting a password.
    NoPassword,
    /// Not at all.
    Never,
}

/// The options of `useradd` and `adduser`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewUser {
    /// Whether it is `useradd` of shadow-utils, and not `adduser` of Debian or `BusyBox`.
    pub useradd: bool,
    /// Whose options it has, if only one `adduser` has them.
    pub dialect: Option<Dialect>,
    /// The name.
    pub name: String,
    /// The number.
    pub uid: Option<u32>,
    /// The primary group, by name or number.
    pub group: Option<String>,
    /// Further groups.
    pub groups: Vec<String>,
    /// A system account.
    pub system: bool,
    /// Whether to create a group of the same name, if the command says so.
    pub own_group: Option<bool>,
    /// The home folder.
    pub home: Option<String>,
    /// Whether to create it, if the command says so.
    pub create_home: Option<bool>,
    /// The login shell.
    pub shell: Option<String>,
    /// How the account may log in.
    pub login: Login,
    /// The comment.
    pub comment: Option<String>,
}

/// The options of `groupadd` and `addgroup`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewGroup {
    /// Whether it is `groupadd` of shadow-utils, and not `addgroup` of Debian or `BusyBox`.
    pub groupadd: bool,
    /// Whose options it has, if only one `addgroup` has them.
    pub dialect: Option<Dialect>,
    /// The name.
    pub name: String,
    /// The number.
    pub gid: Option<u32>,
    /// A system group.
    pub system: bool,
    /// Whether an existing group is fine.
    pub force: bool,
}

/// An option: its long name, its letter, and whether it takes a value.
type Known = (&'static str, char, bool);

/// No option has this letter.
const NONE: char = '\0';

const MKDIR: &[Known] = &[("parents", 'p', false), ("mode", 'm', true), ("verbose", 'v', false)];
const CHANGE: &[Known] = &[
    ("recursive", 'R', false),
    ("verbose", 'v', false),
    ("changes", 'c', false),
    ("quiet", 'f', false),
    ("silent", NONE, false),
];
/// shadow-utils, `useradd(8)`.
const USERADD: &[Known] = &[
    ("uid", 'u', true),
    ("gid", 'g', true),
    ("groups", 'G', true),
    ("system", 'r', false),
    ("user-group", 'U', false),
    ("no-user-group", 'N', false),
    ("create-home", 'm', false),
    ("no-create-home", 'M', false),
    ("home-dir", 'd', true),
    ("home", NONE, true),
    ("shell", 's', true),
    ("comment", 'c', true),
    ("no-log-init", 'l', false),
];
/// Debian's `adduser(8)`, and `BusyBox`'s letters.
const ADDUSER: &[Known] = &[
    ("uid", 'u', true),
    ("ingroup", 'G', true),
    ("gid", NONE, true),
    ("system", 'S', false),
    ("group", NONE, false),
    ("no-create-home", 'H', false),
    ("home", 'h', true),
    ("shell", 's', true),
    ("gecos", 'g', true),
    ("comment", NONE, true),
    ("disabled-password", 'D', false),
    ("disabled-login", NONE, false),
    ("empty-password", NONE, false),
    ("quiet", 'q', false),
];
const GROUPADD: &[Known] = &[("gid", 'g', true), ("system", 'r', false), ("force", 'f', false)];
const ADDGROUP: &[Known] = &[("gid", 'g', true), ("system", 'S', false), ("quiet", 'q', false)];

/// The names of the commands.
pub(super) const NAMES: [&str; 7] = ["mkdir", "chown", "chmod", "useradd", "adduser", "groupadd", "addgroup"];

/// Parses a command; `absolute` makes a path absolute. `None` for a command that changes nothing.
///
/// The error is a sentence without a location.
pub(super) fn command(
    words: &[String],
    absolute: &dyn Fn(&str) -> String,
) -> Result<Option<Command>, String> {
    let Some((name, words)) = words.split_first() else { return Ok(None) };
    let name = name.rsplit('/').next().unwrap_or_default();
    let paths = |words: &[String]| words.iter().map(|path| absolute(path)).collect::<Vec<_>>();
    let missing = || format!("`{name}` lacks an argument");
    Ok(Some(match name {
        "mkdir" => {
            let found = Options::read(name, words, MKDIR)?;
            let mode = found.get(&["mode"]).map(Mode::parse).transpose()?;
            Command::MakeFolders { paths: paths(&found.rest), parents: found.has("parents"), mode }
        }
        "chown" | "chmod" => {
            let found = Options::read(name, words, CHANGE)?;
            let (first, rest) =
                found.rest.split_first().filter(|(_, rest)| !rest.is_empty()).ok_or_else(missing)?;
            let (paths, recursive) = (paths(rest), found.has("recursive"));
            if name == "chown" {
                Command::ChangeOwner { owner: first.clone(), paths, recursive }
            } else {
                Command::ChangeMode { mode: Mode::parse(first)?, paths, recursive }
            }
        }
        "useradd" | "adduser" => return user(name, words).map(Some),
        "groupadd" | "addgroup" => {
            let groupadd = name == "groupadd";
            let found = Options::read(name, words, if groupadd { GROUPADD } else { ADDGROUP })?;
            match found.rest.as_slice() {
                [user, group] if !groupadd && found.given.is_empty() => {
                    Command::AddMember { addgroup: true, user: user.clone(), group: group.clone() }
                }
                [group] => Command::AddGroup(NewGroup {
                    groupadd,
                    dialect: if groupadd { None } else { found.dialect(name)? },
                    name: account(group)?,
                    gid: found.number(&["gid"])?,
                    system: found.has("system"),
                    force: found.has("force"),
                }),
                _ => return Err(missing()),
            }
        }
        "true" | ":" => return Ok(None),
        // Shell options for errors, of which there are none here.
        "set" if words.iter().all(|word| word.starts_with('-')) => return Ok(None),
        _ => {
            let known = NAMES.map(|name| format!("`{name}`")).join(", ");
            return Err(format!("in the final stage, the builtin engine supports only {known}"));
        }
    }))
}

fn user(tool: &str, words: &[String]) -> Result<Command, String> {
    let useradd = tool == "useradd";
    let found = Options::read(tool, words, if useradd { USERADD } else { ADDUSER })?;
    let system = found.has("system");
    let name = match found.rest.as_slice() {
        [name] => account(name)?,
        [user, group] if !useradd && found.given.is_empty() => {
            return Ok(Command::AddMember { addgroup: false, user: user.clone(), group: group.clone() });
        }
        // BusyBox's notation for the primary group.
        _ => return Err(format!("`{tool}` needs one name")),
    };
    let dialect = if useradd { None } else { found.dialect(tool)? };
    if !useradd && found.has("group") && !system {
        let gid = found.number(&["gid"])?;
        return Ok(Command::AddGroup(NewGroup { dialect, name, gid, ..NewGroup::default() }));
    }
    let text = |names: &[&str]| found.get(names).map(str::to_owned);
    let own_group = match (found.has("group") || found.has("user-group"), found.has("no-user-group")) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    };
    let create_home = match (found.has("create-home"), found.has("no-create-home")) {
        (_, true) => Some(false),
        (true, false) => Some(true),
        (false, false) => None,
    };
    let login = if found.has("disabled-login") {
        Login::Never
    } else if system || found.has("disabled-password") || found.has("empty-password") {
        Login::NoPassword
    } else {
        Login::Password
    };
    let groups = found.get(&["groups"]).unwrap_or_default().split(',').filter(|name| !name.is_empty());
    Ok(Command::AddUser(NewUser {
        useradd,
        dialect,
        name,
        uid: found.number(&["uid"])?,
        group: if useradd { text(&["gid"]) } else { primary_group(tool, &found)? },
        groups: groups.map(str::to_owned).collect(),
        system,
        own_group,
        home: text(&["home-dir", "home"]),
        create_home,
        shell: text(&["shell"]),
        login,
        comment: text(&["comment", "gecos"]),
    }))
}

/// The group of `adduser`: `--ingroup` takes a name, `--gid` a number.
fn primary_group(tool: &str, found: &Options) -> Result<Option<String>, String> {
    match found.get(&["ingroup"]) {
        Some(group) if group.parse::<u32>().is_ok() => {
            Err(format!("the group of `{tool}` has the number `{group}`: write its name"))
        }
        Some(group) => Ok(Some(group.to_owned())),
        None => Ok(found.number(&["gid"])?.map(|gid| gid.to_string())),
    }
}

/// A name that cannot break a line of `/etc/passwd`.
fn account(name: &str) -> Result<String, String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if starts && name.len() <= 32 && name.chars().all(is_part) {
        Ok(name.to_owned())
    } else {
        Err(format!("`{name}` is not the name of an account"))
    }
}

/// The options of a command, and its other words.
struct Options {
    given: Vec<(&'static str, String)>,
    /// The first option by a letter that Debian's `adduser` does not take for the start of a long name.
    letters: Option<String>,
    rest: Vec<String>,
}

impl Options {
    fn read(tool: &str, words: &[String], known: &[Known]) -> Result<Self, String> {
        let mut found = Self { given: Vec::new(), letters: None, rest: Vec::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let unknown = || format!("the builtin engine does not follow `{tool} {word}`");
            let lacks = || format!("`{tool} {word}` lacks its value");
            if word == "--" {
                found.rest.extend(words.by_ref().cloned());
            } else if let Some(long) = word.strip_prefix("--") {
                let (name, value) =
                    long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
                let (name, _, takes) = known.iter().find(|known| known.0 == name).ok_or_else(unknown)?;
                let value = match (takes, value) {
                    (true, Some(value)) => value.to_owned(),
                    (true, None) => words.next().ok_or_else(lacks)?.clone(),
                    (false, None) => String::new(),
                    (false, Some(_)) => return Err(unknown()),
                };
                found.given.push((name, value));
            } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                if !["u", "q"].contains(&letters) {
                    found.letters.get_or_insert_with(|| word.clone());
                }
                for (place, letter) in letters.char_indices() {
                    let (name, _, takes) =
                        known.iter().find(|known| known.1 == letter && letter != NONE).ok_or_else(unknown)?;
                    let after = letters.get(place + letter.len_utf8()..).unwrap_or_default();
                    if !takes {
                        found.given.push((name, String::new()));
                        continue;
                    }
                    let value = if after.is_empty() {
                        words.next().ok_or_else(lacks)?.clone()
                    } else {
                        after.to_owned()
                    };
                    found.given.push((name, value));
                    break;
                }
            } else {
                found.rest.push(word.clone());
            }
        }
        if let Some((name, value)) = found.given.iter().find(|(_, value)| value.contains([':', '\n'])) {
            return Err(format!("`{tool} --{name}` has `{value}`, which no account can hold"));
        }
        Ok(found)
    }

    fn has(&self, name: &str) -> bool {
        self.given.iter().any(|(known, _)| *known == name)
    }

    /// Whose options these are, if only one tool has them.
    fn dialect(&self, tool: &str) -> Result<Option<Dialect>, String> {
        let mut debians = vec!["group", "comment", "disabled-login", "quiet"];
        if tool == "adduser" {
            debians.push("gid");
        }
        let debians = debians.into_iter().find(|name| self.has(name)).map(|name| format!("--{name}"));
        let busybox = self.has("empty-password").then(|| "--empty-password".to_owned());
        match (self.letters.clone().or(busybox), debians) {
            (Some(one), Some(other)) => Err(format!("no `{tool}` has both `{one}` and `{other}`")),
            (busybox, debians) => Ok(busybox.map(Dialect::BusyBox).or(debians.map(Dialect::Debian))),
        }
    }

    /// The last value of these options.
    fn get(&self, names: &[&str]) -> Option<&str> {
        self.given.iter().rev().find(|(known, _)| names.contains(known)).map(|(_, value)| value.as_str())
    }

    fn number(&self, names: &[&str]) -> Result<Option<u32>, String> {
        let number =
            |text: &str| text.parse().map_err(|_| format!("`{text}` is not the number of an account"));
        self.get(names).map(number).transpose()
    }
}
