//! The board in process: reports in, pages out.

mod releases;
pub(crate) mod starts;

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

use crate::support::{COMMIT, PROD, SECRET, now, sign_for};

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

/// The pipeline names the environment of a report, and the board leaves out the reports of others.
#[test]
fn the_board_has_the_pipelines_name_of_its_environment() {
    let configuration =
        fs_err::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).unwrap();
    let names = configuration.lines().find(|line| line.starts_with("environment-name = ")).unwrap();
    for server_type in ["PROD", "TEST"] {
        let value = |name: &str| match name {
            "SERVER_TYPE" => Some(server_type.to_owned()),
            name => PROD.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()),
        };
        let identity = Identity::new(&Settings::read(&value).unwrap());
        let mapped = format!("{server_type} = \"{}\"", identity.environment());
        assert!(names.contains(&mapped), "{mapped}: {names}");
        let mut report = demo(1).pop().unwrap();
        report.deployment.as_mut().unwrap().environment = identity.environment().to_owned();
        assert!(identity.owns(&report), "{server_type}");
    }
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
    production.deployment.as_mut().unwrap().environment = "production".to_owned();
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
