//! `GET /healthz`, `/readyz` and `/metrics`, for machines.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use tracing::warn;

use super::errors::Reported;
use super::router::Site;
use crate::board::Board;

/// How long a probe waits for the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the probes get the state of the board. Both functions may block.
pub struct Hooks {
    /// Fails if requests cannot be served. The reason is logged, not sent.
    pub ready: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// The number of reports on the board, if there is a board.
    pub board_reports: Box<dyn Fn() -> Option<u64> + Send + Sync>,
}

impl Hooks {
    /// Reads from a board.
    pub(super) fn of_board(board: &Arc<Board>) -> Self {
        let (checked, counted) = (Arc::clone(board), Arc::clone(board));
        Self {
            ready: Box::new(move || checked.ping().map_err(|cause| cause.to_string())),
            board_reports: Box::new(move || Some(counted.total())),
        }
    }
}

impl Default for Hooks {
    fn default() -> Self {
        Self { ready: Box::new(|| Ok(())), board_reports: Box::new(|| None) }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

/// `GET /healthz`: the process is alive. Ignores the store, which a restart would not fix.
pub(super) async fn alive() -> &'static str {
    "ok"
}

/// `GET /readyz`: requests can be served. Fails during shutdown.
pub(super) async fn ready(State(site): State<Arc<Site>>) -> Response {
    if site.shutting_down.load(Ordering::Relaxed) {
        return not_ready("shutting down");
    }
    let checked = Arc::clone(&site);
    let ready = tokio::task::spawn_blocking(move || (checked.hooks.ready)());
    let cause = match tokio::time::timeout(STORE_TIMEOUT, ready).await {
        Ok(Ok(Ok(()))) => return "ready".into_response(),
        Ok(Ok(Err(cause))) => cause,
        Ok(Err(panicked)) => panicked.to_string(),
        Err(_) => format!("the store did not respond within {} s", STORE_TIMEOUT.as_secs()),
    };
    warn!(target: "app::ready", "not ready: {cause}");
    not_ready("not ready")
}

fn not_ready(reason: &'static str) -> Response {
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], reason).into_response();
    // The prober acts on it.
    response.extensions_mut().insert(Reported);
    response
}

/// `GET /metrics`, in Prometheus' text format.
pub(super) async fn metrics(State(site): State<Arc<Site>>) -> Response {
    let counted = Arc::clone(&site);
    let reports = tokio::task::spawn_blocking(move || (counted.hooks.board_reports)());
    let reports = tokio::time::timeout(STORE_TIMEOUT, reports).await;
    let text = site.metrics.text(reports.ok().and_then(Result::ok).flatten());
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests;
