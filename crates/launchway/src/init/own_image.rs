//! A Dockerfile that the builtin engine follows, made from one that it cannot follow, or from nothing.
//!
//! It works with `docker build` too. What the final stage did and this one does not is named with the reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::detect::Findings;
use super::dockerfile::{Copy, Dockerfile, Instruction};
use super::findings::Port;
use super::repository::Repository;

/// The files of an image of its own, and what was left out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnImage {
    /// The Dockerfile, relative to the Cargo root.
    pub(super) path: String,
    pub(super) text: String,
    /// Files of the image, relative to the Cargo root.
    pub(super) files: Vec<(String, String)>,
    /// Whether certificates of this machine are copied into the repository.
    pub(super) certificates: bool,
    /// What was dropped, and why.
    pub(super) dropped: Vec<String>,
}

/// Where the files of the image lie in the repository.
pub(super) const ROOTFS: &str = "xtask/rootfs";

/// This machine's certificates, and where programs look for them.
pub(super) const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The user of distroless images, for a service whose own has no number.
const NONROOT: u32 = 65532;

/// What the final stage does, put into the terms of one that needs no shell.
#[derive(Debug, Default)]
struct Draft {
    working_dir: String,
    user: Option<String>,
    /// Accounts that were made or are well known, with their numbers.
    accounts: BTreeMap<String, u32>,
    copies: Vec<String>,
    /// Folders that the service writes to, with the user that owns them.
    folders: BTreeMap<String, Option<String>>,
    /// `ENV`, `EXPOSE`, `STOPSIGNAL`, `LABEL`, as written.
    settings: Vec<String>,
    health: Option<String>,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    /// Where the program lies in the image.
    program: String,
    certificates: bool,
    dropped: Vec<String>,
}

/// The image that is needed where the builtin engine cannot follow the one that is there.
pub(super) fn own_image(findings: &Findings) -> Option<OwnImage> {
    if findings.dockerfile.is_some() && findings.refusals.is_empty() {
        return None;
    }
    let mut draft = Draft {
        accounts: BTreeMap::from([
            ("root".to_owned(), 0),
            ("nobody".to_owned(), 65534),
            ("nonroot".to_owned(), NONROOT),
        ]),
        ..Draft::default()
    };
    match &findings.dockerfile {
        Some(file) => draft.read(file, findings),
        None => draft.user = Some(NONROOT.to_string()),
    }
    draft.fill(findings);
    Some(draft.write(findings))
}

impl Draft {
    fn read(&mut self, file: &Dockerfile, findings: &Findings) {
        if let Some(base) = file.chain().first().map(|stage| stage.base.as_str())
            && base.contains("nonroot")
        {
            self.user = Some(NONROOT.to_string());
        }
        for instruction in file.chain().iter().flat_map(|stage| &stage.instructions) {
            self.instruction(instruction, file, findings);
        }
    }

    fn instruction(&mut self, instruction: &Instruction, file: &Dockerfile, findings: &Findings) {
        let Instruction { keyword, text, line } = instruction;
        match keyword.as_str() {
            "COPY" | "ADD" => {
                if let Some(copy) = instruction.copy() {
                    self.copy(&copy, file, findings);
                }
            }
            "RUN" => instruction.commands().iter().for_each(|command| self.command(command, *line)),
            "WORKDIR" => self.working_dir = self.absolute(text),
            "USER" => self.user = Some(text.clone()),
            "VOLUME" => {
                let paths = super::dockerfile::list(text)
                    .unwrap_or_else(|| text.split_whitespace().map(str::to_owned).collect());
                for path in paths {
                    let path = self.absolute(&path);
                    self.drop(
                        *line,
                        &format!("the volume {path}"),
                        "a disk is mounted there on Render; the folder is in the image",
                    );
                    self.folders.entry(path).or_default();
                }
            }
            "ENV" => self.settings.extend(
                instruction
                    .pairs()
                    .into_iter()
                    .filter(|(_, value)| !value.contains('$'))
                    .map(|(name, value)| format!("ENV {name}=\"{value}\"")),
            ),
            "EXPOSE" | "STOPSIGNAL" if !text.contains('$') => self.settings.push(format!("{keyword} {text}")),
            "ENTRYPOINT" | "CMD" => match instruction.words() {
                Some(words) if keyword == "CMD" => self.cmd = words,
                Some(words) => (self.entrypoint, self.cmd) = (words, Vec::new()),
                None => self.drop(
                    *line,
                    &format!("`{keyword} {text}`"),
                    "it needs a shell, which the image has not: the program is started without arguments",
                ),
            },
            "HEALTHCHECK" => self.health = Some(format!("{line} {text}")),
            "LABEL" if !text.contains('$') => self.settings.push(format!("LABEL {text}")),
            "LABEL" | "ARG" | "EXPOSE" | "STOPSIGNAL" | "SHELL" | "ONBUILD" | "MAINTAINER" => {}
            _ => self.drop(*line, &format!("`{keyword} {text}`"), "it is not known here"),
        }
    }

