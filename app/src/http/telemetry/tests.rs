//! Unreported 5xx responses, and sessions.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use axum::routing::get;
use sentry::protocol::{Envelope, EnvelopeItem};
use sentry::{ClientOptions, SessionMode};
use tower::ServiceExt;

use super::*;
use crate::http::errors::Error;

/// What Sentry receives when these paths are requested.
fn envelopes(paths: &[&str]) -> Vec<Envelope> {
    let options = ClientOptions::new().release("app@1").session_mode(SessionMode::Request);
    let request_all = || {
        let router = Router::new()
            .route("/", get(async || "ok"))
            .route("/plain/{id}", get(async || StatusCode::BAD_GATEWAY))
            .route("/reported", get(async || Error::internal(&std::fmt::Error)))
            .route("/busy", get(async || Error::Busy.into_response()))
            .route("/healthz", get(async || "ok"))
            .layer(from_fn(report));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for path in paths {
            let request = Request::get(*path).body(Body::empty()).unwrap();
            runtime.block_on(router.clone().oneshot(request)).unwrap();
        }
    };
    sentry::test::with_captured_envelopes_options(request_all, options)
}

#[test]
fn a_5xx_is_reported_once() {
    let envelopes = envelopes(&["/", "/plain/7", "/reported", "/busy", "/nope"]);
    let events: Vec<_> = envelopes.iter().filter_map(Envelope::event).collect();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].message.as_deref(), Some("`/plain/{id}` returned 502"));
    assert_eq!(events[0].level, Level::Error);
    assert_eq!(events[1].exception[0].ty, "Error");
}

#[test]
fn each_request_but_a_probe_is_a_session() {
    let envelopes = envelopes(&["/", "/", "/plain/7", "/reported", "/busy", "/healthz"]);
    let sums = envelopes.iter().flat_map(Envelope::items).find_map(|item| match item {
        EnvelopeItem::SessionAggregates(sums) => Some(sums),
        _ => None,
    });
    let aggregates = &sums.unwrap().aggregates;
    let count = |part: fn(&sentry::protocol::SessionAggregateItem) -> u32| -> u32 {
        aggregates.iter().map(part).sum()
    };
    assert_eq!([count(|a| a.exited), count(|a| a.errored), count(|a| a.crashed)], [3, 2, 0]);
}

#[test]
fn a_client_that_disconnects_ends_its_session() {
    let options = ClientOptions::new().release("app@1").session_mode(SessionMode::Request);
    let request_all = || {
        let router = Router::new().route("/", get(std::future::pending::<&str>)).layer(from_fn(report));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let request = Request::get("/").body(Body::empty()).unwrap();
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_millis(10), router.oneshot(request)).await.unwrap_err();
        });
    };
    let envelopes = sentry::test::with_captured_envelopes_options(request_all, options);
    assert_eq!(envelopes.iter().flat_map(Envelope::items).count(), 1);
}
