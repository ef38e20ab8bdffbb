//! The routes and the layers around them.

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
use axum::routing::{MethodRouter, get, post, put};
use sentry::integrations::tower::{NewSentryLayer, SentryHttpLayer};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

use super::canary::{self, Canary};
use super::errors::Error;
use super::{
    HEALTH_PATH, Hooks, METRICS_PATH, READY_PATH, VERSION_PATH, assets, board, guard, headers, health,
    observe, reports, shed,
};
use crate::board::Board;
use crate::identity::Identity;
use crate::settings::hosts::AllowedHosts;
use crate::settings::{ServerType, Settings};
use crate::sign::Verifier;
use crate::telemetry::limit::Limit;
use crate::telemetry::metrics::Metrics;

/// For a request whose body is here.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// What handlers know.
#[derive(Debug)]
pub struct Site {
    pub(super) identity: Identity,
    pub(super) hosts: AllowedHosts,
    pub(super) canary: Canary,
    pub(super) reports: Verifier,
    /// What the pipeline reported.
    pub board: Arc<Board>,
    pub(super) hooks: Hooks,
    pub(super) host_lines: Limit,
    /// One for each request that may be answered at a time.
    pub(super) places: Semaphore,
    /// One for each list that may be written at a time.
    pub(super) turns: Semaphore,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether the process was told to end.
    pub(crate) ending: AtomicBool,
}

impl Site {
    /// The site of one process.
    #[must_use]
    pub fn new(settings: &Settings, identity: Identity) -> Self {
        let board = Arc::new(Board::open(&settings.database, identity.clone()));
        Self {
            hosts: settings.hosts.clone(),
            canary: Canary::new(&settings.secret_key, &settings.secret_key_fallbacks),
            reports: Verifier::new(&settings.secret_key, &settings.secret_key_fallbacks, reports::PURPOSE),
            hooks: Hooks::of_board(&board),
            board,
            host_lines: Limit::new(guard::MOST_LINES),
            places: Semaphore::new(shed::MOST),
            turns: Semaphore::new(shed::TURNS),
            metrics: Arc::default(),
            ending: AtomicBool::new(false),
            identity,
        }
    }

    /// The same with counts that others add to as well.
    pub(crate) fn with_metrics(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// The same with what readiness and metrics ask.
    #[must_use]
    pub fn with_hooks(self, hooks: Hooks) -> Self {
        Self { hooks, ..self }
    }
}

/// The whole service.
pub fn router(site: impl Into<Arc<Site>>) -> Router {
    let site = site.into();
    let transport_security = site.identity.server_type == ServerType::Prod;
    routes()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
        .fallback(async || Error::NotFound)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        // From the inside out: a layer sees what those above it answer.
        .layer(middleware::from_fn(limit_time))
        .layer(middleware::from_fn_with_state(Arc::clone(&site), shed::limit_requests))
        .layer(middleware::from_fn_with_state(Arc::clone(&site), guard::check_host))
        .layer(CatchPanicLayer::custom(|_| Error::Internal.into_response()))
        .layer(middleware::from_fn(observe::report))
        .layer(SentryHttpLayer::new())
        .layer(NewSentryLayer::<Request<Body>>::new_from_top())
        .layer(middleware::from_fn_with_state(Arc::clone(&site), observe::count))
        .layer(middleware::map_response(move |response| {
            ready(headers::complete(response, transport_security))
        }))
        .with_state(site)
}

/// Every address, as a pattern. `app check` asks each of them.
pub(crate) fn addresses() -> impl Iterator<Item = &'static str> {
    routes().into_iter().map(|(path, _)| path)
}

/// Every address and what answers there.
fn routes() -> Vec<(&'static str, MethodRouter<Arc<Site>>)> {
    vec![
        ("/", get(board::home)),
        ("/runs/{id}", get(board::run)),
        ("/feed.atom", get(board::feed)),
        ("/badge/{name}", get(board::badge)),
        ("/api/board.json", get(board::json)),
        (reports::LIST_PATH, get(reports::list)),
        (reports::PATH, put(reports::put)),
        (assets::style_path(), get(assets::style)),
        (assets::icon_path(), get(assets::icon)),
        (VERSION_PATH, get(version)),
        ("/canary", post(canary::raise)),
        (HEALTH_PATH, get(health::alive)),
        (READY_PATH, get(health::ready)),
        (METRICS_PATH, get(health::metrics)),
    ]
}

async fn version(State(site): State<Arc<Site>>) -> Json<Identity> {
    Json(site.identity.clone())
}

async fn limit_time(request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await;
    answer.unwrap_or_else(|_| Error::Timeout.into_response())
}
