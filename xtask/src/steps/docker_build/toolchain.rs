//! What the machine compiles with, and which version of the app it compiles.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::command::Call;
use crate::context::Context;
use crate::workspace;

/// What a plan needs to know of the machine.
pub(super) struct Toolchain {
    /// `rustc --print sysroot`.
    pub(super) sysroot: PathBuf,
    pub(super) cargo_home: PathBuf,
    /// The app's version.
    pub(super) version: String,
}

impl Toolchain {
    pub(super) fn ask(ctx: &Context) -> Result<Self> {
        let sysroot = Call::new("rustc").args(["--print", "sysroot"]);
        // Side by side: each waits for rustup.
        let (sysroot, version) = std::thread::scope(|scope| {
            let sysroot = scope.spawn(|| sysroot.read(&ctx.root));
            let version = workspace::version(ctx);
            (sysroot.join(), version)
        });
        let sysroot = sysroot.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let home = Path::new(ctx.environment.get("HOME").unwrap_or_default()).join(".cargo");
        Ok(Self {
            sysroot: sysroot.into(),
            cargo_home: ctx.environment.get("CARGO_HOME").map_or(home, PathBuf::from),
            version: version?,
        })
    }
}
