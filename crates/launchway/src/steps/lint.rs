//! Step: lint. Formatting, clippy, the generated workflows, the Dockerfile, the documentation, two tools if they are
//! installed, and the workspace's own checks.
//!
//! Every check runs even if an earlier one failed: a developer fixes them together.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::config::OwnCheck;
use crate::context::Context;
use crate::project::{Project, ci_target};
use crate::steps::docker_build;
use crate::tools::{DENY, Found, Machine, Tool, ZIZMOR};
use crate::workflow;
use launchway_core::call;
use launchway_core::command::Call;
use launchway_core::events::Reporter;
use launchway_core::exit::{Exit, Failure};
use launchway_core::findings::named;
use launchway_core::runner::Runner;
use launchway_image::Engine;

/// One check.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Run(Call),
    /// The committed workflows at these paths match the pipeline table.
    Workflows([String; 2]),
    /// The engine can build the Dockerfile.
    Dockerfile(Engine),
    /// The tool is not installed; a skip is not a pass.
    Skip {
        check: String,
        reason: String,
    },
}

impl Check {
    /// The check as a person would type it.
    fn short(&self, root: &Path) -> String {
        match self {
            Self::Run(call) => call.short(root),
            check => check.to_string(),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(call) => write!(f, "{call}"),
            Self::Workflows([pipeline, rollback]) => {
                write!(f, "compare {pipeline} and {rollback} with the pipeline table")
            }
            Self::Dockerfile(Engine::Builtin) => {
                f.write_str("check that the builtin engine can follow the Dockerfile's final stage")
            }
            Self::Dockerfile(Engine::Docker) => f.write_str("check that the Dockerfile can be parsed"),
            Self::Skip { check, reason } => write!(f, "skip {check}: {reason}"),
        }
    }
}

/// Every check of the step, in order.
#[derive(Debug)]
pub(crate) struct LintPlan {
    checks: Vec<Check>,
}

impl fmt::Display for LintPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.checks.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// The licences and sources that the workspace allows.
pub(crate) const DENY_CONFIG: &str = "deny.toml";

pub(crate) fn plan(ctx: &Context) -> LintPlan {
    let target = ci_target(&ctx.root).to_string_lossy().into_owned();
    let shared = |call: Call| call.env("CARGO_TARGET_DIR", target.as_str());
    let config = &ctx.config.lint;
    let wanted = |on: bool, check: &'static str, call: Call| {
        let reason = || format!("`lint.{check}` is off in the configuration");
        if on { Check::Run(call) } else { Check::Skip { check: check.to_owned(), reason: reason() } }
    };
    let compiling = |call: Call| shared(call).envs(&ctx.config.build.environment);
    // Warnings are denied here and not through `RUSTFLAGS`, which would recompile every dependency.
    let clippy = compiling(call!("cargo clippy --workspace --all-targets --locked -- -D warnings"));
    let doc = compiling(call!("cargo doc --workspace --no-deps --locked")).env("RUSTDOCFLAGS", "-D warnings");
    let place = workflow::Place::of(&ctx.root);
    let workflows = workflow::names(&ctx.config.workflow).map(|name| place.path(&name));
    let mut checks = vec![
        wanted(config.fmt, "fmt", call!("cargo fmt --all --check")),
        Check::Workflows(workflows.clone()),
        Check::Dockerfile(ctx.config.engine),
        wanted(config.clippy, "clippy", clippy),
        wanted(config.doc, "doc", doc),
        if ctx.root.join(DENY_CONFIG).is_file() {
            optional(ctx.machine(), &DENY, |deny| {
                deny.args("deny --workspace check bans licenses sources".split(' '))
            })
        } else {
            Check::Skip { check: DENY.name.to_string(), reason: format!("no {DENY_CONFIG}") }
        },
        // Its findings in the repository's other workflows do not count.
        optional(ctx.machine(), &ZIZMOR, |zizmor| {
            zizmor.args(["--offline", "--persona=auditor"]).args(workflows)
        }),
    ];
    checks.extend(config.checks.iter().map(|check| own(ctx.machine(), check)));
    LintPlan { checks }
}

