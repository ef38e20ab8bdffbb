//! What the service really answers: every address is asked, in the process, and every answer's headers are judged.

use std::path::PathBuf;

use axum::body::Body;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName, REFERRER_POLICY, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{Method, Request};
use tower::ServiceExt;

use super::{Finding, Severity};
use crate::http::{self, Site};
use crate::identity::Identity;
use crate::settings::hosts::AllowedHosts;
use crate::settings::{ServerType, Settings};

/// What a header has to be.
struct Rule {
    id: &'static str,
    header: HeaderName,
    /// Whether it matters only where the public is served over TLS.
    prod: bool,
    /// Judges the header's values, of which there should be one.
    holds: fn(&[&str]) -> bool,
    hint: &'static str,
}

const RULES: [Rule; 7] = [
    Rule {
        id: "security.W004",
        header: STRICT_TRANSPORT_SECURITY,
        prod: true,
        holds: |values| matches!(values, [value] if lasts_a_year(value)),
        hint: "send `max-age=31536000`",
    },
    Rule {
        id: "security.W006",
        header: X_CONTENT_TYPE_OPTIONS,
        prod: false,
        holds: |values| matches!(values, ["nosniff"]),
        hint: "send `nosniff`",
    },
    Rule {
        id: "security.W019",
        header: X_FRAME_OPTIONS,
        prod: false,
        holds: |values| matches!(values, ["DENY"]),
        hint: "send `DENY`",
    },
    Rule {
        id: "security.W022",
        header: REFERRER_POLICY,
        prod: false,
        holds: |values| matches!(values, ["no-referrer" | "same-origin" | "strict-origin"]),
        hint: "send `no-referrer`, `same-origin` or `strict-origin`",
    },
    Rule {
        id: "security.E024",
        header: HeaderName::from_static("cross-origin-opener-policy"),
        prod: false,
        holds: |values| matches!(values, ["same-origin" | "same-origin-allow-popups"]),
        hint: "send `same-origin`",
    },
    Rule {
        id: "app.R112",
        header: SET_COOKIE,
        prod: false,
        holds: |values| matches!(values, []),
        hint: "set no cookie: nothing here needs one",
    },
    Rule {
        id: "app.R113",
        header: CONTENT_SECURITY_POLICY,
        prod: false,
        holds: |values| matches!(values, [value] if is_strict(value)),
        hint: "send `default-src 'none'; frame-ancestors 'none'; …`, with nothing unsafe",
    },
];

/// Asks the whole service, as one with these settings and with nothing on its board.
pub(super) fn run(settings: Settings) -> Vec<Finding> {
    let settings = Settings {
        hosts: AllowedHosts::new(AllowedHosts::local_patterns()),
        database: PathBuf::new(),
        ..settings
    };
    let prod = settings.server_type == ServerType::Prod;
    let answers = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map(|runtime| runtime.block_on(ask(&settings)));
    match answers {
        Ok(answers) => judge(&answers, prod),
        Err(error) => vec![Finding {
            id: "app.R113",
            severity: Severity::Error,
            message: format!("the service could not be asked: {error}"),
            hint: "run this where threads can be started".to_owned(),
        }],
    }
}

/// What was asked, and the headers of the answer.
type Answer = (String, HeaderMap);

async fn ask(settings: &Settings) -> Vec<Answer> {
    let router = http::router(Site::new(settings, Identity::new(settings)));
    let mut answers = Vec::new();
    for (method, host, path, length) in requests() {
        let name =
            if host == "localhost" { format!("{method} {path}") } else { format!("{method} {host}{path}") };
        let request = Request::builder().method(method).uri(path).header(HOST, host);
        let Ok(request) = request.body(Body::from(vec![b'x'; length])) else { continue };
        let Ok(response) = router.clone().oneshot(request).await;
        answers.push((name, response.headers().clone()));
    }
    answers
}

/// Every address, once as it wants and once as it does not, then the answers that belong to no address.
fn requests() -> Vec<(Method, &'static str, String, usize)> {
    // A segment that stands for anything is asked as this.
    let concrete = |pattern: &str| {
        let segment =
            |segment: &str| if segment.contains('{') { "none".to_owned() } else { segment.to_owned() };
        pattern.split('/').map(segment).collect::<Vec<_>>().join("/")
    };
    let mut requests = Vec::new();
    for pattern in http::addresses() {
        for (method, length) in [(Method::GET, 0), (Method::POST, 0), (Method::POST, 100 * http::BODY_LIMIT)]
        {
            requests.push((method, "localhost", concrete(pattern), length));
        }
    }
    requests.push((Method::GET, "localhost", "/nothing-is-here".to_owned(), 0));
    requests.push((Method::GET, "elsewhere.invalid", "/".to_owned(), 0));
    requests
}

