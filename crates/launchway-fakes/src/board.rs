//! A board on loopback: like the service, it stores the run reports that it receives.
//!
//! It checks only the form of a signature, and stores a report without reading it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::server::{Fake, Incoming, Server, Shared};

/// The path for reports.
const PATH: &str = "/api/v1/reports";

/// A running board, with its own runtime for blocking tests.
pub struct Board {
    reports: Arc<Reports>,
    server: Server,
    _runtime: Runtime,
}

struct Reports {
    /// Ids and bodies in the order of arrival.
    kept: Shared<Vec<(String, Vec<u8>)>>,
    /// The status with which every report is refused.
    refusal: Option<u16>,
}

impl Board {
    /// An empty board.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(None)
    }

    /// A board that refuses every report with this status.
    pub fn refusing(status: u16) -> anyhow::Result<Self> {
        Self::start_with(Some(status))
    }

    fn start_with(refusal: Option<u16>) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let start = Server::start(|_| Reports { kept: Shared::new(Vec::new()), refusal });
        let (server, reports) = runtime.block_on(start)?;
        Ok(Self { reports, server, _runtime: runtime })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The ids of the reports, sorted.
    pub fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> =
            self.reports.kept.read(|kept| kept.iter().map(|(id, _)| id.clone()).collect());
        ids.sort();
        ids
    }

    /// A report, as received.
    pub fn report(&self, id: &str) -> Option<Vec<u8>> {
        let find = |kept: &Vec<(String, Vec<u8>)>| {
            kept.iter().find(|(own, _)| own == id).map(|(_, bytes)| bytes.clone())
        };
        self.reports.kept.read(find)
    }
}

impl Fake for Reports {
    async fn respond(&self, request: &mut Incoming) -> Response {
        const MAX_BODY: usize = 1 << 20;

        if request.method == "GET" && request.path() == PATH {
            return Json(self.page(request)).into_response();
        }
        let id = request.path().strip_prefix(PATH).and_then(|rest| rest.strip_prefix('/'));
        let Some(id) = id.filter(|_| request.method == "PUT").map(str::to_owned) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        if let Some(status) = self.refusal {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return (status, "no, <thanks>").into_response();
        }
        if let Some(status) = refused(request, &id) {
            return status.into_response();
        }
        match request.bytes(MAX_BODY).await {
            Ok(bytes) => {
                self.kept.change(|kept| kept.push((id, bytes)));
                StatusCode::CREATED.into_response()
            }
            Err(_) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        }
    }
}

impl Reports {
    /// Two reports per page, so that clients have to follow the pages.
    fn page(&self, request: &Incoming) -> Value {
        let after = request.parameter("after").and_then(|after| after.parse::<usize>().ok());
        let items: Vec<Value> = self.kept.read(|kept| {
            let numbered = kept.iter().enumerate().skip(after.unwrap_or_default()).take(2);
            numbered.map(|(place, (id, _))| json!({ "sequence": place + 1, "id": id })).collect()
        });
        json!({ "reports": items })
    }
}

/// Why a report is refused, based on its headers.
fn refused(request: &Incoming, id: &str) -> Option<StatusCode> {
    let header = |name| request.header(&HeaderName::from_static(name)).unwrap_or_default();
    if header("webhook-id") != id || !header("webhook-signature").starts_with("v1,") {
        return Some(StatusCode::UNAUTHORIZED);
    }
    (request.header(&CONTENT_TYPE) != Some("application/json")).then_some(StatusCode::UNSUPPORTED_MEDIA_TYPE)
}
