//! What the pages say of releases, their deployments and the runs of each environment.

use std::time::Duration;

use app::http::router;
use axum::http::StatusCode;
use launchway_report::DeploymentOutcome;

use super::{demo, filled, get, site};

#[tokio::test]
async fn the_first_page_shows_the_release_its_changes_and_the_way_back() {
    let reports = demo(200);
    let last = reports.last().unwrap();
    let (release, previous) = {
        let deployment = last.deployment.as_ref().unwrap();
        (deployment.release.clone().unwrap(), deployment.previous.clone().unwrap())
    };
    let page = get(&filled(reports.clone()), "/").await.body;
    let commit = &last.commit.sha;
    for text in [
        "healthy".to_owned(),
        format!("https://github.com/launchway/app/commit/{commit}"),
        format!("https://hub.docker.com/r/launchway/app/tags?name={commit}"),
        format!("href=\"/releases/{}\"", &release.digest[7..]),
        format!("cargo xtask rollback --to {}<", &previous.commit.as_ref().unwrap()[..12]),
        last.commits[0].author.clone().unwrap(),
    ] {
        assert!(page.contains(&text), "{text}: {page}");
    }

    // A digest where the commit is unknown, and nothing where there is no earlier release.
    let with = |previous: Option<launchway_report::Release>| {
        let mut reports = reports.clone();
        reports.last_mut().unwrap().deployment.as_mut().unwrap().previous = previous;
        filled(reports)
    };
    let unknown = launchway_report::Release { commit: None, ..previous.clone() };
    let page = get(&with(Some(unknown)), "/").await.body;
    assert!(page.contains(&format!("cargo xtask rollback --to {}<", previous.digest)), "{page}");
    for none in [None, Some(release)] {
        assert!(!get(&with(none), "/").await.body.contains("rollback --to"));
    }
}

#[tokio::test]
async fn a_failed_deployment_is_shown_with_its_reason() {
    let mut reports = demo(50);
    let mut failed = reports.last().unwrap().clone();
    failed.id = "failed".to_owned();
    failed.started = failed.finished;
    let deployment = failed.deployment.as_mut().unwrap();
    deployment.finished = failed.finished.after(Duration::from_secs(1));
    deployment.previous = deployment.release.take();
    (deployment.outcome, deployment.reason) =
        (DeploymentOutcome::RolledBack, Some("it was never healthy".to_owned()));
    let commit = demo::live(&reports).unwrap().commit.clone().unwrap();
    reports.push(failed);
    let site = site(&commit);
    site.board.fill(reports).unwrap();
    let page = get(&router(site), "/").await.body;
    let (_, last) = page.split_once("Last deployment</h2>").unwrap();
    let (last, _) = last.split_once("</section>").unwrap();
    assert!(last.contains("failed, rolled back") && last.contains("it was never healthy"), "{last}");
}

/// A rollback runs at a later commit than that of its release.
#[tokio::test]
async fn a_rollback_is_shown_as_its_release() {
    let mut reports = demo(200);
    let last = reports.last().unwrap().clone();
    let deploys = reports.iter().filter(|report| {
        report.deployment.as_ref().is_some_and(|it| it.outcome == DeploymentOutcome::Live)
            && !report.commits.is_empty()
    });
    let target = deploys.rev().nth(1).unwrap().clone();
    let mut rollback = last.clone();
    rollback.id = "rollback".to_owned();
    rollback.started = last.finished;
    rollback.commit.subject = "A later commit".to_owned();
    (rollback.image, rollback.commits) = (None, Vec::new());
    let deployment = rollback.deployment.as_mut().unwrap();
    deployment.kind = launchway_report::DeploymentKind::Rollback;
    deployment.finished = last.finished.after(Duration::from_secs(1));
    deployment.previous = deployment.release.take();
    deployment.release = target.deployment.as_ref().unwrap().release.clone();
    reports.push(rollback);
    let router = filled(reports);
    let page = get(&router, "/").await.body;
    let (overview, _) = page.split_once("Deployments</h2>").unwrap();
    // The way back is not to the release that was just rolled back.
    let previous = target.deployment.as_ref().unwrap().previous.as_ref().unwrap();
    let command = format!("rollback --to {}<", &previous.commit.as_ref().unwrap()[..12]);
    assert!(overview.contains(&command) && !overview.contains("A later commit"), "{overview}");
    assert!(overview.contains(&target.commit.subject), "{overview}");
    assert!(overview.contains(target.commits[0].author.as_ref().unwrap()), "{overview}");
    let feed = get(&router, "/feed.atom").await.body;
    assert!(feed.contains(&format!("rollback went live: {}", target.commit.subject)), "{feed}");
}

