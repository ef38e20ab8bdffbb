//! A running child and everything that it started.

use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use super::launch::on_lasting_thread;
use crate::interrupt::{self, Interrupt};
use crate::leftovers::Started;

/// A child in its own process group. If it is dropped before the child ends, it ends the whole group.
pub struct Group {
    /// The leader of the group.
    pub child: Child,
}

/// Limits on a child's output and its run time.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many bytes it may print on each stream.
    pub bytes: u64,
    /// When it is ended.
    pub deadline: Option<Instant>,
}

impl Group {
    /// How long a child may take to end after SIGTERM.
    const GRACE: Duration = Duration::from_secs(5);

    /// Starts the command as the leader of a process group of its own.
    pub fn spawn(mut command: Command) -> std::io::Result<Self> {
        let child = on_lasting_thread(move || command.process_group(0).spawn())??;
        interrupt::group_started(child.id());
        Ok(Self { child })
    }

    /// Starts the command, passes it its input and waits for its end; returns everything that it printed.
    pub fn collect(
        mut command: Command,
        input: Option<Vec<u8>>,
        bounds: Bounds,
        interrupt: &Interrupt,
    ) -> Result<Output> {
        interrupt.check()?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut group = Self::spawn(command).context("cannot be started")?;
        if let (Some(mut stdin), Some(input)) = (group.child.stdin.take(), input) {
            // A child that does not read its input has ended, or does not need it.
            std::thread::spawn(move || drop(stdin.write_all(&input)));
        }
        let stdout = group.child.stdout.take().map(|stream| read(stream, bounds.bytes));
        let stderr = group.child.stderr.take().map(|stream| read(stream, bounds.bytes));
        let goes_on = || {
            interrupt.check()?;
            ensure!(bounds.deadline.is_none_or(|end| Instant::now() < end), "did not respond in time");
            Ok(())
        };
        let text = |stream: Option<Receiver<std::io::Result<Vec<u8>>>>| {
            let stream = stream.context("has no output")?;
            loop {
                match stream.recv_timeout(Interrupt::TICK) {
                    Ok(bytes) => {
                        let bytes = bytes?;
                        ensure!(
                            bytes.len() as u64 <= bounds.bytes,
                            "printed more than {} bytes",
                            bounds.bytes
                        );
                        return Ok(bytes);
                    }
                    Err(RecvTimeoutError::Timeout) => goes_on()?,
                    Err(RecvTimeoutError::Disconnected) => bail!("could not be read"),
                }
            }
        };
        let (stdout, stderr) = (text(stdout)?, text(stderr)?);
        Ok(Output { status: group.wait(goes_on)?, stdout, stderr })
    }

    /// Waits for the child's end, within its limits.
    pub(super) fn wait(&mut self, goes_on: impl Fn() -> Result<()>) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if let Err(error) = goes_on() {
                self.end();
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(super) fn end(&mut self) {
        // Its leader may end before those that it started, and they before what they started themselves.
        let started = Started::by_group(self.child.id());
        self.signal(Signal::TERM);
        let deadline = Instant::now() + Self::GRACE;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Interrupt::TICK);
        }
        // The child may have left its own children behind.
        let since = Started::by_group(self.child.id());
        self.signal(Signal::KILL);
        started.end();
        since.end();
        drop(self.child.wait());
    }

    /// Sends a signal to every process of the group.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // An error means that the group is gone.
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

/// Reads a stream to its end or its limit.
fn read(stream: impl Read + Send + 'static, most: u64) -> Receiver<std::io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    // Ends with the pipe, which ends with the process group.
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stream.take(most.saturating_add(1)).read_to_end(&mut bytes);
        drop(sender.send(read.map(|_| bytes)));
    });
    receiver
}
