//! Git for tests.

pub(crate) mod registry;

use std::path::Path;

use launchway_core::command::Call;

/// Runs git in `folder` as a test user: the user who runs the tests may sign commits or have hooks.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let settings = ["-c", "user.name=Test", "-c", "user.email=test@example.com"];
    let call = Call::new("git").args(settings).args(arguments.iter().copied());
    let call = call.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    call.read(folder).unwrap()
}
