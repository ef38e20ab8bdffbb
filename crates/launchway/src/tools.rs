//! The tools that the pipeline uses, each at a pinned version, and where they are found.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::config::{Config, OwnCheck, TestRunner};
use crate::project::output;
use crate::table::StepId;
use launchway_core::call;
use launchway_core::command::Call;
use launchway_core::environment::Environment;

/// A program that is not part of the Rust toolchain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    /// The package's name.
    pub(crate) name: Cow<'static, str>,
    /// The name of its program.
    pub(crate) program: Cow<'static, str>,
    pub(crate) version: Cow<'static, str>,
    /// The step that uses it.
    pub(crate) step: StepId,
    /// Whether the step requires it. Otherwise its check is skipped by name.
    pub(crate) required: bool,
    /// The installer, and its separator between name and version.
    install: (&'static str, &'static str),
}

/// Runs the tests under coverage.
pub(crate) static LLVM_COV: Tool = Tool::of("cargo-llvm-cov", "0.9.0", StepId::TestCoverage, true, CARGO);
/// Runs the tests, each in a process of its own, where the configuration asks for it.
pub(crate) static NEXTEST: Tool = Tool::of("cargo-nextest", "0.9.143", StepId::TestCoverage, true, CARGO);
/// Checks the dependencies' licences, sources and duplicates.
pub(crate) static DENY: Tool = Tool::of("cargo-deny", "0.20.2", StepId::Lint, false, CARGO);
/// Audits the workflow.
pub(crate) static ZIZMOR: Tool = Tool::of("zizmor", "1.29.0", StepId::Lint, false, PIPX);

const CARGO: (&str, &str) = ("cargo install --locked", "@");
/// Not installed with cargo: its package on crates.io needs a newer compiler than the workspace's.
const PIPX: (&str, &str) = ("pipx install", "==");

static TOOLS: [&Tool; 4] = [&LLVM_COV, &NEXTEST, &DENY, &ZIZMOR];

/// The tools that the pipeline's own steps use as they are configured; the workflow installs the same versions.
pub(crate) fn of_steps(config: &Config) -> impl Iterator<Item = &'static Tool> {
    TOOLS.into_iter().filter(|tool| tool.is_used(config))
}

/// Every tool of this workspace's pipeline, including those of its own checks.
pub(crate) fn all(config: &Config) -> Vec<Tool> {
    of_steps(config).cloned().chain(of_checks(config)).collect()
}

/// The tools that the configuration pins for its own checks.
pub(crate) fn of_checks(config: &Config) -> Vec<Tool> {
    let mut tools: Vec<Tool> = config.lint.checks.iter().filter_map(Tool::of_check).collect();
    tools.dedup();
    tools
}

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
    const fn of(
        name: &'static str,
        version: &'static str,
        step: StepId,
        required: bool,
        install: (&'static str, &'static str),
    ) -> Self {
        let [name, program, version] = [Cow::Borrowed(name), Cow::Borrowed(name), Cow::Borrowed(version)];
        Self { name, program, version, step, required, install }
    }

    /// The tool that one of the workspace's own checks pins.
    pub(crate) fn of_check(check: &OwnCheck) -> Option<Self> {
        let (name, version) = check.tool()?;
        Some(Self {
            name: Cow::Owned(name.to_owned()),
            program: Cow::Owned(check.program()),
            version: Cow::Owned(version.to_owned()),
            step: StepId::Lint,
            required: true,
            install: CARGO,
        })
    }

    /// The line that installs the pinned version for the user.
    pub(crate) fn install_line(&self) -> String {
        let (program, joint) = self.install;
        format!("{program} {}{joint}{}", self.name, self.version)
    }

    /// `name@version`, the notation of cargo and of the action that installs tools.
    pub(crate) fn with_version(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// Whether the pipeline uses the tool as it is configured.
    fn is_used(&self, config: &Config) -> bool {
        *self != NEXTEST || config.test.runner == TestRunner::Nextest
    }

    /// Looks for the tool in the pipeline's own folder and on `PATH`.
    pub(crate) fn find(&self, machine: Machine<'_>) -> Found {
        let (own, program) = (self.own_path(machine), &*self.program);
        if self.is_recorded(machine) && own.is_file()
            || version(&own, program).is_some_and(|v| v == self.version)
        {
            return Found::Pinned(own);
        }
        match machine.on_path(program).and_then(|path| Some((version(&path, program)?, path))) {
            Some((found, program)) if found == self.version => Found::Pinned(program),
            Some((found, _)) => Found::Other(found),
            None => Found::Nowhere,
        }
    }

    /// The program in the pipeline's own folder, if it is installed.
    pub(crate) fn own_path(&self, machine: Machine<'_>) -> PathBuf {
        machine.own_folder().join("bin").join(&*self.program)
    }

    /// The program at the pinned version: the one that was found, or the one that preflight installs.
    pub(crate) fn pinned(&self, machine: Machine<'_>) -> PathBuf {
        match self.find(machine) {
            Found::Pinned(program) => program,
            Found::Other(_) | Found::Nowhere => self.own_path(machine),
        }
    }

    /// Whether cargo has recorded this version in the pipeline's own folder: not every program prints its version.
    fn is_recorded(&self, machine: Machine<'_>) -> bool {
        let record = fs_err::read_to_string(machine.own_folder().join(".crates.toml")).unwrap_or_default();
        record.contains(&format!("\"{} {} (", self.name, self.version))
    }

    /// The call that installs the tool into the pipeline's own folder, never into the user's.
    pub(crate) fn install(&self, machine: Machine<'_>) -> Call {
        let (folder, tool) = (machine.own_folder(), self.with_version());
        // A first run waits for this: unoptimised and without debug information it takes a third of the time, and the
        // tools wait for others most of theirs.
        call!("cargo install --locked --debug --root {folder} {tool}")
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            // Variables that change how or where cargo builds are meant for the workspace.
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTFLAGS")
    }

    /// The problem, with a hint.
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

/// The machine that steps run on: its programs, and those that the pipeline installs for itself.
#[derive(Clone, Copy)]
pub(crate) struct Machine<'a> {
    /// The workspace root.
    pub(crate) root: &'a Path,
    pub(crate) environment: &'a Environment,
    /// Whether nothing may leave it.
    pub(crate) is_rehearsal: bool,
}

