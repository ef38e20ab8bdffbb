//! The routes and the layers around them.

use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use sentry::integrations::tower::{NewSentryLayer, SentryHttpLayer};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::info;

use super::canary::{self, Canary};
use super::errors::Error;
use super::{HEALTH_PATH, assets, board, guard, headers, reports};
use crate::board::Board;
use crate::identity::Identity;
use crate::settings::hosts::AllowedHosts;
use crate::settings::{ServerType, Settings};
use crate::sign::Verifier;

/// For a whole request, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Largest body of a request, in bytes. A route that needs more asks for it.
const BODY_LIMIT: usize = 1024;

/// What handlers know.
#[derive(Debug)]
pub struct Site {
    pub(super) identity: Identity,
    pub(super) hosts: AllowedHosts,
    pub(super) canary: Canary,
    pub(super) reports: Verifier,
    /// What the pipeline reported.
    pub board: Board,
}

impl Site {
    /// The site of one process.
    #[must_use]
    pub fn new(settings: &Settings, identity: Identity) -> Self {
        Self {
            hosts: settings.hosts.clone(),
            canary: Canary::new(&settings.secret_key),
            reports: Verifier::new(&settings.secret_key, reports::PURPOSE),
            board: Board::open(&settings.database, identity.clone()),
            identity,
        }
    }
}

/// The whole service.
pub fn router(site: Site) -> Router {
    let site = Arc::new(site);
    let transport_security = site.identity.server_type == ServerType::Prod;
    Router::new()
        .route("/", get(board::home))
        .route("/runs/{id}", get(board::run))
        .route("/feed.atom", get(board::feed))
        .route("/badge/{name}", get(board::badge))
        .route("/api/board.json", get(board::json))
        .route("/api/v1/reports", get(reports::list))
        .route("/api/v1/reports/{id}", put(reports::put).layer(DefaultBodyLimit::max(report::MAX_BYTES)))
        .route(assets::style_path(), get(assets::style))
        .route(assets::icon_path(), get(assets::icon))
        .route("/version", get(version))
        .route("/canary", post(canary::raise))
        .route(HEALTH_PATH, get(async || "ok"))
        .fallback(async || Error::NotFound)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        // From the inside out: a layer sees what those above it answer.
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn(limit_time))
        .layer(middleware::from_fn_with_state(Arc::clone(&site), guard::check_host))
        .layer(CatchPanicLayer::custom(|_| Error::Internal.into_response()))
        .layer(SentryHttpLayer::new())
        .layer(NewSentryLayer::<Request<Body>>::new_from_top())
        .layer(middleware::from_fn(log_request))
        .layer(middleware::map_response(move |response| {
            ready(headers::complete(response, transport_security))
        }))
        .with_state(site)
}

async fn version(State(site): State<Arc<Site>>) -> Json<Identity> {
    Json(site.identity.clone())
}

async fn limit_time(request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await;
    answer.unwrap_or_else(|_| Error::Timeout.into_response())
}

/// One line per request: without the query, which may hold a secret, and with no more of the path than tells one from
/// another. Health checks would be most of the log, so they are not in it.
async fn log_request(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    let path: String = request.uri().path().chars().take(256).collect();
    let response = next.run(request).await;
    let (status, time) = (response.status().as_u16(), start.elapsed());
    if path != HEALTH_PATH {
        info!(target: "app::request", %method, path, status, ?time);
    }
    response
}
