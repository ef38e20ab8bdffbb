//! A Sentry on loopback that accepts envelopes and the release API, and stores what it receives.

mod envelope;
mod releases;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::server::{BodyError, Exchange, Fake, Incoming, Server, Shared, random_hex};

pub use self::envelope::Event;
pub use self::releases::Release;

/// A running Sentry with one project; dropping it stops it.
pub struct FakeSentry {
    server: Server,
    project: Arc<Project>,
}

impl FakeSentry {
    /// Starts with a new key and nothing received.
    pub async fn start() -> anyhow::Result<Self> {
        let project = |_| Project {
            id: "1".to_owned(),
            key: random_hex::<16>(),
            token: format!("sntrys_{}", random_hex::<16>()),
            mode: Shared::new(Mode::Works),
            received: Shared::new(Received::default()),
            releases: Shared::new(Vec::new()),
        };
        let (server, project) = Server::start(project).await?;
        Ok(Self { server, project })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The DSN for clients.
    pub fn dsn(&self) -> String {
        format!("http://{}@{}/{}", self.project.key, self.address(), self.project.id)
    }

    /// The slug of the one organization.
    pub const ORGANIZATION: &str = "rehearsal";
    /// The slug of the one project.
    pub const PROJECT: &str = "app";

    /// The value for `SENTRY_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The token that the release API accepts.
    pub fn token(&self) -> &str {
        &self.project.token
    }

    /// Sets how it responds from now on.
    pub fn set_mode(&self, mode: Mode) {
        self.project.mode.change(|current| *current = mode);
    }

    /// The release of this version, as the release API received it.
    pub fn release(&self, version: &str) -> Option<Release> {
        self.project.releases.read(|all| all.iter().find(|release| release.version == version).cloned())
    }

    /// The events that arrived.
    pub fn events(&self) -> Vec<Event> {
        self.project.received.read(|received| received.events.clone())
    }

    /// How many items arrived that are not events: sessions, transactions, logs, and unknown types.
    pub fn other_items(&self) -> usize {
        self.project.received.read(|received| received.other_items)
    }

    /// The first matching event, as soon as it arrives; `None` after `timeout`.
    pub async fn wait_for(&self, fits: impl Fn(&Event) -> bool, timeout: Duration) -> Option<Event> {
        let look = |received: &Received| received.events.iter().find(|event| fits(event)).cloned();
        self.project.received.wait_for(timeout, look).await
    }

    /// Every exchange so far.
    pub fn transcript(&self) -> Vec<Exchange> {
        self.server.transcript()
    }
}

/// How a Sentry responds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it should.
    Works,
    /// With 500 to every request.
    Fails,
    /// Not at all: it accepts requests and never responds.
    Silent,
}

struct Project {
    id: String,
    key: String,
    token: String,
    mode: Shared<Mode>,
    received: Shared<Received>,
    releases: Shared<Vec<Release>>,
}

#[derive(Default)]
struct Received {
    events: Vec<Event>,
    other_items: usize,
}

impl Fake for Project {
    async fn respond(&self, request: &mut Incoming) -> Response {
        match self.mode.read(|mode| *mode) {
            Mode::Works => {}
            Mode::Fails => {
                let detail = Json(json!({ "detail": "Internal Error" }));
                return (StatusCode::INTERNAL_SERVER_ERROR, detail).into_response();
            }
            Mode::Silent => return std::future::pending().await,
        }
        let segments = request.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        if let ["api", "0", rest @ ..] = path.as_slice() {
            let (status, body) = releases::answer(&self.releases, &self.token, rest, request).await;
            return (status, Json(body)).into_response();
        }
        let (status, body) = match self.take(request).await {
            Ok(id) => (StatusCode::OK, json!({ "id": id })),
            Err((status, detail)) => (status, json!({ "detail": detail })),
        };
        (status, Json(body)).into_response()
    }
}

impl Project {
    /// `POST /api/<project>/envelope/`, based on Sentry's developer documentation, "Envelopes".
    async fn take(&self, request: &mut Incoming) -> Result<Value, (StatusCode, String)> {
        /// Sentry accepts 20 MB compressed and 100 MB otherwise; an honest event has about 10 kB.
        const MAX_ENVELOPE: usize = 20 << 20;

        let refuse = |status, detail: &str| Err((status, detail.to_owned()));
        let segments = request.segments();
        let ["api", project, "envelope", ""] = segments.iter().map(String::as_str).collect::<Vec<_>>()[..]
        else {
            return refuse(StatusCode::NOT_FOUND, "no such page");
        };
        if request.method != axum::http::Method::POST {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
        }
        match sentry_key(request) {
            None => return refuse(StatusCode::FORBIDDEN, "missing authorization information"),
            Some(key) if key != self.key => {
                return refuse(StatusCode::FORBIDDEN, "bad sentry DSN public key");
            }
            Some(_) => {}
        }
        if project != self.id {
            return refuse(StatusCode::BAD_REQUEST, "bad project id");
        }
        let bytes = request.bytes(MAX_ENVELOPE).await.map_err(|error| match error {
            BodyError::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "envelope exceeded size limits".to_owned())
            }
            BodyError::Broken => (StatusCode::BAD_REQUEST, "the body ended early".to_owned()),
        })?;
        let invalid =
            |error: anyhow::Error| (StatusCode::BAD_REQUEST, format!("invalid envelope: {error:#}"));
        let envelope = envelope::parse(&bytes).map_err(invalid)?;
        let (events, others): (Vec<_>, Vec<_>) = envelope.items.iter().partition(|item| item.kind == "event");
        let events =
            events.into_iter().map(envelope::event).collect::<Result<Vec<_>, _>>().map_err(invalid)?;
        self.received.change(|received| {
            received.events.extend(events);
            received.other_items += others.len();
        });
        let id = envelope.headers.get("event_id").and_then(Value::as_str);
        Ok(id.map_or(Value::Null, |id| Value::from(id.replace('-', ""))))
    }
}

/// The key in `X-Sentry-Auth: Sentry sentry_key=…, sentry_version=7, …`.
fn sentry_key(request: &Incoming) -> Option<String> {
    let header = request.header(&HeaderName::from_static("x-sentry-auth"))?;
    let pairs =
        header.trim().strip_prefix("Sentry ")?.split(',').filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(name, _)| *name == "sentry_key").map(|(_, key)| key.to_owned())
}

#[cfg(test)]
mod tests;
