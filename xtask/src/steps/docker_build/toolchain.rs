//! What the machine compiles with, and which version of the app it compiles.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use crate::command::Call;
use crate::context::Context;
use crate::exit::{Exit, OrExit as _};

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
            let version = version(ctx);
            (sysroot.join(), version)
        });
        let sysroot = sysroot.map_err(|_| anyhow!("`rustc` could not be asked"))??;
        let home = Path::new(ctx.environment.get("HOME").unwrap_or_default()).join(".cargo");
        Ok(Self {
            sysroot: sysroot.into(),
            cargo_home: ctx.environment.get("CARGO_HOME").map_or(home, PathBuf::from),
            version: version?,
        })
    }
}

/// The version of the package that is shipped.
pub(crate) fn version(ctx: &Context) -> Result<String> {
    // `path+file:///…/app#0.1.0`, or `…#app@0.1.0` where the folder has another name.
    let id = Call::cargo("pkgid --locked --package")
        .arg(&ctx.config.app)
        .read(&ctx.root)
        .with_context(|| format!("`app` is `{}`, which is not a package here", ctx.config.app))
        .or_exit(Exit::Usage)?;
    Ok(id.rsplit(['#', '@']).next().unwrap_or_default().to_owned())
}
