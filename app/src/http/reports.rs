//! `/api/v1/reports`: receives run reports from the pipeline and lists what is stored.
//!
//! # `PUT /api/v1/reports/{id}`
//!
//! The body is one [`launchway_report::Report`] as JSON, at most [`launchway_report::MAX_BYTES`], with `Content-Type: application/json`.
//! It is signed like the request of [`super::test_error`], with the purpose [`PURPOSE`]; `webhook-id` is the report's id.
//! Repeating a request changes nothing, so replays need no further protection.
//!
//! A report with `under_way` and without `deployment` is the start of a deployment: the board shows it until its run or a
//! later deployment has reported its end, and does not count it as a run.
//!
//! | response | when |
//! |---|---|
//! | 201 | the report is stored, and on disk |
//! | 200 | it was stored before, byte for byte |
//! | 401 | the signature is missing, invalid, or for another id; always the same body |
//! | 409 | another report is stored under this id |
//! | 413, 415 | the body is too large; it is not declared as JSON |
//! | 422 | the report is invalid: `{"problems": [{"field": "commit.sha", "must": "be …"}]}`; unknown fields are ignored |
//! | 503 | it cannot be stored at the moment; retry later |
//!
//! # `GET /api/v1/reports?after={sequence}&limit={1 to 1000}`
//!
//! `{"reports": [{"sequence": 1, "id": "…", "sha256": "…"}]}`: stored reports in the order of
//! arrival, at most `limit` (100 by default) after `after` (0 by default). A list shorter than `limit` is the last one.
//! Sequence numbers start over when the file is lost, so a client that looks for missing reports starts at 0.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use launchway_report::{Problem, Report, Time};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::board::blocking;
use super::errors::Error;
use super::router::Site;
use super::signed_request::{message, one};
use crate::board::store::{Entry, Stored};

/// Lists the stored reports.
pub(super) const LIST_PATH: &str = "/api/v1/reports";
/// Receives one report.
pub(super) const PATH: &str = "/api/v1/reports/{id}";
/// What the signing key is derived for.
pub const PURPOSE: &str = "launchway/report/v1";

/// Stores a report.
pub(super) async fn put(
    State(site): State<Arc<Site>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    let Path(id) = id?;
    let media_type = one(&headers, "content-type").unwrap_or_default();
    if !media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(Error::MediaType);
    }
    let message = message(&headers, &body);
    if let Err(rejection) = site.reports.verify(message, SystemTime::now()) {
        warn!(target: "app::report", "rejected: {rejection}");
        return Err(Error::Unsigned);
    }
    if message.id != id {
        warn!(target: "app::report", "rejected: signed for another id");
        return Err(Error::Unsigned);
    }
    let report = match parse(&body, &id, SystemTime::now().into()) {
        Ok(report) => report,
        Err(problems) => {
            warn!(target: "app::report", id, "rejected: {} problems", problems.problems.len());
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, Json(problems)).into_response());
        }
    };
    match blocking(&site, move |board| board.put(report, &body)).await? {
        Ok(Stored::New) => {
            info!(target: "app::report", id, "stored");
            Ok(StatusCode::CREATED.into_response())
        }
        Ok(Stored::Same) => Ok(StatusCode::OK.into_response()),
        Ok(Stored::Different) => Err(Error::Conflict),
        // The store has logged the reason.
        Err(_) => Err(Error::Unavailable),
    }
}

/// A part of the list.
#[derive(Deserialize)]
pub(super) struct Range {
    #[serde(default)]
    after: u64,
    #[serde(default = "Range::limit")]
    limit: usize,
}

impl Range {
    fn limit() -> usize {
        100
    }
}

/// The body of the list.
#[derive(Serialize)]
struct List<'a> {
    reports: Vec<&'a Entry>,
}

/// Lists stored reports.
pub(super) async fn list(
    State(site): State<Arc<Site>>,
    range: Result<Query<Range>, QueryRejection>,
) -> Result<Response, Error> {
    let Query(Range { after, limit }) = range.map_err(|_| Error::Malformed)?;
    if !(1..=1000).contains(&limit) {
        return Err(Error::Malformed);
    }
    let entries = site.board.after(after, limit).map_err(|_| Error::Unavailable)?;
    Ok(Json(List { reports: entries.iter().map(|entry| &**entry).collect() }).into_response())
}

/// Why a report is invalid.
#[derive(Serialize)]
struct Problems {
    problems: Vec<Wrong>,
}

#[derive(Serialize)]
struct Wrong {
    /// Empty for the report as a whole.
    field: String,
    must: String,
}

/// Parses and validates the report of that id.
fn parse(body: &[u8], id: &str, now: Time) -> Result<Report, Problems> {
    let wrong = |field: &str, must: String| Wrong { field: field.to_owned(), must };
    let report: Report = serde_json::from_slice(body)
        .map_err(|error| Problems { problems: vec![wrong("", format!("be a report: {error}"))] })?;
    let mut problems: Vec<_> = report
        .problems(now)
        .iter()
        .map(|Problem { field, must }| wrong(field, format!("be {must}")))
        .collect();
    if report.id != id {
        problems.push(wrong("id", "match the path and `webhook-id`".to_owned()));
    }
    if problems.is_empty() { Ok(report) } else { Err(Problems { problems }) }
}
