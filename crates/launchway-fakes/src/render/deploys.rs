//! Deploys, rollbacks and events: Render's API reference, "Deploys" and "Events".

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{MAX_BODY, page, parsed};
use super::engine::{Engine, NotCancelled};
use super::image::Reference;
use super::refusal::Refusal;
use super::state::{Deploy, Live, Status, Trigger, now, time};
use super::{Overlap, scripted};
use crate::server::Incoming;

/// The parameters of a deploy that make sense for an image.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    image_url: Option<String>,
    clear_cache: Option<ClearCache>,
}

/// Checked and then ignored: an image has no build cache.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ClearCache {
    Clear,
    DoNotClear,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Back {
    deploy_id: String,
}

/// POST: 201 with the deploy, or 202 without a body if it has to wait.
pub(crate) async fn create(engine: &Engine, request: &mut Incoming) -> Result<Response, Refusal> {
    let Wanted { image_url, clear_cache: None | Some(ClearCache::Clear | ClearCache::DoNotClear) } =
        parsed(&request.bytes(MAX_BODY).await?)?;
    let current = engine.state.read(|state| state.image.clone());
    let wanted = image_url.unwrap_or_else(|| current.clone());
    let (reference, configured) = (reference(&wanted)?, reference(&current)?);
    if !reference.same_repository(&configured) {
        return Err(Refusal::bad("only the image tag or digest can be updated when creating a deploy"));
    }
    let sha = engine.resolve(&reference).await.map_err(|_| unable_to_fetch())?;
    let (deploy, busy) = engine.request(wanted, sha, Trigger::Api);
    if busy && engine.options.overlap == Overlap::Wait {
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    Ok((StatusCode::CREATED, Json(engine.json_of(&deploy))).into_response())
}

/// POST of a rollback: a new deploy of an old image with its old variables. A tag is resolved again.
pub(crate) async fn rollback(engine: &Engine, request: &mut Incoming) -> Result<Response, Refusal> {
    let Back { deploy_id } = parsed(&request.bytes(MAX_BODY).await?)?;
    let target = find(engine, &deploy_id)?;
    if !matches!(target.status, Status::Live | Status::Deactivated) {
        return Err(Refusal::bad("the deploy was never live"));
    }
    let sha = engine.resolve(&reference(&target.reference)?).await.map_err(|_| unable_to_fetch())?;
    let (deploy, _) = engine.request(target.reference, sha, Trigger::Rollback { target: deploy_id });
    Ok((StatusCode::CREATED, Json(deploy.json())).into_response())
}

/// POST of a restart: 200; a new instance of the same image and variables takes over once it is healthy.
pub(crate) fn restart(engine: &Arc<Engine>) -> Result<Response, Refusal> {
    if Arc::clone(engine).restart() {
        Ok(StatusCode::OK.into_response())
    } else {
        Err(Refusal::bad("nothing is live"))
    }
}

/// GET of the instance that gets the traffic.
pub(crate) fn instances(engine: &Engine) -> Response {
    let live: Vec<Value> = engine.state.read(|state| {
        let instance =
            |live: &Live| json!({ "id": live.instance.id, "createdAt": time(live.instance.created_at) });
        state.live.iter().map(instance).collect()
    });
    Json(live).into_response()
}

/// GET of a page of deploys, newest first.
pub(crate) fn list(engine: &Engine, request: &Incoming) -> Result<Response, Refusal> {
    let status: Vec<String> =
        request.query().into_iter().filter(|(name, _)| name == "status").map(|(_, v)| v).collect();
    let (after, before) = (moment(request, "createdAfter")?, moment(request, "createdBefore")?);
    let fits = |deploy: &&Deploy| {
        (status.is_empty() || status.iter().any(|status| status == deploy.status.name()))
            && after.is_none_or(|after| deploy.created_at > after)
            && before.is_none_or(|before| deploy.created_at < before)
    };
    let items: Vec<(String, Value)> = engine.state.read(|state| {
        let item = |deploy: &Deploy| (deploy.id.clone(), scripted::json_of(state, deploy));
        state.deploys.iter().rev().filter(fits).map(item).collect()
    });
    Ok(Json(page(items, request, "deploy")?).into_response())
}

/// GET of one deploy.
pub(crate) fn get(engine: &Engine, id: &str) -> Result<Response, Refusal> {
    if let Some(response) = engine.look(id) {
        return Ok(response);
    }
    Ok(Json(engine.json_of(&find(engine, id)?)).into_response())
}

/// POST of a cancellation; 400 if the deploy has ended.
pub(crate) fn cancel(engine: &Engine, id: &str) -> Result<Response, Refusal> {
    match engine.cancel(id) {
        Ok(deploy) => Ok(Json(engine.json_of(&deploy)).into_response()),
        Err(NotCancelled::Unknown) => Err(Refusal::not_found(id)),
        Err(NotCancelled::Over) => Err(Refusal::bad("the deploy cannot be canceled")),
    }
}

/// GET of a page of events, newest first; of the last hour by default.
pub(crate) fn events(engine: &Engine, request: &Incoming) -> Result<Response, Refusal> {
    let kinds: Vec<String> =
        request.query().into_iter().filter(|(name, _)| name == "type").map(|(_, v)| v).collect();
    let hour_ago = now() - Duration::from_secs(3600);
    let (start, end) = (moment(request, "startTime")?.unwrap_or(hour_ago), moment(request, "endTime")?);
    let service = &engine.options.service_id;
    let items: Vec<(String, Value)> = engine.state.read(|state| {
        let events = state.events.iter().rev().filter(|event| {
            (kinds.is_empty() || kinds.iter().any(|kind| kind == event.kind))
                && event.timestamp >= start
                && end.is_none_or(|end| event.timestamp <= end)
        });
        events.map(|event| event.json(service)).collect()
    });
    Ok(Json(page(items, request, "event")?).into_response())
}

/// A query parameter with a time, in RFC 3339.
pub(crate) fn moment(request: &Incoming, name: &str) -> Result<Option<SystemTime>, Refusal> {
    let text = request.parameter(name);
    let parse =
        |text: String| humantime::parse_rfc3339(&text).map_err(|_| Refusal::bad(format!("invalid {name}")));
    text.map(parse).transpose()
}

pub(crate) fn reference(text: &str) -> Result<Reference, Refusal> {
    Reference::parse(text).map_err(|_| unable_to_fetch())
}

/// Users of Render have reported this text.
pub(crate) fn unable_to_fetch() -> Refusal {
    Refusal::bad("unable to fetch image with provided input")
}

fn find(engine: &Engine, id: &str) -> Result<Deploy, Refusal> {
    engine.state.read(|state| state.deploy(id).cloned()).ok_or_else(|| Refusal::not_found(id))
}
