//! The registry's refusals, in the wire format of OCI distribution 1.1, §"Error Codes", and its grammars.

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::server::BodyError;

/// An error response.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    // Boxed, because a `Result` is as large as its larger variant.
    detail: Box<serde_json::Value>,
    header: Option<Box<(HeaderName, String)>>,
}

impl Refusal {
    /// A refusal with one of the specification's codes.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), detail: Box::default(), header: None }
    }

    pub(crate) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    pub(crate) fn unauthorized(challenge: String) -> Self {
        let refusal = Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required");
        Self { header: Some(Box::new((WWW_AUTHENTICATE, challenge))), ..refusal }
    }

    pub(crate) fn too_many_requests(retry_after: String) -> Self {
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "too many requests");
        Self { header: Some(Box::new((RETRY_AFTER, retry_after))), ..refusal }
    }

    pub(crate) fn unsupported() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "the operation is unsupported")
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", message)
    }

    /// Details for people who read the client's log.
    pub(crate) fn about(self, detail: serde_json::Value) -> Self {
        Self { detail: Box::new(detail), ..self }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", "the body is too large")
            }
            BodyError::Broken => Self::bad("SIZE_INVALID", "the body ended early"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = json!({ "code": self.code, "message": self.message, "detail": self.detail });
        let mut response = (self.status, Json(json!({ "errors": [error] }))).into_response();
        if let Some((name, value)) = self.header.map(|header| *header)
            && let Ok(value) = HeaderValue::try_from(value)
        {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// OCI distribution 1.1, §"Pulling manifests": lower-case parts joined by `.`, `_`, `__` or dashes.
pub(crate) fn valid_name(name: &str) -> Result<String, Refusal> {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separator = |run: &str| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|byte| byte == b'-');
    let component = |part: &str| {
        part.starts_with(alphanumeric)
            && part.ends_with(alphanumeric)
            && part.split(alphanumeric).all(separator)
    };
    if name.len() <= 255 && name.split('/').all(component) {
        Ok(name.to_owned())
    } else {
        Err(Refusal::bad("NAME_INVALID", "invalid repository name").about(json!({ "name": name })))
    }
}

/// A SHA-256 digest; this registry knows no other algorithm.
pub(crate) fn valid_digest(digest: &str) -> Result<String, Refusal> {
    let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    match digest.strip_prefix("sha256:") {
        Some(hex) if hex.len() == 64 && hex.bytes().all(lower_hex) => Ok(digest.to_owned()),
        _ => Err(Refusal::bad("DIGEST_INVALID", "not a SHA-256 digest").about(json!({ "digest": digest }))),
    }
}

/// A digest or a tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub(crate) fn valid_reference(reference: &str) -> Result<String, Refusal> {
    if reference.contains(':') {
        return valid_digest(reference);
    }
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let tag = reference.starts_with(word) && reference.chars().all(|c| word(c) || c == '.' || c == '-');
    if tag && reference.len() <= 128 {
        Ok(reference.to_owned())
    } else {
        Err(Refusal::bad("MANIFEST_INVALID", "invalid tag").about(json!({ "tag": reference })))
    }
}
