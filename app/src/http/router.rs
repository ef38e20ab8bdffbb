//! The routes and the middleware around them.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use sentry::integrations::tower::{NewSentryLayer, SentryHttpLayer};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

use super::errors::Error;
use super::test_error::{self, TestErrors};
use super::{
    HEALTH_PATH, Hooks, METRICS_PATH, READY_PATH, VERSION_PATH, board, host_check, load_limit, probes,
    reports, security_headers, telemetry,
};
use crate::assets;
use crate::board::Board;
use crate::identity::Identity;
use crate::settings::hosts::AllowedHosts;
use crate::settings::{ServerType, Settings};
use crate::signature::Verifier;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::rate_limit::RateLimit;

/// Bounds a request whose body has arrived.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// What handlers share.
#[derive(Debug)]
pub struct Site {
    pub(super) identity: Identity,
    pub(super) hosts: AllowedHosts,
    pub(super) test_errors: TestErrors,
    pub(super) reports: Verifier,
    /// The run reports.
    pub board: Arc<Board>,
    pub(super) hooks: Hooks,
    pub(super) host_lines: RateLimit,
    /// One permit for each request that may be in progress.
    pub(super) requests: Semaphore,
    /// One permit for each list of reports that may be written at a time.
    pub(super) lists: Semaphore,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether the process is shutting down.
    pub(crate) shutting_down: AtomicBool,
}

impl Site {
    /// Opens the board and prepares everything else.
    #[must_use]
    pub fn new(settings: &Settings, identity: Identity) -> Self {
        let board = Arc::new(Board::open(&settings.database, identity.clone()));
        Self {
            hosts: settings.hosts.clone(),
            test_errors: TestErrors::new(&settings.secret_key, &settings.secret_key_fallbacks),
            reports: Verifier::new(&settings.secret_key, &settings.secret_key_fallbacks, reports::PURPOSE),
            hooks: Hooks::of_board(&board),
            board,
            host_lines: RateLimit::new(host_check::MOST_LINES),
            requests: Semaphore::new(load_limit::REQUESTS),
            lists: Semaphore::new(load_limit::LISTS),
            metrics: Arc::default(),
            shutting_down: AtomicBool::new(false),
            identity,
        }
    }

    /// Shares metrics with other parts of the process.
    pub(crate) fn with_metrics(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// Replaces what the probes read.
    #[must_use]
    pub fn with_hooks(self, hooks: Hooks) -> Self {
        Self { hooks, ..self }
    }
}

/// The whole service as a router.
pub fn router(site: impl Into<Arc<Site>>) -> Router {
    let site = site.into();
    let transport_security = site.identity.server_type == ServerType::Prod;
    routes()
        .fallback(async || Error::NotFound)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        // From the inside out.
        .layer(middleware::from_fn(limit_time))
        .layer(middleware::from_fn_with_state(Arc::clone(&site), load_limit::limit_requests))
        .layer(middleware::from_fn_with_state(Arc::clone(&site), host_check::check_host))
        .layer(CatchPanicLayer::custom(|_| Error::Internal.into_response()))
        .layer(middleware::from_fn(telemetry::report))
        .layer(SentryHttpLayer::new())
        .layer(NewSentryLayer::<Request<Body>>::new_from_top())
        .layer(middleware::from_fn_with_state(Arc::clone(&site), telemetry::count))
        .layer(middleware::map_response(move |response| {
            ready(security_headers::add(response, transport_security))
        }))
        .with_state(site)
}

fn routes() -> Router<Arc<Site>> {
    Router::new()
        .route("/", get(board::home))
        .route("/runs", get(board::runs))
        .route("/runs/{id}", get(board::run))
        .route("/releases/{digest}", get(board::release))
        .route("/feed.atom", get(board::feed))
        .route("/badge/{name}", get(board::badge))
        .route("/api/board.json", get(board::json))
        .route(reports::LIST_PATH, get(reports::list))
        .route(reports::PATH, put(reports::put))
        .route(assets::style_path(), get(assets::style))
        .route(assets::icon_path(), get(assets::icon))
        .route(VERSION_PATH, get(version))
        .route("/test-error", post(test_error::raise))
        .route(HEALTH_PATH, get(probes::alive))
        .route(READY_PATH, get(probes::ready))
        .route(METRICS_PATH, get(probes::metrics))
}

async fn version(State(site): State<Arc<Site>>) -> Json<Identity> {
    Json(site.identity.clone())
}

async fn limit_time(request: Request, next: Next) -> Response {
    let response = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await;
    response.unwrap_or_else(|_| Error::Timeout.into_response())
}