    /// A `COPY`: the program, what the repository has, and what stands for files of the builder.
    fn copy(&mut self, copy: &Copy, file: &Dockerfile, findings: &Findings) {
        let Findings { repository, shipped, .. } = findings;
        let owner =
            copy.owner.as_ref().map(|owner| format!("--chown={} ", self.number(owner))).unwrap_or_default();
        let alone = file.stages.len() == 1;
        if copy.from.is_none() {
            if alone {
                let what = format!("`COPY {} {}`", copy.sources.join(" "), copy.target);
                self.drop(
                    copy.line,
                    &what,
                    "the compiler needs it; what the service reads when it runs must be copied by name",
                );
                return;
            }
            let sources: Vec<String> =
                copy.sources.iter().filter_map(|source| below(repository, file, source)).collect();
            if sources.len() == copy.sources.len() {
                let target = if copy.target.starts_with('/') {
                    copy.target.clone()
                } else {
                    self.absolute_as_written(&copy.target)
                };
                self.copies.push(format!("COPY {owner}{} {target}", sources.join(" ")));
            } else {
                self.drop(
                    copy.line,
                    &format!("`COPY {} {}`", copy.sources.join(" "), copy.target),
                    "no such file is tracked in the Cargo root",
                );
            }
            return;
        }
        for source in &copy.sources {
            let name = source.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            let target = self.absolute_as_written(&copy.target);
            let into_folder = target.ends_with('/') || copy.sources.len() > 1 || copy.target == ".";
            if name == shipped.value.binary {
                self.program =
                    if into_folder { format!("{}/{name}", target.trim_end_matches('/')) } else { target };
            } else if source.ends_with("/etc/passwd") || source.ends_with("/etc/group") {
                self.accounts_of_builder(file);
            } else if source.contains("/ssl/") || source.contains("ca-certificates") {
                self.certificates = true;
            } else if source.contains("zoneinfo") {
                self.drop(
                    copy.line,
                    "zone data",
                    "the service runs in UTC; a base such as `gcr.io/distroless/static-debian12` has it",
                );
            } else if findings
                .repository
                .cargo
                .packages
                .iter()
                .any(|package| package.binaries().any(|binary| binary == name))
            {
                self.drop(
                    copy.line,
                    &format!("the program `{name}`"),
                    "an image holds the one program that is the service",
                );
            } else if let Some(path) = in_context(repository, file, copy, source) {
                self.copies.push(format!("COPY {owner}{path} {target}"));
            } else if made_by_builder(file, source) {
                let path = if into_folder && copy.sources.len() == 1 && !target.ends_with('/') {
                    target
                } else {
                    target.trim_end_matches('/').to_owned()
                };
                self.folders.insert(path, copy.owner.clone());
            } else {
                self.drop(
                    copy.line,
                    &format!("`{source}`"),
                    "it exists only in the builder, and no file of the repository is known for it",
                );
            }
        }
    }

    /// The accounts that the builder makes, where their files are copied.
    fn accounts_of_builder(&mut self, file: &Dockerfile) {
        let runs =
            file.builders().flat_map(|stage| &stage.instructions).filter(|found| found.keyword == "RUN");
        for run in runs {
            let makes = |command: &&String| {
                ["useradd", "adduser", "groupadd", "addgroup"].iter().any(|word| command.starts_with(word))
            };
            for command in run.commands().iter().filter(makes) {
                self.command(command, run.line);
            }
        }
    }

