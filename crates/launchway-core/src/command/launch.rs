//! Starts children so that they end with us, even if we are killed.
//!
//! The kernel can signal a process when its parent dies, but only if the process asks for that. A child cannot ask
//! between fork and exec without unsafe code, so our own executable is started first: it asks, and then execs the
//! child.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, mpsc};
use std::time::Duration;

use super::namespace::Namespace;
use crate::leftovers;

/// The first argument that makes our own executable become a child.
const LAUNCH: &str = "--launch";

/// The first argument that makes it become a child in a [`Namespace`].
const CONTAIN: &str = "--contain";

/// This process's own executable, even if its file has been replaced in the meantime.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Whether our own executable supports [`LAUNCH`]: a test executable does not.
static IS_ENABLED: AtomicBool = AtomicBool::new(false);

/// Becomes the child if this process was started for that; otherwise starts all children this way from now on.
///
/// Returns an exit code if the child could not be started. It must be the first thing that a program calls.
pub fn launched() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next().filter(|first| first == LAUNCH || first == CONTAIN);
    let Some(first) = first else {
        IS_ENABLED.store(cfg!(target_os = "linux") && Path::new(OWN_PROGRAM).exists(), Ordering::Relaxed);
        return None;
    };
    let (Some(owner), Some(records)) = (arguments.next(), arguments.next()) else {
        return Some(ExitCode::FAILURE);
    };
    let namespace = if first == CONTAIN { Namespace::read(&mut arguments).map(Some) } else { Some(None) };
    let (Some(namespace), Some(program)) = (namespace, arguments.next()) else {
        return Some(ExitCode::FAILURE);
    };
    // A trial, which is waited for here, leaves no record.
    let records = if program.is_empty() { OsString::new() } else { records };
    let entered = start_as_child(&owner, Path::new(&records), namespace.as_ref());
    let error = match entered {
        // It was to be tried.
        Ok(()) if program.is_empty() => return Some(ExitCode::SUCCESS),
        Ok(()) => become_program(&program, arguments),
        Err(error) => error,
    };
    drop(writeln!(io::stderr(), "cannot start {}: {error}", program.display()));
    // As a shell does.
    Some(ExitCode::from(127))
}

fn start_as_child(owner: &OsStr, records: &Path, namespace: Option<&Namespace>) -> io::Result<()> {
    end_with_parent(owner)?;
    if !records.as_os_str().is_empty() {
        leftovers::record(records);
    }
    if let Some(namespace) = namespace {
        namespace.enter()?;
        // The kernel forgets it where the rights of a process change.
        end_with_parent(owner)?;
    }
    Ok(())
}

fn become_program(program: &OsStr, arguments: impl Iterator<Item = OsString>) -> io::Error {
    const TRIES: usize = 100;

    #[expect(clippy::disallowed_methods, reason = "the parent has built this environment")]
    let mut command = Command::new(program);
    command.args(arguments);
    for _ in 1..TRIES {
        let error = command.exec();
        // A process that another thread forked briefly inherits the descriptor with which we have just written the
        // program.
        if error.kind() != ErrorKind::ExecutableFileBusy {
            return error;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    command.exec()
}

#[cfg(target_os = "linux")]
fn end_with_parent(owner: &OsStr) -> io::Result<()> {
    use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before.
    let parent = getppid().map_or(0, Pid::as_raw_pid);
    if owner.to_str() == Some(&parent.to_string()) {
        Ok(())
    } else {
        Err(io::Error::other("its parent has gone"))
    }
}

#[cfg(not(target_os = "linux"))]
fn end_with_parent(_: &OsStr) -> io::Result<()> {
    Ok(())
}

/// A command that starts a program, with this process's environment.
#[expect(clippy::disallowed_methods, reason = "this is where children are made")]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let program = program.as_ref();
    // A missing program fails to start by itself.
    if !IS_ENABLED.load(Ordering::Relaxed) || find(program).is_none() {
        return Command::new(program);
    }
    let mut command = Command::new(OWN_PROGRAM);
    command.arg0("xtask").arg(LAUNCH).arg(std::process::id().to_string());
    command.arg(leftovers::folder().unwrap_or_default()).arg(program);
    command
}

/// A command that starts a program in a namespace, by its path from the namespace's root folder; `None` if our own
/// executable cannot be started again.
#[expect(clippy::disallowed_methods, reason = "this is where children are made")]
pub fn contained(namespace: &Namespace, program: &str) -> Option<Command> {
    if !IS_ENABLED.load(Ordering::Relaxed) {
        return None;
    }
    let mut command = Command::new(OWN_PROGRAM);
    command.arg0("xtask").arg(CONTAIN).arg(std::process::id().to_string());
    command.arg(leftovers::folder().unwrap_or_default()).args(namespace.arguments()).arg(program);
    Some(command)
}

/// The file of a program; a relative path is resolved by the child.
fn find(program: &OsStr) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    let path = PathBuf::from(program);
    if path.components().count() > 1 {
        return if path.is_relative() || is_program(&path) { Some(path) } else { None };
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(is_program)
}

type Work = Box<dyn FnOnce() + Send>;

/// Runs a function on a thread that lives as long as the process.
///
/// To the kernel, a child's parent is the thread that started it: if that thread ended, the child would be killed.
pub(crate) fn on_lasting_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    static WORKER: LazyLock<mpsc::Sender<Work>> = LazyLock::new(|| {
        let (sender, works) = mpsc::channel::<Work>();
        std::thread::spawn(move || works.iter().for_each(|work| work()));
        sender
    });

    let gone = || io::Error::other("the thread that starts children has gone");
    let (sender, result) = mpsc::sync_channel(1);
    WORKER.send(Box::new(move || drop(sender.send(work())))).map_err(|_| gone())?;
    result.recv().map_err(|_| gone())
}
