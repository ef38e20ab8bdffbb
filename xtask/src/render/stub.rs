//! A scripted Render for the tests of its client: it does what the script says, however odd.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use reqwest::Url;
use serde_json::{Value, json};

use crate::interrupt::Interrupt;

pub(crate) const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub(crate) const OTHER: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
/// Of `Context::for_test`.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const KEY: &str = "rnd_key-of-the-test";

pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    script: Arc<Mutex<Script>>,
    _runtime: tokio::runtime::Runtime,
}

/// What the stub answers and what it was asked.
pub(crate) struct Script {
    pub(crate) service: Value,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) deploys: Vec<Value>,
    /// Statuses of `POST …/deploys` and whether a deploy of ours appears; the last one stays.
    pub(crate) asked: VecDeque<(u16, bool)>,
    /// Joins the list when we ask for a deploy.
    pub(crate) foreign: Option<Value>,
    /// What a look at our deploy shows, look by look: a status, or an answer as `502 text`. The last one stays.
    pub(crate) looks: VecDeque<&'static str>,
    /// What `/version` answers; the last one stays.
    pub(crate) versions: VecDeque<String>,
    pub(crate) sha: Option<&'static str>,
    /// The status of a request to cancel.
    pub(crate) cancel: u16,
    /// What a look shows once a cancel was refused.
    pub(crate) after_cancel: Option<&'static str>,
    /// Answers that go before everything else, once each: method, end of the path, status, body.
    pub(crate) faults: Vec<(&'static str, &'static str, u16, &'static str)>,
    /// Set at the first look at our deploy.
    pub(crate) interrupt: Option<Interrupt>,
    pub(crate) transcript: Vec<String>,
}

impl Stub {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let script = Script {
            service: json!({
                "id": "srv-1", "name": "app", "type": "web_service", "suspended": "not_suspended",
                "imagePath": "docker.io/slipway/app:latest",
                "serviceDetails": {
                    "runtime": "image", "healthCheckPath": "/healthz", "url": format!("http://{address}"),
                    "maintenanceMode": { "enabled": false, "uri": "" },
                },
            }),
            variables: Vec::new(),
            deploys: vec![deploy("dep-before", "live", "api", OTHER, 1)],
            asked: [(201, true)].into(),
            foreign: None,
            looks: ["queued", "update_in_progress", "live"].into(),
            versions: [json!({ "commit": COMMIT }).to_string()].into(),
            sha: Some(DIGEST),
            cancel: 200,
            after_cancel: None,
            faults: Vec::new(),
            interrupt: None,
            transcript: Vec::new(),
        };
        let script = Arc::new(Mutex::new(script));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let app = Router::new().fallback(handle).with_state(Arc::clone(&script));
        runtime.spawn(async move {
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await.unwrap();
        });
        Self { address, script, _runtime: runtime }
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).unwrap()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// The requests that begin like this.
    pub(crate) fn asked(&self, start: &str) -> Vec<String> {
        self.state().transcript.iter().filter(|line| line.starts_with(start)).cloned().collect()
    }
}

pub(crate) fn deploy(id: &str, status: &str, trigger: &str, digest: &str, second: u32) -> Value {
    json!({
        "id": id, "commit": null, "status": status, "trigger": trigger, "finishedAt": null,
        "image": { "ref": format!("docker.io/slipway/app@{digest}"), "sha": digest },
        "createdAt": format!("2026-01-01T00:00:{second:02}.000001Z"),
    })
}

