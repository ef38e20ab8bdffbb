//! Other programs, and the processes of a folder.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs a program that must succeed and returns what it printed, without the last line break.
pub(crate) fn program(name: &str, arguments: &[&str], folder: &Path) -> String {
    try_program(name, arguments, folder).unwrap()
}

/// The same, with an error for what does not succeed.
#[expect(clippy::disallowed_methods, reason = "the environment is one of the test's own")]
pub(crate) fn try_program(name: &str, arguments: &[&str], folder: &Path) -> Result<String, String> {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(folder);
    // A hook that runs the tests sets variables that lead to its own repository.
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("GIT_") {
            command.env_remove(variable);
        }
    }
    // Whoever runs the tests may sign commits, or have hooks.
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "Test").env(format!("GIT_{role}_EMAIL"), "test@example.com");
    }
    let output = command.output().map_err(|error| format!("cannot start {name}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name} {arguments:?} ended with {}: {said}", output.status));
    }
    Ok(String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
}

/// Waits until no process has its program or its folder under `root`.
pub(super) fn none_in(root: &Path) {
    // The kernel may need a moment to take a killed process off its list.
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let left = of(root);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "left behind: {left:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The processes whose program or folder is under `root`: their number and command line.
fn of(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir("/proc").unwrap().flatten() {
        let process = entry.path();
        let inside = |link: &str| {
            // A process may end at any time, and one of another user does not tell.
            fs_err::read_link(process.join(link)).is_ok_and(|target| target.starts_with(root))
        };
        if entry.file_name().to_string_lossy().parse::<u32>().is_ok() && (inside("exe") || inside("cwd")) {
            let line = fs_err::read(process.join("cmdline")).unwrap_or_default();
            found.push(format!("{} {}", entry.file_name().display(), String::from_utf8_lossy(&line)));
        }
    }
    found
}
