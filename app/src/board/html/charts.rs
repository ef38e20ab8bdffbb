//! The three charts of the home page.

use launchway_report::{Report, Time};

use crate::board::chart::{self, Chart, Column, Key, Line, Table};
use crate::board::figures::{WINDOW_DAYS, attempts};
use crate::board::format::{self, count, day, minute, percent, real, shown_percent};
use crate::board::history::History;

const DAY: u64 = 86_400_000;
const WEEK: u64 = 7 * DAY;
/// The weeks that make up the figures' window, the last one whole.
const WEEKS: u64 = WINDOW_DAYS.div_ceil(7);
/// Beyond this, only the last point of each day is kept.
const MAX_POINTS: usize = 60;
/// More dots than this would merge.
const MAX_DOTS: usize = 30;
/// Colours of steps; further steps share the last one.
const STEP_COLOURS: [&str; 6] = ["s0", "s1", "s2", "s3", "s4", "s5"];

/// Deployments per week by outcome; `None` without deployments.
pub(super) fn deployments(history: &History, now: Time) -> Option<Chart> {
    let all = attempts(history);
    let end = now.milliseconds();
    let weeks: Vec<(Time, usize, usize)> = (0..WEEKS)
        .rev()
        .map(|ago| {
            let until = end.saturating_sub(ago * WEEK);
            let since = until.saturating_sub(WEEK);
            let of = all.iter().filter(|attempt| (since..until).contains(&attempt.finished.milliseconds()));
            let (failed, live): (Vec<_>, Vec<_>) = of.partition(|attempt| attempt.failed);
            (Time::from_milliseconds(since), live.len(), failed.len())
        })
        .collect();
    let most = weeks.iter().map(|(_, live, failed)| live + failed).max().filter(|most| *most > 0)?;
    // Even, so that the middle is a whole number.
    let top = most.next_multiple_of(2);
    let columns: Vec<_> = weeks
        .iter()
        .map(|(since, live, failed)| Column {
            label: format!("week from {}: {live} live, {failed} failed", day(*since)),
            parts: vec![("live", count(*live)), ("failed", count(*failed))],
        })
        .collect();
    let (live, failed) = weeks.iter().fold((0, 0), |sum, week| (sum.0 + week.1, sum.1 + week.2));
    Some(Chart {
        id: "deployments-chart",
        title: "Deployments per week",
        summary: format!("In {WEEKS} weeks {live} went live and {failed} failed; at most {most} in a week."),
        y: [top, top / 2, 0].map(|value| value.to_string()),
        x: weeks.first().map(|(since, ..)| day(*since)).into_iter().chain(["today".to_owned()]).collect(),
        bars: chart::columns(&columns, count(top)),
        lines: Vec::new(),
        keys: vec![
            Key { class: "live", text: "live".to_owned() },
            Key { class: "failed", text: "failed or rolled back".to_owned() },
        ],
        table: Table {
            head: ["Week from", "Live", "Failed or rolled back"].map(str::to_owned).to_vec(),
            rows: weeks
                .iter()
                .map(|(since, live, failed)| vec![day(*since), live.to_string(), failed.to_string()])
                .collect(),
        },
    })
}

/// Covered lines and the threshold in the window, or of all time if the window has none.
pub(super) fn coverage(history: &History, now: Time) -> Option<Chart> {
    let measured = || history.runs.iter().filter_map(|run| Some((run.report.finished, run.report.coverage?)));
    let start = Time::from_milliseconds(now.milliseconds().saturating_sub(WINDOW_DAYS * DAY));
    let mut points: Vec<_> = measured().filter(|(time, _)| *time >= start).collect();
    if points.is_empty() {
        points = measured().collect();
    }
    points.sort_by_key(|(time, _)| *time);
    if points.len() > MAX_POINTS {
        let of = |time: Time| time.milliseconds() / DAY;
        points.reverse();
        points.dedup_by_key(|(time, _)| of(*time));
        points.reverse();
    }
    let (first, newest) = (points.first()?, points.last()?);
    let lowest = points.iter().fold(100.0_f64, |lowest, (_, coverage)| {
        lowest.min(percent(coverage)).min(f64::from(coverage.threshold))
    });
    // A multiple of ten, with some space below the lowest value.
    let bottom = (((lowest - 2.0) / 10.0).floor() * 10.0).max(0.0);
    let place = |time: Time, value: f64| {
        let [time, first, last] = [time, first.0, newest.0].map(|time| real(time.milliseconds()));
        (chart::across(time, first, last), chart::down(value, bottom, 100.0))
    };
    let covered: Vec<_> = points.iter().map(|(time, coverage)| place(*time, percent(coverage))).collect();
    let threshold: Vec<_> =
        points.iter().map(|(time, coverage)| place(*time, f64::from(coverage.threshold))).collect();
    let mut lines = vec![
        Line { class: "area", path: chart::area(&covered) },
        Line { class: "threshold", path: chart::steps(&threshold) },
        Line { class: "covered", path: chart::polyline(&covered) },
    ];
    if covered.len() <= MAX_DOTS {
        lines.push(Line { class: "dots", path: chart::dots(&covered) });
    }
    let now = shown_percent(percent(&newest.1));
    let words = [day(first.0), day(newest.0)];
    Some(Chart {
        id: "coverage-chart",
        title: "Coverage",
        summary: format!(
            "{now} of lines on {}, with a threshold of {} %; {} on {}.",
            words[1],
            newest.1.threshold,
            shown_percent(percent(&first.1)),
            words[0]
        ),
        y: [100.0, f64::midpoint(bottom, 100.0), bottom].map(|value| format!("{value:.0} %")),
        x: span(words),
        bars: Vec::new(),
        lines,
        keys: vec![
            Key { class: "covered", text: format!("lines covered, {now} now") },
            Key { class: "threshold", text: format!("threshold, {} % now", newest.1.threshold) },
        ],
        table: Table {
            head: ["Measured", "Covered", "Lines", "Threshold"].map(str::to_owned).to_vec(),
            rows: points
                .iter()
                .rev()
                .map(|(time, coverage)| {
                    let lines =
                        format!("{} of {}", format::number(coverage.covered), format::number(coverage.lines));
                    vec![
                        minute(*time),
                        shown_percent(percent(coverage)),
                        lines,
                        format!("{} %", coverage.threshold),
                    ]
                })
                .collect(),
        },
    })
}

