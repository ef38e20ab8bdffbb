//! Headers that every answer carries, errors included.

use axum::http::HeaderValue;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::response::Response;

/// Pages have a style sheet and images from here, and nothing else: no scripts, forms or frames.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Adds what the answer does not say already. `transport_security` tells browsers to come back over TLS only, for a
/// year; not the subdomains, which are not ours to speak for.
pub(super) fn complete(mut response: Response, transport_security: bool) -> Response {
    let always = [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ];
    let over_tls = transport_security.then_some((STRICT_TRANSPORT_SECURITY, "max-age=31536000"));
    for (name, value) in always.into_iter().chain(over_tls) {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn an_answer_without_a_body_has_them_and_what_it_said_stays() {
        let answer = (StatusCode::NOT_MODIFIED, [(CACHE_CONTROL, "no-cache")]).into_response();
        let headers = complete(answer, true).into_parts().0.headers;
        assert_eq!(headers[CACHE_CONTROL], "no-cache");
        assert_eq!(headers[CONTENT_SECURITY_POLICY], CONTENT_POLICY);
        assert_eq!(headers[STRICT_TRANSPORT_SECURITY], "max-age=31536000");
        assert_eq!(headers.len(), 7);
    }
}
