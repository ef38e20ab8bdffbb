//! Plans what adoption writes: every file, and every line that is added to a file.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use toml_edit::{Array, DocumentMut, Item, Table, value};

use super::baseline::Baseline;
use super::detect::Findings;
use super::own_image::{CERTIFICATES, EMPTY, OwnImage, ROOTFS, own_image};
use super::report::item;
use super::tables;
use crate::cli::Init;
use crate::columns::folded;
use crate::workflow;
use launchway_core::exit::{Exit, Failure, OrExit as _};

/// Where the `xtask` gets the pipeline from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The crate in the checkout that this program was built from.
    Path(PathBuf),
    Git {
        url: String,
        rev: String,
    },
    Version(&'static str),
}

/// Everything that will be written. Its `Display` is what `--explain` shows.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The Cargo root.
    pub(super) root: PathBuf,
    pub(super) origin: Origin,
    /// New files, relative to the Cargo root.
    pub(super) files: Vec<(String, String)>,
    /// Whether this machine's CA certificates become a file of the image.
    pub(super) certificates: bool,
    /// Files that are extended: the path, the addition, and the resulting text.
    pub(super) changes: Vec<Change>,
    pub(super) dropped: Vec<String>,
    /// The workflow, relative to the git root.
    pub(super) workflow: String,
}

#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) path: String,
    pub(super) added: String,
    pub(super) text: String,
}

const MAIN: &str = "//! `cargo xtask`: the pipeline of this workspace.\n\nfn main() -> std::process::ExitCode {\n    launchway::main()\n}\n";

/// Not quiet: the first build takes a while and must show it. Out of the sources, in the folder that git ignores.
const ALIAS: &str = "run --locked --manifest-path xtask/Cargo.toml --target-dir target/xtask-build --features launchway/default --";

