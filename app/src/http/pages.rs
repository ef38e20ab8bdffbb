//! The pages that people see.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use super::assets;
use super::errors::Error;
use super::router::Site;
use crate::identity::Identity;

#[derive(Template)]
#[template(path = "home.html")]
struct Home<'a> {
    style: &'a str,
    identity: &'a Identity,
    since: &'a str,
}

#[derive(Template)]
#[template(path = "error.html")]
struct Failure<'a> {
    style: &'a str,
    status: u16,
    title: &'a str,
    explanation: &'a str,
}

/// `GET /`: what is running.
pub(super) async fn home(State(site): State<Arc<Site>>) -> Response {
    let identity = &site.identity;
    let since = identity.started_at.replace('T', " ").replace('Z', " UTC");
    let page = Home { style: assets::style_path(), identity, since: &since };
    page.render()
        .map_or_else(|cause| Error::internal(&cause).into_response(), |html| Html(html).into_response())
}

/// The page of an error. In the worst case only its name: an error on the way to an error helps nobody.
pub(super) fn error(status: StatusCode, explanation: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let page = Failure { style: assets::style_path(), status: status.as_u16(), title, explanation };
    page.render().map_or_else(|_| title.to_owned().into_response(), |html| Html(html).into_response())
}
