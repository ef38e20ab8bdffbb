//! Logs and metrics of the service: Render's API reference, "Logs" and "Metrics".

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::api::limit;
use super::deploys::moment;
use super::engine::Engine;
use super::refusal::Refusal;
use super::state::{LogLine, now, time};
use crate::server::Incoming;

/// GET of the service's lines, of the last hour by default. Backward, the default, returns the newest first; the next
/// page is from `nextStartTime` to `nextEndTime`.
pub(crate) fn logs(engine: &Engine, owner: &str, request: &Incoming) -> Result<Response, Refusal> {
    /// The smallest step between two times in the API.
    const STEP: Duration = Duration::from_micros(1);

    let service = engine.options.service_id.as_str();
    if request.parameter("ownerId").as_deref() != Some(owner)
        || request.parameter("resource").as_deref() != Some(service)
    {
        return Err(Refusal::bad("ownerId and resource are required"));
    }
    let limit = limit(request)?;
    let start = moment(request, "startTime")?.unwrap_or_else(|| now() - Duration::from_secs(3600));
    let end = moment(request, "endTime")?.unwrap_or_else(now);
    // Only the service's own lines are stored: requests are not logged and nothing is built.
    let kinds: Vec<String> = values(request, "type");
    let within = |line: &&LogLine| {
        (kinds.is_empty() || kinds.iter().any(|kind| kind == "app"))
            && (start..=end).contains(&line.timestamp)
    };
    let mut lines: Vec<LogLine> = engine.logs.read(|logs| logs.iter().filter(within).cloned().collect());
    let forward = request.parameter("direction").as_deref() == Some("forward");
    if !forward {
        lines.reverse();
    }
    let has_more = lines.len() > limit;
    lines.truncate(limit);
    let (next_start, next_end) = match lines.last().map(|line| line.timestamp) {
        None => (start, end),
        Some(last) if forward => (last + STEP, end),
        Some(last) => (start, last - STEP),
    };
    Ok(Json(json!({
        "hasMore": has_more,
        "nextStartTime": time(next_start),
        "nextEndTime": time(next_end),
        "logs": lines.iter().map(|line| log_json(line, service)).collect::<Vec<_>>(),
    }))
    .into_response())
}

/// GET of the number of responses at the front by status, of the last hour by default.
pub(crate) fn requests(engine: &Engine, request: &Incoming) -> Result<Response, Refusal> {
    let service = engine.options.service_id.as_str();
    if request.parameter("resource").as_deref() != Some(service) {
        return Err(Refusal::bad("resource is required"));
    }
    if let Some(script) = engine.state.read(|state| state.script.clone()) {
        let Some(counted) = script.counted else { return Err(Refusal::not_found("metrics")) };
        let one = |(status, count)| series_json(Some(status), [(seconds(now()), count)].into());
        return Ok(Json(counted.into_iter().map(one).collect::<Vec<_>>()).into_response());
    }
    let by_status = match request.parameter("aggregateBy").as_deref() {
        None => false,
        Some("statusCode") => true,
        Some(_) => return Err(Refusal::bad("aggregateBy must be statusCode: there is one host")),
    };
    let resolution = match request.parameter("resolutionSeconds").map(|text| text.parse::<u64>()) {
        None => 60,
        Some(Ok(seconds @ 1..)) => seconds,
        Some(_) => return Err(Refusal::bad("invalid resolutionSeconds")),
    };
    let start = moment(request, "startTime")?.unwrap_or_else(|| now() - Duration::from_secs(3600));
    let end = moment(request, "endTime")?.unwrap_or_else(now);
    let mut series: BTreeMap<Option<u16>, BTreeMap<u64, u64>> = BTreeMap::new();
    for (status, counts) in engine.front.answers(seconds(start), seconds(end)) {
        let counted = series.entry(by_status.then_some(status)).or_default();
        for (second, count) in counts {
            *counted.entry(second / resolution * resolution).or_default() += count;
        }
    }
    Ok(Json(series.into_iter().map(|(status, counts)| series_json(status, counts)).collect::<Vec<_>>())
        .into_response())
}

fn series_json(status: Option<u16>, counts: BTreeMap<u64, u64>) -> Value {
    let label = |status: u16| json!({ "field": "statusCode", "value": status.to_string() });
    let value = |(second, count): (u64, u64)| {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        json!({ "timestamp": humantime::format_rfc3339_seconds(at).to_string(), "value": count })
    };
    let labels: Vec<Value> = status.into_iter().map(label).collect();
    let values: Vec<Value> = counts.into_iter().map(value).collect();
    json!({ "labels": labels, "unit": "requests", "values": values })
}

fn values(request: &Incoming, name: &str) -> Vec<String> {
    request.query().into_iter().filter(|(key, _)| key == name).map(|(_, value)| value).collect()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn log_json(line: &LogLine, service: &str) -> Value {
    json!({
        "id": line.id,
        "message": line.message,
        "timestamp": time(line.timestamp),
        "labels": [
            { "name": "resource", "value": service },
            { "name": "instance", "value": line.instance },
            { "name": "type", "value": "app" },
        ],
    })
}
