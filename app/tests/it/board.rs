//! The board in the process: what is sent to it, and what its pages then say.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use app::board::demo;
use app::http::{Site, router};
use app::identity::Identity;
use app::settings::Settings;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use report::{DeploymentOutcome, Report, Service, Time};
use serde_json::Value;
use tower::ServiceExt;

use crate::support::{COMMIT, SECRET, now, sign_for};

/// What the router answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// A board in memory, of a process of that commit.
pub(crate) fn site(commit: &str) -> Site {
    let settings = Settings::read(&|name| match name {
        "SERVER_TYPE" => Some("TEST".to_owned()),
        "SECRET_KEY" => Some(SECRET.to_owned()),
        "APP_COMMIT" => Some(commit.to_owned()),
        _ => None,
    });
    let settings = settings.unwrap();
    Site::new(&settings, Identity::new(&settings))
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body(), 10_000_000).await.unwrap();
    Answer { status, headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

pub(crate) async fn get(router: &Router, path: &str) -> Answer {
    send(router, Request::get(path).header("host", "localhost").body(Body::empty()).unwrap()).await
}

/// A signed report; `id` is that of the address and of the signature.
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

/// A router whose board holds these reports, as the process that the last one made live.
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
    assert_eq!(shown, known);
    for name in names {
        assert!(page.body.contains(&format!("n = {} ", figures[name]["samples"])), "{name}");
    }
    assert_eq!((&json["reports"], json["runs"].as_array().unwrap().len()), (&400.into(), 50));
    assert_eq!(json["drift"], Value::Null);
    assert!(!page.body.contains("The reports say something else"));
}

#[tokio::test]
async fn an_empty_board_and_one_of_a_run_say_so() {
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
    assert!(page.contains("n = 1 deployment; it needs 5"), "{page}");
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
        // Twice: a replay changes nothing.
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
async fn what_runs_is_the_word_of_the_process() {
    let site = site(COMMIT);
    let reports = demo(50);
    let reported = demo::live(&reports).unwrap().commit.clone().unwrap();
    site.board.fill(reports).unwrap();
    let router = router(site);
    let page = get(&router, "/").await.body;
    assert!(page.contains("The reports say something else") && page.contains(&reported), "{page}");
    let json = json(&router).await;
    assert_eq!(
        (&json["live"]["commit"], &json["drift"]["reported"]["commit"]),
        (&COMMIT.into(), &reported.into())
    );
    assert!(get(&router, "/badge/live.svg").await.body.contains(&COMMIT[..7]));
}

/// What other services, other environments and impossible clocks reported is kept, and changes nothing on the page.
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
    assert!(page.contains("Not counted: 2 reports of other services or environments"), "{page}");
    assert!(page.contains("Not counted: 1 report with times that cannot be"), "{page}");
    // Each can still be looked at, and is passed on.
    assert_eq!(get(&boards[1], "/runs/srv-other-0").await.status, StatusCode::OK);
    assert!(get(&boards[1], "/api/v1/reports?after=61").await.body.contains("srv-other-0"));
}

#[tokio::test]
async fn who_has_a_page_is_told_so() {
    let router = filled(demo(20));
    for path in
        ["/", "/api/board.json", "/feed.atom", "/badge/live.svg", "/badge/coverage.svg", "/runs/demo-00007"]
    {
        let first = get(&router, path).await;
        assert_eq!(
            (first.status, &first.headers["cache-control"]),
            (StatusCode::OK, &"no-cache".parse().unwrap())
        );
        let etag = first.headers["etag"].to_str().unwrap();
        for tags in [etag.to_owned(), format!("\"x\", W/{etag}"), "*".to_owned()] {
            let request = Request::get(path).header("host", "localhost").header("if-none-match", tags);
            let answer = send(&router, request.body(Body::empty()).unwrap()).await;
            assert_eq!((answer.status, answer.body.as_str()), (StatusCode::NOT_MODIFIED, ""), "{path}");
            assert_eq!(
                (&answer.headers["etag"], answer.headers.get("set-cookie")),
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
    let answer = send(&router, request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.contains("/runs/more"));
}

#[tokio::test]
async fn words_from_reports_stay_words() {
    let nasty = "<script>alert(1)</script>\"'&";
    let mut report = demo(1).remove(0);
    report.commit.subject = nasty.to_owned();
    report.commits[0].subject = nasty.to_owned();
    report.actor = nasty.to_owned();
    let deployment = report.deployment.as_mut().unwrap();
    (deployment.outcome, deployment.reason) = (DeploymentOutcome::RolledBack, Some(nasty.to_owned()));
    let (router, id) = (filled(Vec::new()), report.id.clone());
    let answer = send(&router, put(&id, serde_json::to_vec(&report).unwrap())).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    for path in ["/", &format!("/runs/{id}"), "/feed.atom"] {
        let body = get(&router, path).await.body;
        assert!(!body.contains("<script") && body.contains("&#60;script"), "{path}: {body}");
    }
    // What XML has no way to write does not end the feed.
    report.id = "coloured".to_owned();
    report.deployment.as_mut().unwrap().reason = Some("\u{1b}[31mno\u{ffff}\0\nmore".to_owned());
    let answer = send(&router, put(&report.id, serde_json::to_vec(&report).unwrap())).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let feed = get(&router, "/feed.atom").await.body;
    assert!(feed.contains("\u{fffd}[31mno\u{fffd}\u{fffd}\nmore"), "{feed}");

    assert_eq!(get(&router, "/runs/other").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&router, "/badge/other.svg").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_undo_its_report() {
    let site = Arc::new(filled(Vec::new()));
    // The writer may be done before a client can leave: then the next one tries.
    for report in demo(30) {
        let mut sending = Box::pin(send(&site, put(&report.id, serde_json::to_vec(&report).unwrap())));
        // As far as it gets without waiting: the write has begun.
        let has_left = futures_util::poll!(&mut sending).is_pending();
        drop(sending);
        if !has_left {
            continue;
        }
        let path = format!("/runs/{}", report.id);
        for _ in 0..500 {
            if get(&site, &path).await.status == StatusCode::OK {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the report never came");
    }
    panic!("no client left in time");
}
