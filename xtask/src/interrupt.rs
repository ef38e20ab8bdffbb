//! Ctrl-C and its relatives, as a flag that everything that waits looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::exit::{Exit, Failure};

/// Whether the run has been asked to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// How often a wait looks at the flag.
    pub(crate) const TICK: Duration = Duration::from_millis(25);

    /// From now on SIGINT, SIGTERM and SIGHUP set the flag; a second one ends the process at once.
    pub(crate) fn install() -> Result<Self> {
        let interrupt = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // Registered first, so that it sees the flag as it was before this signal.
            flag::register_conditional_shutdown(
                signal,
                Exit::Interrupted.code().into(),
                Arc::clone(&interrupt.0),
            )?;
            flag::register(signal, Arc::clone(&interrupt.0))?;
        }
        Ok(interrupt)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error with [`Exit::Interrupted`] once the run has been asked to end.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_set() { Err(Failure::new(Exit::Interrupted, "interrupted").into()) } else { Ok(()) }
    }

    /// Sleeps, but wakes with an error when the run is asked to end.
    pub(crate) fn sleep(&self, duration: Duration) -> Result<()> {
        let end = Instant::now() + duration;
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Self::TICK));
        }
    }

    #[cfg(test)]
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_ends_with_the_run() {
        let interrupt = Interrupt::default();
        interrupt.sleep(Duration::from_millis(1)).unwrap();
        interrupt.set();
        let error = interrupt.sleep(Duration::from_hours(1)).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Interrupted);
    }
}
