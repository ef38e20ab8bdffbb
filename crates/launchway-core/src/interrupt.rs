//! Ctrl-C and its relatives, as a flag that everything that waits looks at.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::{Exit, Failure};
use crate::leftovers;

/// Whether the run has been asked to end.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// How often a wait looks at the flag.
    pub const TICK: Duration = Duration::from_millis(25);

    /// From now on SIGINT, SIGTERM and SIGHUP set the flag; a second one kills what still runs and ends the process.
    ///
    /// One that is ignored stays so: `nohup` and shells start like that what is to outlive them.
    pub fn install() -> Result<Self> {
        let interrupt = INSTALLED.get_or_init(Self::default).clone();
        let flag = Arc::clone(&interrupt.0);
        let mut signals =
            Signals::new([SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal)))?;
        std::thread::spawn(move || {
            for _ in &mut signals {
                if flag.swap(true, Ordering::Relaxed) {
                    kill_groups();
                    leave();
                }
            }
        });
        Ok(interrupt)
    }

    /// The one that signals set.
    pub fn of_process() -> Self {
        INSTALLED.get().cloned().unwrap_or_default()
    }

    /// Whether the run has been asked to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error with [`Exit::Interrupted`] once the run has been asked to end.
    pub fn check(&self) -> Result<()> {
        if self.is_set() { Err(Failure::new(Exit::Interrupted, "interrupted").into()) } else { Ok(()) }
    }

    /// Hands an interrupt over to a caller that must put something back first: waits may continue, until the next
    /// signal.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }

    /// Sleeps, but wakes with an error when the run is asked to end.
    pub fn sleep(&self, duration: Duration) -> Result<()> {
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

    /// Asks the run to end.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

static INSTALLED: OnceLock<Interrupt> = OnceLock::new();

/// Whether the process was started with the signal ignored, as Linux reports it.
fn is_ignored(signal: i32) -> bool {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (signal - 1) & 1 == 1
}

/// The process groups that were started and have not ended.
static GROUPS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Notes that the leader of a process group runs, so that a second signal can end it.
pub fn group_started(leader: u32) {
    groups().insert(leader);
}

/// Notes that the leader has been waited for: its number may belong to another process from now on.
pub fn group_ended(leader: u32) {
    groups().remove(&leader);
    leftovers::forget(leader);
}

fn kill_groups() {
    for leader in groups().iter() {
        if let Some(pid) = i32::try_from(*leader).ok().and_then(Pid::from_raw) {
            // An error says that the group has gone.
            kill_process_group(pid, Signal::KILL).ok();
        }
    }
}

fn groups() -> MutexGuard<'static, BTreeSet<u32>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::exit, reason = "the second Ctrl-C means now")]
fn leave() -> ! {
    crate::events::terminal::live::erase().ok();
    drop(writeln!(std::io::stderr(), "\nstopped at once: work was left unfinished"));
    std::process::exit(Exit::Interrupted.code().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_was_taken_over_leaves_room_for_the_next() {
        let interrupt = Interrupt::default();
        assert!(!interrupt.take());
        interrupt.set();
        assert!(interrupt.clone().take());
        interrupt.check().unwrap();
        interrupt.set();
        interrupt.check().unwrap_err();
    }

    #[test]
    fn a_sleep_ends_with_the_run() {
        let interrupt = Interrupt::default();
        interrupt.sleep(Duration::from_millis(1)).unwrap();
        interrupt.set();
        let error = interrupt.sleep(Duration::from_secs(3600)).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Interrupted);
    }
}
