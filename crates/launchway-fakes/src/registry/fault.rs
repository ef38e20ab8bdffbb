//! What goes wrong on purpose, and with which request.

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, LOCATION};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;

use super::Route;
use super::refusal::Refusal;
use crate::server::Incoming;

/// Something that goes wrong once. Several can be queued; each is used up by the first request that it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Any request under `/v2/` is answered 401 with a challenge, as when a token expires in mid-push.
    Unauthorized,
    /// All tokens expire when a blob's bytes arrive.
    TokensExpire,
    /// The `put`th PUT from now (1 is the next) is answered 429.
    TooManyRequests {
        /// Which PUT.
        put: usize,
        /// The seconds in `Retry-After`.
        retry_after: u64,
    },
    /// The next PUT is answered 429 with a date in `Retry-After`, which is long past.
    TooManyRequestsUntil,
    /// The PUT that would end a blob upload is answered 500.
    BlobPutFails,
    /// A PUT of this tag is answered 503.
    TagFails(&'static str),
    /// A PUT of this tag is answered 403.
    TagRefused(&'static str),
    /// The PUT of a blob is never answered, and its body not read.
    BlobStalls,
    /// The PUT of this tag is never answered.
    TagStalls(&'static str),
    /// A manifest's `Docker-Content-Digest` names another digest.
    WrongContentDigest,
    /// A manifest comes without `Docker-Content-Digest`, which is not required.
    NoContentDigest,
    /// The answer to a manifest that is read breaks off.
    Truncated,
    /// A blob that is looked for is said to be there.
    BlobClaimed,
    /// Where an upload goes on is said like this.
    Location(Place),
    /// A manifest that comes by its digest is not taken, as by a registry that knows images only.
    ArtifactRefused,
    /// A mount is answered 202 with an upload session, as a registry may always do.
    MountDeclined,
}

/// A `Location` other than the usual path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The same as a whole address.
    Absolute,
    /// An address that a registry has no business to send anybody to.
    Inside,
    /// None at all.
    Missing,
}

impl Fault {
    /// Whether this is the request that it waits for; a count comes nearer to it.
    pub(super) fn fits(&mut self, route: &Route, request: &Incoming) -> bool {
        let put = request.method == Method::PUT;
        let blob = put && matches!(route, Route::Upload { .. });
        let tagged =
            |tag: &str| put && matches!(route, Route::Manifest { reference, .. } if reference == tag);
        match self {
            Self::Unauthorized => true,
            Self::TooManyRequests { put: left, .. } if put => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            Self::TooManyRequests { .. } => false,
            Self::TooManyRequestsUntil => put,
            Self::TokensExpire | Self::BlobPutFails | Self::BlobStalls => blob,
            Self::TagFails(tag) | Self::TagRefused(tag) | Self::TagStalls(tag) => tagged(tag),
            Self::WrongContentDigest | Self::NoContentDigest => matches!(route, Route::Manifest { .. }),
            Self::Truncated => request.method == Method::GET && matches!(route, Route::Manifest { .. }),
            Self::BlobClaimed => request.method == Method::HEAD && matches!(route, Route::Blob { .. }),
            Self::Location(_) => request.method == Method::POST && matches!(route, Route::Uploads { .. }),
            Self::ArtifactRefused => {
                put && matches!(route, Route::Manifest { reference, .. } if reference.contains(':'))
            }
            Self::MountDeclined => {
                matches!(route, Route::Uploads { .. }) && request.parameter("mount").is_some()
            }
        }
    }

    /// The answer instead of the registry's own, where the fault has one.
    pub(crate) async fn answer(self) -> Option<Result<Response, Refusal>> {
        Some(match self {
            Self::TooManyRequests { retry_after, .. } => {
                Err(Refusal::too_many_requests(retry_after.to_string()))
            }
            Self::TooManyRequestsUntil => {
                Err(Refusal::too_many_requests("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()))
            }
            Self::BlobPutFails => Err(Refusal::internal("the upload could not be stored")),
            Self::TagFails(_) => {
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "UNKNOWN", "try again later"))
            }
            Self::TagRefused(_) => {
                Err(Refusal::new(StatusCode::FORBIDDEN, "DENIED", "requested access is denied"))
            }
            Self::BlobStalls | Self::TagStalls(_) => std::future::pending().await,
            Self::BlobClaimed => Ok(Response::new(Body::empty())),
            Self::ArtifactRefused => Err(Refusal::bad("MANIFEST_INVALID", "manifest invalid")),
            _ => return None,
        })
    }

    /// What the fault makes of the registry's own answer.
    pub(crate) fn spoil(self, response: &mut Response, host: &str) {
        const DIGEST: &str = "docker-content-digest";
        const WRONG: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
        let headers = response.headers_mut();
        match self {
            Self::WrongContentDigest => {
                headers.insert(DIGEST, HeaderValue::from_static(WRONG));
            }
            Self::NoContentDigest => {
                headers.remove(DIGEST);
            }
            Self::Truncated => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from_static("1000"));
                // A stream, whose length the server does not know beforehand.
                if let Ok(nothing) = fs_err::File::open("/dev/null") {
                    let nothing = tokio::fs::File::from_std(nothing.into_parts().0);
                    *response.body_mut() = Body::new(reqwest::Body::from(nothing));
                }
            }
            Self::Location(place) => {
                let path = headers.remove(LOCATION);
                let path = path.as_ref().and_then(|path| path.to_str().ok()).unwrap_or_default();
                let address = match place {
                    Place::Absolute => Some(format!("http://{host}{path}")),
                    Place::Inside => Some(format!("https://169.254.169.254{path}")),
                    Place::Missing => None,
                };
                if let Some(Ok(address)) = address.map(HeaderValue::try_from) {
                    headers.insert(LOCATION, address);
                }
            }
            _ => {}
        }
    }
}
