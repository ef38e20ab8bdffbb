//! Faults to inject, and the requests that they apply to.

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{Html, IntoResponse as _, Response};

use super::Route;
use super::refusal::Refusal;
use crate::script::cut_short;
use crate::server::Incoming;

/// A fault. Several can be queued. The first matching request uses a fault up, except for those marked "Always".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Any request under `/v2/` gets 401 and a challenge, as when a token expires in the middle of a push.
    Unauthorized,
    /// All tokens expire when the bytes of a blob arrive.
    TokensExpire,
    /// The `put`th PUT from now (1 is the next) gets 429.
    TooManyRequests {
        /// Which PUT.
        put: usize,
        /// The seconds in `Retry-After`.
        retry_after: u64,
    },
    /// The next PUT gets 429, with a date in the distant past in `Retry-After`.
    TooManyRequestsUntil,
    /// The PUT that would complete a blob upload gets 500.
    BlobPutFails,
    /// A PUT of this tag gets 503.
    TagFails(&'static str),
    /// A PUT of this tag gets 403.
    TagRefused(&'static str),
    /// The PUT of a blob gets no response, and its body is not read.
    BlobStalls,
    /// The PUT of this tag gets no response.
    TagStalls(&'static str),
    /// The response with a manifest has another digest in `Docker-Content-Digest`.
    WrongContentDigest,
    /// The response with a manifest lacks `Docker-Content-Digest`, which is optional.
    NoContentDigest,
    /// The response with a manifest breaks off.
    Truncated,
    /// A HEAD of a blob succeeds, whether it is there or not.
    BlobClaimed,
    /// The `Location` of an upload is replaced.
    Location(UploadLocation),
    /// The PUT of a manifest by digest is refused, as by a registry that supports images only.
    ArtifactRefused,
    /// A mount gets 202 and an upload session, which registries may always do.
    MountDeclined,
    /// Always: the list of referrers is replaced.
    Referrers(ReferrersResponse),
    /// Always: a manifest with a `subject` is refused, in plain text.
    SubjectUnknown,
    /// Always: every request gets a web page, as from a host that is not a registry.
    Page,
}

/// A response to the request for referrers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferrersResponse {
    /// This status, without a body.
    Status(u16),
    /// 200 and a web page.
    Page,
    /// A redirect to a login page.
    Login,
    /// An empty index, whatever was pushed.
    Nothing,
}

/// A `Location` other than the usual path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadLocation {
    /// The usual path, as an absolute URL.
    Absolute,
    /// An address inside the client's network, to which no registry may redirect it.
    Inside,
    /// No `Location`.
    Missing,
}

impl Fault {
    /// Whether the fault applies always.
    pub(super) fn lasts(self) -> bool {
        matches!(self, Self::Referrers(_) | Self::SubjectUnknown | Self::Page)
    }

    /// Whether the fault applies to this request; also advances a count.
    pub(super) fn fits(&mut self, route: &Route, request: &Incoming) -> bool {
        let put = request.method == Method::PUT;
        let blob = put && matches!(route, Route::Upload { .. });
        let tagged =
            |tag: &str| put && matches!(route, Route::Manifest { reference, .. } if reference == tag);
        match self {
            Self::Unauthorized | Self::Page => true,
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
            Self::Referrers(_) => matches!(route, Route::Referrers { .. }),
            Self::ArtifactRefused | Self::SubjectUnknown => {
                put && matches!(route, Route::Manifest { reference, .. } if reference.contains(':'))
            }
            Self::MountDeclined => {
                matches!(route, Route::Uploads { .. }) && request.parameter("mount").is_some()
            }
        }
    }

    /// The response that replaces the registry's own, if the fault has one.
    pub(crate) async fn response(self) -> Option<Result<Response, Refusal>> {
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
            Self::SubjectUnknown => {
                Ok((StatusCode::BAD_REQUEST, "unknown field `subject`\n").into_response())
            }
            Self::Page | Self::Referrers(ReferrersResponse::Page) => Ok(page()),
            Self::Referrers(ReferrersResponse::Status(status)) => {
                Ok(StatusCode::from_u16(status).unwrap_or_default().into_response())
            }
            Self::Referrers(ReferrersResponse::Login) => {
                Ok((StatusCode::FOUND, [(LOCATION, "/login")]).into_response())
            }
            Self::Referrers(ReferrersResponse::Nothing) => {
                let index = "application/vnd.oci.image.index.v1+json";
                Ok(([(CONTENT_TYPE, index)], r#"{"schemaVersion":2,"manifests":null}"#).into_response())
            }
            _ => return None,
        })
    }

    /// Changes the registry's own response.
    pub(crate) fn change(self, response: &mut Response, host: &str) {
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
                *response.body_mut() = cut_short();
            }
            Self::Location(place) => {
                let path = headers.remove(LOCATION);
                let path = path.as_ref().and_then(|path| path.to_str().ok()).unwrap_or_default();
                let address = match place {
                    UploadLocation::Absolute => Some(format!("http://{host}{path}")),
                    UploadLocation::Inside => Some(format!("https://169.254.169.254{path}")),
                    UploadLocation::Missing => None,
                };
                if let Some(Ok(address)) = address.map(HeaderValue::try_from) {
                    headers.insert(LOCATION, address);
                }
            }
            _ => {}
        }
    }
}

/// The response of an ordinary website.
pub(super) fn page() -> Response {
    Html("<!doctype html><title>Sign in</title><p>Welcome").into_response()
}
