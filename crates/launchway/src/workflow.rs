//! `workflow`: generates the file in `.github/workflows` from the pipeline table.

mod model;
mod pins;
mod render;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use toml::Table;

use crate::config::Config;
use crate::git;
use crate::project::output;
use launchway_core::events::Reporter;
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_core::file::write_whole;
use pins::Pins;

/// The folder of workflows, in the git root.
const FOLDER: &str = ".github/workflows";

/// How many lines of a difference are shown.
const SHOWN: usize = 60;

/// Where the workspace is in its repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The workspace's folder, relative to the git root; empty if they are the same.
    inside: PathBuf,
    /// Whether the `xtask` is a separate workspace, and not a member of this one.
    xtask_apart: bool,
    /// The alias `cargo xtask` in the workspace's own cargo configuration.
    alias: Option<String>,
}

impl Place {
    pub(crate) fn of(root: &Path) -> Self {
        let inside = git::top(root).and_then(|top| root.strip_prefix(top).ok()).unwrap_or(Path::new(""));
        let config = fs_err::read_to_string(root.join(".cargo/config.toml")).unwrap_or_default();
        let alias = toml::from_str::<Table>(&config)
            .ok()
            .and_then(|config| Some(config.get("alias")?.get("xtask")?.as_str()?.to_owned()));
        let xtask_apart = root.join("xtask/Cargo.lock").is_file();
        Self { inside: inside.to_owned(), xtask_apart, alias }
    }

    /// The alias without the features `init` and `rehearsal`, which no job of the workflow uses; `None` if it has none.
    fn lean_alias(&self) -> Option<String> {
        const ALL: &str = " --features launchway/default";

        self.alias.as_deref().filter(|alias| alias.contains(ALL)).map(|alias| alias.replace(ALL, ""))
    }

    /// The path of a workflow, relative to the workspace root.
    pub(crate) fn path(&self, file: &str) -> String {
        format!("{}{FOLDER}/{file}", "../".repeat(self.inside.components().count()))
    }

    /// The workspace's folder, if it is not the git root.
    fn folder(&self) -> Option<String> {
        (!self.inside.as_os_str().is_empty()).then(|| self.inside.to_string_lossy().into_owned())
    }

    /// What is cached: one line per workspace with its target folder, unless the only workspace is at the git root.
    fn workspaces(&self) -> Option<String> {
        let own = format!("{} -> target\n", self.folder().unwrap_or_else(|| ".".to_owned()));
        let xtask = format!("{} -> ../target/xtask-build\n", self.below("xtask"));
        match (self.folder().is_some(), self.xtask_apart) {
            (_, true) => Some(own + &xtask),
            (true, false) => Some(own),
            (false, false) => None,
        }
    }

    /// Translates a path in the workspace into one from the git root.
    fn below(&self, path: &str) -> String {
        self.inside.join(path).to_string_lossy().into_owned()
    }
}

/// The path of a workflow's file from the git root.
pub(crate) fn path(file: &str) -> String {
    format!("{FOLDER}/{file}")
}

/// The generated file: its path, and its name for people.
fn file(root: &Path, config: &Config) -> (PathBuf, String) {
    let top = git::top(root).unwrap_or(root);
    let name = path(&config.workflow);
    (top.join(&name), name)
}

/// Writes the workflow, unless the file is up to date.
pub(crate) fn write(root: &Path, config: &Config, reporter: &Reporter) -> Result<()> {
    let (path, name) = file(root, config);
    let committed = committed(&path)?;
    let rendered = rendered(root, config, &name, committed.as_deref())?;
    if committed.as_deref() == Some(rendered.as_str()) {
        reporter.note(format!("{name} is up to date"));
    } else {
        write_whole(&path, rendered.as_bytes())?;
        reporter.note(format!("{name} is written"));
    }
    for problem in leftovers(root, config)? {
        reporter.note(problem);
    }
    Ok(())
}

/// Fails with [`Exit::CheckFailed`] and the difference, unless the file is up to date.
pub(crate) fn check(root: &Path, config: &Config, reporter: &Reporter) -> Result<()> {
    let (path, name) = file(root, config);
    let committed = committed(&path)?;
    let rendered = rendered(root, config, &name, committed.as_deref()).or_exit(Exit::CheckFailed)?;
    let mut problems = Vec::new();
    match committed {
        None => problems.push(format!("{name} does not exist: run `cargo xtask workflow`")),
        Some(committed) if committed != rendered => problems.push(format!(
            "{name} does not match the pipeline: run `cargo xtask workflow`\n{}",
            difference(root, &path, &rendered, reporter)?
        )),
        Some(_) => {}
    }
    problems.extend(leftovers(root, config)?);
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Exit::CheckFailed, problems.join("\n")).into())
}

/// The existing file, with normalised line endings.
fn committed(path: &Path) -> Result<Option<String>> {
    match fs_err::read_to_string(path) {
        Ok(text) => Ok(Some(text.replace("\r\n", "\n"))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The up-to-date content, with the pins of the existing file.
fn rendered(root: &Path, config: &Config, name: &str, committed: Option<&str>) -> Result<String> {
    let pins = Pins::read(committed.unwrap_or_default()).with_context(|| {
        format!("the pins in {name} cannot be kept: fix them, or remove the file to get the defaults")
    })?;
    render::render(config, &Place::of(root), &pins)
}

/// The difference between the file at `path` and its generated content, as git shows it, cut if it is long.
fn difference(root: &Path, path: &Path, rendered: &str, reporter: &Reporter) -> Result<String> {
    let generated = output(root).join("generated.yaml");
    reporter.leave(&generated, rendered)?;
    let call =
        git::plain().args(["diff", "--no-index", "--no-color", "--no-ext-diff", "--ignore-cr-at-eol", "--"]);
    let call = call.arg(path.display().to_string()).arg(generated.display().to_string());
    let printed = String::from_utf8_lossy(&call.output(root)?.stdout).into_owned();
    // The lines before the first change contain paths and object names.
    let lines: Vec<&str> = printed.lines().skip_while(|line| !line.starts_with("@@")).collect();
    Ok(match lines.len().checked_sub(SHOWN) {
        None | Some(0) => lines.join("\n"),
        Some(more) => format!("{}\n… and {more} more lines", lines[..SHOWN].join("\n")),
    })
}

/// A sentence for each generated file that nothing generates any more: GitHub would still run it.
fn leftovers(root: &Path, config: &Config) -> Result<Vec<String>> {
    let (file, _) = file(root, config);
    let Some(folder) = file.parent() else { return Ok(Vec::new()) };
    let mut problems = Vec::new();
    if !folder.is_dir() {
        return Ok(problems);
    }
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml && path != file && fs_err::read(&path)?.starts_with(render::MARK.as_bytes()) {
            let path = path.strip_prefix(git::top(root).unwrap_or(root)).unwrap_or(&path).display();
            problems.push(format!("{path} was generated, but nothing generates it any more: remove it"));
        }
    }
    problems.sort();
    Ok(problems)
}

#[cfg(test)]
mod tests;