impl Origin {
    pub(super) fn of(options: &Init) -> Self {
        if let (Some(url), Some(rev)) = (&options.git, &options.rev) {
            return Self::Git { url: url.clone(), rev: rev.clone() };
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let from_registry = folder.components().any(|part| part.as_os_str() == "registry");
        if folder.join("Cargo.toml").is_file() && !from_registry {
            Self::Path(folder.to_owned())
        } else {
            Self::Version(env!("CARGO_PKG_VERSION"))
        }
    }

    fn dependency(&self) -> String {
        let quoted = |text: &str| toml_edit::Value::from(text).to_string();
        let source = match self {
            Self::Path(path) => format!("path = {}", quoted(&path.to_string_lossy())),
            Self::Git { url, rev } => format!("git = {}, rev = {}", quoted(url), quoted(rev)),
            Self::Version(version) => format!("version = {}", quoted(version)),
        };
        format!("launchway = {{ {source}, default-features = false }}")
    }
}

impl Plan {
    /// The plan, or every obstacle to it.
    pub(super) fn new(findings: &Findings, origin: Origin, baseline: &Baseline) -> Result<Self> {
        let root = findings.repository.root();
        let own = own_image(findings);
        let workflow = free_workflow(findings);
        let mut files = vec![
            ("xtask/Cargo.toml".to_owned(), xtask_manifest(&origin)),
            ("xtask/src/main.rs".to_owned(), MAIN.to_owned()),
        ];
        if let Some(OwnImage { path, text, files: rootfs, .. }) = &own {
            files.push((path.clone(), text.clone()));
            files.extend(rootfs.iter().cloned());
        }
        let mut problems: Vec<String> = Vec::new();
        for (path, _) in &files {
            if root.join(path).symlink_metadata().is_ok() {
                problems.push(format!("{path} already exists, and `init` overwrites no file"));
            }
        }
        problems.extend(too_old(findings));
        let mut changes = Vec::new();
        for change in [
            alias(findings),
            Ok(ignored(findings)),
            Ok(own.as_ref().and_then(|_| in_context(findings))),
            manifest(findings, own.as_ref(), baseline, &workflow),
        ] {
            match change {
                Ok(change) => changes.extend(change),
                Err(error) => problems.push(format!("{error:#}")),
            }
        }
        if !problems.is_empty() {
            return Err(Failure::new(Exit::Usage, problems.join("\n")).into());
        }
        let certificates = own.as_ref().is_some_and(|own| own.certificates);
        let dropped = own.map(|own| own.dropped).unwrap_or_default();
        Ok(Self { root, origin, files, certificates, changes, dropped, workflow })
    }
}

/// The repository's toolchain also compiles the `xtask`: an alias cannot choose another one.
fn too_old(findings: &Findings) -> Option<String> {
    const NEEDED: &str = env!("CARGO_PKG_RUST_VERSION");

    let found = findings.toolchain.as_ref()?;
    let version = |text: &str| -> Option<(u32, u32)> {
        let mut parts = text.split(['.', '-']);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    (version(&found.value)? < version(NEEDED)?).then(|| {
        format!("{} sets Rust {}, but `cargo xtask` needs {NEEDED}: raise it", found.place, found.value)
    })
}

fn xtask_manifest(origin: &Origin) -> String {
    format!(
        r#"[package]
name = "xtask"
version = "0.0.0"
edition = "2024"
publish = false

[dependencies]
{}

# The alias turns on `launchway/default`; runners compile without it. Listed here so that `Cargo.lock` covers it.
[features]
full = ["launchway/default"]

# A separate workspace: it does not affect the service's versions, checks and tests.
[workspace]

# Nobody debugs the pipeline, and each fresh runner compiles it.
[profile.dev]
debug = false

# Unoptimised, compressing an image takes seconds instead of tenths.
[profile.dev.package]
flate2.opt-level = 3
memchr.opt-level = 3
miniz_oxide.opt-level = 3
"#,
        origin.dependency()
    )
}

/// An unused file name for the workflow.
fn free_workflow(findings: &Findings) -> String {
    let exists = |name: String| findings.repository.top.join(".github/workflows").join(name).exists();
    let taken = |name: &str| workflow::names(name).into_iter().any(exists);
    let names = ["main.yaml", "launchway.yaml", "pipeline.yaml"];
    names.into_iter().find(|name| !taken(name)).unwrap_or("cargo-xtask.yaml").to_owned()
}

/// Adds the alias to the existing ones.
fn alias(findings: &Findings) -> Result<Option<Change>> {
    let root = findings.repository.root();
    let old = root.join(".cargo/config");
    let path = if old.is_file() { ".cargo/config" } else { ".cargo/config.toml" };
    let text =
        if root.join(path).is_file() { fs_err::read_to_string(root.join(path))? } else { String::new() };
    let mut document: DocumentMut =
        text.parse().with_context(|| format!("{path} is not TOML")).or_exit(Exit::Usage)?;
    if !document.contains_key("alias") {
        document.insert("alias", Item::Table(Table::new()));
    }
    let table = document.get_mut("alias").and_then(Item::as_table_like_mut);
    let table = table.with_context(|| format!("`alias` in {path} is not a table")).or_exit(Exit::Usage)?;
    if table.contains_key("xtask") {
        let message = format!("{path} already has an alias `xtask`: rename it first");
        return Err(Failure::new(Exit::Usage, message).into());
    }
    table.insert("xtask", value(ALIAS));
    let added = format!("[alias]\nxtask = \"{ALIAS}\"");
    Ok(Some(Change { path: path.to_owned(), added, text: document.to_string() }))
}

/// Ignores the build folder if git does not ignore it yet.
fn ignored(findings: &Findings) -> Option<Change> {
    let root = findings.repository.root();
    // The command refuses to take paths literally.
    let call = crate::git::call(&root).args(["check-ignore", "--quiet", "target/xtask"]);
    let is_ignored = call.env("GIT_LITERAL_PATHSPECS", "0").read(&root).is_ok();
    if is_ignored {
        return None;
    }
    let path = ".gitignore";
    let text = fs_err::read_to_string(root.join(path)).unwrap_or_default();
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    Some(Change {
        path: path.to_owned(),
        added: "/target/".to_owned(),
        text: format!("{text}{end}/target/\n"),
    })
}

/// Adds the generated image's files to `.dockerignore` if it lists what may be copied.
fn in_context(findings: &Findings) -> Option<Change> {
    let path = ".dockerignore";
    let text = fs_err::read_to_string(findings.repository.root().join(path)).ok()?;
    if !text.lines().any(|line| matches!(line.trim(), "*" | "**" | "/*")) {
        return None;
    }
    let added = format!("!{ROOTFS}/\n!{EMPTY}/");
    let end = if text.ends_with('\n') { "" } else { "\n" };
    Some(Change { path: path.to_owned(), text: format!("{text}{end}{added}\n"), added })
}

/// Adds the tables at the end of `Cargo.toml`, and `exclude` if the members would include the `xtask`.
fn manifest(
    findings: &Findings,
    own: Option<&OwnImage>,
    baseline: &Baseline,
    workflow: &str,
) -> Result<Option<Change>> {
    let text = findings.repository.manifest()?;
    let tables = tables::text(findings, own, baseline, workflow);
    let mut added = tables.trim().to_owned();
    let mut document: DocumentMut = text.parse().context("`Cargo.toml` is not TOML").or_exit(Exit::Usage)?;
    if let Some(workspace) = document.get_mut("workspace").and_then(Item::as_table_like_mut) {
        let members = workspace.get("members").and_then(Item::as_array);
        let takes = |pattern: &str| fits(pattern.trim_start_matches("./").trim_end_matches('/'), "xtask");
        if members.is_some_and(|members| members.iter().filter_map(|member| member.as_str()).any(takes)) {
            if !workspace.contains_key("exclude") {
                workspace.insert("exclude", value(Array::new()));
            }
            if let Some(exclude) = workspace.get_mut("exclude").and_then(Item::as_array_mut) {
                exclude.push("xtask");
            }
            added = format!("[workspace]\nexclude = [\"xtask\"]\n\n{added}");
        }
    }
    let text = document.to_string();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let text = format!("{text}{end}{tables}");
    // The result must be a valid configuration, before anything is written.
    crate::config::Config::parse(&text)
        .context("the generated configuration is not valid: please report this")
        .or_exit(Exit::Internal)?;
    Ok(Some(Change { path: "Cargo.toml".to_owned(), added, text }))
}

/// Whether a name fits a pattern with `*` and `?`.
fn fits(pattern: &str, name: &str) -> bool {
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            fits(&pattern[1..], name)
                || name.chars().next().is_some_and(|c| fits(pattern, &name[c.len_utf8()..]))
        }
        (Some(p), Some(n)) if p == '?' || p == n => fits(&pattern[p.len_utf8()..], &name[n.len_utf8()..]),
        _ => false,
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "write")?;
        for (path, text) in &self.files {
            writeln!(f, "  {path}")?;
            if path.contains("Dockerfile") || path == "xtask/Cargo.toml" {
                indented(f, text)?;
            }
        }
        if self.certificates {
            writeln!(f, "  {ROOTFS}{CERTIFICATES}, a copy of this machine's")?;
        }
        writeln!(f, "  xtask/Cargo.lock")?;
        for name in workflow::names(&self.workflow) {
            writeln!(f, "  {}, generated by `cargo xtask workflow`", workflow::path(&name))?;
        }
        writeln!(f, "add")?;
        for change in &self.changes {
            writeln!(f, "  to {}", change.path)?;
            indented(f, &change.added)?;
        }
        if !self.dropped.is_empty() {
            writeln!(f, "leave out of the image")?;
            for line in &self.dropped {
                f.write_str(&item(line))?;
            }
        }
        write!(f, "keep\n  Cargo.lock byte for byte, and every other file")
    }
}

fn indented(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.trim_end().lines().try_for_each(|line| {
        if line.is_empty() {
            return writeln!(f, "    |");
        }
        let words = line.trim_start();
        let indent = &line[..line.len() - words.len()];
        let heading = format!("    | {indent}");
        let folded = |heading: &str, words: &str| folded(heading, heading.len() + 4, words);
        match words.rsplit_once("  # ") {
            Some((value, comment)) if heading.len() + words.chars().count() > 80 => {
                f.write_str(&folded(&heading, value))?;
                f.write_str(&folded(&format!("{heading}    # "), comment))
            }
            _ => f.write_str(&folded(&heading, words)),
        }
    })
}
