//! Ctrl-C and the like, as a flag that every wait checks.

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
use crate::leftovers::{self, Started};

/// Whether the run has been told to stop.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// How often a wait checks the flag.
    pub const TICK: Duration = Duration::from_millis(25);

    /// From now on SIGINT, SIGTERM and SIGHUP set the flag; a second signal kills the running children and ends the
    /// process.
    ///
    /// A signal that is ignored stays ignored: that is how `nohup` and shells start programs that must outlive them.
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

    /// Whether the run has been told to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Fails with [`Exit::Interrupted`] once the run has been told to stop.
    pub fn check(&self) -> Result<()> {
        if self.is_set() { Err(Failure::new(Exit::Interrupted, "interrupted").into()) } else { Ok(()) }
    }

    /// Consumes an interrupt, for a caller that must clean up first: waits continue until the next signal.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }

    /// Sleeps; fails as soon as the run is told to stop.
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

    /// Tells the run to stop.
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

/// The process groups that have started and not ended.
static GROUPS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Records the leader of a process group, so that a second signal can end the group.
pub fn group_started(leader: u32) {
    groups().insert(leader);
}

/// The leader has been waited for: its id may belong to another process from now on.
pub fn group_ended(leader: u32) {
    groups().remove(&leader);
    leftovers::forget(leader);
}

fn kill_groups() {
    for leader in groups().iter() {
        if let Some(pid) = i32::try_from(*leader).ok().and_then(Pid::from_raw) {
            let started = Started::by_group(*leader);
            // An error means that the group is gone.
            kill_process_group(pid, Signal::KILL).ok();
            started.end();
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
