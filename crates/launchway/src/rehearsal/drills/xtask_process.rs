//! The pipeline's own program, as a process under test.

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use launchway_core::command::{Group, bare};
use launchway_core::interrupt::Interrupt;

/// A running process, in its own process group; dropping it kills the group.
pub(super) struct Running {
    group: Group,
    readers: [JoinHandle<String>; 2],
    started: Instant,
}

/// A finished run.
pub(super) struct Ended {
    /// `None` if a signal ended it.
    pub(super) code: Option<i32>,
    /// Standard output, then standard error.
    pub(super) text: String,
    pub(super) elapsed: Duration,
}

impl Running {
    /// No run of a drill takes longer.
    const LONGEST: Duration = Duration::from_secs(60);

    /// Starts `xtask <command>` with these variables, plus only those of the machine that a toolchain needs.
    pub(super) fn start(root: &Path, command: &str, variables: Vec<(String, String)>) -> Result<Self> {
        const OF_THE_MACHINE: [&str; 8] = [
            "PATH",
            "HOME",
            "CARGO_HOME",
            "RUSTUP_HOME",
            "RUSTUP_TOOLCHAIN",
            "CARGO_NET_OFFLINE",
            "TMPDIR",
            "LLVM_PROFILE_FILE",
        ];
        let program = std::env::current_exe().context("the pipeline's own executable is gone")?;
        let mut process = bare(program);
        process.arg(command).current_dir(root).env_clear();
        for name in OF_THE_MACHINE {
            if let Some(value) = std::env::var_os(name) {
                process.env(name, value);
            }
        }
        process.env("XTASK_INSTALL", "never").envs(variables);
        process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut group = Group::spawn(process).context("failed to start the pipeline's own executable")?;
        let readers = [reader(group.child.stdout.take()), reader(group.child.stderr.take())];
        Ok(Self { group, readers, started: Instant::now() })
    }

    pub(super) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.group.child.try_wait()?.is_some())
    }

    pub(super) fn signal(&self, signal: Signal) {
        self.group.signal(signal);
    }

    /// Waits for the run to end; kills it if it takes too long or the drills are interrupted.
    pub(super) fn finish(mut self, interrupt: &Interrupt) -> Result<Ended> {
        let mut late = false;
        let status = loop {
            if let Some(status) = self.group.child.try_wait()? {
                break status;
            }
            late = self.started.elapsed() > Self::LONGEST;
            if late || interrupt.is_set() {
                self.signal(Signal::KILL);
                break self.group.child.wait()?;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let elapsed = self.started.elapsed();
        interrupt.check()?;
        let read = |reader: JoinHandle<String>| reader.join().unwrap_or_default();
        let readers = std::mem::replace(&mut self.readers, [reader::<&[u8]>(None), reader::<&[u8]>(None)]);
        let mut text: String = readers.map(read).concat();
        if late {
            text.push_str("\nthe drill killed it after a minute\n");
        }
        Ok(Ended { code: status.code(), text, elapsed })
    }
}

/// Reads a stream to its end, but keeps only the first part if it is far too long.
fn reader<R: Read + Send + 'static>(stream: Option<R>) -> JoinHandle<String> {
    const KEPT: u64 = 1 << 20;

    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // Keeps what arrived before the stream broke.
            drop((&mut stream).take(KEPT).read_to_end(&mut bytes));
            drop(std::io::copy(&mut stream, &mut std::io::sink()));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
