//! The style sheet and the icon, at paths that contain a hash of their content, so that browsers may cache them for ever.

use std::sync::LazyLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

const STYLE: &str = include_str!("../templates/style.css");
const ICON: &str = include_str!("../templates/icon.svg");

static STYLE_PATH: LazyLock<String> = LazyLock::new(|| format!("/assets/style-{}.css", hash(STYLE)));
static ICON_PATH: LazyLock<String> = LazyLock::new(|| format!("/assets/icon-{}.svg", hash(ICON)));

/// The path of the style sheet.
pub(crate) fn style_path() -> &'static str {
    &STYLE_PATH
}

/// The path of the icon.
pub(crate) fn icon_path() -> &'static str {
    &ICON_PATH
}

pub(crate) async fn style() -> impl IntoResponse {
    asset("text/css; charset=utf-8", STYLE)
}

pub(crate) async fn icon() -> impl IntoResponse {
    asset("image/svg+xml", ICON)
}

fn asset(content_type: &'static str, content: &'static str) -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, content)
}

fn hash(content: &str) -> String {
    URL_SAFE_NO_PAD.encode(&digest(&SHA256, content.as_bytes()).as_ref()[..9])
}

#[cfg(test)]
mod tests;