    /// A command of a `RUN`.
    fn command(&mut self, command: &str, line: usize) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let value = |names: &[&str]| {
            words
                .windows(2)
                .find(|pair| names.contains(&pair[0]))
                .and_then(|pair| pair[1].trim_matches('"').parse::<u32>().ok())
        };
        let paths = || words.iter().skip(1).filter(|word| !word.starts_with('-')).copied();
        match words.first().copied().unwrap_or_default() {
            "mkdir" => {
                let folders: Vec<String> = paths().map(|path| self.absolute(path)).collect();
                for folder in folders {
                    self.folders.entry(folder).or_default();
                }
            }
            "chown" => {
                let mut paths = paths();
                let owner = paths.next().unwrap_or_default().to_owned();
                let folders: Vec<String> = paths.map(|path| self.absolute(path)).collect();
                for folder in folders.into_iter().filter(|folder| *folder != self.program) {
                    self.folders.insert(folder, Some(owner.clone()));
                }
            }
            "useradd" | "adduser" | "groupadd" | "addgroup" => {
                let mut named = words.iter().skip(1).rev().map(|word| word.trim_matches('"'));
                let named = named.find(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
                let id = value(&["--uid", "-u", "--gid", "-g"]).unwrap_or(NONROOT);
                if let Some(name) = named {
                    self.accounts.entry(name.to_owned()).or_insert(id);
                }
            }
            "apt-get" | "apt" | "apk" | "yum" | "dnf" | "microdnf" => {
                let after = words.iter().skip_while(|word| !matches!(**word, "install" | "add")).skip(1);
                for package in after.filter(|word| word.starts_with(|c: char| c.is_ascii_alphanumeric())) {
                    if package.contains("ca-certificates") {
                        self.certificates = true;
                    }
                    self.drop(line, &format!("the package {package}"), reason(package));
                }
            }
            // Housekeeping of what is not installed, and the mode of the program.
            "rm" | "set" | "chmod" | "true" | "update-ca-certificates" | "ldconfig" | "echo" | "" => {}
            _ => self.drop(
                line,
                &format!("`RUN {command}`"),
                "nothing runs in an image that is made without Docker",
            ),
        }
    }

    /// What is not said, from the service itself.
    fn fill(&mut self, findings: &Findings) {
        let name = &findings.shipped.value.binary;
        if self.program.is_empty() {
            self.program = format!(
                "{}/{name}",
                if self.working_dir.is_empty() { "/app" } else { self.working_dir.as_str() }
            );
        }
        if self.working_dir.is_empty() && findings.dockerfile.is_none() {
            "/app".clone_into(&mut self.working_dir);
        }
        // A program is named by its place, by its name alone, or relative to the folder that it starts in.
        let program = self.program.clone();
        let base = program.rsplit('/').next().unwrap_or_default().to_owned();
        let is_program =
            |word: &String| word.rsplit('/').next() == Some(&base) || word.rsplit('/').next() == Some(name);
        let place = |words: &mut Vec<String>| match words.iter().position(is_program) {
            Some(at) => {
                // What stands before it is a script or `tini`, which a shell or another program would run.
                words.drain(..at);
                words[0].clone_from(&program);
                true
            }
            None => false,
        };
        let (start, arguments) = (place(&mut self.entrypoint), place(&mut self.cmd));
        if !start && !self.entrypoint.is_empty() {
            let words = self.entrypoint.join(" ");
            self.dropped.push(format!(
                "`ENTRYPOINT {words}`: the image holds the service alone, which is started itself"
            ));
            self.entrypoint = vec![program.clone()];
        }
        if self.entrypoint.is_empty() && !arguments {
            self.entrypoint = vec![program];
        }
        if let Some(text) = self.health.take() {
            let (line, text) = text.split_once(' ').unwrap_or(("", &text));
            let list = text.find('[').and_then(|at| super::dockerfile::list(&text[at..]));
            match list {
                Some(mut words) if words.first().is_some_and(is_program) => {
                    words[0].clone_from(&self.program);
                    let before = &text[..text.find('[').unwrap_or_default()];
                    self.settings.push(format!("HEALTHCHECK {before}{}", json(&words)));
                }
                _ if text.trim() == "NONE" => self.settings.push("HEALTHCHECK NONE".to_owned()),
                _ => self.drop(
                    line.parse().unwrap_or_default(),
                    "the health check",
                    "its program is not in the image; Render asks the health path by itself",
                ),
            }
        }
        let lock = findings.repository.text(&findings.repository.below("Cargo.lock")).unwrap_or_default();
        let has = |name: &str| lock.contains(&format!("\nname = \"{name}\"\n"));
        self.certificates |= has("rustls-native-certs") || has("openssl-probe") || has("native-tls");
        if self.user.as_deref().is_some_and(|user| self.number(user) != "0" && self.number(user) != "0:0")
            || has("tempfile")
        {
            self.folders.entry("/tmp".to_owned()).or_default();
        }
    }

