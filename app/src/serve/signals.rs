//! SIGTERM and SIGINT, from the first moment of the process.
//!
//! Process 1 of a container does not get a signal that it has no handler for. One that came while a large file was being
//! opened would be lost, and the process killed long after.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Keeps whether the process was told to end, before there is a runtime that could wait for it.
#[derive(Debug)]
pub(crate) struct Signals(Arc<AtomicBool>);

impl Signals {
    /// Catches them from here on.
    pub(crate) fn catch() -> io::Result<Self> {
        let told = Arc::new(AtomicBool::new(false));
        for number in [SIGTERM, SIGINT] {
            flag::register(number, Arc::clone(&told))?;
        }
        Ok(Self(told))
    }

    /// The same, to be waited for. Needs a runtime.
    pub(super) fn told(&self) -> io::Result<Told> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        // Read last: what comes after this line, the two above know.
        Ok(Told { terminate, interrupt, before: self.0.load(Ordering::SeqCst) })
    }
}

/// Waits for the end.
#[derive(Debug)]
pub(super) struct Told {
    terminate: Signal,
    interrupt: Signal,
    before: bool,
}

impl Told {
    /// Returns when the process was told to end, at once where that was before.
    pub(super) async fn end(&mut self) {
        if self.before {
            return;
        }
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
