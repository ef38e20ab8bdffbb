//! A full server.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use tower::ServiceExt;

use super::*;
use crate::http::router;
use crate::identity::Identity;
use crate::settings::Settings;

#[tokio::test]
async fn a_full_server_turns_away_all_but_probes_and_recovers() {
    let settings = Settings::read(&|name| (name == "SERVER_TYPE").then(|| "TEST".to_owned())).unwrap();
    let site = Arc::new(Site::new(&settings, Identity::new(&settings)));
    let service = router(Arc::clone(&site));
    let ask = |path: &str| {
        let request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
        service.clone().oneshot(request)
    };
    // Requests whose bodies never come take no place.
    let waiting: Vec<_> = (0..MOST * 2)
        .map(|_| {
            let never = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
            let request = Request::post("/canary").header("host", "localhost").body(never).unwrap();
            tokio::spawn(service.clone().oneshot(request))
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(ask("/").await.unwrap().status(), StatusCode::OK);
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));

    let full = site.places.acquire_many(u32::try_from(MOST).unwrap()).await.unwrap();

    let shed = ask("/").await.unwrap();
    assert_eq!(shed.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(shed.headers()["retry-after"], "1");
    assert_eq!(shed.headers()["x-frame-options"], "DENY");
    for probe in ["/healthz", "/readyz", "/version", "/metrics"] {
        assert_eq!(ask(probe).await.unwrap().status(), StatusCode::OK, "{probe}");
    }
    assert_eq!(site.metrics.shed.get(), 1);

    drop(full);
    assert_eq!(ask("/").await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn who_waits_for_a_turn_takes_no_place() {
    let settings = Settings::read(&|name| (name == "SERVER_TYPE").then(|| "TEST".to_owned())).unwrap();
    let site = Arc::new(Site::new(&settings, Identity::new(&settings)));
    let service = router(Arc::clone(&site));
    let ask = |path: &str| {
        let request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
        service.clone().oneshot(request)
    };
    let turns = site.turns.acquire_many(u32::try_from(TURNS).unwrap()).await.unwrap();
    let waiting: Vec<_> = (0..MOST * 2).map(|_| tokio::spawn(ask("/api/v1/reports?limit=1000"))).collect();
    tokio::task::yield_now().await;
    assert_eq!(ask("/").await.unwrap().status(), StatusCode::OK);
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    drop(turns);
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().unwrap().status(), StatusCode::OK);
    }
}
