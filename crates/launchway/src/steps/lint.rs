//! Step: lint. Formatting, clippy, the generated workflow, the recipe, the documentation, and two tools where they are.
//!
//! Every check runs, also after one failed: a developer mends them together.

use std::fmt;

use anyhow::Result;

use crate::context::Context;
use crate::tools::{DENY, Found, Tool, ZIZMOR};
use crate::{image, workflow};
use launchway_core::call;
use launchway_core::command::Call;
use launchway_core::exit::{Exit, Failure};

/// One check.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Run(Call),
    /// The committed workflow is what the pipeline table says.
    Workflow,
    /// Both engines can follow the recipe.
    Recipe,
    /// A tool that is not here: not a pass.
    Skip {
        check: &'static str,
        reason: String,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(call) => write!(f, "{call}"),
            Self::Workflow => f.write_str("compare .github/workflows/main.yaml with the pipeline table"),
            Self::Recipe => f.write_str("check that both engines can follow the recipe in the Dockerfile"),
            Self::Skip { check, reason } => write!(f, "skip {check}: {reason}"),
        }
    }
}

pub(crate) fn plan(ctx: &Context) -> Vec<Action> {
    let target = ctx.ci_target().to_string_lossy().into_owned();
    let shared = |call: Call| call.env("CARGO_TARGET_DIR", target.as_str());
    vec![
        Action::Run(call!("cargo fmt --all --check")),
        Action::Workflow,
        Action::Recipe,
        // Warnings are denied here and not by `RUSTFLAGS`, which would compile every dependency once more.
        Action::Run(shared(call!("cargo clippy --workspace --all-targets --locked -- -D warnings"))),
        Action::Run(
            shared(call!("cargo doc --workspace --no-deps --locked")).env("RUSTDOCFLAGS", "-D warnings"),
        ),
        optional(ctx, &DENY, |deny| deny.args("deny --workspace check bans licenses sources".split(' '))),
        optional(ctx, &ZIZMOR, |zizmor| {
            zizmor.args("--offline --persona=auditor .github/workflows".split(' '))
        }),
    ]
}

pub(crate) fn run(ctx: &Context, actions: &[Action]) -> Result<()> {
    let mut failed = Vec::new();
    for action in actions {
        ctx.interrupt.check()?;
        if matches!(action, Action::Workflow | Action::Recipe) {
            ctx.reporter.command(&action.to_string());
        }
        let result = match action {
            Action::Run(call) => ctx.check(call),
            Action::Workflow => workflow::check(ctx),
            Action::Recipe => image::check(ctx),
            Action::Skip { check, reason } => {
                ctx.reporter.skipped(check, reason);
                Ok(())
            }
        };
        match result {
            Err(error) if matches!(Exit::of(&error), Exit::Interrupted | Exit::Internal) => {
                return Err(error);
            }
            Err(error) => {
                // What a child printed is told with its places; the rest is nowhere but in the error.
                if !matches!(action, Action::Run(_)) {
                    ctx.reporter.note(format!("{error:#}"));
                }
                failed.push(action.to_string());
            }
            Ok(()) => {}
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::CheckFailed,
        format!("{} of {} checks failed:\n  {}", failed.len(), actions.len(), failed.join("\n  ")),
    )
    .into())
}

/// The tool's check where the pinned version is here, and its name and install line where it is not.
fn optional(ctx: &Context, tool: &'static Tool, call: impl FnOnce(Call) -> Call) -> Action {
    match tool.find(ctx) {
        Found::Pinned(program) => Action::Run(call(Call::new(program.to_string_lossy()))),
        found => Action::Skip { check: tool.name, reason: tool.problem(&found) },
    }
}

#[cfg(test)]
mod tests;
