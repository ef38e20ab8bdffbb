//! The HTML page of an error.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use crate::assets;

#[derive(Template)]
#[template(path = "error.html")]
struct Failure<'a> {
    style: &'a str,
    icon: &'a str,
    status: u16,
    title: &'a str,
    explanation: &'a str,
}

/// Renders the page, or only its title if rendering fails.
pub(super) fn render(status: StatusCode, explanation: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let page = Failure {
        style: assets::style_path(),
        icon: assets::icon_path(),
        status: status.as_u16(),
        title,
        explanation,
    };
    page.render().map_or_else(|_| title.to_owned().into_response(), |html| Html(html).into_response())
}
