//! The work in progress: which step, for how long, how far, and about how long it will take.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Event, milliseconds};

/// The progress of a long action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The name of the step; empty if none is running.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// How long the step has been running.
    #[serde(default)]
    pub milliseconds: u64,
    /// How long it took last time, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_milliseconds: Option<u64>,
    /// What has been counted so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
    /// What is being done, in a few words.
    pub text: String,
}

/// A count of finished things, and the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What is counted.
    pub unit: Unit,
    /// How many are done.
    pub done: u64,
    /// The total, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// What a [`Count`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// The crates that cargo compiles.
    Crates,
    /// The tests of a test executable.
    Tests,
}

/// How long the steps took last time, and how many tests ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastRun {
    /// The duration of each step that passed.
    pub steps: BTreeMap<String, Duration>,
    /// The number of tests.
    pub tests: Option<u64>,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Crates => "crates",
            Unit::Tests => "tests",
        };
        write!(f, "{unit} {}", self.done)?;
        self.total.map_or(Ok(()), |total| write!(f, "/{total}"))
    }
}

impl fmt::Display for Progress {
    /// `lint 42 s · crates 88/152 · about 70 s left · Checking serde v1.0.228`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = whole_seconds(self.milliseconds / 1000);
        let mut parts = vec![format!("{} {time}", self.step).trim_start().to_owned()];
        parts.extend(self.count.map(|count| count.to_string()));
        parts.extend(self.left());
        if !self.text.is_empty() {
            parts.push(self.text.clone());
        }
        f.write_str(&parts.join(" · "))
    }
}

impl Progress {
    /// About how long it will take, rounded up; `None` once it takes longer than last time.
    fn left(&self) -> Option<String> {
        let left = self.expected_milliseconds?.checked_sub(self.milliseconds)?.div_ceil(1000);
        Some(match left {
            0 => return None,
            1..=10 => "a few seconds left".to_owned(),
            11..=90 => format!("about {} s left", left.next_multiple_of(10)),
            _ => format!("about {} min left", left.div_ceil(60)),
        })
    }
}

fn whole_seconds(seconds: u64) -> String {
    if seconds < 100 { format!("{seconds} s") } else { format!("{} min {} s", seconds / 60, seconds % 60) }
}

/// The work in progress.
#[derive(Debug)]
pub(super) struct Activity {
    step: String,
    started: Instant,
    expected: Option<Duration>,
    count: Option<Count>,
    text: String,
}

impl Activity {
    /// Applies an event: work starts, continues, or ends.
    pub(super) fn follow(activity: &mut Option<Self>, event: &Event, last: &LastRun, now: Instant) {
        let begun = |step: &str| Self {
            step: step.to_owned(),
            started: now,
            expected: last.steps.get(step).copied(),
            count: None,
            text: String::new(),
        };
        match event {
            Event::StepStarted { step, .. } => *activity = Some(begun(step)),
            Event::StepFinished { .. }
            | Event::Text { .. }
            | Event::Page { .. }
            | Event::Failed(_)
            | Event::Summary(_)
            | Event::Drill(_) => *activity = None,
            Event::Command { short, .. } => {
                let activity = activity.get_or_insert_with(|| begun(""));
                activity.text.clone_from(short);
                activity.count = None;
            }
            Event::Progress(progress) => {
                activity.get_or_insert_with(|| begun("")).text.clone_from(&progress.text);
            }
            Event::Output { line } if !line.trim().is_empty() => {
                if let Some(activity) = activity {
                    line.trim().clone_into(&mut activity.text);
                }
            }
            _ => {}
        }
    }

    pub(super) fn count(&mut self, count: Count) {
        self.count = Some(count);
    }

    /// The progress at this moment.
    pub(super) fn progress(&self, now: Instant) -> Progress {
        Progress {
            step: self.step.clone(),
            milliseconds: milliseconds(now.saturating_duration_since(self.started)),
            expected_milliseconds: self.expected.map(milliseconds),
            count: self.count,
            text: self.text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(milliseconds: u64, expected: Option<u64>) -> Progress {
        Progress {
            step: "lint".to_owned(),
            milliseconds,
            expected_milliseconds: expected,
            count: Some(Count { unit: Unit::Crates, done: 88, total: Some(152) }),
            text: "Checking serde".to_owned(),
        }
    }

    #[test]
    fn a_line_has_step_time_count_and_what_is_left() {
        let line = |elapsed, expected| progress(elapsed, expected).to_string();
        assert_eq!(line(42_900, None), "lint 42 s · crates 88/152 · Checking serde");
        assert_eq!(
            line(42_000, Some(103_000)),
            "lint 42 s · crates 88/152 · about 70 s left · Checking serde"
        );
        assert!(line(0, Some(125_000)).contains("about 3 min left"));
        assert!(line(1000, Some(2000)).contains("a few seconds left"));
        assert!(!line(3000, Some(2000)).contains("left"));
        assert!(line(125_000, None).starts_with("lint 2 min 5 s · "));
        assert_eq!(Count { unit: Unit::Tests, done: 3, total: None }.to_string(), "tests 3");
    }

    #[test]
    fn work_begins_goes_on_and_ends() {
        let (start, mut activity) = (Instant::now(), None);
        let last =
            LastRun { steps: [("lint".to_owned(), Duration::from_secs(20))].into(), ..LastRun::default() };
        let mut follow = |event, after: u64| {
            let now = start + Duration::from_secs(after);
            Activity::follow(&mut activity, &event, &last, now);
            activity.as_ref().map(|activity| activity.progress(now).to_string())
        };
        let step = || "lint".to_owned();
        assert_eq!(follow(Event::Note { text: "x".to_owned() }, 0), None);
        let started = Event::StepStarted { step: step(), log: String::new() };
        assert_eq!(follow(started, 0).unwrap(), "lint 0 s · about 20 s left");
        let command = Event::Command { line: "/x/cargo doc".to_owned(), short: "cargo doc".to_owned() };
        assert_eq!(follow(command, 5).unwrap(), "lint 5 s · about 20 s left · cargo doc");
        let output = Event::Output { line: "   Checking a".to_owned() };
        assert_eq!(follow(output, 25).unwrap(), "lint 25 s · Checking a");
        let empty = Event::Output { line: " ".to_owned() };
        assert_eq!(follow(empty, 26).unwrap(), "lint 26 s · Checking a");
        let ended =
            Event::StepFinished { step: step(), outcome: super::super::Outcome::Passed, milliseconds: 1 };
        assert_eq!(follow(ended, 27), None);
    }
}