/// The step times of these runs, newest first.
pub(super) fn steps(newest: &[&Report]) -> Option<Chart> {
    let names = newest.iter().rev().flat_map(|report| &report.steps).fold(Vec::new(), |mut names, step| {
        if !names.contains(&step.name.as_str()) {
            names.push(step.name.as_str());
        }
        names
    });
    let colour = |index: usize| STEP_COLOURS[index.min(STEP_COLOURS.len() - 1)];
    let took = |report: &Report, name: &str| -> u64 {
        let of = report.steps.iter().filter(|step| step.name == name);
        of.fold(0, |sum, step| sum.saturating_add(step.milliseconds))
    };
    let whole =
        |report: &Report| report.steps.iter().fold(0_u64, |sum, step| sum.saturating_add(step.milliseconds));
    let longest = newest.iter().map(|report| whole(report)).max().filter(|longest| *longest > 0)?;
    let top = round_up(longest);
    let shown = |milliseconds| format::duration(std::time::Duration::from_millis(milliseconds));
    let columns: Vec<_> = newest
        .iter()
        .rev()
        .map(|report| Column {
            label: format!("{}: {}", minute(report.started), shown(whole(report))),
            parts: names
                .iter()
                .enumerate()
                .map(|(index, name)| (colour(index), real(took(report, name))))
                .collect(),
        })
        .collect();
    let mut head = vec!["Run".to_owned()];
    head.extend(names.iter().map(|name| (*name).to_owned()));
    head.push("Total".to_owned());
    let row = |report: &&Report| {
        let each = names.iter().map(|name| took(report, name)).chain([whole(report)]).map(|milliseconds| {
            match milliseconds {
                0 => "did not run".to_owned(),
                milliseconds => shown(milliseconds),
            }
        });
        [minute(report.started)].into_iter().chain(each).collect()
    };
    let (oldest, newest_run) = (newest.last()?, newest.first()?);
    Some(Chart {
        id: "steps-chart",
        title: "Step times",
        summary: match newest.len() {
            1 => format!("The steps of the only run took {}.", shown(whole(newest_run))),
            runs => format!(
                "The steps of the newest run took {}; the longest of the last {runs} runs took {}.",
                shown(whole(newest_run)),
                shown(longest)
            ),
        },
        y: [top, top / 2, 0].map(|value| if value == 0 { "0".to_owned() } else { shown(value) }),
        x: span([oldest, newest_run].map(|report| day(report.started))),
        bars: chart::columns(&columns, real(top)),
        lines: Vec::new(),
        keys: names
            .iter()
            .enumerate()
            .map(|(index, name)| Key { class: colour(index), text: (*name).to_owned() })
            .collect(),
        table: Table { head, rows: newest.iter().map(row).collect() },
    })
}

/// Both ends of an axis, or one label if they are the same.
fn span([first, last]: [String; 2]) -> Vec<String> {
    if first == last { vec![first] } else { vec![first, last] }
}

/// The next duration that reads well and so does its half, in milliseconds.
fn round_up(milliseconds: u64) -> u64 {
    const SECONDS: [u64; 14] = [1, 2, 4, 10, 20, 40, 60, 120, 240, 360, 600, 1200, 2400, 3600];
    let fits = SECONDS.into_iter().map(|seconds| seconds * 1000).find(|top| *top >= milliseconds);
    fits.unwrap_or_else(|| milliseconds.div_ceil(7_200_000).saturating_mul(7_200_000))
}
