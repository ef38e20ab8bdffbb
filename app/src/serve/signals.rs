//! SIGTERM and SIGINT, caught from the first moment of the process.
//!
//! Process 1 of a container ignores signals that it has no handler for. A signal that arrived while a large file was
//! being opened would be lost, and the process killed long after.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Records signals before there is a runtime that could wait for them.
#[derive(Debug)]
pub(crate) struct Signals(Arc<AtomicBool>);

impl Signals {
    /// Catches SIGTERM and SIGINT from here on.
    pub(crate) fn catch() -> io::Result<Self> {
        let received = Arc::new(AtomicBool::new(false));
        for number in [SIGTERM, SIGINT] {
            flag::register(number, Arc::clone(&received))?;
        }
        Ok(Self(received))
    }

    /// A future for the first signal. Needs a runtime.
    pub(super) fn termination(&self) -> io::Result<Termination> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        // Read last: the handlers above see every later signal.
        Ok(Termination { terminate, interrupt, already: self.0.load(Ordering::SeqCst) })
    }
}

/// Waits for a signal that ends the process.
#[derive(Debug)]
pub(super) struct Termination {
    terminate: Signal,
    interrupt: Signal,
    already: bool,
}

impl Termination {
    /// Returns at the first signal, or at once if one has arrived before.
    pub(super) async fn received(&mut self) {
        if self.already {
            return;
        }
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
