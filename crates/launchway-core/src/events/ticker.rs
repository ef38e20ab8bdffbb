//! Shows that a run is alive while nothing happens: the live line on a screen, and a line now and then elsewhere.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Event, Sink, State};

/// How often the live line is drawn.
const TICK: Duration = Duration::from_millis(200);

/// The longest time without a line if there is no terminal.
const SILENCE: Duration = Duration::from_secs(29);

/// Ticks as long as the reporter is used.
pub(super) fn start(state: &Arc<Mutex<State>>) {
    let state = Arc::downgrade(state);
    thread::spawn(move || {
        loop {
            thread::sleep(TICK);
            let Some(state) = state.upgrade() else { return };
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.tick(Instant::now());
        }
    });
}

impl State {
    /// Shows the progress.
    fn tick(&mut self, now: Instant) {
        if !self.draw(now)
            && self.activity.is_some()
            && now.saturating_duration_since(self.printed) >= SILENCE
        {
            self.printed = now;
            self.print_progress(now);
        }
    }

    /// Draws the live line, and returns whether there is a screen for it.
    pub(super) fn draw(&mut self, now: Instant) -> bool {
        match (&self.sink, &self.activity) {
            // A screen that is gone shows no line.
            (Sink::Terminal(terminal), Some(activity)) => {
                terminal.draw(&activity.progress(now)).unwrap_or(true)
            }
            _ => false,
        }
    }

    fn print_progress(&mut self, now: Instant) {
        let Some(activity) = &self.activity else { return };
        let progress = activity.progress(now);
        let printed = match &mut self.sink {
            Sink::Terminal(terminal) => terminal.print_progress(&progress),
            Sink::GitHub(github) => github.print_progress(&progress),
            Sink::Json(json) => json.show(&Event::Progress(progress)).map(drop),
            Sink::Memory(events) => {
                events.push(Event::Progress(progress));
                Ok(())
            }
        };
        // Events report what matters, including an output that is gone.
        drop(printed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Count, LastRun, Reporter, Unit};
    use super::*;

    #[test]
    fn a_silent_step_shows_that_it_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let reporter = Reporter::new(Sink::Memory(Vec::new()));
        reporter.set_last_run(LastRun {
            steps: [("lint".to_owned(), Duration::from_secs(100))].into(),
            tests: Some(498),
        });
        reporter.step_started("lint", folder.path()).unwrap();
        reporter.count(Count { unit: Unit::Tests, done: 310, total: Some(400) });
        reporter.output("Checking serde");
        let (start, before) = (Instant::now(), reporter.events().len());
        let lines = |after| {
            reporter.state().tick(start + Duration::from_secs(after));
            let new = reporter.events().split_off(before);
            let text = |event| match event {
                Event::Progress(progress) => progress.to_string(),
                other => panic!("{other:?}"),
            };
            new.into_iter().map(text).collect::<Vec<_>>()
        };
        assert!(lines(20).is_empty());
        assert_eq!(lines(30).len(), 1);
        assert_eq!(lines(40).len(), 1);
        let last = lines(60).pop().unwrap();
        assert_eq!(last, "lint 60 s · tests 310/498 · about 40 s left · Checking serde");
        reporter.step_finished("lint", super::super::Outcome::Passed, 1);
        let before = reporter.events().len();
        reporter.state().tick(start + Duration::from_secs(3600));
        assert_eq!(reporter.events().len(), before);
    }
}
