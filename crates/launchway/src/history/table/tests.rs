use launchway_report::Service;

use super::*;
use crate::history::tests::{deployed, ended};

#[test]
fn every_deployment_is_shown_newest_first() {
    let mut failed = ended("run-2", 60);
    let deployment = failed.deployment.as_mut().unwrap();
    deployment.outcome = DeploymentOutcome::RolledBack;
    deployment.reason = Some("the app was never healthy\nits last lines: …".to_owned());
    let mut early = ended("run-3", 120);
    let deployment = early.deployment.as_mut().unwrap();
    (deployment.kind, deployment.outcome, deployment.release) =
        (DeploymentKind::Rollback, DeploymentOutcome::Unchanged, None);
    deployment.reason = Some("Render refused".to_owned());
    // Another service that ships the same image.
    early.service = Some(Service { key: Service::key("srv-2"), name: Some("app-test".to_owned()) });
    failed.service = Some(Service { key: Service::key("srv-1"), name: None });
    insta::assert_snapshot!(table(&[early, failed, deployed("run-1")]), @"
    when              what      outcome      commit        digest
    2026-01-01 00:02  rollback  unchanged    0123456789ab  -
                      app-test PROD, by ada
                      Render refused
    2026-01-01 00:01  deploy    rolled back  0123456789ab  sha256:aaaaaaaaaaaa…
                      ce956e9f24f8d4b3 PROD, by ada
                      the app was never healthy
    2026-01-01 00:00  deploy    live         0123456789ab  sha256:aaaaaaaaaaaa…
                      PROD, by ada
    ");
    assert!(table(&[]).starts_with("no deployments are known"));
}

#[test]
fn a_report_cannot_steer_the_terminal() {
    let mut report = deployed("run-1");
    report.actor = "a\u{1b}[2Jda".to_owned();
    let deployment = report.deployment.as_mut().unwrap();
    deployment.reason = Some("gone\r\u{9b}31m".to_owned());
    deployment.release.as_mut().unwrap().commit = Some("\u{1b}]0;title\u{7}".to_owned());
    let shown = table(&[report]);
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    assert!(shown.contains("a[2Jda") && shown.lines().count() == 4, "{shown:?}");
}
