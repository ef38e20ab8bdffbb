//! A full server.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use tokio::task::JoinHandle;
use tower::ServiceExt;

use super::*;
use crate::http::router;
use crate::identity::Identity;
use crate::settings::Settings;

fn site() -> Arc<Site> {
    let settings = Settings::read(&|name| (name == "SERVER_TYPE").then(|| "TEST".to_owned())).unwrap();
    Arc::new(Site::new(&settings, Identity::new(&settings)))
}

/// Sends a request `times` times, each in a task of its own.
fn start(site: &Arc<Site>, times: usize, request: fn() -> Request<Body>) -> Vec<JoinHandle<Response>> {
    let router = router(Arc::clone(site));
    let send = |_| {
        let router = router.clone();
        tokio::spawn(async move { router.oneshot(request()).await.unwrap() })
    };
    (0..times).map(send).collect()
}

async fn get(site: &Arc<Site>, path: &str) -> Response {
    let request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
    router(Arc::clone(site)).oneshot(request).await.unwrap()
}

#[tokio::test]
async fn a_full_server_rejects_all_but_probes_and_recovers() {
    let site = site();
    let full = site.requests.acquire_many(u32::try_from(REQUESTS).unwrap()).await.unwrap();

    let rejected = get(&site, "/").await;
    assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(rejected.headers()["retry-after"], "1");
    assert_eq!(rejected.headers()["x-frame-options"], "DENY");
    for path in ["/healthz", "/readyz", "/version", "/metrics"] {
        assert_eq!(get(&site, path).await.status(), StatusCode::OK, "{path}");
    }
    assert_eq!(site.metrics.rejected_requests.get(), 1);

    drop(full);
    assert_eq!(get(&site, "/").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_request_whose_body_never_arrives_is_not_in_progress() {
    let site = site();
    let waiting = start(&site, REQUESTS * 2, || {
        let never = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        Request::post("/test-error").header("host", "localhost").body(never).unwrap()
    });
    tokio::task::yield_now().await;
    assert_eq!(get(&site, "/").await.status(), StatusCode::OK);
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
}

#[tokio::test]
async fn a_list_that_waits_is_not_in_progress() {
    let site = site();
    let lists = site.lists.acquire_many(u32::try_from(LISTS).unwrap()).await.unwrap();
    let waiting = start(&site, REQUESTS * 2, || {
        Request::get("/api/v1/reports?limit=1000").header("host", "localhost").body(Body::empty()).unwrap()
    });
    tokio::task::yield_now().await;
    assert_eq!(get(&site, "/").await.status(), StatusCode::OK);
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    drop(lists);
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().status(), StatusCode::OK);
    }
}