/// One of the workspace's own checks. Cargo subcommands share the target folder of the other checks.
pub(crate) fn own(machine: Machine<'_>, check: &OwnCheck) -> Check {
    let is_cargo = check.is_cargo();
    let call = match Tool::of_check(check) {
        Some(tool) => match tool.find(machine) {
            Found::Pinned(program) => Call::new(program.to_string_lossy()),
            // Preflight installs it there.
            Found::Other(_) | Found::Nowhere => Call::new(tool.own_path(machine).to_string_lossy()),
        },
        None if program(machine, check).is_some() || is_cargo && is_built_in(machine.root, check) => {
            Call::new(check.words().next().unwrap_or_default())
        }
        None => {
            let program = check.program();
            let reason = format!(
                "`{program}` is not on this machine: install it, or name its package and version as `tool` in `lint.checks`"
            );
            return Check::Skip { check: check.run.clone(), reason };
        }
    };
    let call = call.args(check.words().skip(1));
    Check::Run(if is_cargo {
        call.env("CARGO_TARGET_DIR", ci_target(machine.root).to_string_lossy())
    } else {
        call
    })
}

/// The program of an own check: below the workspace root, among cargo's programs or on `PATH`.
pub(crate) fn program(machine: Machine<'_>, check: &OwnCheck) -> Option<PathBuf> {
    let name = check.program();
    if name.contains('/') {
        return Some(machine.root.join(name)).filter(|path| path.is_file());
    }
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = var("CARGO_HOME").or_else(|| Some(var("HOME")?.join(".cargo")));
    let of_cargo =
        home.map(|home| home.join("bin").join(&name)).filter(|path| check.is_cargo() && path.is_file());
    of_cargo.or_else(|| machine.on_path(&name))
}

/// Whether cargo has the subcommand built in, or as an alias.
fn is_built_in(root: &Path, check: &OwnCheck) -> bool {
    let listed = Call::new("cargo").arg("--list").read(root).unwrap_or_default();
    let mut names = listed.lines().filter_map(|line| line.split_whitespace().next());
    check.words().nth(1).is_some_and(|name| names.any(|listed| listed == name))
}

impl LintPlan {
    pub(crate) fn run(&self, runner: &Runner, project: Project<'_>) -> Result<()> {
        let Runner { folder: root, reporter, interrupt } = runner;
        let mut failed = Vec::new();
        for check in &self.checks {
            interrupt.check()?;
            if matches!(check, Check::Workflows(_) | Check::Dockerfile(_)) {
                reporter.action(&check.to_string());
            }
            let result = match check {
                Check::Run(call) => runner.check(call),
                Check::Workflows(_) => workflow::check(root, project.config, reporter),
                Check::Dockerfile(engine) => docker_build::check(project, *engine),
                Check::Skip { check, reason } => {
                    reporter.skipped(check, reason);
                    Ok(())
                }
            };
            match result {
                Err(error) if matches!(Exit::of(&error), Exit::Interrupted | Exit::Internal) => {
                    return Err(error);
                }
                Err(error) => {
                    // The output of a child, and the locations in it, are already reported.
                    let why = if matches!(check, Check::Run(_)) {
                        String::new()
                    } else {
                        why(root, reporter, &error)
                    };
                    failed.push(check.short(root) + &why);
                }
                Ok(()) => {}
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        let ran = self.checks.iter().filter(|check| !matches!(check, Check::Skip { .. })).count();
        let message = format!("{} of {ran} checks failed:\n  {}", failed.len(), failed.join("\n  "));
        Err(Failure::new(Exit::CheckFailed, message).into())
    }
}

/// Reports why one of our own checks failed, and returns what the end of the run shows of it besides its locations.
fn why(root: &Path, reporter: &Reporter, error: &anyhow::Error) -> String {
    /// A difference may be longer; the log has all of it.
    const LINES: usize = 12;

    let text = format!("{error:#}");
    let findings: Vec<_> = named(root, &text).collect();
    let lines = if findings.is_empty() { LINES } else { 0 };
    for finding in findings {
        reporter.finding(finding);
    }
    let why = text.lines().take(lines).map(|line| format!("\n    {line}")).collect::<Vec<_>>().concat();
    reporter.note(text);
    why
}

/// The tool's check if the pinned version is installed; otherwise its name and install line.
fn optional(machine: Machine<'_>, tool: &'static Tool, call: impl FnOnce(Call) -> Call) -> Check {
    match tool.find(machine) {
        Found::Pinned(program) => Check::Run(call(Call::new(program.to_string_lossy()))),
        found => Check::Skip { check: tool.name.to_string(), reason: tool.problem(&found) },
    }
}

#[cfg(test)]
mod tests;
