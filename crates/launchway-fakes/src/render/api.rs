//! The API's entry point: key, rate limits, faults, routes, and the service itself.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::Json;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::engine::Engine;
use super::fault::{Call, Effect, Seen};
use super::limits::{Bucket, Limiter};
use super::refusal::Refusal;
use super::script::Service;
use super::state::{now, time};
use super::{deploys, observed, variables};
use crate::server::{Fake, Incoming};

pub(crate) const MAX_BODY: usize = 1 << 20;

/// The workspace that owns the service.
const OWNER: &str = "tea-fake";

/// The API for one service.
pub(crate) struct Api {
    engine: Arc<Engine>,
    limiter: Limiter,
    created_at: SystemTime,
}

impl Fake for Api {
    async fn respond(&self, request: &mut Incoming) -> Response {
        let mut limits = HeaderMap::new();
        let answer = self.dispatch(request, &mut limits).await;
        let mut response = answer.unwrap_or_else(Refusal::into_response);
        response.headers_mut().extend(limits);
        response
    }
}

impl Api {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { limiter: Limiter::new(engine.options.limits), engine, created_at: now() }
    }

    async fn dispatch(&self, request: &mut Incoming, limits: &mut HeaderMap) -> Result<Response, Refusal> {
        let bearer = request.header(&AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        if bearer != Some(self.engine.options.api_key.as_str()) {
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized"));
        }
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let allowance = self.limiter.take(bucket(request.method.as_str(), &segments), Instant::now());
        allowance.write(limits);
        if !allowance.granted {
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "rate limit exceeded"));
        }
        let faults = &self.engine.faults;
        let call = Call::of(request.method.as_str(), &segments);
        faults.pass(call).await;
        if let Some(act) = faults.due_hook(call) {
            act(&Service(Arc::clone(&self.engine)));
        }
        self.engine.before(call);
        let (method, path) = (request.method.to_string(), request.path().to_owned());
        match faults.befalling(Seen { method: &method, path: &path, call, is_front: false }) {
            None => self.route(&segments, request).await,
            Some(Effect::Instead(answer)) => Ok(answer),
            Some(Effect::Before(deed)) => {
                self.engine.somebody(deed).await;
                self.route(&segments, request).await
            }
            Some(Effect::After(deed)) => {
                let answer = self.route(&segments, request).await;
                self.engine.somebody(deed).await;
                answer
            }
            Some(Effect::Replace(answer)) => self.route(&segments, request).await.map(|_| answer),
        }
    }

    async fn route(&self, segments: &[&str], request: &mut Incoming) -> Result<Response, Refusal> {
        match segments {
            ["v1", "logs"] if request.method == "GET" => observed::logs(&self.engine, OWNER, request),
            ["v1", "metrics", "http-requests"] if request.method == "GET" => {
                observed::requests(&self.engine, request)
            }
            ["v1", "services", id, rest @ ..] if *id == self.engine.options.service_id => {
                self.service(rest, request).await
            }
            ["v1", "services", id, ..] => Err(Refusal::not_found(id)),
            _ => Err(Refusal::new(StatusCode::NOT_FOUND, "Not Found")),
        }
    }

    async fn service(&self, rest: &[&str], request: &mut Incoming) -> Result<Response, Refusal> {
        let engine = &self.engine;
        let method = request.method.clone();
        match (method.as_str(), rest) {
            ("GET", []) => Ok(Json(self.service_json()).into_response()),
            ("PATCH", []) => self.patch(request).await,
            ("GET", ["env-vars"]) => variables::list(&engine.state, request),
            ("PUT", ["env-vars"]) => variables::replace(&engine.state, request).await,
            ("GET", ["env-vars", key]) => variables::get(&engine.state, key),
            ("PUT", ["env-vars", key]) => variables::put(&engine.state, key, request).await,
            ("DELETE", ["env-vars", key]) => variables::delete(&engine.state, key),
            ("GET", ["deploys"]) => deploys::list(engine, request),
            ("POST", ["deploys"]) => deploys::create(engine, request).await,
            ("GET", ["deploys", id]) => deploys::get(engine, id),
            ("POST", ["deploys", id, "cancel"]) => deploys::cancel(engine, id),
            ("POST", ["rollback"]) => deploys::rollback(engine, request).await,
            ("POST", ["restart"]) => deploys::restart(engine),
            ("GET", ["instances"]) => Ok(deploys::instances(engine)),
            ("GET", ["events"]) => deploys::events(engine, request),
            _ => Err(Refusal::new(StatusCode::NOT_FOUND, "Not Found")),
        }
    }

    /// PATCH of the image, the only way to change the repository. Deploys nothing.
    async fn patch(&self, request: &mut Incoming) -> Result<Response, Refusal> {
        let Patch { image } = parsed(&request.bytes(MAX_BODY).await?)?;
        if let Some(NewImage { owner_id, image_path, .. }) = image {
            if owner_id != OWNER {
                return Err(Refusal::bad("the image is not of the service's workspace"));
            }
            let reference = deploys::reference(&image_path)?;
            self.engine.resolve(&reference).await.map_err(|_| deploys::unable_to_fetch())?;
            self.engine.state.change(|state| {
                state.image = image_path;
                state.updated_at = now();
            });
        }
        Ok(Json(self.service_json()).into_response())
    }

    /// Render's API reference, `service`, with values recorded from an image-backed web service.
    fn service_json(&self) -> Value {
        let options = &self.engine.options;
        let (image, updated_at, suspended) =
            self.engine.state.read(|state| (state.image.clone(), state.updated_at, state.suspended));
        let suspended = if suspended { "suspended" } else { "not_suspended" };
        json!({
            "id": options.service_id,
            "name": options.name,
            "slug": options.name,
            "ownerId": OWNER,
            "type": "web_service",
            "imagePath": image,
            "autoDeploy": "yes",
            "notifyOnFail": "default",
            "rootDir": "",
            "suspended": suspended,
            "suspenders": [],
            "createdAt": time(self.created_at),
            "updatedAt": time(updated_at),
            "dashboardUrl": format!("https://dashboard.render.com/web/{}", options.service_id),
            "serviceDetails": {
                "env": "image",
                "runtime": "image",
                "envSpecificDetails": { "dockerCommand": "", "dockerContext": "", "dockerfilePath": "" },
                "healthCheckPath": options.health_path,
                "maintenanceMode": { "enabled": false, "uri": "" },
                "maxShutdownDelaySeconds": options.max_shutdown_delay.as_secs(),
                "numInstances": 1,
                "openPorts": [{ "port": self.engine.front_address.port(), "protocol": "TCP" }],
                "buildPlan": "starter",
                "plan": "starter",
                "previews": { "generation": "off" },
                "region": "frankfurt",
                "url": format!("http://{}", self.engine.front_address),
            },
        })
    }
}

