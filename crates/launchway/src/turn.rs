//! Runs in one checkout take turns: they build in the same folders and leave their results in the same places.

use std::fs::TryLockError;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use launchway_core::events::Reporter;
use launchway_core::exit::{Exit, OrExit as _};
use launchway_core::interrupt::Interrupt;
use launchway_core::{file, leftovers};

/// A turn, until it is dropped; the kernel ends the turn of a killed process.
#[derive(Debug)]
pub(crate) struct Turn {
    _lock: Option<fs_err::File>,
}

impl Turn {
    /// The turn of runs that write to `target/xtask` and `target/image`.
    pub(crate) const OUTPUT: &str = "run";
    /// The turn of runs with fakes in `target/xtask/rehearsal`. A run that needs both takes this one first.
    #[cfg(feature = "rehearsal")]
    pub(crate) const REHEARSAL: &str = "rehearsal";

    /// Waits for the turn in `target/xtask`, and says which run it waits for. Runs that this run starts share its turn.
    pub(crate) fn wait(
        output: &Path,
        name: &str,
        reporter: &Reporter,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let path = output.join(format!("{name}.lock"));
        fs_err::create_dir_all(output).or_exit(Exit::Internal)?;
        let mut file =
            fs_err::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        let mut is_told = false;
        let lock = loop {
            match file.file().try_lock() {
                Ok(()) => {
                    let command: Vec<String> = std::env::args().skip(1).collect();
                    file.set_len(0)?;
                    file.rewind()?;
                    write!(file, "{} cargo xtask {}", std::process::id(), command.join(" "))?;
                    break Some(file);
                }
                Err(TryLockError::WouldBlock) => {}
                // Some file systems have no locks: there, developers must avoid concurrent runs themselves.
                Err(TryLockError::Error(_)) => break None,
            }
            let mut holder = String::new();
            file.rewind()?;
            file.read_to_string(&mut holder)?;
            let (id, command) = holder.split_once(' ').unwrap_or_default();
            if id.parse().is_ok_and(leftovers::is_within) {
                break None;
            }
            if !is_told && !id.is_empty() {
                reporter.note(format!("waiting for `{command}` in this checkout, process {id}"));
                is_told = true;
            }
            interrupt.sleep(Duration::from_millis(100))?;
        };
        // As deep as the blobs of the image.
        file::remove_leftovers(output, 3);
        let ended = leftovers::begin(&output.join("children"));
        if !ended.is_empty() {
            reporter.note(format!("ended processes that a killed run had left: {}", ended.join(", ")));
        }
        Ok(Self { _lock: lock })
    }
}