async fn handle(
    State(script): State<Arc<Mutex<Script>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    let mut script = script.lock().unwrap();
    let mut line = format!("{method} {uri} {body}");
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        if let Some(value) = headers.get(name) {
            line = format!("{line} {}", value.to_str().unwrap());
        }
    }
    script.transcript.push(line.trim_end().to_owned());
    let path = uri.path();
    let fault = script.faults.iter().position(|(on, end, ..)| method == *on && path.ends_with(end));
    if let Some(place) = fault {
        let (.., status, body) = script.faults.remove(place);
        return answer(status, body);
    }
    if let Some(status) = path.strip_prefix("/answer/") {
        return answer(status.parse().unwrap(), "");
    }
    if path == "/version" {
        return answer(200, &next(&mut script.versions));
    }
    if headers.get("authorization").unwrap() != &format!("Bearer {KEY}") {
        return answer(401, r#"{"message":"Unauthorized"}"#);
    }
    match path.strip_prefix("/v1/services/srv-1") {
        None => answer(404, r#"{"message":"not found: service"}"#),
        Some(rest) => call(&mut script, &method, rest, &uri, &body),
    }
}

/// A call below the service.
fn call(script: &mut Script, method: &Method, rest: &str, uri: &Uri, body: &str) -> Response {
    let segments: Vec<&str> = rest.trim_start_matches('/').split('/').collect();
    match (method.as_str(), segments.as_slice()) {
        ("GET", [""]) => answer(200, &script.service.to_string()),
        ("GET", ["env-vars"]) => {
            let of = |(key, value): &(String, String)| json!({ "envVar": { "key": key, "value": value } });
            page(uri, script.variables.iter().map(of).collect())
        }
        ("PUT", ["env-vars", key]) => {
            let value: Value = serde_json::from_str(body).unwrap();
            script.variables.retain(|(name, _)| name != key);
            script.variables.push(((*key).to_owned(), value["value"].as_str().unwrap().to_owned()));
            answer(200, &json!({ "key": key, "value": value["value"] }).to_string())
        }
        ("GET", ["deploys"]) => {
            page(uri, script.deploys.iter().map(|deploy| json!({ "deploy": deploy })).collect())
        }
        ("POST", ["deploys"]) => {
            let (status, appears) = next(&mut script.asked);
            script.deploys.extend(script.foreign.take());
            let mut ours = deploy("dep-ours", "created", "api", DIGEST, 10);
            ours["image"]["sha"] = json!(script.sha);
            if appears {
                script.deploys.push(ours.clone());
            }
            answer(status, &if status == 201 { ours.to_string() } else { String::new() })
        }
        ("GET", ["deploys", id]) => {
            if let Some(interrupt) = script.interrupt.take() {
                interrupt.set();
            }
            let look = next(&mut script.looks);
            match look.split_once(' ') {
                Some((status, body)) => answer(status.parse().unwrap(), body),
                None => show(script, id, look),
            }
        }
        ("POST", ["deploys", id, "cancel"]) if script.cancel == 200 => show(script, id, "canceled"),
        ("POST", ["deploys", _, "cancel"]) => {
            script.looks.extend(script.after_cancel);
            if script.after_cancel.is_some() {
                script.looks.pop_front();
            }
            answer(script.cancel, r#"{"message":"cannot be canceled"}"#)
        }
        _ => answer(405, "no such call"),
    }
}

fn show(script: &mut Script, id: &str, status: &str) -> Response {
    let deploy = script.deploys.iter_mut().find(|deploy| deploy["id"] == id).unwrap();
    deploy["status"] = json!(status);
    answer(200, &deploy.to_string())
}

/// A page whose cursors are places.
fn page(uri: &Uri, items: Vec<Value>) -> Response {
    let query = uri.query().unwrap_or_default();
    let find = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse::<usize>().ok())
    };
    let from = find("cursor").unwrap_or(0);
    let mut shown: Vec<Value> = items.into_iter().skip(from).take(find("limit").unwrap_or(20)).collect();
    for (place, item) in shown.iter_mut().enumerate() {
        item["cursor"] = json!((from + place + 1).to_string());
    }
    answer(200, &json!(shown).to_string())
}

fn next<T: Clone>(queue: &mut VecDeque<T>) -> T {
    if queue.len() > 1 { queue.pop_front().unwrap() } else { queue.front().unwrap().clone() }
}

fn answer(status: u16, body: &str) -> Response {
    let headers = [("retry-after", "0"), ("ratelimit-reset", "60")];
    (StatusCode::from_u16(status).unwrap(), headers, body.to_owned()).into_response()
}
