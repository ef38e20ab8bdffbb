//! The tools that the pipeline uses, each at a pinned version, and where they are found.

use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::table::StepId;
use launchway_core::call;
use launchway_core::command::Call;

/// A program that is not part of the Rust toolchain.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    /// The package's and the program's name.
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// The step that uses it.
    pub(crate) step: StepId,
    /// Whether the step cannot be done without it. What can is skipped by name.
    pub(crate) required: bool,
    /// The program that installs it, and how that one joins name and version.
    install: (&'static str, &'static str),
}

/// Runs the tests under coverage.
pub(crate) const LLVM_COV: Tool = Tool {
    name: "cargo-llvm-cov",
    version: "0.9.0",
    step: StepId::TestCoverage,
    required: true,
    install: CARGO,
};
/// Checks the dependencies' licences, sources and duplicates.
pub(crate) const DENY: Tool =
    Tool { name: "cargo-deny", version: "0.20.2", step: StepId::Lint, required: false, install: CARGO };
/// Audits the workflow.
pub(crate) const ZIZMOR: Tool =
    Tool { name: "zizmor", version: "1.29.0", step: StepId::Lint, required: false, install: PIPX };

const CARGO: (&str, &str) = ("cargo install --locked", "@");
/// Its package on crates.io needs a newer compiler than the workspace's.
const PIPX: (&str, &str) = ("pipx install", "==");

/// Every tool; the workflow installs the same versions.
pub(crate) const TOOLS: [Tool; 3] = [LLVM_COV, DENY, ZIZMOR];

/// Where a tool is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// On `PATH`, or in the pipeline's own folder, at the pinned version.
    Pinned(PathBuf),
    /// On `PATH`, at another version.
    Other(String),
    Nowhere,
}

impl Tool {
    /// The line that installs the pinned version for the user.
    pub(crate) fn install_line(&self) -> String {
        let (program, joint) = self.install;
        format!("{program} {}{joint}{}", self.name, self.version)
    }

    /// Looks for the tool in the pipeline's own folder and on `PATH`.
    pub(crate) fn find(&self, ctx: &Context) -> Found {
        let own = own_folder(ctx).join("bin").join(self.name);
        if version(&own, self.name).as_deref() == Some(self.version) {
            return Found::Pinned(own);
        }
        match on_path(ctx, self.name).and_then(|program| Some((version(&program, self.name)?, program))) {
            Some((found, program)) if found == self.version => Found::Pinned(program),
            Some((found, _)) => Found::Other(found),
            None => Found::Nowhere,
        }
    }

    /// Whether the pipeline may install anything: not under `XTASK_INSTALL=never`.
    pub(crate) fn may_install(ctx: &Context) -> bool {
        ctx.environment.get("XTASK_INSTALL") != Some("never")
    }

    /// The call that installs the tool into the pipeline's own folder, never into the user's.
    pub(crate) fn install(&self, ctx: &Context) -> Call {
        let (folder, tool) = (own_folder(ctx), format!("{}@{}", self.name, self.version));
        call!("cargo install --locked --quiet --root {folder} {tool}")
            // The variables that make cargo build elsewhere or otherwise are meant for the workspace.
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTFLAGS")
    }

    /// What is wrong, with a hint.
    pub(crate) fn problem(&self, found: &Found) -> String {
        let Self { name, version, .. } = self;
        match found {
            Found::Pinned(_) => String::new(),
            Found::Other(other) => {
                format!("{name} is {other}, but the pipeline needs {version}: `{}`", self.install_line())
            }
            Found::Nowhere => format!("{name} {version} is not installed: `{}`", self.install_line()),
        }
    }
}

fn own_folder(ctx: &Context) -> PathBuf {
    ctx.output().join("tools")
}

/// The first file of this name on `PATH`.
pub(crate) fn on_path(ctx: &Context, name: &str) -> Option<PathBuf> {
    std::env::split_paths(ctx.environment.get("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// The version that a program prints of itself, as in `cargo-deny 0.18.4`.
fn version(program: &Path, name: &str) -> Option<String> {
    if !program.is_file() {
        return None;
    }
    // A subcommand of cargo expects its own name first, as cargo passes it.
    let call = Call::new(program.to_string_lossy()).args(name.strip_prefix("cargo-")).arg("--version");
    let printed = call.read(Path::new("/")).ok()?;
    printed.split_whitespace().nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use launchway_core::environment::Environment;

    fn program(folder: &Path, name: &str, prints: &str) {
        fs_err::create_dir_all(folder).unwrap();
        let path = folder.join(name);
        fs_err::write(&path, format!("#!/bin/sh\necho '{prints}'\n")).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_tool_is_taken_at_its_pinned_version_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("path");
        let ctx = Context::for_test(
            dir.path(),
            Environment::of([("PATH", path.to_str().unwrap()), ("XTASK_INSTALL", "never")]),
        );
        assert_eq!(DENY.find(&ctx), Found::Nowhere);
        assert!(DENY.problem(&DENY.find(&ctx)).contains("cargo install --locked cargo-deny@"));

        program(&path, "cargo-deny", "cargo-deny 0.1.0");
        assert_eq!(DENY.find(&ctx), Found::Other("0.1.0".to_owned()));
        let problem = DENY.problem(&DENY.find(&ctx));
        assert!(problem.contains("cargo-deny is 0.1.0, but the pipeline needs"), "{problem}");

        program(&path, "cargo-deny", &format!("cargo-deny {}", DENY.version));
        assert_eq!(DENY.find(&ctx), Found::Pinned(path.join("cargo-deny")));

        let own = dir.path().join("target/xtask/tools/bin");
        program(&own, "cargo-deny", &format!("cargo-deny {}", DENY.version));
        assert_eq!(DENY.find(&ctx), Found::Pinned(own.join("cargo-deny")));
    }

    #[test]
    fn a_missing_tool_is_installed_into_the_workspace() {
        let ctx = Context::for_test(Path::new("/w"), Environment::default());
        assert!(Tool::may_install(&ctx));
        assert_eq!(
            LLVM_COV.install(&ctx).to_string(),
            format!(
                "cargo install --locked --quiet --root /w/target/xtask/tools cargo-llvm-cov@{}",
                LLVM_COV.version
            )
        );
    }
}