#[tokio::test]
async fn a_release_has_a_page() {
    let reports = demo(200);
    let router = filled(reports.clone());
    let path = |release: &launchway_report::Release| format!("/releases/{}", &release.digest[7..]);
    let last = reports.last().unwrap().deployment.as_ref().unwrap();
    let page = get(&router, &path(last.release.as_ref().unwrap())).await.body;
    let report = reports.last().unwrap();
    let image = report.image.as_ref().unwrap();
    assert!(page.contains("live now") && !page.contains("rollback --to"), "{page}");
    for text in report.commits.iter().flat_map(|commit| [&commit.subject, commit.author.as_ref().unwrap()]) {
        assert!(page.contains(text), "{text}: {page}");
    }
    for attestation in &image.attestations {
        assert!(page.contains(&attestation.digest), "{page}");
    }
    assert!(page.contains("<dt>SBOM</dt>") && page.contains("<dt>Provenance</dt>"), "{page}");
    assert!(page.contains(&image.digest) && page.contains(&format!("/runs/{}", report.id)), "{page}");

    let previous = last.previous.as_ref().unwrap();
    let page = get(&router, &path(previous)).await.body;
    assert!(page.contains("not live"), "{page}");
    let command = format!("rollback --to {}", &previous.commit.as_ref().unwrap()[..12]);
    assert!(page.contains(&command), "{page}");
    // Every other release that a deployment names has a page too.
    for deployment in reports.iter().filter_map(|report| report.deployment.as_ref()) {
        for release in deployment.release.iter().chain(&deployment.previous) {
            assert_eq!(get(&router, &path(release)).await.status, StatusCode::OK);
        }
    }
    for missing in ["0".repeat(64), "x".to_owned(), "%20".to_owned()] {
        assert_eq!(get(&router, &format!("/releases/{missing}")).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn all_runs_are_listed_in_pages_and_by_environment() {
    let mut reports = demo(120);
    let router = filled(reports.clone());
    let mut path = "/runs".to_owned();
    let mut listed = Vec::new();
    loop {
        let page = get(&router, &path).await.body;
        assert!(!page.contains("aria-label=\"Environment\""), "{page}");
        let ids = page.split("href=\"/runs/").skip(1).map(|rest| rest.split_once('"').unwrap().0.to_owned());
        listed.extend(ids);
        let Some((before, _)) = page.split_once("\" rel=\"next\"") else { break };
        path = before.rsplit_once("href=\"").unwrap().1.replace("&#38;", "&");
    }
    let newest: Vec<_> = reports.iter().rev().map(|report| report.id.clone()).collect();
    listed.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(listed, newest);
    for (path, status) in [
        ("/runs?page=1", 200),
        ("/runs?page=3", 200),
        ("/runs?page=4", 404),
        ("/runs?page=0", 404),
        ("/runs?page=-1", 400),
        ("/runs?page=18446744073709551615", 404),
        ("/runs?environment=none", 200),
    ] {
        assert_eq!(get(&router, path).await.status, status, "{path}");
    }
    assert_eq!(get(&filled(Vec::new()), "/runs").await.status, 200);

    reports.iter_mut().rev().find_map(|report| report.deployment.as_mut()).unwrap().environment =
        "production".to_owned();
    let router = filled(reports);
    let page = get(&router, "/runs?environment=production").await.body;
    assert!(page.contains("Runs 1–1 of 1") && page.contains("/runs?environment=test"), "{page}");
    assert!(get(&router, "/runs?environment=test").await.body.contains("aria-current=\"page\">test"));
}

#[tokio::test]
async fn the_first_page_leads_to_the_other_environments_that_report() {
    let mut reports = demo(120);
    assert!(!get(&filled(reports.clone()), "/").await.body.contains("aria-label=\"Environment\""));
    reports.iter_mut().find_map(|report| report.deployment.as_mut()).unwrap().environment =
        "staging".to_owned();
    let page = get(&filled(reports), "/").await.body;
    assert!(page.contains("<a href=\"/\" aria-current=\"page\">test</a>"), "{page}");
    assert!(page.contains("<a href=\"/runs?environment=staging\">staging</a>"), "{page}");
}
