//! Command: workflow. `.github/workflows/main.yaml`, made from the table of the pipeline.

mod model;
mod pins;
mod render;

use std::io::ErrorKind;

use anyhow::{Context as _, Result};
use similar::TextDiff;

use crate::context::Context;
use launchway_core::exit::{Exit, Failure, OrExit as _};
use launchway_core::file::write_whole;
use pins::Pins;

/// The folder of workflows and the generated one in it, relative to the workspace root.
const FOLDER: &str = ".github/workflows";
const FILE: &str = ".github/workflows/main.yaml";

/// How many lines of a difference are shown.
const SHOWN: usize = 60;

/// Writes the workflow, unless the file is as it must be already.
pub(crate) fn write(ctx: &Context) -> Result<()> {
    let committed = committed(ctx)?;
    let rendered = rendered(ctx, committed.as_deref())?;
    if committed.as_deref() == Some(rendered.as_str()) {
        ctx.reporter.note(format!("{FILE} is up to date"));
    } else {
        write_whole(&ctx.root.join(FILE), rendered.as_bytes())?;
        ctx.reporter.note(format!("{FILE} is written"));
    }
    for problem in leftovers(ctx)? {
        ctx.reporter.note(problem);
    }
    Ok(())
}

/// An error with [`Exit::CheckFailed`] and the difference, unless the file is as it must be.
pub(crate) fn check(ctx: &Context) -> Result<()> {
    let committed = committed(ctx)?;
    let rendered = rendered(ctx, committed.as_deref()).or_exit(Exit::CheckFailed)?;
    let mut problems = Vec::new();
    match committed {
        None => problems.push(format!("{FILE} does not exist: run `cargo xtask workflow`")),
        Some(committed) if committed != rendered => problems.push(format!(
            "{FILE} is not what the pipeline says: run `cargo xtask workflow`\n{}",
            difference(&committed, &rendered)
        )),
        Some(_) => {}
    }
    problems.extend(leftovers(ctx)?);
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Exit::CheckFailed, problems.join("\n")).into())
}

/// The file, with the line ends of this repository whatever git made of them.
fn committed(ctx: &Context) -> Result<Option<String>> {
    match fs_err::read_to_string(ctx.root.join(FILE)) {
        Ok(text) => Ok(Some(text.replace("\r\n", "\n"))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What the file must be, with the pins of the one that is there.
fn rendered(ctx: &Context, committed: Option<&str>) -> Result<String> {
    let pins = Pins::read(committed.unwrap_or_default()).with_context(|| {
        format!("the pins in {FILE} cannot be kept: mend them, or remove the file to get the default ones")
    })?;
    render::render(&ctx.config, &pins)
}

/// The difference as a patch, cut where it gets long.
fn difference(committed: &str, rendered: &str) -> String {
    let diff = TextDiff::from_lines(committed, rendered);
    let patch = diff.unified_diff().context_radius(3).header("committed", "generated").to_string();
    let lines: Vec<&str> = patch.lines().collect();
    match lines.len().checked_sub(SHOWN) {
        None | Some(0) => lines.join("\n"),
        Some(more) => format!("{}\n… and {more} more lines", lines[..SHOWN].join("\n")),
    }
}

/// A sentence for each generated file that nothing generates any more: GitHub would still run it.
fn leftovers(ctx: &Context) -> Result<Vec<String>> {
    let folder = ctx.root.join(FOLDER);
    let mut problems = Vec::new();
    if !folder.is_dir() {
        return Ok(problems);
    }
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml && path != ctx.root.join(FILE) && fs_err::read(&path)?.starts_with(render::MARK.as_bytes())
        {
            let path = path.strip_prefix(&ctx.root).unwrap_or(&path).display();
            problems.push(format!("{path} was generated, but nothing generates it any more: remove it"));
        }
    }
    problems.sort();
    Ok(problems)
}

#[cfg(test)]
mod tests;