    fn drop(&mut self, line: usize, what: &str, reason: &str) {
        self.dropped.push(format!("{what} (line {line}): {reason}"));
    }

    /// A path from the root.
    fn absolute(&self, path: &str) -> String {
        let path = self.absolute_as_written(path);
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        format!("/{}", parts.join("/"))
    }

    /// A path from the root, with the `/` at its end that makes it a folder.
    fn absolute_as_written(&self, path: &str) -> String {
        let path = path.strip_prefix("./").unwrap_or(path);
        if path.starts_with('/') {
            return path.to_owned();
        }
        let folder = self.working_dir.trim_end_matches('/');
        if matches!(path, "" | ".") { format!("{folder}/") } else { format!("{folder}/{path}") }
    }

    /// An owner or a user as numbers, which need no account in the image.
    fn number(&self, name: &str) -> String {
        let number = |name: &str| {
            if name.chars().all(|c| c.is_ascii_digit()) {
                name.to_owned()
            } else {
                self.accounts.get(name).unwrap_or(&NONROOT).to_string()
            }
        };
        let (user, group) = name.split_once(':').unwrap_or((name, name));
        format!("{}:{}", number(user), number(group))
    }

    fn write(self, findings: &Findings) -> OwnImage {
        let mut files = accounts(&self.accounts);
        let owner = self.user.as_deref().map(|user| self.number(user));
        let mut folders = String::new();
        for (path, folder_owner) in &self.folders {
            let name = if path == "/" { continue } else { path.trim_start_matches('/') };
            let owner = folder_owner.as_deref().map(|owner| self.number(owner)).or_else(|| owner.clone());
            let chown = owner.map(|owner| format!("--chown={owner} ")).unwrap_or_default();
            // Git keeps no empty folder.
            files.push((format!("{ROOTFS}-folders/{name}/.keep"), String::new()));
            writeln!(folders, "COPY {chown}{ROOTFS}-folders/{name}/ {path}/").ok();
        }
        let text = format!("{}{}", builder(findings), final_stage(&self, findings, &folders));
        let path = findings.dockerfile.as_ref().map_or("Dockerfile", |_| "Dockerfile.launchway");
        let listed: Vec<&str> = self.dropped.iter().map(String::as_str).collect();
        OwnImage {
            path: path.to_owned(),
            text: format!("{}{text}", header(findings, path, &listed)),
            files,
            certificates: self.certificates,
            dropped: self.dropped,
        }
    }
}

fn header(findings: &Findings, path: &str, dropped: &[&str]) -> String {
    let mut text = format!("# The image of `cargo xtask docker-build`, and of `docker build -f {path} .`.\n");
    if let Some(file) = &findings.dockerfile {
        writeln!(
            text,
            "#\n# It stands beside {}, whose final stage can be followed by Docker only:",
            file.path
        )
        .ok();
        for refusal in &findings.refusals {
            let refusal = refusal.trim_end_matches(", or build with `--engine docker`");
            writeln!(text, "#   {refusal}").ok();
        }
    }
    if !dropped.is_empty() {
        text.push_str("#\n# Left out:\n");
        for line in dropped {
            writeln!(text, "#   {line}").ok();
        }
    }
    text.push('\n');
    text
}

