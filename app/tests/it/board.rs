//! The board in process: reports in, pages out.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use app::board::demo;
use app::http::{Site, router};
use app::identity::Identity;
use app::settings::Settings;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use launchway_report::{DeploymentOutcome, Report, Service, Time};
use serde_json::Value;
use tower::ServiceExt;

use crate::support::{COMMIT, SECRET, now, sign_for};

/// A response of the router.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// A site with a board in memory, running that commit since just now.
pub(crate) fn site(commit: &str) -> Site {
    site_since(commit, SystemTime::now().into())
}

/// A site with a board in memory, running that commit since `started`.
pub(crate) fn site_since(commit: &str, started: Time) -> Site {
    let settings = Settings::read(&|name| match name {
        "SERVER_TYPE" => Some("TEST".to_owned()),
        "SECRET_KEY" => Some(SECRET.to_owned()),
        "APP_COMMIT" => Some(commit.to_owned()),
        _ => None,
    });
    let settings = settings.unwrap();
    Site::new(&settings, Identity { started, ..Identity::new(&settings) })
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Response {
    let response = router.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body(), 10_000_000).await.unwrap();
    Response { status, headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

pub(crate) async fn get(router: &Router, path: &str) -> Response {
    send(router, Request::get(path).header("host", "localhost").body(Body::empty()).unwrap()).await
}

/// A signed request for a report; `id` is in the path and in the signature.
pub(crate) fn put(id: &str, body: impl Into<Vec<u8>>) -> Request<Body> {
    let body = body.into();
    let signed = sign_for("launchway/report/v1", id, now(), &body);
    let mut request = Request::put(format!("/api/v1/reports/{id}"))
        .header("host", "localhost")
        .header("content-type", "application/json");
    for (name, value) in signed.each() {
        request = request.header(name, value);
    }
    request.body(Body::from(body)).unwrap()
}

pub(crate) fn demo(count: u32) -> Vec<Report> {
    demo::reports(SystemTime::now().into(), count)
}

/// A router with these reports on its board, running the release that the last one made live.
fn filled(reports: Vec<Report>) -> Router {
    let commit = demo::live(&reports).and_then(|release| release.commit.clone());
    let site = site(&commit.unwrap_or_else(|| COMMIT.to_owned()));
    site.board.fill(reports).unwrap();
    router(site)
}

async fn json(router: &Router) -> Value {
    serde_json::from_str(&get(router, "/api/board.json").await.body).unwrap()
}

#[tokio::test]
async fn the_figures_on_the_page_are_those_of_the_json() {
    let router = filled(demo(400));
    let (page, json) = (get(&router, "/").await, json(&router).await);
    let shown: Vec<f64> = page
        .body
        .split("<data value=\"")
        .skip(1)
        .map(|rest| rest.split_once('"').unwrap().0.parse().unwrap())
        .collect();
    let figures = &json["figures"];
    let names = ["deployments_per_week", "lead_time_seconds", "change_failure_percent", "recovery_seconds"];
    let known: Vec<_> = names.iter().map(|name| figures[name]["value"].as_f64().unwrap()).collect();
    // `serde_json` parses floats to within one unit in the last place.
    let is_close = |(shown, known): (&f64, &f64)| (shown - known).abs() <= f64::EPSILON * known.abs() * 2.0;
    assert!(shown.len() == 4 && shown.iter().zip(&known).all(is_close), "{shown:?} {known:?}");
    for name in names {
        assert!(page.body.contains(&format!("n = {} ", figures[name]["samples"])), "{name}");
    }
    assert_eq!((&json["reports"], json["runs"].as_array().unwrap().len()), (&400.into(), 50));
    assert_eq!(json["drift"], Value::Null);
    assert!(!page.body.contains("The reports name another release"));
}

#[tokio::test]
async fn a_board_without_reports_or_with_one_explains_what_is_missing() {
    let empty = filled(Vec::new());
    let page = get(&empty, "/").await.body;
    assert!(
        page.contains("No reports yet") && !page.contains("<svg") && !page.contains("Delivery"),
        "{page}"
    );
    assert!(get(&empty, "/badge/coverage.svg").await.body.contains("unknown"));
    assert!(get(&empty, "/feed.atom").await.body.contains("<updated>"));
    let one = filled(demo(1));
    let page = get(&one, "/").await.body;
    assert_eq!(page.matches("not shown").count(), 4, "{page}");
    assert!(page.contains("n = 1 deployment; 5 needed"), "{page}");
    assert_eq!(page.matches("<svg").count(), 3, "{page}");
}

#[tokio::test]
async fn a_large_board_has_pages_of_the_same_size() {
    let (hundred, many) = (filled(demo(100)), filled(demo(3000)));
    for path in ["/", "/api/board.json", "/feed.atom"] {
        let [small, large] = [&hundred, &many].map(|router| get(router, path));
        let (small, large) = (small.await.body.len(), large.await.body.len());
        assert!(large < small * 2 && large < 200_000, "{path}: {small} and {large}");
    }
}

#[tokio::test]
async fn the_pages_do_not_depend_on_the_order_of_reports() {
    let reports = demo(200);
    let mut reversed = reports.clone();
    reversed.reverse();
    let commit = demo::live(&reports).unwrap().commit.clone().unwrap();
    let boards = [reports, reversed].map(|reports| {
        let site = site(&commit);
        // Twice: a replay must change nothing.
        site.board.fill(reports.clone()).unwrap();
        site.board.fill(reports).unwrap();
        router(site)
    });
    let [mut one, mut other] = [json(&boards[0]).await, json(&boards[1]).await];
    for json in [&mut one, &mut other] {
        json["live"]["started_at"].take();
    }
    assert_eq!(one.to_string(), other.to_string());
}

#[tokio::test]
async fn the_process_decides_what_is_live() {
    let reports = demo(50);
    let reported = demo::live(&reports).unwrap().commit.clone().unwrap();
    // The pipeline reports at the end of a deployment, so a new process is probably part of one.
    let new = site(COMMIT);
    new.board.fill(reports.clone()).unwrap();
    let page = get(&router(new), "/").await.body;
    assert!(page.contains("Deployment in progress") && !page.contains("name another release"), "{page}");
    let site = site_since(COMMIT, Time::from_milliseconds((now() - 3600) * 1000));
    site.board.fill(reports).unwrap();
    let router = router(site);
    let page = get(&router, "/").await.body;
    assert!(page.contains("The reports name another release") && page.contains(&reported), "{page}");
    assert!(!page.contains("in progress"), "{page}");
    assert!(page.contains(&format!("cargo xtask rollback --to {}<", &reported[..12])), "{page}");
    let json = json(&router).await;
    assert_eq!(
        (&json["live"]["commit"], &json["drift"]["reported"]["commit"]),
        (&COMMIT.into(), &reported.into())
    );
    assert!(get(&router, "/badge/live.svg").await.body.contains(&COMMIT[..12]));
}

/// Reports of other services, of other environments and with impossible times are stored and left out.
#[tokio::test]
async fn only_reports_of_this_service_count() {
    let reports = demo(60);
    let commit = demo::live(&reports).unwrap().commit.clone().unwrap();
    let settings = Settings::read(&|name| match name {
        "SERVER_TYPE" => Some("TEST".to_owned()),
        "RENDER_SERVICE_ID" => Some("srv-own".to_owned()),
        "APP_COMMIT" => Some(commit.clone()),
        _ => None,
    });
    let settings = settings.unwrap();
    let of = |id: &str, seconds: u64| Report {
        service: Some(Service { key: Service::key(id), name: Some("app".to_owned()) }),
        finished: Time::from(SystemTime::now()).after(Duration::from_secs(seconds)),
        id: format!("{id}-{seconds}"),
        ..reports.last().unwrap().clone()
    };
    let mut production = of("srv-own", 0);
    production.id = "production".to_owned();
    production.deployment.as_mut().unwrap().environment = "PROD".to_owned();
    let mut others = vec![production, of("srv-other", 0), of("srv-own", 86_400)];
    for other in &mut others {
        let deployment = other.deployment.as_mut().unwrap();
        deployment.finished = other.finished;
        deployment.release.as_mut().unwrap().commit = Some(COMMIT.to_owned());
    }
    let own = [reports.clone(), vec![of("srv-own", 0)]].concat();
    let boards = [own.clone(), [own, others].concat()].map(|reports| {
        let site = Site::new(&settings, Identity::new(&settings));
        site.board.fill(reports).unwrap();
        router(site)
    });
    let [alone, shared] = [json(&boards[0]).await, json(&boards[1]).await];
    assert_eq!(
        (&alone["reports"], &alone["elsewhere"], &alone["untimely"]),
        (&61.into(), &0.into(), &0.into())
    );
    assert_eq!(
        (&shared["reports"], &shared["elsewhere"], &shared["untimely"]),
        (&61.into(), &2.into(), &1.into())
    );
    for field in ["figures", "runs", "coverage", "drift"] {
        assert_eq!(alone[field], shared[field], "{field}");
    }
    let page = get(&boards[1], "/").await.body;
    assert!(page.contains("Not shown: 2 reports of other services or environments"), "{page}");
    assert!(page.contains("Not shown: 1 report with impossible times"), "{page}");
    // Each still has its page, and is listed.
    assert_eq!(get(&boards[1], "/runs/srv-other-0").await.status, StatusCode::OK);
    assert!(get(&boards[1], "/api/v1/reports?after=61").await.body.contains("srv-other-0"));
}

#[tokio::test]
async fn an_unchanged_page_is_not_sent_again() {
    let router = filled(demo(20));
    for path in [
        "/",
        "/api/board.json",
        "/feed.atom",
        "/badge/live.svg",
        "/badge/coverage.svg",
        "/runs/demo-00007",
        "/runs",
    ] {
        let first = get(&router, path).await;
        assert_eq!(
            (first.status, &first.headers["cache-control"]),
            (StatusCode::OK, &"no-cache".parse().unwrap())
        );
        let etag = first.headers["etag"].to_str().unwrap();
        for tags in [etag.to_owned(), format!("\"x\", W/{etag}"), "*".to_owned()] {
            let request = Request::get(path).header("host", "localhost").header("if-none-match", tags);
            let response = send(&router, request.body(Body::empty()).unwrap()).await;
            assert_eq!((response.status, response.body.as_str()), (StatusCode::NOT_MODIFIED, ""), "{path}");
            assert_eq!(
                (&response.headers["etag"], response.headers.get("set-cookie")),
                (&first.headers["etag"], None)
            );
        }
    }
    let etag = get(&router, "/").await.headers["etag"].clone();
    let report = Report { id: "more".to_owned(), ..demo(1).remove(0) };
    assert_eq!(
        send(&router, put("more", serde_json::to_vec(&report).unwrap())).await.status,
        StatusCode::CREATED
    );
    let request = Request::get("/").header("host", "localhost").header("if-none-match", &etag);
    let response = send(&router, request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status, StatusCode::OK);
    assert!(response.body.contains("/runs/more"));
}

#[tokio::test]
async fn text_from_reports_is_escaped() {
    let nasty = "<script>alert(1)</script>\"'&";
    let mut report = demo(1).remove(0);
    report.commit.subject = nasty.to_owned();
    report.commits[0].subject = nasty.to_owned();
    report.actor = nasty.to_owned();
    let deployment = report.deployment.as_mut().unwrap();
    (deployment.outcome, deployment.reason) = (DeploymentOutcome::RolledBack, Some(nasty.to_owned()));
    let (router, id) = (filled(Vec::new()), report.id.clone());
    let response = send(&router, put(&id, serde_json::to_vec(&report).unwrap())).await;
    assert_eq!(response.status, StatusCode::CREATED);
    for path in ["/", &format!("/runs/{id}"), "/feed.atom"] {
        let body = get(&router, path).await.body;
        assert!(!body.contains("<script") && body.contains("&#60;script"), "{path}: {body}");
    }
    // Characters that XML cannot represent do not break the feed.
    report.id = "coloured".to_owned();
    report.deployment.as_mut().unwrap().reason = Some("\u{1b}[31mno\u{ffff}\0\nmore".to_owned());
    let response = send(&router, put(&report.id, serde_json::to_vec(&report).unwrap())).await;
    assert_eq!(response.status, StatusCode::CREATED);
    let feed = get(&router, "/feed.atom").await.body;
    assert!(feed.contains("\u{fffd}[31mno\u{fffd}\u{fffd}\nmore"), "{feed}");

    assert_eq!(get(&router, "/runs/other").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&router, "/badge/other.svg").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_client_that_disconnects_does_not_undo_its_report() {
    let site = Arc::new(filled(Vec::new()));
    // The writer may finish before the client disconnects; then the next report tries again.
    for report in demo(30) {
        let mut sending = Box::pin(send(&site, put(&report.id, serde_json::to_vec(&report).unwrap())));
        // Polled once, so that the write has begun.
        let is_pending = futures_util::poll!(&mut sending).is_pending();
        drop(sending);
        if !is_pending {
            continue;
        }
        let path = format!("/runs/{}", report.id);
        for _ in 0..500 {
            if get(&site, &path).await.status == StatusCode::OK {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the report was never stored");
    }
    panic!("no client disconnected in time");
}

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
        "PROD".to_owned();
    let router = filled(reports);
    let page = get(&router, "/runs?environment=PROD").await.body;
    assert!(page.contains("Runs 1–1 of 1") && page.contains("/runs?environment=TEST"), "{page}");
    assert!(get(&router, "/runs?environment=TEST").await.body.contains("aria-current=\"page\">TEST"));
}