/// One finding for each rule that is broken, with the first places.
fn judge(answers: &[Answer], prod: bool) -> Vec<Finding> {
    RULES
        .iter()
        .filter(|rule| prod || !rule.prod)
        .filter_map(|Rule { id, header, holds, hint, .. }| {
            let broken: Vec<&str> = answers
                .iter()
                .filter(|(_, headers)| {
                    // What is not text is no valid value.
                    let values: Vec<&str> =
                        headers.get_all(header).iter().map(|value| value.to_str().unwrap_or("?")).collect();
                    !holds(&values)
                })
                .map(|(name, _)| name.as_str())
                .collect();
            let (first, others) = broken.split_first()?;
            let more =
                if others.is_empty() { String::new() } else { format!(" and {} others", others.len()) };
            let message = format!("the header `{header}` is not as it should be on `{first}`{more}");
            Some(Finding { id, severity: Severity::Error, message, hint: (*hint).to_owned() })
        })
        .collect()
}

fn lasts_a_year(value: &str) -> bool {
    value
        .split(';')
        .filter_map(|part| part.trim().strip_prefix("max-age=")?.parse::<u64>().ok())
        .any(|s| s >= 31_536_000)
}

/// Everything is forbidden that is not allowed by name, frames are, and nothing inline or evaluated is allowed.
fn is_strict(policy: &str) -> bool {
    let has = |directive| policy.split(';').any(|part| part.trim() == directive);
    has("default-src 'none'")
        && has("frame-ancestors 'none'")
        && !policy.contains("'unsafe-")
        && !policy.contains('*')
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn good() -> HeaderMap {
        [
            (STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (X_FRAME_OPTIONS, "DENY"),
            (REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        ]
        .map(|(name, value)| (name, HeaderValue::from_static(value)))
        .into_iter()
        .collect()
    }

    fn ids(headers: HeaderMap, prod: bool) -> Vec<&'static str> {
        judge(&[("GET /".to_owned(), headers)], prod).iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn every_header_that_is_missing_or_weak_is_found() {
        assert_eq!(ids(good(), true), [""; 0]);
        let all =
            ["security.W004", "security.W006", "security.W019", "security.W022", "security.E024", "app.R113"];
        assert_eq!(ids(HeaderMap::new(), true), all);
        assert_eq!(ids(HeaderMap::new(), false), all[1..]);
        for (name, weak, id) in [
            ("strict-transport-security", "max-age=3600", "security.W004"),
            ("x-frame-options", "SAMEORIGIN", "security.W019"),
            ("referrer-policy", "unsafe-url", "security.W022"),
            ("cross-origin-opener-policy", "unsafe-none", "security.E024"),
            ("set-cookie", "a=b", "app.R112"),
            ("content-security-policy", "default-src *", "app.R113"),
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'; style-src 'unsafe-inline'",
                "app.R113",
            ),
        ] {
            let mut headers = good();
            headers.insert(name, HeaderValue::from_static(weak));
            assert_eq!(ids(headers, true), [id], "{name}: {weak}");
        }
        let mut twice = good();
        twice.append(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        assert_eq!(ids(twice, true), ["security.W019"]);
    }

    #[test]
    fn the_places_are_told() {
        let answers = ["GET /", "GET /a", "GET /b"].map(|name| (name.to_owned(), HeaderMap::new()));
        let message = &judge(&answers, false)[0].message;
        assert_eq!(
            message,
            "the header `x-content-type-options` is not as it should be on `GET /` and 2 others"
        );
    }

    #[test]
    fn every_address_is_asked() {
        let requests = requests();
        for pattern in http::addresses() {
            let asked = requests
                .iter()
                .filter(|(_, _, path, _)| path.matches('/').count() == pattern.matches('/').count());
            assert!(asked.count() >= 3, "{pattern}");
        }
        assert!(requests.iter().all(|(_, _, path, _)| !path.contains('{')));
    }
}
