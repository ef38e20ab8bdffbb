//! A limit on how often something is reported, with a count of what was suppressed.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The window of every limit.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// Admits `most` events per [`WINDOW`] and counts the suppressed ones.
#[derive(Debug)]
pub(crate) struct RateLimit {
    most: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    admitted: u32,
    suppressed: u64,
}

impl RateLimit {
    pub(crate) fn new(most: u32) -> Self {
        Self { most, state: Mutex::default() }
    }

    /// `None` if this event must be suppressed; else how many were suppressed in the previous window.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut suppressed = 0;
        if state.since.is_none_or(|since| now.duration_since(since) >= WINDOW) {
            suppressed = state.suppressed;
            *state = State { since: Some(now), ..State::default() };
        }
        if state.admitted < self.most {
            state.admitted += 1;
            return Some(suppressed);
        }
        state.suppressed += 1;
        None
    }

    /// Whether the last window is over.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.since.is_none_or(|since| now.duration_since(since) >= WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_admits_a_few_and_counts_the_rest() {
        let limit = RateLimit::new(2);
        let start = Instant::now();
        assert!(limit.is_idle(start));
        let admitted: Vec<_> = (0..5).map(|_| limit.admit(start)).collect();
        assert_eq!(admitted, [Some(0), Some(0), None, None, None]);
        let late = start + Duration::from_secs(59);
        assert_eq!((limit.admit(late), limit.is_idle(late)), (None, false));
        let next = start + WINDOW;
        assert!(limit.is_idle(next));
        assert_eq!([limit.admit(next), limit.admit(next), limit.admit(next)], [Some(4), Some(0), None]);
    }
}