/// The stage that compiles, for `docker build`; the builtin engine compiles by itself.
fn builder(findings: &Findings) -> String {
    let exact = findings.toolchain.as_ref().map(|found| found.value.as_str());
    let version = exact.filter(|channel| channel.starts_with(|c: char| c.is_ascii_digit())).unwrap_or("1");
    let mut packages: Vec<&str> = Vec::new();
    let mut add = |name: &'static str| {
        if !packages.contains(&name) {
            packages.push(name);
        }
    };
    for library in &findings.libraries {
        match library.value.krate.as_str() {
            "openssl-sys" if library.value.bundled => ["perl", "make"].into_iter().for_each(&mut add),
            "openssl-sys" => ["libssl-dev", "pkg-config"].into_iter().for_each(&mut add),
            "aws-lc-sys" => add("cmake"),
            _ => {}
        }
    }
    let installed = findings.build.packages.iter().map(|found| found.value.as_str());
    let ordinary =
        ["ca-certificates", "tzdata", "musl-dev", "build-base", "musl-tools", "git", "curl", "wget"];
    let installed = installed.filter(|name| !ordinary.contains(name) && !name.contains('='));
    let packages: Vec<&str> = packages.iter().copied().chain(installed).collect();
    let shipped = &findings.shipped.value;
    let mut text = format!("FROM docker.io/library/rust:{version}-slim-bookworm AS build\n");
    if !packages.is_empty() {
        let list = packages.join(" ");
        writeln!(text, "RUN apt-get update && apt-get install -y --no-install-recommends {list} && rm -rf /var/lib/apt/lists/*").ok();
    }
    text.push_str("WORKDIR /workspace\nCOPY . .\n");
    for found in &findings.build.environment {
        writeln!(text, "ENV {}=\"{}\"", found.value.0, found.value.1).ok();
    }
    let config =
        findings.repository.text(&findings.repository.below(".cargo/config.toml")).unwrap_or_default();
    // Only one of the two tables counts, and the user's own flags are kept.
    let table = if config.contains("[build]")
        && config.contains("rustflags")
        && !config.contains("[target.x86_64-unknown-linux-gnu")
    {
        "build"
    } else {
        "target.x86_64-unknown-linux-gnu"
    };
    let mut call = format!(
        "cargo build --release --locked --package {} --bin {} --target x86_64-unknown-linux-gnu",
        shipped.package, shipped.binary
    );
    if !findings.build.features.is_empty() {
        let names: Vec<&str> = findings.build.features.iter().map(|found| found.value.as_str()).collect();
        write!(call, " --features {}", names.join(",")).ok();
    }
    write!(call, " \\\n    --config '{table}.rustflags=[\"-Ctarget-feature=+crt-static\"]'").ok();
    writeln!(text, "RUN {call}\n").ok();
    text
}

fn final_stage(draft: &Draft, findings: &Findings, folders: &str) -> String {
    let mut text = String::from("FROM scratch\n");
    writeln!(
        text,
        "# Accounts, and how names are looked up{}.",
        if draft.certificates { "; the certificates of authorities" } else { "" }
    )
    .ok();
    writeln!(text, "COPY {ROOTFS}/ /").ok();
    text.push_str(folders);
    for copy in &draft.copies {
        writeln!(text, "{copy}").ok();
    }
    let binary = &findings.shipped.value.binary;
    writeln!(
        text,
        "COPY --from=build /workspace/target/x86_64-unknown-linux-gnu/release/{binary} {}",
        draft.program
    )
    .ok();
    if !draft.working_dir.is_empty() {
        writeln!(text, "WORKDIR {}", draft.working_dir).ok();
    }
    for setting in &draft.settings {
        writeln!(text, "{setting}").ok();
    }
    let exposes = draft.settings.iter().any(|setting| setting.starts_with("EXPOSE"));
    if let Some(Port::Fixed(port)) = findings.port.as_ref().map(|found| &found.value)
        && !exposes
    {
        writeln!(text, "EXPOSE {port}").ok();
    }
    if let Some(user) = &draft.user {
        writeln!(text, "USER {}", draft.number(user)).ok();
    }
    for (keyword, words) in [("ENTRYPOINT", &draft.entrypoint), ("CMD", &draft.cmd)] {
        if !words.is_empty() {
            writeln!(text, "{keyword} {}", json(words)).ok();
        }
    }
    text
}

