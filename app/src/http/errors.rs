//! Errors, as the client sees them: a status and a page that tells nothing about the inside.

use axum::extract::rejection::PathRejection;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use tracing::error;

use super::pages;

/// Marks an answer whose cause has been told, or is not worth telling. A 5xx without it is reported as it leaves.
#[derive(Clone, Copy)]
pub(super) struct Known;

/// What can go wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// The request itself is broken.
    Malformed,
    /// It names a host that is not ours.
    Host,
    /// It is not signed as it must be. The same answer whatever is wrong; the log knows.
    Unsigned,
    /// There is nothing at this address.
    NotFound,
    /// There is, but not for this method.
    MethodNotAllowed,
    /// It did not arrive in time.
    Timeout,
    /// Its body is too large.
    TooLarge,
    /// Its body is not of the type that it must be.
    MediaType,
    /// Something else has its place.
    Conflict,
    /// It came too soon after another; worth trying again in a second.
    TooSoon,
    /// Too many others are being answered. Worth trying again in a second.
    Busy,
    /// It cannot be done at the moment; worth trying again.
    Unavailable,
    /// It is our fault. Whoever makes this has reported the cause: the panic hook, or [`Error::internal`].
    Internal,
}

impl Error {
    /// Our fault: reports the cause to the log and to Sentry, once.
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
            Self::Malformed => "The server could not make sense of this request.",
            Self::Host => "The server does not answer to this host name.",
            Self::Unsigned => "This request needs a valid signature.",
            Self::NotFound => "There is nothing at this address.",
            Self::MethodNotAllowed => "This address does not take requests of this kind.",
            Self::Timeout => "The request did not arrive in time.",
            Self::TooLarge => "The request is larger than this address takes.",
            Self::MediaType => "This address takes JSON, declared as `application/json`.",
            Self::Conflict => "Something else is kept under this name.",
            Self::TooSoon => "This request came too soon after another. Try again in a second.",
            Self::Busy => "The server has more to do than it can. Try again in a second.",
            Self::Unavailable => "The server cannot do this at the moment. Try again later.",
            Self::Internal => "Something went wrong on our side. It has been recorded.",
        }
    }
}

impl From<PathRejection> for Error {
    /// Something in the address is not text.
    fn from(_: PathRejection) -> Self {
        Self::Malformed
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = (self.status(), pages::error(self.status(), self.explanation())).into_response();
        response.extensions_mut().insert(Known);
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
