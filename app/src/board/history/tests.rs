use launchway_report::DeploymentOutcome::{Live, Superseded};

use super::*;
use crate::board::test_reports::{ago, deployed, history, identity, release, run, started};

fn under_way(history: &History) -> Option<&str> {
    history.under_way().map(|(_, start)| start.run.as_str())
}

#[test]
fn a_deployment_is_under_way_until_its_run_has_reported() {
    let first = deployed("1", 9, Live);
    assert_eq!(under_way(&history(vec![first.clone()])), None);
    let history = |more: Vec<Report>| history([vec![first.clone(), started("2", 5)], more].concat());
    assert_eq!(under_way(&history(Vec::new())), Some("2"));
    // Whatever the times of its report: its clock may have been set back.
    assert_eq!(under_way(&history(vec![deployed("2", 8, Live)])), None);
    // Another run has reported a deployment that ended before, and one that started later.
    assert_eq!(under_way(&history(vec![deployed("3", 6, Live)])), Some("2"));
    assert_eq!(under_way(&history(vec![deployed("3", 4, Superseded)])), None);
    // The newest start counts, and no rehearsal.
    assert_eq!(under_way(&history(vec![started("4", 3)])), Some("4"));
    let rehearsal = Report { rehearsal: true, ..started("4", 3) };
    assert_eq!(under_way(&history(vec![rehearsal])), Some("2"));
}

#[test]
fn a_start_is_no_run() {
    let history = history(vec![deployed("1", 9, Live), started("2", 5)]);
    assert_eq!((history.total, history.runs.len()), (1, 1));
    assert!(history.entry("2-start").is_some() && history.report("2-start").unwrap().under_way.is_some());
    // Nor when it is read from the file.
    let mut read = History::default();
    let ids = ["1", "2-start"].into_iter().zip(1..);
    let entries = ids.map(|(id, sequence)| Entry { sequence, id: id.to_owned(), sha256: String::new() });
    read.replace(entries.collect(), vec![deployed("1", 9, Live), started("2", 5)]);
    assert_eq!((read.total, read.runs.len(), under_way(&read)), (1, 1, Some("2")));
    assert!(read.report("2-start").unwrap().under_way.is_some());
}

#[test]
fn starts_of_others_and_of_the_future_are_left_out() {
    let mut other = started("2", 5);
    other.under_way.as_mut().unwrap().environment = "production".to_owned();
    let mut future = started("3", 5);
    future.under_way.as_mut().unwrap().since = ago(0).after(Duration::from_secs(3600));
    let all = history(vec![run("1", 9), other, future]);
    let own = all.of(&identity(&release("a")), ago(0));
    assert_eq!((under_way(&own), own.total, own.elsewhere, own.untimely), (None, 1, 0, 0));
}