fn accounts(accounts: &BTreeMap<String, u32>) -> Vec<(String, String)> {
    let mut sorted: Vec<(&String, &u32)> = accounts.iter().collect();
    sorted.sort_by_key(|(_, id)| **id);
    let line = |(name, id): &(&String, &u32)| {
        let home = if **id == 0 { "/root" } else { "/nonexistent" };
        format!("{name}:x:{id}:{id}:{name}:{home}:/sbin/nologin\n")
    };
    let passwd: Vec<String> = sorted.iter().map(line).collect();
    let group: Vec<String> = sorted.iter().map(|(name, id)| format!("{name}:x:{id}:\n")).collect();
    vec![
        (format!("{ROOTFS}/etc/passwd"), passwd.concat()),
        (format!("{ROOTFS}/etc/group"), group.concat()),
        (format!("{ROOTFS}/etc/nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()),
    ]
}

fn reason(package: &str) -> &'static str {
    match package {
        name if name.contains("ca-certificates") => "the certificates are copied into the image instead",
        name if name.contains("ssl") => "the program is linked statically and brings what it needs of it",
        name if name.contains("tzdata") => "the service runs in UTC",
        name if name.contains("curl") || name.contains("wget") => {
            "it served a health check, which Render makes by itself"
        }
        name if name.starts_with("lib") => "the program is linked statically and looks for no library",
        _ => "the image holds the service alone",
    }
}

/// A path of the context as one of the Cargo root; nothing where git tracks no such file.
fn below(repository: &Repository, file: &Dockerfile, source: &str) -> Option<String> {
    let source = source.trim_start_matches("./").trim_start_matches('/');
    let folder = std::path::Path::new(&file.path).parent().map(|parent| parent.join(source))?;
    let path = folder.to_string_lossy().into_owned();
    let inside = repository.inside.to_string_lossy().into_owned();
    let path = path.trim_end_matches('/');
    let pattern = path.split(['*', '?', '[']).next().unwrap_or_default();
    let tracked = repository.files.iter().any(|known| {
        known == path
            || known.starts_with(&format!("{path}/"))
            || pattern != path && known.starts_with(pattern)
    });
    let relative = if inside.is_empty() { path } else { path.strip_prefix(&format!("{inside}/"))? };
    (tracked && !relative.is_empty()).then(|| relative.to_owned())
}

/// The file of the repository that an earlier stage took from the context.
fn in_context(repository: &Repository, file: &Dockerfile, copy: &Copy, source: &str) -> Option<String> {
    let from = copy.from.as_deref()?;
    let stage = file.stages.iter().find(|stage| stage.name.as_deref() == Some(from))?;
    let folder = stage
        .instructions
        .iter()
        .filter(|found| found.keyword == "WORKDIR")
        .map(|found| found.text.trim_end_matches('/'))
        .next_back();
    let path = source.strip_prefix(folder?)?.trim_start_matches('/');
    below(repository, file, path)
}

/// Whether an earlier stage makes a folder of this path.
fn made_by_builder(file: &Dockerfile, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let runs = file.builders().flat_map(|stage| &stage.instructions).filter(|found| found.keyword == "RUN");
    runs.flat_map(Instruction::commands).any(|command| {
        command.starts_with("mkdir")
            && command
                .split_whitespace()
                .any(|word| word.trim_end_matches('/') == path || path.ends_with(&format!("/{word}")))
    })
}

fn json(words: &[String]) -> String {
    let words: Vec<String> =
        words.iter().map(|word| serde_json::Value::from(word.as_str()).to_string()).collect();
    format!("[{}]", words.join(", "))
}
