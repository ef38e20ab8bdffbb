//! The release API: Sentry's API documentation, "Releases", with requests recorded from sentry-cli 3.8.

use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use serde::Deserialize;
use serde_json::{Value, json};

use super::FakeSentry;
use crate::server::{Incoming, Shared, random_hex};

/// A release.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Release {
    /// `<app>@<version>+<commit>`.
    pub version: String,
    /// Its commits, or its references if a repository is linked, as received.
    pub commits: Vec<Value>,
    /// When it was finalized, as received.
    pub released: Option<String>,
    /// The environments it was deployed to, oldest first.
    pub environments: Vec<String>,
}

/// The fields of a request that creates or changes a release; the others are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    version: Option<String>,
    projects: Option<Vec<String>>,
    date_released: Option<String>,
    #[serde(default)]
    commits: Vec<Value>,
    #[serde(default)]
    refs: Vec<Value>,
}

#[derive(Deserialize)]
struct Deployed {
    environment: Option<String>,
    name: Option<String>,
}

type Answer = (StatusCode, Value);

/// Responds to a request below `/api/0/`.
pub(crate) async fn answer(
    releases: &Shared<Vec<Release>>,
    token: &str,
    path: &[&str],
    request: &mut Incoming,
) -> Answer {
    /// Sentry's own limit is larger; a release is small.
    const MAX_BODY: usize = 1 << 20;

    let bearer = request.header(&AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    if bearer != Some(token) {
        return (StatusCode::UNAUTHORIZED, json!({ "detail": "Invalid token" }));
    }
    let ["organizations", FakeSentry::ORGANIZATION, "releases", rest @ ..] = path else {
        return unknown();
    };
    let Ok(body) = request.bytes(MAX_BODY).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, json!({ "detail": "the request is too large" }));
    };
    match (request.method.as_str(), rest) {
        ("POST", [""]) => create(releases, &body),
        ("GET", [version, ""]) => found(releases, version, shown),
        ("GET", [version, "previous-with-commits", ""]) => found(releases, version, |_| json!({})),
        ("PUT", [version, ""]) => update(releases, version, &body),
        ("POST", [version, "deploys", ""]) => deploy(releases, version, &body),
        _ => unknown(),
    }
}

/// 201, or 208 for an existing release.
fn create(releases: &Shared<Vec<Release>>, body: &[u8]) -> Answer {
    let Ok(change) = serde_json::from_slice::<Change>(body) else { return malformed() };
    let Some(version) = change.version.clone().filter(|version| is_valid(version)) else {
        return (StatusCode::BAD_REQUEST, json!({ "version": ["Invalid release name"] }));
    };
    if change.projects.as_deref() != Some(&[FakeSentry::PROJECT.to_owned()]) {
        return (StatusCode::BAD_REQUEST, json!({ "projects": ["Invalid project ids or slugs"] }));
    }
    releases.change(|all| {
        let is_new = !all.iter().any(|release| release.version == version);
        if is_new {
            all.push(Release { version: version.clone(), ..Release::default() });
        }
        let status = if is_new { StatusCode::CREATED } else { StatusCode::ALREADY_REPORTED };
        match all.iter_mut().find(|release| release.version == version) {
            Some(release) => (status, apply(release, change)),
            None => unknown(),
        }
    })
}

fn update(releases: &Shared<Vec<Release>>, version: &str, body: &[u8]) -> Answer {
    let Ok(change) = serde_json::from_slice::<Change>(body) else { return malformed() };
    releases.change(|all| match all.iter_mut().find(|release| release.version == version) {
        Some(release) => (StatusCode::OK, apply(release, change)),
        None => unknown(),
    })
}

fn deploy(releases: &Shared<Vec<Release>>, version: &str, body: &[u8]) -> Answer {
    let Ok(Deployed { environment, name }) = serde_json::from_slice(body) else { return malformed() };
    let Some(environment) = environment.filter(|name| is_environment(name)) else {
        return (StatusCode::BAD_REQUEST, json!({ "environment": ["Invalid environment"] }));
    };
    if name.as_ref().is_some_and(|name| name.len() > 64) {
        let long = "Ensure this field has no more than 64 characters.";
        return (StatusCode::BAD_REQUEST, json!({ "name": [long] }));
    }
    releases.change(|all| match all.iter_mut().find(|release| release.version == version) {
        Some(release) => {
            release.environments.push(environment.clone());
            let id = random_hex::<4>();
            (StatusCode::CREATED, json!({ "id": id, "environment": environment, "name": name }))
        }
        None => unknown(),
    })
}

fn apply(release: &mut Release, change: Change) -> Value {
    release.commits.extend(change.commits);
    release.commits.extend(change.refs);
    release.released = change.date_released.or(release.released.take());
    shown(release)
}

fn shown(release: &Release) -> Value {
    json!({
        "version": release.version,
        "dateReleased": release.released,
        "commitCount": release.commits.len(),
        "deployCount": release.environments.len(),
        "projects": [{ "slug": FakeSentry::PROJECT }],
    })
}

fn found(releases: &Shared<Vec<Release>>, version: &str, show: impl Fn(&Release) -> Value) -> Answer {
    let release = releases.read(|all| all.iter().find(|release| release.version == version).map(show));
    release.map_or_else(unknown, |release| (StatusCode::OK, release))
}

fn unknown() -> Answer {
    (StatusCode::NOT_FOUND, json!({ "detail": "The requested resource does not exist" }))
}

fn malformed() -> Answer {
    (StatusCode::BAD_REQUEST, json!({ "detail": "JSON parse error" }))
}

/// At most 250 characters, without slashes, line breaks and reserved names.
fn is_valid(version: &str) -> bool {
    !version.trim().is_empty()
        && version.len() <= 250
        && !version.contains(['/', '\\', '\n'])
        && !matches!(version, "latest" | "." | "..")
}

fn is_environment(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && !name.contains('/') && name != "none"
}
