//! The board's pages, each with an `ETag`.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::errors::Error;
use super::router::Site;
use crate::board::{Board, Page, Pages};

/// `GET /`
pub(super) async fn home(State(site): State<Arc<Site>>, headers: HeaderMap) -> Result<Response, Error> {
    Ok(respond(&pages(&site).await?.home, &headers))
}

/// `GET /api/board.json`
pub(super) async fn json(State(site): State<Arc<Site>>, headers: HeaderMap) -> Result<Response, Error> {
    Ok(respond(&pages(&site).await?.json, &headers))
}

/// `GET /feed.atom`
pub(super) async fn feed(State(site): State<Arc<Site>>, headers: HeaderMap) -> Result<Response, Error> {
    Ok(respond(&pages(&site).await?.feed, &headers))
}

/// `GET /badge/{name}`
pub(super) async fn badge(
    State(site): State<Arc<Site>>,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let Path(name) = name?;
    let pages = pages(&site).await?;
    let badge = match name.as_str() {
        "live.svg" => &pages.live_badge,
        "coverage.svg" => &pages.coverage_badge,
        _ => return Err(Error::NotFound),
    };
    let mut response = respond(badge, &headers);
    // Badges are embedded in other sites.
    let policy = HeaderName::from_static("cross-origin-resource-policy");
    response.headers_mut().insert(policy, HeaderValue::from_static("cross-origin"));
    Ok(response)
}

/// `GET /runs/{id}`
pub(super) async fn run(
    State(site): State<Arc<Site>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let Path(id) = id?;
    let page = blocking(&site, move |board| board.run(&id)).await?.map_err(|_| Error::Unavailable)?;
    let page = page.ok_or(Error::NotFound)?.map_err(|cause| Error::internal(&cause))?;
    Ok(respond(&page, &headers))
}

/// Which part of the list of runs.
#[derive(Deserialize)]
pub(super) struct Selection {
    #[serde(default = "Selection::first")]
    page: usize,
    environment: Option<String>,
}

impl Selection {
    fn first() -> usize {
        1
    }
}

/// `GET /runs?page={from 1}&environment={name}`
pub(super) async fn runs(
    State(site): State<Arc<Site>>,
    selection: Result<Query<Selection>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let Query(Selection { page, environment }) = selection.map_err(|_| Error::Malformed)?;
    let page = blocking(&site, move |board| board.runs(page, environment.as_deref())).await?;
    let page = page.ok_or(Error::NotFound)?.map_err(|cause| Error::internal(&cause))?;
    Ok(respond(&page, &headers))
}

/// `GET /releases/{digest}`
pub(super) async fn release(
    State(site): State<Arc<Site>>,
    digest: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let Path(digest) = digest?;
    let page = blocking(&site, move |board| board.release(&digest)).await?;
    let page = page.ok_or(Error::NotFound)?.map_err(|cause| Error::internal(&cause))?;
    Ok(respond(&page, &headers))
}

/// Runs blocking work on the board, to the end even if the client disconnects.
pub(super) async fn blocking<T: Send + 'static>(
    site: &Arc<Site>,
    work: impl FnOnce(&Board) -> T + Send + 'static,
) -> Result<T, Error> {
    let site = Arc::clone(site);
    let worker = tokio::task::spawn_blocking(move || work(&site.board));
    worker.await.map_err(|cause| Error::internal(&cause))
}

async fn pages(site: &Arc<Site>) -> Result<Arc<Pages>, Error> {
    match site.board.current() {
        Some(pages) => Ok(pages),
        None => blocking(site, Board::pages).await?.map_err(|cause| Error::internal(&cause)),
    }
}

fn respond(page: &Page, headers: &HeaderMap) -> Response {
    // Caches must revalidate every time: a stale board misleads.
    let caching = [(ETAG, page.etag.clone()), (CACHE_CONTROL, "no-cache".to_owned())];
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|list| list.split(',')).map(str::trim);
    if known.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == page.etag) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(CONTENT_TYPE, page.content_type)], page.body.clone()).into_response()
}
