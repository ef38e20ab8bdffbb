//! The crates that cargo compiles. A lock file lists more: those of features that are off and of other platforms.

use std::collections::BTreeSet;
use std::path::Path;

use super::detect::Build;
use launchway_core::call;
use launchway_core::command::Call;

/// The names of these crates.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    names: BTreeSet<String>,
    /// Otherwise cargo could not tell, and they are all crates of the lock file.
    pub(super) is_certain: bool,
}

impl Compiled {
    /// Those of the shipped package.
    pub(super) fn to_ship(root: &Path, package: &str, build: &Build, lock: &str) -> Self {
        let mut call = tree("normal,build").args(["--package", package]);
        if build.no_default_features.is_some() {
            call = call.arg("--no-default-features");
        }
        for feature in &build.features {
            call = call.args(["--features", feature.value.as_str()]);
        }
        Self::read(&call, root, lock)
    }

    /// With those that only the workspace's other packages and its tests need.
    pub(super) fn with_tests(&self, root: &Path, lock: &str) -> Self {
        let mut all = Self::read(&tree("normal,build,dev").arg("--workspace"), root, lock);
        all.names.extend(self.names.iter().cloned());
        all
    }

    fn read(call: &Call, root: &Path, lock: &str) -> Self {
        let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
        match call.read(root) {
            Ok(tree) => Self { names: tree.lines().filter_map(first).collect(), is_certain: true },
            Err(_) => Self::of_lock(lock),
        }
    }

    /// What is known without cargo.
    pub(super) fn of_lock(lock: &str) -> Self {
        let names = lock.lines().filter_map(locked_name).map(str::to_owned).collect();
        Self { names, is_certain: false }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

/// Lists crates, one a line. It downloads what is missing; without a network, one attempt is enough.
fn tree(edges: &str) -> Call {
    let format = "{p}";
    let call = call!("cargo tree --locked --edges {edges} --prefix none --format {format}");
    call.args(["--target", "x86_64-unknown-linux-gnu"]).env("CARGO_NET_RETRY", "0")
}

/// The crate that a line of a lock file names.
pub(super) fn locked_name(line: &str) -> Option<&str> {
    line.strip_prefix("name = \"")?.strip_suffix('"')
}
