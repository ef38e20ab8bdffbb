//! Translates a final stage into one that needs no shell.

use std::collections::BTreeMap;

use super::NONROOT;
use super::text::json;
use crate::init::detect::Findings;
use crate::init::dockerfile::{Dockerfile, Instruction, list};
use crate::init::findings::{Found, Mount};

/// A translated final stage.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) working_dir: String,
    pub(super) user: Option<String>,
    /// Accounts that the Dockerfile creates or that are well known, with their numbers.
    pub(super) accounts: BTreeMap<String, u32>,
    pub(super) copies: Vec<String>,
    /// Folders that the service writes to, with their owners.
    pub(super) folders: BTreeMap<String, Option<String>>,
    /// `ENV`, `EXPOSE`, `STOPSIGNAL`, `LABEL`, as written.
    pub(super) settings: Vec<String>,
    pub(super) health: Option<String>,
    pub(super) entrypoint: Vec<String>,
    pub(super) cmd: Vec<String>,
    /// Where the binary is in the image.
    pub(super) program: String,
    pub(super) certificates: bool,
    /// Whether the program loads libraries.
    pub(super) dynamic: bool,
    pub(super) dropped: Vec<String>,
}

impl Draft {
    pub(super) fn new() -> Self {
        let known = [("root", 0), ("nobody", 65534), ("nonroot", NONROOT)];
        Self { accounts: known.map(|(name, id)| (name.to_owned(), id)).into(), ..Self::default() }
    }

    pub(super) fn read(&mut self, file: &Dockerfile, findings: &Findings) {
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
                let paths =
                    list(text).unwrap_or_else(|| text.split_whitespace().map(str::to_owned).collect());
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
                    "it needs a shell, which the image does not have: the program starts without arguments",
                ),
            },
            "HEALTHCHECK" => self.health = Some(format!("{line} {text}")),
            "LABEL" if !text.contains('$') => self.settings.push(format!("LABEL {text}")),
            "LABEL" | "ARG" | "EXPOSE" | "STOPSIGNAL" | "SHELL" | "ONBUILD" | "MAINTAINER" => {}
            _ => self.drop(*line, &format!("`{keyword} {text}`"), "it is not supported"),
        }
    }

    /// Translates a `COPY`: the binary, files of the repository, and replacements for files of the builder.
    /// Accounts that the builder creates, if their files are copied.
    pub(super) fn accounts_of_builder(&mut self, file: &Dockerfile) {
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

    /// One command of a `RUN`.
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
                    self.drop(line, &format!("the package {package}"), reason(package, self.dynamic));
                }
            }
            // Clean-up after packages that are not installed, or the mode of the binary.
            "rm" | "set" | "chmod" | "true" | "update-ca-certificates" | "ldconfig" | "echo" | "" => {}
            _ => self.drop(
                line,
                &format!("`RUN {command}`"),
                "an image that is built without Docker cannot run commands",
            ),
        }
    }

    /// Fills gaps with what is known about the service.
    pub(super) fn fill(&mut self, findings: &Findings) {
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
        // A program is given by its path, by its name alone, or relative to the working directory.
        let program = self.program.clone();
        let base = program.rsplit('/').next().unwrap_or_default().to_owned();
        let is_program =
            |word: &String| word.rsplit('/').next() == Some(&base) || word.rsplit('/').next() == Some(name);
        let place = |words: &mut Vec<String>| match words.iter().position(is_program) {
            Some(at) => {
                // The words before it are a script or `tini`, which would need a shell or another program.
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
                "`ENTRYPOINT {words}`: the image contains only the service, which starts directly"
            ));
            self.entrypoint = vec![program.clone()];
        }
        if self.entrypoint.is_empty() && !arguments {
            self.entrypoint = vec![program];
        }
        if let Some(text) = self.health.take() {
            let (line, text) = text.split_once(' ').unwrap_or(("", &text));
            let exec = text.find('[').and_then(|at| list(&text[at..]));
            match exec {
                Some(mut words) if words.first().is_some_and(is_program) => {
                    words[0].clone_from(&self.program);
                    let before = &text[..text.find('[').unwrap_or_default()];
                    self.settings.push(format!("HEALTHCHECK {before}{}", json(&words)));
                }
                _ if text.trim() == "NONE" => self.settings.push("HEALTHCHECK NONE".to_owned()),
                _ => self.drop(
                    line.parse().unwrap_or_default(),
                    "the health check",
                    "its program is not in the image; Render requests the health path itself",
                ),
            }
        }
        for Found { value: Mount { source, target, file }, place } in &findings.mounts {
            if *file {
                self.copies.push(format!("# {place} mounts it.\nCOPY {source} {target}"));
            } else {
                self.folders.entry(target.clone()).or_default();
            }
        }
        let has = |name: &str| findings.compiled.has(name);
        self.certificates |= has("rustls-native-certs") || has("openssl-probe") || has("native-tls");
        if self.user.as_deref().is_some_and(|user| self.number(user) != "0" && self.number(user) != "0:0")
            || has("tempfile")
        {
            self.folders.entry("/tmp".to_owned()).or_default();
        }
    }

    pub(super) fn drop(&mut self, line: usize, what: &str, reason: &str) {
        self.dropped.push(format!("{what} (line {line}): {reason}"));
    }

    /// An absolute path.
    pub(super) fn absolute(&self, path: &str) -> String {
        let path = self.absolute_as_written(path);
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        format!("/{}", parts.join("/"))
    }

    /// An absolute path with the trailing `/` that makes it a folder.
    pub(super) fn absolute_as_written(&self, path: &str) -> String {
        let path = path.strip_prefix("./").unwrap_or(path);
        if path.starts_with('/') {
            return path.to_owned();
        }
        let folder = self.working_dir.trim_end_matches('/');
        if matches!(path, "" | ".") { format!("{folder}/") } else { format!("{folder}/{path}") }
    }

    /// An owner or a user as numbers, which need no account in the image.
    pub(super) fn number(&self, name: &str) -> String {
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
}

fn reason(package: &str, dynamic: bool) -> &'static str {
    match package {
        name if dynamic && name.contains("ca-certificates") => "the base has the certificates",
        name if dynamic && name.starts_with("lib") => "what the program loads is copied from the builder",
        name if name.contains("ca-certificates") => "the certificates are copied into the image instead",
        name if name.contains("ssl") => "the program is linked statically and includes what it needs",
        name if name.contains("tzdata") => "the service runs in UTC",
        name if name.contains("curl") || name.contains("wget") => {
            "it served a health check, which Render performs itself"
        }
        name if name.starts_with("lib") => "the program is linked statically and loads no library",
        _ => "the image contains only the service",
    }
}
