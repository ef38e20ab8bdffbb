//! Child processes: one line to show, one way to run them.

use std::fmt;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::exit::{Exit, Failure, OrExit as _};
use crate::git;
use crate::interrupt::{self, Interrupt};
use crate::pipeline::VARIABLES;
use crate::plain::send_lines;

/// A command line: what `--explain` shows is what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    program: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    without: Vec<String>,
    /// The only variables that the child inherits, where that is not the whole environment.
    inherited: Option<&'static [&'static str]>,
    input: Option<PathBuf>,
}

impl Call {
    pub(crate) fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            without: Vec::new(),
            inherited: None,
            input: None,
        }
    }

    /// `cargo` of the toolchain that runs the pipeline; `line` is split at spaces.
    ///
    /// Its output is never coloured: it goes to a log, and places are read from it.
    pub(crate) fn cargo(line: &str) -> Self {
        Self::new("cargo").args(line.split_whitespace())
    }

    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub(crate) fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// A variable for this child, never a secret: the line that shows the call shows it too.
    pub(crate) fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// A variable that this child must not inherit.
    pub(crate) fn env_remove(mut self, name: impl Into<String>) -> Self {
        self.without.push(name.into());
        self
    }

    /// Of the environment this child inherits these variables and nothing else; `NAME_*` is all that begin with `NAME_`.
    pub(crate) fn inherit_only(mut self, names: &'static [&'static str]) -> Self {
        self.inherited = Some(names);
        self
    }

    /// A file that the child reads as its standard input.
    pub(crate) fn input(mut self, file: impl Into<PathBuf>) -> Self {
        self.input = Some(file.into());
        self
    }

    /// Runs the command in `folder` and hands every line that it prints to `line`.
    ///
    /// An interrupt ends the child and all that it started, and is an error with [`Exit::Interrupted`].
    pub(crate) fn run(
        &self,
        folder: &Path,
        interrupt: &Interrupt,
        mut line: impl FnMut(&str),
    ) -> Result<ExitStatus> {
        interrupt.check()?;
        let mut group = Group::spawn(self.command(folder)?)
            .with_context(|| format!("cannot start `{self}`"))
            .or_exit(Exit::Missing)?;
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = group.child.stdout.take() {
            send_lines(stdout, sender.clone());
        }
        if let Some(stderr) = group.child.stderr.take() {
            send_lines(stderr, sender);
        }
        loop {
            match lines.recv_timeout(Interrupt::TICK) {
                Ok(text) => line(&text),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            if interrupt.is_set() {
                group.end();
                interrupt.check()?;
            }
        }
        // Its output is closed, yet it may go on for a while.
        loop {
            if let Some(status) = group.child.try_wait()? {
                return Ok(status);
            }
            if interrupt.is_set() {
                group.end();
                interrupt.check()?;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Runs the command and returns what it printed on standard output; anything but success is an error.
    pub(crate) fn read(&self, folder: &Path) -> Result<String> {
        let output = self
            .command(folder)?
            .output()
            .with_context(|| format!("cannot start `{self}`"))
            .or_exit(Exit::Missing)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::new(
                Exit::Missing,
                format!("`{self}` ended with {}: {}", output.status, said.trim()),
            )
            .into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// The child, for who needs more of it than its lines and its end.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where children are made, with a clean environment"
    )]
    pub(crate) fn command(&self, folder: &Path) -> Result<Command> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .current_dir(folder)
            .stdin(match &self.input {
                Some(file) => fs_err::File::open(file)?.into_file().into(),
                None => Stdio::null(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, value) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if is_added_by_cargo(&text)
                || is_secret(&text)
                || git::is_of_a_hook(&text)
                || self.inherited.is_some_and(|names| !is_one_of(&text, names))
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
        for name in &self.without {
            command.env_remove(name);
        }
        command.env("CARGO_TERM_COLOR", "never").envs(self.env.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}

impl fmt::Display for Call {
    /// The line to paste into a shell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.env {
            write!(f, "{name}={} ", quoted(value))?;
        }
        write!(f, "{}", quoted(&self.program))?;
        for arg in &self.args {
            write!(f, " {}", quoted(arg))?;
        }
        if let Some(file) = &self.input {
            write!(f, " < {}", quoted(&file.display().to_string()))?;
        }
        Ok(())
    }
}

/// What `cargo run` sets for the program it starts.
///
/// A nested cargo must not see it: build scripts that watch these variables would run again at every switch between
/// `cargo build` and `cargo xtask`.
/// The list is that of <https://doc.rust-lang.org/cargo/reference/environment-variables.html>.
fn is_added_by_cargo(name: &str) -> bool {
    matches!(
        name,
        "CARGO" | "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE" | "RUST_RECURSION_COUNT"
    ) || name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_MANIFEST_")
}

fn is_one_of(variable: &str, names: &[&str]) -> bool {
    names.iter().any(|name| match name.strip_suffix('*') {
        Some(start) => variable.starts_with(start),
        None => variable == *name,
    })
}

/// Whether a variable is one of the pipeline's secrets, which no child needs.
fn is_secret(name: &str) -> bool {
    VARIABLES.iter().any(|variable| variable.name == name)
}

/// Whether cargo put a folder into the library path: its own output folders and the toolchain's.
fn is_toolchain_path(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.contains("/rustlib/")
        || text.contains("/toolchains/")
        || text.contains("/target/debug")
        || text.contains("/target/release")
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@+%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else if text.contains(|c: char| c.is_ascii_control()) {
        // Such a character is invisible as it is: cargo separates encoded flags with one.
        let shown = |c: char| match c {
            '\\' | '\'' => format!("\\{c}"),
            c if c.is_ascii_control() => format!("\\x{:02x}", u32::from(c)),
            c => c.to_string(),
        };
        format!("$'{}'", text.chars().map(shown).collect::<String>())
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// A child in a process group of its own, ended as a whole when it is dropped before it ended by itself.
pub(crate) struct Group {
    pub(crate) child: Child,
}

impl Group {
    /// How long a child may take to end after SIGTERM.
    const GRACE: Duration = Duration::from_secs(5);

    pub(crate) fn spawn(mut command: Command) -> std::io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        interrupt::group_started(child.id());
        Ok(Self { child })
    }

    fn end(&mut self) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + Self::GRACE;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Interrupt::TICK);
        }
        // The child may have ended without its own children.
        self.signal(Signal::KILL);
        drop(self.child.wait());
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // An error says that the group has gone.
            kill_process_group(pid, signal).ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end();
        }
        interrupt::group_ended(self.child.id());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> &'static Path {
        Path::new(".")
    }

    #[test]
    fn a_call_is_shown_as_a_line_to_paste() {
        let call = Call::cargo("fmt --all").arg("it's").arg("").env("A", "b c");
        assert_eq!(call.to_string(), r"A='b c' cargo fmt --all 'it'\''s' ''");
        let call = Call::new("x").env("FLAGS", "-a\u{1f}it's\\");
        assert_eq!(call.to_string(), r"FLAGS=$'-a\x1fit\'s\\' x");
        assert_eq!(Call::new("x").input("/a b").to_string(), "x < '/a b'");
    }

    #[test]
    fn every_line_is_handed_over_and_the_status_kept() {
        let mut lines = Vec::new();
        let call = Call::new("sh").arg("-c").arg("echo out; echo err >&2; printf tail; exit 3");
        let status = call.run(here(), &Interrupt::default(), |line| lines.push(line.to_owned())).unwrap();
        lines.sort();
        assert_eq!(lines, ["err", "out", "tail"]);
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn a_child_sees_nothing_of_cargo_run() {
        // The test runner, like `cargo run`, sets these for us.
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
        let seen = Call::new("env").read(here()).unwrap();
        let names: Vec<&str> = seen.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        assert!(!names.iter().any(|name| is_added_by_cargo(name)), "{names:?}");
        assert!(names.contains(&"PATH"));
    }

    #[test]
    fn a_child_inherits_what_is_named() {
        let names = |call: Call| -> Vec<String> {
            let seen = call.read(here()).unwrap();
            seen.lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect()
        };
        let mut seen =
            names(Call::new("env").inherit_only(&["PATH", "CARGO_MANIFEST_*", "HOM*"]).env("X", "1"));
        seen.sort();
        // What cargo adds stays away all the same.
        assert_eq!(seen, ["CARGO_TERM_COLOR", "HOME", "PATH", "X"]);
    }

    #[test]
    fn an_interrupt_ends_the_child_and_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let interrupt = Interrupt::default();
        let call = Call::new("sh").arg("-c").arg("sleep 600 & echo $!; wait");
        let mut grandchild = String::new();
        let error = call
            .run(dir.path(), &interrupt, |line| {
                line.clone_into(&mut grandchild);
                interrupt.set();
            })
            .unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Interrupted);
        let gone = || {
            let stat = fs_err::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        // It has been killed, but the kernel takes a moment.
        let deadline = Instant::now() + Duration::from_secs(10);
        while !gone() {
            assert!(Instant::now() < deadline, "process {grandchild} is left");
            std::thread::sleep(Interrupt::TICK);
        }
    }

    #[test]
    fn a_file_can_be_the_input() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("input");
        fs_err::write(&file, "from a file").unwrap();
        assert_eq!(Call::new("cat").input(&file).read(here()).unwrap(), "from a file");
        assert_eq!(Call::new("cat").read(here()).unwrap(), "");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Call::new("no-such-program").run(here(), &Interrupt::default(), |_| {}).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Missing);
        assert!(format!("{error:#}").contains("`no-such-program`"));
        let error = Call::new("false").read(here()).unwrap_err();
        assert!(format!("{error:#}").contains("`false` ended with"));
    }
}
