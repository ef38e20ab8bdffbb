//! A deployment on the board from its start to its end.

use std::time::{Duration, SystemTime};

use app::http::router;
use axum::Router;
use axum::http::StatusCode;
use launchway_report::{Deployment, DeploymentKind, Report, Time, UnderWay};
use serde_json::{Value, json};

use super::{demo, get, put, send, site};

/// The start of a deployment by the run `next` of what these reports made live, as the pipeline sends it.
pub(crate) fn start(reports: &[Report], since: Time, until: Time) -> Report {
    let last = reports.last().unwrap();
    Report {
        id: Report::start_id("next"),
        started: since,
        finished: since,
        commits: Vec::new(),
        steps: Vec::new(),
        tests: None,
        coverage: None,
        image: None,
        deployment: None,
        under_way: Some(UnderWay {
            run: "next".to_owned(),
            kind: DeploymentKind::Deploy,
            environment: "test".to_owned(),
            since,
            until,
            release: last.deployment.as_ref().unwrap().release.clone(),
        }),
        ..last.clone()
    }
}

/// So many seconds ago.
pub(crate) fn ago(seconds: u64) -> Time {
    (SystemTime::now() - Duration::from_secs(seconds)).into()
}

/// A board with a year of reports that runs what the last of them made live.
fn board() -> (Router, Vec<Report>) {
    let reports = demo(60);
    let site = site(demo::live(&reports).unwrap().commit.as_ref().unwrap());
    site.board.fill(reports.clone()).unwrap();
    (router(site), reports)
}

async fn store(router: &Router, report: &Report) {
    let stored = send(router, put(&report.id, serde_json::to_vec(report).unwrap())).await;
    assert_eq!(stored.status, StatusCode::CREATED, "{}", stored.body);
}

async fn json(router: &Router) -> Value {
    serde_json::from_str(&get(router, "/api/board.json").await.body).unwrap()
}

/// The card of the last deployment, without tags and line breaks.
async fn card(router: &Router) -> String {
    let page = get(router, "/").await.body;
    let (_, rest) = page.split_once("aria-labelledby=\"last\"").unwrap();
    let (card, _) = rest.split_once("</section>").unwrap();
    let mut text = String::new();
    let mut in_tag = true;
    for c in card.chars() {
        match c {
            '<' => in_tag = true,
            '>' => in_tag = false,
            c if !in_tag => text.push(if c == '\n' { ' ' } else { c }),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// As the board writes it.
fn minute(time: Time) -> String {
    time.to_string()[..16].replace('T', " ")
}

#[tokio::test]
async fn a_deployment_is_shown_from_its_start_to_its_end() {
    let (router, reports) = board();
    let before = json(&router).await;
    assert_eq!(before["under_way"], Value::Null);
    let (since, until) = (ago(60), ago(0).after(Duration::from_secs(2400)));
    let start = start(&reports, since, until);
    store(&router, &start).await;

    let last = reports.last().unwrap();
    let expected = format!(
        "Deployment in progress deploying {} {} Since {} UTC, at most until {} UTC, by {}, CI run Before: went live",
        &last.commit.sha[..12],
        last.commit.subject,
        minute(since),
        minute(until),
        last.actor
    );
    let shown = card(&router).await;
    assert!(shown.starts_with(&expected), "{shown}\n{expected}");
    // A start is not a run: nothing else changes.
    let mut during = json(&router).await;
    assert_eq!(during["under_way"].take(), json!(start.under_way));
    assert_eq!(during, before);
    assert!(!get(&router, "/runs").await.body.contains("next-start"));
    assert!(!get(&router, "/feed.atom").await.body.contains("next-start"));
    assert_eq!(get(&router, "/runs/next-start").await.status, StatusCode::OK);

    let mut end = Report { id: "next".to_owned(), ..last.clone() };
    let deployment: &mut Deployment = end.deployment.as_mut().unwrap();
    (deployment.started, deployment.finished) = (since, ago(0));
    store(&router, &end).await;
    let shown = card(&router).await;
    assert!(shown.starts_with("Last deployment went live"), "{shown}");
    assert_eq!(json(&router).await["under_way"], Value::Null);
}

#[tokio::test]
async fn a_deployment_that_did_not_report_its_end_is_named() {
    let (router, reports) = board();
    let (since, until) = (ago(3600), ago(1));
    store(&router, &start(&reports, since, until)).await;
    let shown = card(&router).await;
    let expected = format!(
        "Started {} UTC, to end by {} UTC, by {}, CI run. It was killed, or could not reach this service.",
        minute(since),
        minute(until),
        reports.last().unwrap().actor
    );
    assert!(shown.starts_with("Last deployment did not report its end"), "{shown}");
    assert!(shown.contains(&expected) && !shown.contains("in progress"), "{shown}");
}

#[tokio::test]
async fn a_rollback_names_the_release_that_it_goes_back_to() {
    let (router, reports) = board();
    let mut start = start(&reports, ago(60), ago(0).after(Duration::from_secs(60)));
    let last = reports.last().unwrap();
    start.commit.sha = "f".repeat(40);
    start.commit.subject = "The commit that somebody rolls back from".to_owned();
    start.under_way.as_mut().unwrap().kind = DeploymentKind::Rollback;
    store(&router, &start).await;
    let expected = format!("rolling back to {} {} Since", &last.commit.sha[..12], last.commit.subject);
    let shown = card(&router).await;
    assert!(shown.contains(&expected), "{shown}\n{expected}");
}
