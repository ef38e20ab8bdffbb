//! `workflow`: generates the files in `.github/workflows` from the pipeline table.

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

/// The names of the generated files: the pipeline's, and that of rollbacks.
pub(crate) fn names(pipeline: &str) -> [String; 2] {
    let (stem, extension) = pipeline.rsplit_once('.').unwrap_or((pipeline, "yaml"));
    [pipeline.to_owned(), format!("{stem}-rollback.{extension}")]
}

/// A generated file.
struct File {
    path: PathBuf,
    /// Its path from the git root, for people.
    name: String,
    render: fn(&Config, &Place, &Pins<'_>) -> Result<String>,
}

fn files(root: &Path, config: &Config) -> [File; 2] {
    let top = git::top(root).unwrap_or(root);
    let [pipeline, rollback] = names(&config.workflow).map(|name| path(&name));
    [
        File { path: top.join(&pipeline), name: pipeline, render: render::render },
        File { path: top.join(&rollback), name: rollback, render: render::render_rollback },
    ]
}

/// Writes the workflows, unless they are up to date.
pub(crate) fn write(root: &Path, config: &Config, reporter: &Reporter) -> Result<()> {
    let files = files(root, config);
    let rendered = files.each_ref().map(|file| rendered(root, config, file));
    for (file, rendered) in files.iter().zip(rendered) {
        let (name, rendered) = (&file.name, rendered?);
        if committed(&file.path)?.as_deref() == Some(rendered.as_str()) {
            reporter.note(format!("{name} is up to date"));
        } else {
            write_whole(&file.path, rendered.as_bytes())?;
            reporter.note(format!("{name} is written"));
        }
    }
    for problem in leftovers(root, config)? {
        reporter.note(problem);
    }
    Ok(())
}

/// Fails with [`Exit::CheckFailed`] and the differences, unless the files are up to date.
pub(crate) fn check(root: &Path, config: &Config, reporter: &Reporter) -> Result<()> {
    let mut problems = Vec::new();
    for file in files(root, config) {
        let name = &file.name;
        let rendered = rendered(root, config, &file).or_exit(Exit::CheckFailed)?;
        match committed(&file.path)? {
            None => problems.push(format!("{name} does not exist: run `cargo xtask workflow`")),
            Some(committed) if committed != rendered => problems.push(format!(
                "{name} does not match the pipeline: run `cargo xtask workflow`\n{}",
                difference(root, &file.path, &rendered, reporter)?
            )),
            Some(_) => {}
        }
    }
    problems.extend(leftovers(root, config)?);
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Exit::CheckFailed, problems.join("\n")).into())
}

/// The names of the files that are not what would be generated now.
pub(crate) fn outdated(root: &Path, config: &Config) -> Vec<String> {
    let is_good = |file: &File| {
        let rendered = rendered(root, config, file).ok();
        rendered.is_some() && committed(&file.path).is_ok_and(|committed| committed == rendered)
    };
    files(root, config).into_iter().filter(|file| !is_good(file)).map(|file| file.name).collect()
}

/// The existing file, with normalised line endings.
fn committed(path: &Path) -> Result<Option<String>> {
    match fs_err::read_to_string(path) {
        Ok(text) => Ok(Some(text.replace("\r\n", "\n"))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The up-to-date content, with the pins of the existing file; a new one gets those of the pipeline's.
fn rendered(root: &Path, config: &Config, file: &File) -> Result<String> {
    let [pipeline, _] = files(root, config);
    let own = committed(&file.path)?;
    if let Some(own) = &own
        && file.path != pipeline.path
        && !own.starts_with(render::MARK)
    {
        let name = &file.name;
        let message = format!(
            "{name} was not generated, and the workflow for rollbacks would replace it: rename it, or give `workflow` another name"
        );
        return Err(Failure::new(Exit::Usage, message).into());
    }
    let (name, pinned) = match own {
        Some(own) => (&file.name, Some(own)),
        None => (&pipeline.name, committed(&pipeline.path)?),
    };
    let pins = Pins::read(pinned.as_deref().unwrap_or_default()).with_context(|| {
        format!("the pins in {name} cannot be kept: fix them, or remove the file to get the defaults")
    })?;
    (file.render)(config, &Place::of(root), &pins)
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
    let files = files(root, config);
    let Some(folder) = files[0].path.parent() else { return Ok(Vec::new()) };
    let mut problems = Vec::new();
    if !folder.is_dir() {
        return Ok(problems);
    }
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml
            && files.iter().all(|file| file.path != path)
            && fs_err::read(&path)?.starts_with(render::MARK.as_bytes())
        {
            let path = path.strip_prefix(git::top(root).unwrap_or(root)).unwrap_or(&path).display();
            problems.push(format!("{path} was generated, but nothing generates it any more: remove it"));
        }
    }
    problems.sort();
    Ok(problems)
}

#[cfg(test)]
mod tests;
