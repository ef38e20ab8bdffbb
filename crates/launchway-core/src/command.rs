//! Child processes: one way to write them and one way to run them.

mod environment;
mod group;
mod launch;
mod namespace;

use std::fmt;
use std::io::{PipeReader, PipeWriter};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::exit::{Exit, Failure, OrExit as _};
use crate::interrupt::Interrupt;
use crate::plain::{Printed, plain, send_printed};
pub use environment::{is_of_a_hook, is_token, withhold};
pub use group::{Bounds, Group};
pub use launch::{command as bare, contained, launched};
pub use namespace::Namespace;

/// A command line: what `--explain` shows is what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    program: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    without: Vec<String>,
    /// The only variables that the child inherits, if it does not inherit the whole environment.
    inherited: Option<&'static [&'static str]>,
    input: Option<PathBuf>,
}

impl Call {
    /// A command without arguments; the program is looked up on `PATH`.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            without: Vec::new(),
            inherited: None,
            input: None,
        }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// More arguments, in order.
    #[must_use]
    pub fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable for this child. Never a secret: it is shown with the call.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Sets variables for this child, as [`Self::env`].
    #[must_use]
    pub fn envs<'v>(mut self, variables: impl IntoIterator<Item = (&'v String, &'v String)>) -> Self {
        self.env.extend(variables.into_iter().map(|(name, value)| (name.clone(), value.clone())));
        self
    }

    /// A variable that this child must not inherit.
    #[must_use]
    pub fn env_remove(mut self, name: impl Into<String>) -> Self {
        self.without.push(name.into());
        self
    }

    /// From the environment, the child inherits only these variables; `NAME_*` stands for all that start with `NAME_`.
    #[must_use]
    pub fn inherit_only(mut self, names: &'static [&'static str]) -> Self {
        self.inherited = Some(names);
        self
    }

    /// A file that the child reads as its standard input.
    #[must_use]
    pub fn input(mut self, file: impl Into<PathBuf>) -> Self {
        self.input = Some(file.into());
        self
    }

    /// Runs the command in `folder` and passes every line that it prints to `line`, in the order in which it prints them.
    ///
    /// An interrupt ends the child and everything that it started, and is an error with [`Exit::Interrupted`].
    pub fn run(
        &self,
        folder: &Path,
        interrupt: &Interrupt,
        mut line: impl FnMut(&str),
    ) -> Result<ExitStatus> {
        // Read apart, the lines of one stream overtake those of the other.
        let both = std::io::pipe()?;
        self.follow(folder, interrupt, Some(both), |printed| {
            if let Printed::Line(text) = printed {
                line(text);
            }
        })
    }

    /// Like [`Self::run`], but `read` also sees progress bars, and a line of one stream is never broken by the other.
    pub fn run_reading(
        &self,
        folder: &Path,
        interrupt: &Interrupt,
        read: impl FnMut(&Printed),
    ) -> Result<ExitStatus> {
        self.follow(folder, interrupt, None, read)
    }

    /// Reads both streams through one pipe, or each through its own.
    fn follow(
        &self,
        folder: &Path,
        interrupt: &Interrupt,
        both: Option<(PipeReader, PipeWriter)>,
        mut read: impl FnMut(&Printed),
    ) -> Result<ExitStatus> {
        interrupt.check()?;
        let (sender, lines) = mpsc::channel();
        let mut group = self
            .command(folder)
            .and_then(|mut command| {
                if self.is_cargo() {
                    // The bar shows the progress.
                    command
                        .envs([("CARGO_TERM_PROGRESS_WHEN", "always"), ("CARGO_TERM_PROGRESS_WIDTH", "80")]);
                }
                if let Some((reader, writer)) = both {
                    command.stdout(writer.try_clone()?).stderr(writer);
                    send_printed(reader, sender.clone());
                }
                Ok(Group::spawn(command)?)
            })
            .with_context(|| format!("cannot start `{}`", self.short(folder)))
            .or_exit(Exit::Missing)?;
        if let Some(stdout) = group.child.stdout.take() {
            send_printed(stdout, sender.clone());
        }
        if let Some(stderr) = group.child.stderr.take() {
            send_printed(stderr, sender.clone());
        }
        drop(sender);
        loop {
            match lines.recv_timeout(Interrupt::TICK) {
                Ok(printed) => read(&printed),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            if interrupt.is_set() {
                group.end();
                interrupt.check()?;
            }
        }
        // Its output is closed, but it may continue for a while.
        group.wait(|| interrupt.check())
    }

    /// Runs the command and returns what it printed on standard output; anything but success is an error.
    pub fn read(&self, folder: &Path) -> Result<String> {
        let output = self.output(folder).with_context(|| format!("`{self}`")).or_exit(Exit::Missing)?;
        if !output.status.success() {
            let said = plain(&String::from_utf8_lossy(&output.stderr));
            return Err(Failure::new(
                Exit::Missing,
                format!("`{self}` {}: {}", ended(output.status), said.trim()),
            )
            .into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Runs the command to its end and returns everything that it printed.
    pub fn output(&self, folder: &Path) -> Result<Output> {
        /// Far more than any of our commands prints.
        const BOUNDS: Bounds = Bounds { bytes: 1 << 30, deadline: None };

        Group::collect(self.command(folder)?, None, BOUNDS, &Interrupt::of_process())
    }

    /// Runs a command that puts something back, and returns what it printed. The interrupt that may be the reason for it
    /// does not end it; ten seconds do.
    pub fn clean_up(&self, folder: &Path) -> Result<Output> {
        let bounds = Bounds { bytes: 1 << 20, deadline: Some(Instant::now() + Duration::from_secs(10)) };
        Group::collect(self.command(folder)?, None, bounds, &Interrupt::default())
    }

    /// The line as a person in `folder` would type it: without its environment, with a cargo subcommand in its short
    /// form, and with paths relative to the folder.
    pub fn short(&self, folder: &Path) -> String {
        let name = self.program.rsplit('/').next().unwrap_or_default();
        let is_subcommand =
            self.args.first().is_some_and(|first| name.strip_prefix("cargo-") == Some(first.as_str()));
        let prefix = format!("{}/", folder.display());
        let relative = |word: &str| quoted(&word.replace(&prefix, ""));
        let mut line = quoted(if is_subcommand { "cargo" } else { name });
        for arg in &self.args {
            line.push(' ');
            line.push_str(&relative(arg));
        }
        if let Some(file) = &self.input {
            line.push_str(" < ");
            line.push_str(&relative(&file.display().to_string()));
        }
        line
    }

    /// The bare child, for callers that need more than its lines and its exit.
    pub fn command(&self, folder: &Path) -> Result<Command> {
        let mut command = launch::command(&self.program);
        command
            .args(&self.args)
            .current_dir(folder)
            .stdin(match &self.input {
                Some(file) => fs_err::File::open(file)?.into_file().into(),
                None => Stdio::null(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        environment::strip(&mut command, self.is_cargo(), self.inherited)?;
        for name in &self.without {
            command.env_remove(name);
        }
        command.env("CARGO_TERM_COLOR", "never").envs(self.env.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Whether the program is cargo or one of its subcommands.
    fn is_cargo(&self) -> bool {
        let name = self.program.rsplit('/').next().unwrap_or_default();
        name == "cargo" || name.starts_with("cargo-")
    }
}

/// Parses a command line as it would be typed. An interpolated value stays one argument, whatever it contains.
///
/// The line is parsed by [`xshell::cmd!`]; the child is ours.
#[macro_export]
macro_rules! call {
    ($line:literal) => {
        $crate::command::typed(|shell| $crate::xshell::cmd!(shell, $line))
    };
}

/// The expansion of [`call!`](crate::call).
#[doc(hidden)]
pub fn typed(line: impl for<'a> FnOnce(&'a xshell::Shell) -> xshell::Cmd<'a>) -> Call {
    #[expect(
        clippy::expect_used,
        reason = "the workspace was found from the current folder, so there is one"
    )]
    let shell = xshell::Shell::new().expect("the current folder exists");
    let command = Command::from(line(&shell));
    let text = |word: &std::ffi::OsStr| word.to_string_lossy().into_owned();
    Call::new(text(command.get_program())).args(command.get_args().map(text))
}

/// How a child ended, to follow its name: `exited with 1`, `was killed by signal 9 (SIGKILL)`.
pub fn ended(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exited with {code}"),
        None => format!("was killed by {}", status.to_string().replacen("signal: ", "signal ", 1)),
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

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@+%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else if text.contains(|c: char| c.is_ascii_control()) {
        // Such a character would be invisible: cargo separates encoded flags with one.
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

#[cfg(test)]
mod tests;
