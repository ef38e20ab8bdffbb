//! Errors as the client sees them: a status and a page that reveals nothing internal.

use axum::extract::rejection::PathRejection;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use tracing::error;

use super::error_page;

/// Marks a response whose cause has been reported or needs no report. A 5xx without it is reported on its way out.
#[derive(Clone, Copy)]
pub(super) struct Reported;

/// What can go wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// The request is malformed.
    Malformed,
    /// It names a host that is not allowed.
    Host,
    /// It has no valid signature. The response is always the same; the log has the reason.
    Unsigned,
    /// No such path.
    NotFound,
    /// The path does not support this method.
    MethodNotAllowed,
    /// It did not arrive in time.
    Timeout,
    /// Its body is too large.
    TooLarge,
    /// Its body has the wrong media type.
    MediaType,
    /// Something else is stored under its id.
    Conflict,
    /// It came too soon after another; retry in a second.
    TooSoon,
    /// Too many requests are in progress; retry in a second.
    Busy,
    /// Temporarily impossible; retry later.
    Unavailable,
    /// An error of ours, already reported by the panic hook or by [`Error::internal`].
    Internal,
}

impl Error {
    /// Reports the cause of an internal error to the log and to Sentry, once.
    pub(super) fn internal(cause: &impl std::error::Error) -> Self {
        error!("{cause}");
        sentry::capture_error(cause);
        Self::Internal
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Malformed | Self::Host => StatusCode::BAD_REQUEST,
            Self::Unsigned => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooSoon => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn explanation(self) -> &'static str {
        match self {
            Self::Malformed => "The server could not understand this request.",
            Self::Host => "This server does not serve this host name.",
            Self::Unsigned => "This request needs a valid signature.",
            Self::NotFound => "This address has no page.",
            Self::MethodNotAllowed => "This address does not support requests of this kind.",
            Self::Timeout => "The request did not arrive in time.",
            Self::TooLarge => "The request is too large for this address.",
            Self::MediaType => "This address accepts JSON only, declared as `application/json`.",
            Self::Conflict => "Something else is stored under this id.",
            Self::TooSoon => "This request came too soon after another. Try again in a second.",
            Self::Busy => "The server is overloaded. Try again in a second.",
            Self::Unavailable => "The server cannot do this at the moment. Try again later.",
            Self::Internal => "Something went wrong on our side. The error has been recorded.",
        }
    }
}

impl From<PathRejection> for Error {
    /// The path is not UTF-8.
    fn from(_: PathRejection) -> Self {
        Self::Malformed
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response =
            (self.status(), error_page::render(self.status(), self.explanation())).into_response();
        response.extensions_mut().insert(Reported);
        let after = match self {
            Self::TooSoon | Self::Busy => Some("1"),
            Self::Unavailable => Some("10"),
            _ => None,
        };
        if let Some(seconds) = after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests;
