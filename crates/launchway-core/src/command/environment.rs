//! What a child inherits from the environment: no secret, and nothing that is meant for this process alone.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use crate::secret::Redactor;

/// Variables that this run withholds in addition to those that are always withheld.
#[derive(Clone, Debug, Default)]
struct Withheld {
    names: Vec<String>,
    /// Finds the secrets in other variables.
    secrets: Redactor,
}

static WITHHELD: Mutex<Option<Withheld>> = Mutex::new(None);

/// From now on, no child inherits these variables, or any other variable that contains one of the secrets.
pub fn withhold(names: impl IntoIterator<Item = String>, secrets: Redactor) {
    let withheld = Withheld { names: names.into_iter().collect(), secrets };
    *WITHHELD.lock().unwrap_or_else(PoisonError::into_inner) = Some(withheld);
}

/// Removes from a child's environment what it does not need.
///
/// Cargo keeps the tokens for private registries, which it needs to fetch. To hide them from build scripts too, use one
/// of cargo's credential providers.
pub(super) fn strip(command: &mut Command, is_cargo: bool, inherited: Option<&[&str]>) -> Result<()> {
    let withheld = WITHHELD.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default();
    for (name, value) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if is_added_by_cargo(&text)
            || is_for_us_alone(&text)
            || is_of_a_hook(&text)
            || inherited.is_some_and(|names| !is_one_of(&text, names))
            || withheld.has(&text, &value) && !(is_cargo && is_registry_token(&text))
        {
            command.env_remove(&name);
        } else if matches!(&*text, "LD_LIBRARY_PATH" | "DYLD_FALLBACK_LIBRARY_PATH") {
            let own: Vec<PathBuf> =
                std::env::split_paths(&value).filter(|path| !is_toolchain_path(path)).collect();
            if own.is_empty() {
                command.env_remove(&name);
            } else {
                command.env(&name, std::env::join_paths(own)?);
            }
        }
    }
    Ok(())
}

impl Withheld {
    fn has(&self, name: &str, value: &OsStr) -> bool {
        is_token(name)
            || self.names.iter().any(|withheld| withheld == name)
            || self.secrets.finds(&value.to_string_lossy())
    }
}

/// The files through which a step on GitHub passes on its outputs and environment, some of which contain secrets.
fn is_for_us_alone(name: &str) -> bool {
    matches!(name, "GITHUB_ENV" | "GITHUB_PATH" | "GITHUB_OUTPUT" | "GITHUB_STATE" | "GITHUB_STEP_SUMMARY")
}

/// Whether a variable is one of the names, which may end with `*`.
fn is_one_of(variable: &str, names: &[&str]) -> bool {
    names.iter().any(|name| match name.strip_suffix('*') {
        Some(start) => variable.starts_with(start),
        None => variable == *name,
    })
}

/// What `cargo run` sets for the program it starts.
///
/// A nested cargo must not see it: build scripts that watch these variables would run again at every switch between
/// `cargo build` and `cargo xtask`.
/// The list is that of <https://doc.rust-lang.org/cargo/reference/environment-variables.html>.
pub(super) fn is_added_by_cargo(name: &str) -> bool {
    matches!(
        name,
        "CARGO" | "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE" | "RUST_RECURSION_COUNT"
    ) || name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_MANIFEST_")
}

/// Whether cargo added a folder to the library path: one of its own output folders or the toolchain's.
fn is_toolchain_path(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.contains("/rustlib/")
        || text.contains("/toolchains/")
        || text.contains("/target/debug")
        || text.contains("/target/release")
}

/// Whether a variable points git to a repository, an index or settings, as git sets them for its hooks.
///
/// Variables that say how to reach a server are kept: cargo needs them to fetch with git.
pub fn is_of_a_hook(name: &str) -> bool {
    let stays = |name: &str| {
        ["SSH", "SSL_", "HTTP_", "PROXY_", "ASKPASS", "TERMINAL_PROMPT"]
            .iter()
            .any(|word| name.starts_with(word))
            || ["CONFIG_GLOBAL", "CONFIG_SYSTEM", "CONFIG_NOSYSTEM", "DISCOVERY_ACROSS_FILESYSTEM"]
                .contains(&name)
    };
    name.strip_prefix("GIT_").is_some_and(|name| !stays(name))
}

/// Whether a variable is a token of the machine that the pipeline itself never reads.
///
/// On GitHub they give access to the repository, its packages and the run's own artifacts; cargo's publishes packages.
pub fn is_token(name: &str) -> bool {
    matches!(name, "GITHUB_TOKEN" | "GH_TOKEN" | "CARGO_REGISTRY_TOKEN")
        || name.starts_with("ACTIONS_") && name.ends_with("_TOKEN")
        || is_registry_token(name)
}

/// Whether cargo uses a variable to log in to a private registry.
pub(crate) fn is_registry_token(name: &str) -> bool {
    name.starts_with("CARGO_REGISTRIES_") && name.ends_with("_TOKEN")
}
