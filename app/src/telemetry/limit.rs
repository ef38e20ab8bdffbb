//! A limit on how often something is told, with a count of what was kept back.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time in which no more than so many things are let through.
pub(crate) const WINDOW: Duration = Duration::from_mins(1);

/// Lets so many things through in each [`WINDOW`], and counts the others.
#[derive(Debug)]
pub(crate) struct Limit {
    most: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    passed: u32,
    kept_back: u64,
}

impl Limit {
    pub(crate) fn new(most: u32) -> Self {
        Self { most, state: Mutex::default() }
    }

    /// Whether this one may pass; if so, how many were kept back since the last window ended.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept_back = 0;
        if state.since.is_none_or(|since| now.duration_since(since) >= WINDOW) {
            kept_back = state.kept_back;
            *state = State { since: Some(now), ..State::default() };
        }
        if state.passed < self.most {
            state.passed += 1;
            return Some(kept_back);
        }
        state.kept_back += 1;
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
    fn a_window_lets_so_many_through_and_the_next_tells_of_the_rest() {
        let limit = Limit::new(2);
        let start = Instant::now();
        assert!(limit.is_idle(start));
        let answers: Vec<_> = (0..5).map(|_| limit.admit(start)).collect();
        assert_eq!(answers, [Some(0), Some(0), None, None, None]);
        let late = start + Duration::from_secs(59);
        assert_eq!((limit.admit(late), limit.is_idle(late)), (None, false));
        let next = start + WINDOW;
        assert!(limit.is_idle(next));
        assert_eq!([limit.admit(next), limit.admit(next), limit.admit(next)], [Some(4), Some(0), None]);
    }
}
