use super::*;
use crate::board::test_reports::{ago, deployed, history, identity, release, run, started};
use launchway_report::DeploymentOutcome::{Live, NotRolledBack, RolledBack, Superseded, Unchanged};

/// The drift of a process that runs `running` after `release("a")` was deployed over `release("b")` with that outcome.
fn expected(outcome: DeploymentOutcome, running: &str) -> Option<Release> {
    let history = history(vec![deployed("1", 2, Live), deployed("2", 1, outcome), run("3", 0)]);
    drift(&history, &identity(&release(running))).map(|drift| {
        assert_eq!((drift.run.as_str(), drift.at), ("2", ago(1)));
        drift.reported
    })
}

#[test]
fn the_newest_deployment_decides_what_should_be_live() {
    assert_eq!(expected(Live, "a"), None);
    assert_eq!(expected(Live, "c"), Some(release("a")));
    for outcome in [Unchanged, RolledBack] {
        assert_eq!(expected(outcome.clone(), "b"), None);
        assert_eq!(expected(outcome, "a"), Some(release("b")));
    }
    for outcome in [NotRolledBack, Superseded] {
        assert_eq!(expected(outcome, "c"), None);
    }
}

#[test]
fn only_shared_facts_are_compared() {
    let history = history(vec![deployed("1", 1, Live)]);
    let mut identity = identity(&Release { commit: Some("c".repeat(40)), ..release("a") });
    // The same image is the same release, whatever its commit.
    assert_eq!(drift(&history, &identity), None);
    identity.image_digest = None;
    assert_eq!(drift(&history, &identity).unwrap().reported, release("a"));
    identity.commit = Settings::UNKNOWN_COMMIT.to_owned();
    assert_eq!(drift(&history, &identity), None);
}

#[test]
fn a_drift_is_explained_until_the_deadline_of_the_deployment_that_started_this_process() {
    let start = started("2", 5).under_way.unwrap();
    let history = history(vec![deployed("1", 9, Live)]);
    let of = |release: &Release| Identity { started: ago(5), ..identity(release) };
    // The deployment under way is that of `release("a")`, which this process runs although "b" should be live.
    let mut drifted = drift(&history, &of(&release("c"))).unwrap();
    drifted.reported = release("b");
    let settled = |start, running: &str, now| settled(Some(&drifted), start, &of(&release(running)), now);
    let late = ago(5).after(Duration::from_secs(1799));
    assert_eq!(settled(Some(&start), "a", late), Some(start.until));
    assert_eq!(settled(Some(&start), "a", start.until), None);
    // Of any other process nobody has said when it ends.
    let guess = ago(5).after(PROGRESS);
    assert_eq!(settled(Some(&start), "c", ago(5)), Some(guess));
    assert_eq!(settled(None, "a", ago(5)), Some(guess));
    assert_eq!(settled(Some(&start), "c", late), None);
    assert_eq!(super::settled(None, Some(&start), &of(&release("a")), late), None);
}

#[test]
fn rehearsals_are_ignored() {
    let rehearsal = launchway_report::Report { rehearsal: true, ..deployed("1", 1, Live) };
    assert_eq!(drift(&history(vec![rehearsal]), &identity(&release("c"))), None);
}

#[test]
fn the_origin_is_the_newest_deployment_of_the_running_release() {
    let history = history(vec![deployed("1", 3, Live), deployed("2", 2, Live), deployed("3", 1, RolledBack)]);
    let (run, found) = origin(&history, &identity(&release("a"))).unwrap();
    assert_eq!((run.report.id.as_str(), found), ("2", &release("a")));
    assert!(origin(&history, &identity(&release("b"))).is_none());
}
