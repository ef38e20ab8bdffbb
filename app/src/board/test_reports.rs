//! Reports for the board's tests.

use std::time::Duration;

use launchway_report::{
    Commit, Coverage, Deployment, DeploymentKind, DeploymentOutcome, Release, Report, SCHEMA, Step,
    StepOutcome, Time, UnderWay,
};

use super::history::History;
use super::store::Entry;
use crate::identity::Identity;
use crate::settings::Settings;

/// `hours` before the tests' fixed time.
pub(super) fn ago(hours: u64) -> Time {
    Time::from_milliseconds(1_767_225_600_000 - hours * 3_600_000)
}

/// A run of one minute that ended `hours` ago and deployed nothing.
pub(super) fn run(id: &str, hours: u64) -> Report {
    let started = Time::from_milliseconds(ago(hours).milliseconds() - 60_000);
    Report {
        schema: SCHEMA,
        id: id.to_owned(),
        actor: "ada".to_owned(),
        url: None,
        service: None,
        rehearsal: false,
        started,
        finished: ago(hours),
        commit: Commit {
            sha: "0".repeat(40),
            time: ago(hours + 2),
            subject: "Say <why>".to_owned(),
            author: Some("Ada".to_owned()),
        },
        commits: Vec::new(),
        steps: vec![Step { name: "lint".to_owned(), outcome: StepOutcome::Passed, milliseconds: 60_000 }],
        tests: None,
        coverage: Some(Coverage { covered: 9, lines: 10, threshold: 80 }),
        image: None,
        deployment: None,
        under_way: None,
    }
}

/// A release whose digest and commit repeat one letter.
pub(super) fn release(letter: &str) -> Release {
    Release { digest: format!("sha256:{}", letter.repeat(64)), commit: Some(letter.repeat(40)) }
}

/// A run that replaced `release("b")` by `release("a")`, two hours after its commit.
pub(super) fn deployed(id: &str, hours: u64, outcome: DeploymentOutcome) -> Report {
    let report = run(id, hours);
    let deployment = Deployment {
        kind: DeploymentKind::Deploy,
        environment: "test".to_owned(),
        id: None,
        plan: None,
        started: report.started,
        finished: report.finished,
        outcome,
        reason: None,
        release: Some(release("a")),
        previous: Some(release("b")),
    };
    Report { deployment: Some(deployment), ..report }
}

/// A rollback that went live.
pub(super) fn rollback(id: &str, hours: u64) -> Report {
    let mut report = deployed(id, hours, DeploymentOutcome::Live);
    if let Some(deployment) = &mut report.deployment {
        deployment.kind = DeploymentKind::Rollback;
    }
    report
}

/// The start of a deployment of `release("a")` by that run, which ends within half an hour.
pub(super) fn started(run: &str, hours: u64) -> Report {
    let since = ago(hours);
    let under_way = UnderWay {
        run: run.to_owned(),
        kind: DeploymentKind::Deploy,
        environment: "test".to_owned(),
        since,
        until: since.after(Duration::from_secs(1800)),
        release: Some(release("a")),
    };
    Report {
        started: since,
        finished: since,
        under_way: Some(under_way),
        ..self::run(&Report::start_id(run), hours)
    }
}

pub(super) fn history(reports: Vec<Report>) -> History {
    let mut history = History::default();
    history.replace(Vec::new(), Vec::new());
    for (report, sequence) in reports.into_iter().zip(1..) {
        history.add(Entry { sequence, id: report.id.clone(), sha256: String::new() }, report);
    }
    history
}

/// A process that runs that release.
pub(super) fn identity(release: &Release) -> Identity {
    let settings = Settings::read(&|name| match name {
        "SERVER_TYPE" => Some("TEST".to_owned()),
        "APP_COMMIT" => release.commit.clone(),
        "APP_IMAGE_DIGEST" => Some(release.digest.clone()),
        _ => None,
    });
    Identity::new(&settings.unwrap())
}
