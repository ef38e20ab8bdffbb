//! Formats the Dockerfile and the account files.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::draft::Draft;
use super::{EMPTY, OwnImage, ROOTFS};
use crate::init::detect::Findings;
use crate::init::findings::Port;

impl Draft {
    pub(super) fn write(self, findings: &Findings) -> OwnImage {
        let dynamic = findings.dynamic().is_some();
        // The base of a dynamic program brings its own accounts and certificates.
        let mut files = if dynamic { Vec::new() } else { accounts(&self.accounts) };
        let owner = self.user.as_deref().map(|user| self.number(user));
        let mut folders = String::new();
        for (path, folder_owner) in self.folders.iter().filter(|(path, _)| *path != "/") {
            let owner = folder_owner.as_deref().map(|owner| self.number(owner)).or_else(|| owner.clone());
            let chown = owner.map(|owner| format!("--chown={owner} ")).unwrap_or_default();
            writeln!(folders, "COPY {chown}{EMPTY}/ {path}/").ok();
        }
        if !folders.is_empty() {
            // Git stores no empty folders, and may be told to ignore one with the folder's own name.
            files.push((format!("{EMPTY}/.keep"), String::new()));
        }
        let text = format!("{}{}", builder(findings), final_stage(&self, findings, &folders));
        let path = findings.dockerfile.as_ref().map_or("Dockerfile", |_| "Dockerfile.launchway");
        let listed: Vec<&str> = self.dropped.iter().map(String::as_str).collect();
        OwnImage {
            path: path.to_owned(),
            text: format!("{}{text}", header(findings, path, &listed)),
            files,
            certificates: self.certificates && !dynamic,
            dropped: self.dropped,
        }
    }
}

fn header(findings: &Findings, path: &str, dropped: &[&str]) -> String {
    let mut text =
        format!("# Describes the image of `cargo xtask docker-build` and `docker build -f {path} .`.\n");
    if let Some(file) = &findings.dockerfile {
        writeln!(text, "#\n# Used instead of {}, whose final stage only Docker can build:", file.path).ok();
        for refusal in &findings.refusals {
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
    let packages: Vec<&str> =
        findings.build.packages.needed.iter().map(|found| found.value.as_str()).collect();
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
    // Cargo takes `rustflags` from one table alone: the flag joins those of the repository, where it has any.
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
    if findings.dynamic().is_some() {
        let program = format!("target/x86_64-unknown-linux-gnu/release/{}", shipped.binary);
        writeln!(
            text,
            "RUN {call}\n# The libraries that it loads, except those of the base.\nRUN mkdir /libraries && ldd {program} | awk '$2 == \"=>\" {{ print $3 }}' \\\n    | grep -vE '/lib(c|m|dl|rt|pthread|resolv|gcc_s|stdc\\+\\+|gomp|ssl|crypto)[.]so' | xargs -r cp -L -t /libraries\n"
        )
        .ok();
        return text;
    }
    write!(call, " \\\n    --config '{table}.rustflags=[\"-Ctarget-feature=+crt-static\"]'").ok();
    writeln!(text, "RUN {call}\n").ok();
    text
}

fn final_stage(draft: &Draft, findings: &Findings, folders: &str) -> String {
    let mut text = String::new();
    if findings.dynamic().is_some() {
        writeln!(text, "# It has the C library, CA certificates, user accounts and zone data, and no shell.\nFROM gcr.io/distroless/cc-debian12").ok();
        writeln!(text, "COPY --from=build /libraries/ /usr/lib/x86_64-linux-gnu/").ok();
    } else {
        let certificates = if draft.certificates { ", CA certificates" } else { "" };
        writeln!(text, "FROM scratch\n# User accounts, name lookup{certificates}.").ok();
        writeln!(text, "COPY {ROOTFS}/ /").ok();
    }
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

pub(super) fn json(words: &[String]) -> String {
    let words: Vec<String> =
        words.iter().map(|word| serde_json::Value::from(word.as_str()).to_string()).collect();
    format!("[{}]", words.join(", "))
}
