//! A scripted Render for the tests of its client: it does what the script says, however odd.
//!
//! It keeps variables, deploys and the service's image, and its app answers the commit of the image that is live.

mod chaos;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use reqwest::Url;
use serde_json::{Value, json};

use launchway_core::interrupt::Interrupt;

pub(crate) use chaos::{Chaos, Random};

pub(crate) const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub(crate) const OTHER: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
/// Of `Context::for_test`, which [`DIGEST`] answers.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// What [`OTHER`] answers.
pub(crate) const BEFORE: &str = "beef5678beef5678beef5678beef5678beef5678";
pub(crate) const KEY: &str = "rnd_key-of-the-test";

pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    /// Of the workspace that deploys to it.
    pub(crate) folder: tempfile::TempDir,
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
    /// What a look at `dep-ours` shows, look by look: a status, or an answer as `502 text`. The last one stays.
    pub(crate) looks: VecDeque<&'static str>,
    /// The same for the deploys that are asked for later, `dep-later-1` and so on.
    pub(crate) later: VecDeque<&'static str>,
    /// What `/version` answers, the last one stays; empty for the commit of what is live.
    pub(crate) versions: VecDeque<String>,
    /// What the image of `dep-ours` is resolved to.
    pub(crate) sha: Option<&'static str>,
    /// The status of a request to cancel.
    pub(crate) cancel: u16,
    /// What a look shows once a cancel was refused.
    pub(crate) after_cancel: Option<&'static str>,
    /// Whether the image of a deploy becomes that of the service: Render's documentation contradicts itself.
    pub(crate) sticks: bool,
    pub(crate) events: Vec<Value>,
    /// The app's lines.
    pub(crate) log: Vec<String>,
    /// What Render counts: requests by status; absent where it answers 404.
    pub(crate) counted: Option<Vec<(u16, u32)>>,
    /// Answers that go before everything else, once each: method, end of the path, status, body.
    pub(crate) faults: Vec<(&'static str, &'static str, u16, &'static str)>,
    /// Answers that are wrong now and then.
    pub(crate) chaos: Option<Chaos>,
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
                "id": "srv-1", "name": "app", "ownerId": "tea-1", "type": "web_service", "suspended": "not_suspended",
                "dashboardUrl": "https://dashboard.render.com/web/srv-1",
                "imagePath": "docker.io/acme/app:latest",
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
            later: ["update_in_progress", "live"].into(),
            versions: VecDeque::new(),
            sha: Some(DIGEST),
            cancel: 200,
            after_cancel: None,
            sticks: false,
            events: Vec::new(),
            log: Vec::new(),
            counted: Some(vec![(200, 100)]),
            faults: Vec::new(),
            chaos: None,
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
        Self { address, folder: tempfile::tempdir().unwrap(), script, _runtime: runtime }
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

impl Script {
    /// The deploy that serves.
    pub(crate) fn live(&self) -> Option<&Value> {
        self.deploys.iter().find(|deploy| deploy["status"] == "live")
    }
}

pub(crate) fn deploy(id: &str, status: &str, trigger: &str, digest: &str, second: u32) -> Value {
    json!({
        "id": id, "commit": null, "status": status, "trigger": trigger, "finishedAt": null,
        "image": { "ref": format!("docker.io/acme/app@{digest}"), "sha": digest },
        "createdAt": format!("2026-01-01T00:00:{second:02}.000001Z"),
    })
}

/// An event of the time when deploys are made.
pub(crate) fn event(kind: &str, details: &Value) -> Value {
    json!({ "id": "evt-1", "type": kind, "timestamp": "2026-01-01T00:00:30.000001Z", "details": details })
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
    let kind = script.chaos.as_mut().and_then(Chaos::strike);
    match kind {
        Some(0) => return answer(502, "<html>bad gateway</html>"),
        Some(1) => return answer(429, r#"{"message":"rate limit exceeded"}"#),
        _ => {}
    }
    let done = respond(&mut script, &method, &uri, &headers, &body);
    match kind {
        // It was done, and the answer got lost on the way.
        Some(2) => answer(502, "<html>bad gateway</html>"),
        Some(3) => answer(200, "<html>hello</html>"),
        _ => done,
    }
}

fn respond(script: &mut Script, method: &Method, uri: &Uri, headers: &HeaderMap, body: &str) -> Response {
    let path = uri.path();
    if path == "/healthz" {
        return answer(200, "ok");
    }
    if path == "/version" {
        if !script.versions.is_empty() {
            return answer(200, &next(&mut script.versions));
        }
        let digest = script.live().map(|live| live["image"]["ref"].as_str().unwrap().to_owned());
        return match digest.as_deref().and_then(|digest| digest.split_once('@')) {
            Some((_, DIGEST)) => answer(200, &json!({ "commit": COMMIT }).to_string()),
            Some(_) => answer(200, &json!({ "commit": BEFORE }).to_string()),
            None => answer(404, "no server"),
        };
    }
    if headers.get("authorization").unwrap() != &format!("Bearer {KEY}") {
        return answer(401, r#"{"message":"Unauthorized"}"#);
    }
    if path == "/v1/logs" {
        let of = |(place, line): (usize, &String)| json!({ "id": "1", "message": line, "timestamp": format!("2026-01-01T00:00:{place:02}Z"), "labels": [] });
        let lines: Vec<Value> = script.log.iter().enumerate().map(of).rev().collect();
        return answer(200, &json!({ "logs": lines, "hasMore": false }).to_string());
    }
    if path == "/v1/metrics/http-requests" {
        let series = |(status, count): &(u16, u32)| {
            json!({
                "labels": [{ "field": "statusCode", "value": status.to_string() }], "unit": "requests",
                "values": [{ "timestamp": "2026-01-01T00:00:00Z", "value": count }],
            })
        };
        return match &script.counted {
            Some(counted) => answer(200, &json!(counted.iter().map(series).collect::<Vec<_>>()).to_string()),
            None => answer(404, "no such call"),
        };
    }
    match path.strip_prefix("/v1/services/srv-1") {
        None => answer(404, r#"{"message":"not found: service"}"#),
        Some(rest) => call(script, method, rest, uri, body),
    }
}

/// A call below the service.
fn call(script: &mut Script, method: &Method, rest: &str, uri: &Uri, body: &str) -> Response {
    let segments: Vec<&str> = rest.trim_start_matches('/').split('/').collect();
    match (method.as_str(), segments.as_slice()) {
        ("GET", [""]) => answer(200, &script.service.to_string()),
        ("PATCH", [""]) => {
            let wanted: Value = serde_json::from_str(body).unwrap();
            assert_eq!(wanted["image"]["ownerId"], "tea-1");
            script.service["imagePath"] = wanted["image"]["imagePath"].clone();
            answer(200, &script.service.to_string())
        }
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
        ("DELETE", ["env-vars", key]) => {
            let before = script.variables.len();
            script.variables.retain(|(name, _)| name != key);
            if script.variables.len() < before { answer(204, "") } else { answer(404, "{}") }
        }
        ("GET", ["deploys"]) => {
            let wanted = uri.query().unwrap_or_default().contains("status=live");
            let fits = |deploy: &&Value| !wanted || deploy["status"] == "live";
            let deploys = script.deploys.iter().filter(fits);
            page(uri, deploys.map(|deploy| json!({ "deploy": deploy })).collect())
        }
        ("GET", ["events"]) => {
            page(uri, script.events.iter().map(|event| json!({ "event": event })).collect())
        }
        ("POST", ["deploys"]) => create(script, body),
        ("GET", ["deploys", id]) => {
            if *id == "dep-ours"
                && let Some(interrupt) = script.interrupt.take()
            {
                interrupt.set();
            }
            let Some(deploy) = script.deploys.iter().find(|deploy| deploy["id"] == *id) else {
                return answer(404, r#"{"message":"not found: deploy"}"#);
            };
            // One that was put aside changes no more by itself.
            let over =
                ["canceled", "deactivated", "update_failed"].iter().any(|end| deploy["status"] == *end);
            let looks = match *id {
                "dep-ours" if !over => &mut script.looks,
                id if id.starts_with("dep-later") && !over => &mut script.later,
                _ => return answer(200, &deploy.to_string()),
            };
            let look = next(looks);
            match look.split_once(' ') {
                Some((status, body)) => answer(status.parse().unwrap(), body),
                None => show(script, id, look),
            }
        }
        ("POST", ["deploys", id, "cancel"]) if script.cancel == 200 => {
            let open = script.deploys.iter().any(|deploy| {
                deploy["id"] == *id && deploy["status"] != "live" && deploy["status"] != "deactivated"
            });
            if open {
                show(script, id, "canceled")
            } else {
                answer(400, r#"{"message":"cannot be canceled"}"#)
            }
        }
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

fn create(script: &mut Script, body: &str) -> Response {
    let wanted: Value = serde_json::from_str(body).unwrap();
    let reference = wanted["imageUrl"].as_str().unwrap().to_owned();
    let (status, appears) = next(&mut script.asked);
    script.deploys.extend(script.foreign.take());
    let ours = script.deploys.iter().any(|deploy| deploy["id"] == "dep-ours");
    let later =
        script.deploys.iter().filter(|deploy| deploy["id"].as_str().unwrap().starts_with("dep-later"));
    let count = u32::try_from(later.count()).unwrap();
    let first = !ours && !reference.ends_with(OTHER);
    let id = if first { "dep-ours".to_owned() } else { format!("dep-later-{}", count + 1) };
    let digest = reference.split_once('@').map_or(DIGEST, |(_, digest)| digest).to_owned();
    let mut asked = deploy(&id, "created", "api", &digest, if first { 10 } else { 30 + count });
    if first {
        asked["image"]["sha"] = json!(script.sha);
    }
    if !first {
        // The release before answers for itself.
        script.versions.clear();
    }
    if appears {
        // The most recent request goes before those that wait.
        for waiting in &mut script.deploys {
            let status = waiting["status"].as_str().unwrap().to_owned();
            if !first && ["created", "queued", "update_in_progress"].contains(&status.as_str()) {
                waiting["status"] = json!("canceled");
            }
        }
        script.deploys.push(asked.clone());
        if script.sticks {
            script.service["imagePath"] = json!(reference);
        }
    }
    answer(status, &if status == 201 { asked.to_string() } else { String::new() })
}

fn show(script: &mut Script, id: &str, status: &str) -> Response {
    if status == "live" {
        for other in &mut script.deploys {
            if other["status"] == "live" && other["id"] != id {
                other["status"] = json!("deactivated");
            }
        }
    }
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
