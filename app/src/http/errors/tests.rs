//! Internal errors.

use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::Error;

#[test]
fn an_internal_error_is_reported_once_and_returns_500() {
    let events = sentry::test::with_captured_events(|| {
        let response = Error::internal(&std::fmt::Error).into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    });
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].exception[0].ty, "Error");
}
