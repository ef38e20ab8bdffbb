//! `GET /healthz`, `/readyz` and `/metrics`: what machines ask.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use tracing::warn;

use super::errors::Known;
use super::router::Site;
use crate::board::Board;

/// How long whoever asks whether we are ready waits for the store's answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the parts of the service that keep something say about themselves. Both may block.
pub struct Hooks {
    /// Whether requests can be answered; if not, why not. For the log, not for the client.
    pub ready: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// How many reports the board holds, where there is a board.
    pub board_reports: Box<dyn Fn() -> Option<u64> + Send + Sync>,
}

impl Hooks {
    /// What a board says.
    pub(super) fn of_board(board: &Arc<Board>) -> Self {
        let (asked, counted) = (Arc::clone(board), Arc::clone(board));
        Self {
            ready: Box::new(move || asked.ping().map_err(|cause| cause.to_string())),
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

/// `GET /healthz`: the process is alive. Asks nothing else: a restart mends no store.
pub(super) async fn alive() -> &'static str {
    "ok"
}

/// `GET /readyz`: requests can be answered. Not any more once the process was told to end.
pub(super) async fn ready(State(site): State<Arc<Site>>) -> Response {
    if site.ending.load(Ordering::Relaxed) {
        return not_ready("ending");
    }
    let asked = Arc::clone(&site);
    let answer = tokio::task::spawn_blocking(move || (asked.hooks.ready)());
    let cause = match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(Ok(()))) => return "ready".into_response(),
        Ok(Ok(Err(cause))) => cause,
        Ok(Err(panicked)) => panicked.to_string(),
        Err(_) => format!("no answer in {} s", PATIENCE.as_secs()),
    };
    warn!(target: "app::ready", "not ready: {cause}");
    not_ready("not ready")
}

fn not_ready(word: &'static str) -> Response {
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], word).into_response();
    // Whoever asked is the one to do something about it.
    response.extensions_mut().insert(Known);
    response
}

/// `GET /metrics`, in Prometheus' text form.
pub(super) async fn metrics(State(site): State<Arc<Site>>) -> Response {
    let asked = Arc::clone(&site);
    let reports = tokio::task::spawn_blocking(move || (asked.hooks.board_reports)());
    let reports = tokio::time::timeout(PATIENCE, reports).await;
    let text = site.metrics.text(reports.ok().and_then(Result::ok).flatten());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests;
