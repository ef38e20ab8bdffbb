use super::*;
use crate::board::test_reports::{ago, deployed, history, rollback, run};
use launchway_report::DeploymentOutcome::{Live, NotRolledBack, RolledBack, Superseded, Unchanged};

fn of(reports: Vec<launchway_report::Report>) -> Figures {
    Figures::new(&history(reports), ago(0))
}

fn value(figure: Figure) -> (usize, f64) {
    (figure.samples, figure.value.unwrap())
}

#[test]
fn few_samples_give_no_figure() {
    let four: Vec<_> = (1..5).map(|day| deployed(&day.to_string(), day * 24, Live)).collect();
    let figures = of(four.clone());
    assert_eq!(figures.deployments_per_week, Figure { samples: 4, value: None });
    assert_eq!(figures.lead_time_seconds, Figure { samples: 4, value: None });
    assert_eq!(figures.change_failure_percent, Figure { samples: 4, value: None });
    assert_eq!(figures.recovery_seconds, Figure { samples: 0, value: None });
    let figures = of([four, vec![deployed("5", 5 * 24, Live)]].concat());
    // A board counts at least a week.
    assert_eq!(value(figures.deployments_per_week), (5, 5.0));
    assert_eq!(value(figures.lead_time_seconds), (5, 7200.0));
    assert_eq!(value(figures.change_failure_percent), (5, 0.0));
}

#[test]
fn the_window_is_ninety_days_and_counts_real_deployments_only() {
    let mut reports: Vec<_> = (0..9).map(|n| deployed(&format!("in-{n}"), 24 * (n * 10 + 9), Live)).collect();
    let hours = 24 * WINDOW_DAYS;
    reports.push(deployed("edge", hours, Live));
    reports.push(deployed("before", hours + 1, Live));
    reports.push(deployed("superseded", 5, Superseded));
    reports.push(run("no deployment", 4));
    reports.push(launchway_report::Report { rehearsal: true, ..deployed("rehearsal", 3, Unchanged) });
    let figures = of(reports);
    assert_eq!(value(figures.deployments_per_week), (10, 10.0 * 7.0 / 90.0));
    assert_eq!(value(figures.change_failure_percent), (10, 0.0));
}

#[test]
fn failures_are_changes_that_failed_or_were_rolled_back() {
    let figures = of(vec![
        deployed("1", 100, Live),
        deployed("2", 90, Unchanged),
        deployed("3", 80, RolledBack),
        deployed("4", 70, NotRolledBack),
        // It went live, and a rollback undid it.
        deployed("5", 60, Live),
        rollback("6", 55),
    ]);
    assert_eq!(value(figures.change_failure_percent), (5, 80.0));
    // A rollback is a recovery, but not a change.
    assert_eq!(figures.deployments_per_week.samples, 2);
    assert_eq!(figures.recovery_seconds.samples, 4);
}

#[test]
fn recovery_ends_with_the_next_live_deployment() {
    let figures = of(vec![
        deployed("1", 100, Unchanged),
        deployed("2", 90, RolledBack),
        deployed("3", 88, Live),
        deployed("4", 50, RolledBack),
        deployed("5", 47, Live),
        deployed("6", 40, Live),
        rollback("7", 36),
        deployed("8", 30, RolledBack),
        deployed("9", 25, Live),
        // Not recovered yet.
        deployed("10", 1, Unchanged),
    ]);
    // 12, 2, 3, 4 and 5 hours.
    assert_eq!(value(figures.recovery_seconds), (5, 4.0 * 3600.0));
}

#[test]
fn lead_times_cover_all_commits_that_went_live() {
    let commit = |hours| launchway_report::Commit { time: ago(hours), ..run("x", 1).commit };
    let report = launchway_report::Report {
        // By its clock, the last commit was made after it went live.
        commits: [11, 12, 13, 14, 15, 30, 9].map(commit).to_vec(),
        ..deployed("1", 10, Live)
    };
    let failed = launchway_report::Report { commits: vec![commit(99)], ..deployed("2", 5, RolledBack) };
    // 1, 2, 3, 4, 5 and 20 hours.
    assert_eq!(value(of(vec![report, failed]).lead_time_seconds), (6, 3.5 * 3600.0));
}

#[test]
fn the_order_of_reports_does_not_matter() {
    let reports: Vec<_> = crate::board::demo::reports(ago(0), 300);
    let reversed = reports.iter().rev().cloned().collect();
    assert_eq!(of(reports), of(reversed));
}
