//! The machine's toolchain, and the workspace that it compiles.

use std::path::{Path, PathBuf};

use anyhow::Result;
use toml::Table;

use super::sources::Sources;
use crate::config::Config;
use crate::git::Git;
use crate::workspace::{self, Workspace};
use launchway_core::command::Call;
use launchway_core::environment::Environment;

/// What a plan needs to know about the machine.
pub(super) struct Toolchain {
    /// `rustc --print sysroot`.
    pub(super) sysroot: PathBuf,
    pub(super) cargo_home: PathBuf,
    /// The commit that the compiler was built from, if it reports one.
    pub(super) commit: Option<String>,
    /// The toolchain that the sources require, whatever the machine's default is.
    pub(super) pinned: Option<String>,
    pub(super) workspace: Workspace,
}

impl Toolchain {
    pub(super) fn read(
        root: &Path,
        config: &Config,
        environment: &Environment,
        sources: &Sources,
    ) -> Result<Self> {
        let pinned = pinned(sources)?;
        let (sysroot, about) = (
            rustc(pinned.as_deref(), ["--print", "sysroot"]),
            rustc(pinned.as_deref(), ["--version", "--verbose"]),
        );
        // In parallel, because each waits for rustup.
        let (sysroot, about, workspace) = std::thread::scope(|scope| {
            let sysroot = scope.spawn(|| sysroot.read(root));
            let about = scope.spawn(|| about.read(root));
            let workspace = workspace::read(root, config);
            (sysroot.join(), about.join(), workspace)
        });
        let asked = |joined: std::thread::Result<Result<String>>| {
            joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        let (sysroot, about) = (asked(sysroot)?, asked(about)?);
        let commit = about.lines().find_map(|line| line.strip_prefix("commit-hash: "));
        let home = Path::new(environment.get("HOME").unwrap_or_default()).join(".cargo");
        Ok(Self {
            sysroot: sysroot.into(),
            cargo_home: environment.get("CARGO_HOME").map_or(home, PathBuf::from),
            commit: commit.filter(|commit| *commit != "unknown").map(str::to_owned),
            pinned,
            workspace: workspace?,
        })
    }
}

/// The compiler of the toolchain that the sources require.
fn rustc(pinned: Option<&str>, arguments: [&str; 2]) -> Call {
    let call = Call::new("rustc").args(arguments);
    match pinned {
        Some(pinned) => call.env("RUSTUP_TOOLCHAIN", pinned),
        None => call,
    }
}

/// Where the toolchain that compiles the image is installed.
pub(crate) fn sysroot(root: &Path, git: &Git) -> Result<PathBuf> {
    let pinned = pinned(&Sources::read(root, git)?)?;
    Ok(rustc(pinned.as_deref(), ["--print", "sysroot"]).read(root)?.into())
}

/// The toolchain of the sources' `rust-toolchain.toml`, by a name that rustup accepts.
fn pinned(sources: &Sources) -> Result<Option<String>> {
    let text = match sources.context.text("rust-toolchain")? {
        Some(text) => text,
        None => sources.context.text("rust-toolchain.toml")?.unwrap_or_default(),
    };
    let Ok(table) = text.parse::<Table>() else {
        // The old format is the name alone.
        return Ok(Some(text.trim().to_owned()).filter(|name| !name.is_empty() && !name.contains('\n')));
    };
    let channel = table.get("toolchain").and_then(|toolchain| toolchain.get("channel")?.as_str());
    Ok(channel.map(str::to_owned))
}
