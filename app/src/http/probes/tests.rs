//! Readiness and metrics.

use axum::body::{Body, to_bytes};
use axum::http::Request;
use tower::ServiceExt;

use super::*;
use crate::http::router;
use crate::identity::Identity;
use crate::settings::Settings;

fn site(hooks: Hooks) -> Arc<Site> {
    let settings = Settings::read(&|name| (name == "SERVER_TYPE").then(|| "TEST".to_owned())).unwrap();
    Arc::new(Site::new(&settings, Identity::new(&settings)).with_hooks(hooks))
}

async fn request(site: &Arc<Site>, path: &str) -> (u16, String) {
    let request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
    let response = router(Arc::clone(site)).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    assert!(response.headers().contains_key("content-security-policy"), "{path}");
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn response(status: u16, body: &str) -> (u16, String) {
    (status, body.to_owned())
}

#[tokio::test]
async fn readiness_depends_on_the_store_and_on_shutdown() {
    let site = site(Hooks::default());
    assert_eq!(request(&site, "/readyz").await, response(200, "ready"));
    site.shutting_down.store(true, Ordering::Relaxed);
    assert_eq!(request(&site, "/readyz").await, response(503, "shutting down"));
    assert_eq!(request(&site, "/healthz").await, response(200, "ok"));

    let broken = self::site(Hooks { ready: Box::new(|| Err("s3cret path".to_owned())), ..Hooks::default() });
    assert_eq!(request(&broken, "/readyz").await, response(503, "not ready"));
    assert_eq!(request(&broken, "/healthz").await, response(200, "ok"));
    let panics = self::site(Hooks { ready: Box::new(|| panic!("on purpose")), ..Hooks::default() });
    assert_eq!(request(&panics, "/readyz").await, response(503, "not ready"));
}

#[tokio::test]
async fn a_store_that_hangs_makes_the_probe_fail() {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let hangs = move || {
        wait.lock().unwrap().recv().ok();
        Ok(())
    };
    let site = site(Hooks { ready: Box::new(hangs), ..Hooks::default() });
    let start = std::time::Instant::now();
    assert_eq!(request(&site, "/readyz").await, response(503, "not ready"));
    assert!(start.elapsed() >= STORE_TIMEOUT);
    // Otherwise the runtime would wait for its thread.
    drop(release);
}

#[tokio::test]
async fn metrics_name_routes_and_never_paths() {
    let site = site(Hooks { board_reports: Box::new(|| Some(7)), ..Hooks::default() });
    request(&site, "/version").await;
    request(&site, "/nothing/hunter2").await;
    let (status, text) = request(&site, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "http_requests_total{method=\"GET\",route=\"/version\",status=\"200\"} 1",
        "http_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1",
        "http_request_duration_seconds_count{route=\"/version\"} 1",
        "board_reports 7",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}:\n{text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
}
