//! The style sheet, at an address that changes with its content, so that browsers may keep it for ever.

use std::sync::LazyLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

const STYLE: &str = include_str!("../../templates/style.css");

static STYLE_PATH: LazyLock<String> = LazyLock::new(|| {
    let digest = digest(&SHA256, STYLE.as_bytes());
    let hash = URL_SAFE_NO_PAD.encode(digest);
    format!("/assets/style-{}.css", &hash[..12])
});

/// Where the style sheet is.
pub(super) fn style_path() -> &'static str {
    &STYLE_PATH
}

pub(super) async fn style() -> impl IntoResponse {
    let headers =
        [(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, STYLE)
}