impl Machine<'_> {
    /// Whether the pipeline may install anything: not under `XTASK_INSTALL=never`.
    pub(crate) fn may_install(self) -> bool {
        self.environment.get("XTASK_INSTALL") != Some("never")
    }

    fn own_folder(self) -> PathBuf {
        output(self.root).join("tools")
    }

    /// The first file of this name on `PATH`.
    pub(crate) fn on_path(self, name: &str) -> Option<PathBuf> {
        std::env::split_paths(self.environment.get("PATH")?)
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
    }
}

/// The version that a program prints, as in `cargo-deny 0.18.4`.
fn version(program: &Path, name: &str) -> Option<String> {
    if !program.is_file() {
        return None;
    }
    // A subcommand of cargo expects its own name first, as cargo passes it.
    let call = Call::new(program.to_string_lossy()).args(name.strip_prefix("cargo-")).arg("--version");
    let printed = call.read(Path::new("/")).ok()?;
    let is_version = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit());
    let mut words = printed.split_whitespace().map(|word| word.strip_prefix('v').unwrap_or(word));
    words.find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::context::Context;

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
        let environment = Environment::of([("PATH", path.to_str().unwrap())]);
        let machine = Machine { root: dir.path(), environment: &environment, is_rehearsal: false };
        assert_eq!(DENY.find(machine), Found::Nowhere);
        assert!(DENY.problem(&DENY.find(machine)).contains("cargo install --locked cargo-deny@"));

        program(&path, "cargo-deny", "cargo-deny 0.1.0");
        assert_eq!(DENY.find(machine), Found::Other("0.1.0".to_owned()));
        let problem = DENY.problem(&DENY.find(machine));
        assert!(problem.contains("cargo-deny is 0.1.0, but the pipeline needs"), "{problem}");

        program(&path, "cargo-deny", &format!("cargo-deny {}", DENY.version));
        assert_eq!(DENY.find(machine), Found::Pinned(path.join("cargo-deny")));

        let own = dir.path().join("target/xtask/tools/bin");
        program(&own, "cargo-deny", &format!("cargo-deny {}", DENY.version));
        assert_eq!(DENY.find(machine), Found::Pinned(own.join("cargo-deny")));
    }

    #[test]
    fn a_tool_of_an_own_check_is_known_by_its_package_and_found_by_its_program() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("path");
        let mut ctx = Context::for_test(dir.path(), Environment::of([("PATH", path.to_str().unwrap())]));
        ctx.config.lint.checks = vec![
            OwnCheck::of("cargo sqlx prepare --check", Some("sqlx-cli@0.8.2")),
            OwnCheck::of("cargo machete", None),
        ];
        let [tool] = of_checks(&ctx.config).try_into().unwrap();
        assert_eq!(all(&ctx.config).len(), of_steps(&ctx.config).count() + 1);
        assert!(tool.required && tool.install(ctx.machine()).to_string().ends_with("tools sqlx-cli@0.8.2"));
        assert_eq!(tool.find(ctx.machine()), Found::Nowhere);
        // Wherever in the line the version stands.
        for prints in ["0.8.2", "sqlx-cli 0.8.2", "cargo sqlx, version v0.8.2 (abc)"] {
            program(&path, "cargo-sqlx", prints);
            assert_eq!(tool.find(ctx.machine()), Found::Pinned(path.join("cargo-sqlx")), "{prints}");
        }
        program(&path, "cargo-sqlx", "sqlx-cli 0.8.1");
        assert_eq!(tool.find(ctx.machine()), Found::Other("0.8.1".to_owned()));
        // A program that prints no version is known by what cargo recorded.
        let tools = dir.path().join("target/xtask/tools");
        program(&tools.join("bin"), "cargo-sqlx", "a tool");
        assert_eq!(tool.find(ctx.machine()), Found::Other("0.8.1".to_owned()));
        let record = "[v1]\n\"sqlx-cli 0.8.2 (registry+https://github.com/rust-lang/crates.io-index)\" = [\"cargo-sqlx\"]\n";
        fs_err::write(tools.join(".crates.toml"), record).unwrap();
        assert_eq!(tool.find(ctx.machine()), Found::Pinned(tools.join("bin/cargo-sqlx")));
    }

    #[test]
    fn a_missing_tool_is_installed_into_the_workspace() {
        let machine =
            Machine { root: Path::new("/w"), environment: &Environment::default(), is_rehearsal: false };
        assert!(machine.may_install());
        assert_eq!(
            LLVM_COV.install(machine).to_string(),
            format!(
                "CARGO_PROFILE_DEV_DEBUG=false cargo install --locked --debug --root /w/target/xtask/tools cargo-llvm-cov@{}",
                LLVM_COV.version
            )
        );
    }
}
