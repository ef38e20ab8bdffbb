//! `/api/v1/reports`: the pipeline sends its run reports, and asks which have come.
//!
//! # `PUT /api/v1/reports/{id}`
//!
//! The body is one [`report::Report`] as JSON, at most [`report::MAX_BYTES`], with `Content-Type: application/json`.
//! It is signed like the request of [`super::canary`], with the purpose [`PURPOSE`]; `webhook-id` is the report's id.
//! So the same request again changes nothing, however often it is sent, and needs no further protection.
//!
//! | answer | when |
//! |---|---|
//! | 201 | the report is kept now, and on the disk |
//! | 200 | it was kept before, byte for byte |
//! | 401 | the request is not signed as it must be, or not for this address; always the same body |
//! | 409 | another report is kept under this id |
//! | 413, 415 | the body is too large; it is not declared as JSON |
//! | 422 | it is not a valid report: `{"problems": [{"field": "commit.sha", "must": "be …"}]}`; fields that are not known are no problem |
//! | 503 | it cannot be kept at the moment; send it again later |
//!
//! # `GET /api/v1/reports?after={sequence}&limit={1 to 1000}`
//!
//! `{"reports": [{"sequence": 1, "id": "…", "sha256": "…"}]}`: what is kept, in the order in which it came, from the
//! one after `after` (0 by default); at most `limit` (100 by default). A list shorter than `limit` is the end.
//! The numbers begin again when the file was lost, so whoever wants to know what is missing starts at 0.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use report::{Problem, Report, Time};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::board::blocking;
use super::errors::Error;
use super::router::Site;
use super::signed::{message, one};
use crate::board::store::{Entry, Kept};

/// Where what has come is listed.
pub(super) const LIST_PATH: &str = "/api/v1/reports";
/// Where one report is sent.
pub(super) const PATH: &str = "/api/v1/reports/{id}";
/// What the signing key is derived for.
pub const PURPOSE: &str = "launchway/report/v1";

/// Takes a report.
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
    if let Err(refusal) = site.reports.verify(message, SystemTime::now()) {
        warn!(target: "app::report", "refused: {refusal}");
        return Err(Error::Unsigned);
    }
    if message.id != id {
        warn!(target: "app::report", "refused: signed for another address");
        return Err(Error::Unsigned);
    }
    let report = match read(&body, &id, SystemTime::now().into()) {
        Ok(report) => report,
        Err(problems) => {
            warn!(target: "app::report", id, "no valid report: {} problems", problems.problems.len());
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, Json(problems)).into_response());
        }
    };
    match blocking(&site, move |board| board.put(report, &body)).await? {
        Ok(Kept::New) => {
            info!(target: "app::report", id, "kept");
            Ok(StatusCode::CREATED.into_response())
        }
        Ok(Kept::Same) => Ok(StatusCode::OK.into_response()),
        Ok(Kept::Different) => Err(Error::Conflict),
        // The store has said why.
        Err(_) => Err(Error::Unavailable),
    }
}

/// Which part of what is kept.
#[derive(Deserialize)]
pub(super) struct Part {
    #[serde(default)]
    after: u64,
    #[serde(default = "Part::limit")]
    limit: usize,
}

impl Part {
    fn limit() -> usize {
        100
    }
}

/// What is kept.
#[derive(Serialize)]
struct List<'a> {
    reports: Vec<&'a Entry>,
}

/// Lists what is kept.
pub(super) async fn list(
    State(site): State<Arc<Site>>,
    part: Result<Query<Part>, QueryRejection>,
) -> Result<Response, Error> {
    let Query(Part { after, limit }) = part.map_err(|_| Error::Malformed)?;
    if !(1..=1000).contains(&limit) {
        return Err(Error::Malformed);
    }
    let entries = site.board.after(after, limit).map_err(|_| Error::Unavailable)?;
    Ok(Json(List { reports: entries.iter().map(|entry| &**entry).collect() }).into_response())
}

/// What is wrong with a report.
#[derive(Serialize)]
struct Problems {
    problems: Vec<Wrong>,
}

#[derive(Serialize)]
struct Wrong {
    /// Empty where it is the whole.
    field: String,
    must: String,
}

/// A valid report of that id, by a clock that shows `now`.
fn read(body: &[u8], id: &str, now: Time) -> Result<Report, Problems> {
    let wrong = |field: &str, must: String| Wrong { field: field.to_owned(), must };
    let report: Report = serde_json::from_slice(body)
        .map_err(|error| Problems { problems: vec![wrong("", format!("be a report: {error}"))] })?;
    let mut problems: Vec<_> = report
        .problems(now)
        .iter()
        .map(|Problem { field, must }| wrong(field, format!("be {must}")))
        .collect();
    if report.id != id {
        problems.push(wrong("id", "be that of the address and of `webhook-id`".to_owned()));
    }
    if problems.is_empty() { Ok(report) } else { Err(Problems { problems }) }
}