/// The supported changes to the service; anything else is refused rather than ignored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    image: Option<NewImage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewImage {
    owner_id: String,
    image_path: String,
    #[serde(rename = "registryCredentialId")]
    _registry_credential_id: Option<String>,
}

/// A page of a list, as `[{"cursor": …, "<name>": …}]` (Render's API reference, "Pagination").
pub(crate) fn page(items: Vec<(String, Value)>, request: &Incoming, name: &str) -> Result<Value, Refusal> {
    let limit = limit(request)?;
    let skipped = match request.parameter("cursor").filter(|cursor| !cursor.is_empty()) {
        None => 0,
        Some(cursor) => {
            let last = items.iter().position(|(own, _)| *own == cursor);
            last.ok_or_else(|| Refusal::bad("invalid cursor"))? + 1
        }
    };
    let items = items.into_iter().skip(skipped).take(limit);
    Ok(items.map(|(cursor, item)| json!({ "cursor": cursor, name: item })).collect())
}

/// Parses a JSON body.
pub(crate) fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::bad(format!("invalid body: {error}")))
}

/// 1 to 100, 20 by default.
pub(crate) fn limit(request: &Incoming) -> Result<usize, Refusal> {
    match request.parameter("limit").map(|limit| limit.parse()) {
        None => Ok(20),
        Some(Ok(limit @ 1..=100)) => Ok(limit),
        Some(_) => Err(Refusal::bad("limit must be between 1 and 100")),
    }
}

/// The limit that a request counts against (Render's API reference, "Rate limiting").
fn bucket(method: &str, segments: &[&str]) -> Bucket {
    match (method, segments) {
        ("GET", _) => Bucket::Reads,
        ("PATCH", ["v1", "services", _]) | ("POST", ["v1", "services", _, "deploys"]) => Bucket::Deploys,
        _ => Bucket::Writes,
    }
}
