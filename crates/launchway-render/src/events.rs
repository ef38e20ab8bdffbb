//! The events of a service during and after a deploy: <https://api-docs.render.com/reference/list-events>.
//!
//! They explain a failure or end a wait early; a deploy must not depend on any of them.

use std::time::SystemTime;

use serde::Deserialize;
use serde_json::Value;

use crate::api::{Api, ApiError};
use crate::model::or_default;

/// Something that happened to the service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Render's word for what happened, such as `deploy_ended`.
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    /// RFC 3339.
    #[serde(deserialize_with = "or_default")]
    pub timestamp: String,
    /// What depends on the kind.
    #[serde(deserialize_with = "or_default")]
    pub details: Details,
}

/// The details that a deploy reads, of all kinds of events.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// Of `deploy_ended`.
    pub deploy_id: Option<String>,
    /// Of `deploy_ended` and `server_failed`.
    pub reason: Value,
    /// Of `image_pull_failed`: the reference.
    #[serde(rename = "imageURL")]
    pub image: Option<String>,
    /// Of `image_pull_failed`.
    pub message: Option<String>,
    /// Of `server_failed`.
    #[serde(rename = "instanceID")]
    pub instance: Option<String>,
}

impl Event {
    /// The deploy that replaced the one that ended.
    pub fn newer_deploy(&self) -> Option<&str> {
        self.details.reason["newDeploy"]["id"].as_str()
    }

    /// Why a deploy or an instance failed, and what to try.
    pub fn cause(&self) -> Option<(String, &'static str)> {
        let reason = &self.details.reason;
        // A deploy's reason contains the failure beside other fields; an instance's is the failure.
        cause(if reason["failure"].is_object() { &reason["failure"] } else { reason })
    }
}

/// Render's `failureReason` in words, and what to try.
fn cause(failure: &Value) -> Option<(String, &'static str)> {
    let given = |name: &str| {
        let value = &failure[name];
        (!value.is_null() && value != &Value::Bool(false)).then_some(value)
    };
    let text = |name: &str| {
        let words = given(name).and_then(Value::as_str).filter(|text| !text.is_empty())?;
        Some(words.chars().filter(|c| !c.is_control()).collect::<String>())
    };
    if given("oomKilled").is_some() {
        return Some((
            "it ran out of memory".to_owned(),
            "choose a plan with more memory, or reduce the service's memory use",
        ));
    }
    if given("evicted").is_some() {
        let why = text("evictionReason").map_or_else(String::new, |why| format!(": {why}"));
        return Some((format!("Render evicted it{why}"), "look at the service's page, then deploy again"));
    }
    if let Some(code) = given("nonZeroExit") {
        return Some((format!("the service exited with code {code}"), "its last lines may say why"));
    }
    if given("earlyExit").is_some() {
        return Some((
            "the service exited by itself".to_owned(),
            "the image's entry point must run the server in the foreground",
        ));
    }
    if given("timedOutSeconds").is_some() || given("timedOutReason").is_some() {
        let why = text("timedOutReason").map_or_else(String::new, |why| format!(": {why}"));
        return Some((
            format!("it was not up in time{why}"),
            "the service must listen on 0.0.0.0 at `PORT` and respond at its health path",
        ));
    }
    text("unhealthy").map(|why| {
        (
            format!("it was not healthy: {why}"),
            "the service must listen on 0.0.0.0 at `PORT` and respond at its health path with 2xx or 3xx",
        )
    })
}

impl Api {
    /// What happened since then, at most a hundred events. One request without retries.
    pub fn events(&self, since: SystemTime) -> Result<Vec<Event>, ApiError> {
        #[derive(Deserialize)]
        struct Item {
            event: Event,
        }
        let since = humantime::format_rfc3339_millis(since).to_string();
        let query = [("startTime", since.as_str()), ("limit", "100")];
        let items: Vec<Item> = self.get_once(&["services", self.id(), "events"], &query)?;
        Ok(items.into_iter().map(|item| item.event).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_reason_has_words() {
        for (failure, words) in [
            (json!({ "oomKilled": { "memoryLimit": "512Mi" }, "evicted": false }), "out of memory"),
            (json!({ "nonZeroExit": 3, "evicted": false }), "exited with code 3"),
            (json!({ "earlyExit": true }), "exited by itself"),
            (json!({ "evicted": true, "evictionReason": "node" }), "evicted it: node"),
            (json!({ "timedOutSeconds": 900, "timedOutReason": "no port" }), "not up in time: no port"),
            (json!({ "unhealthy": "got 503" }), "not healthy: got 503"),
        ] {
            let event = |reason: Value| -> Event {
                serde_json::from_value(
                    json!({ "type": "x", "timestamp": null, "details": { "reason": reason } }),
                )
                .unwrap()
            };
            let ended = event(json!({ "failure": failure }));
            assert!(ended.cause().unwrap().0.contains(words), "{ended:?}");
            assert_eq!(event(failure).cause(), ended.cause());
        }
        assert_eq!(Event::default().cause(), None);
    }
}
