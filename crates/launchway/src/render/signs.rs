//! What Render tells about a service while and after it is deployed: events, the app's log, the count of its answers.
//!
//! <https://api-docs.render.com/reference/list-events>, `/list-logs` and `/get-http-requests`. All of it is read to
//! explain or to end a wait early; a deploy must not depend on any of it.

use std::collections::BTreeSet;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::Value;

use super::api::{Api, ApiError};
use super::model::or_default;

/// Something that happened to the service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Event {
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub(crate) kind: String,
    /// RFC 3339.
    #[serde(deserialize_with = "or_default")]
    pub(crate) timestamp: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) details: Details,
}

/// Those details of all kinds of events that a deploy reads.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Details {
    /// Of `deploy_ended`.
    pub(crate) deploy_id: Option<String>,
    /// Of `deploy_ended` and `server_failed`.
    pub(crate) reason: Value,
    /// Of `image_pull_failed`: the reference.
    #[serde(rename = "imageURL")]
    pub(crate) image: Option<String>,
    /// Of `image_pull_failed`.
    pub(crate) message: Option<String>,
    /// Of `server_failed`.
    #[serde(rename = "instanceID")]
    pub(crate) instance: Option<String>,
}

impl Event {
    /// The deploy that took the place of the one that ended.
    pub(crate) fn newer_deploy(&self) -> Option<&str> {
        self.details.reason["newDeploy"]["id"].as_str()
    }

    /// Why a deploy or an instance failed, and what to try.
    pub(crate) fn cause(&self) -> Option<(String, &'static str)> {
        let reason = &self.details.reason;
        // A deploy's reason holds the failure beside other things; an instance's is the failure.
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
        Some(words.chars().filter(|c| !c.is_control()).take(200).collect::<String>())
    };
    if given("oomKilled").is_some() {
        return Some((
            "it ran out of memory".to_owned(),
            "give the service a plan with more memory, or have the app use less",
        ));
    }
    if given("evicted").is_some() {
        let why = text("evictionReason").map_or_else(String::new, |why| format!(": {why}"));
        return Some((format!("Render evicted it{why}"), "look at the service's page, then deploy again"));
    }
    if let Some(code) = given("nonZeroExit") {
        return Some((
            format!("the app ended with exit code {code}"),
            "read its last lines: an app that cannot use its settings says so there",
        ));
    }
    if given("earlyExit").is_some() {
        return Some((
            "the app ended by itself".to_owned(),
            "the image's entry point must run the server, and stay",
        ));
    }
    if given("timedOutSeconds").is_some() || given("timedOutReason").is_some() {
        let why = text("timedOutReason").map_or_else(String::new, |why| format!(": {why}"));
        return Some((
            format!("it was not up in time{why}"),
            "the app must listen on 0.0.0.0 at `PORT` and answer its health path",
        ));
    }
    text("unhealthy").map(|why| {
        (
            format!("it was not healthy: {why}"),
            "the app must listen on 0.0.0.0 at `PORT` and answer its health path with 2xx or 3xx",
        )
    })
}

/// A line that the app printed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LogLine {
    #[serde(deserialize_with = "or_default")]
    pub(crate) message: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) timestamp: String,
}

impl Api {
    /// What happened since then, a hundred events at most. Asked once.
    pub(crate) fn events(&self, since: SystemTime) -> Result<Vec<Event>, ApiError> {
        #[derive(Deserialize)]
        struct Item {
            event: Event,
        }
        let since = humantime::format_rfc3339_millis(since).to_string();
        let query = [("startTime", since.as_str()), ("limit", "100")];
        let items: Vec<Item> = self.beside(&["services", self.id(), "events"], &query)?;
        Ok(items.into_iter().map(|item| item.event).collect())
    }

    /// The instances that were started before then. Asked once.
    pub(crate) fn instances_before(&self, time: SystemTime) -> Result<BTreeSet<String>, ApiError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Instance {
            id: String,
            created_at: String,
        }
        let all: Vec<Instance> = self.beside(&["services", self.id(), "instances"], &[])?;
        let older = |instance: &Instance| {
            humantime::parse_rfc3339(&instance.created_at).is_ok_and(|created| created < time)
        };
        Ok(all.into_iter().filter(older).map(|instance| instance.id).collect())
    }

    /// The app's last lines since then, the oldest first, a hundred at most. Asked once.
    pub(crate) fn log(&self, owner: &str, since: SystemTime) -> Result<Vec<LogLine>, ApiError> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default, deserialize_with = "or_default")]
            logs: Vec<LogLine>,
        }
        let since = humantime::format_rfc3339_millis(since).to_string();
        let query = [
            ("ownerId", owner),
            ("resource", self.id()),
            ("startTime", &since),
            ("direction", "backward"),
            ("type", "app"),
            ("limit", "100"),
        ];
        let mut page: Page = self.beside(&["logs"], &query)?;
        page.logs.sort_by(|a, b| a.timestamp.cmp(&b.timestamp));
        Ok(page.logs)
    }

    /// How many requests the service answered since then, and how many of them with 5xx. Asked once.
    pub(crate) fn answers(&self, since: SystemTime) -> Result<(f64, f64), ApiError> {
        #[derive(Deserialize)]
        struct Label {
            field: String,
            value: String,
        }
        #[derive(Deserialize)]
        struct Point {
            value: f64,
        }
        #[derive(Deserialize)]
        struct Series {
            #[serde(default, deserialize_with = "or_default")]
            labels: Vec<Label>,
            #[serde(default, deserialize_with = "or_default")]
            values: Vec<Point>,
        }
        let since = humantime::format_rfc3339_millis(since).to_string();
        let query = [("resource", self.id()), ("startTime", &since), ("aggregateBy", "statusCode")];
        let all: Vec<Series> = self.beside(&["metrics", "http-requests"], &query)?;
        let count = |series: &Series| series.values.iter().map(|point| point.value).sum::<f64>();
        let is_error = |series: &&Series| {
            series.labels.iter().any(|label| label.field == "statusCode" && label.value.starts_with('5'))
        };
        Ok((all.iter().map(count).sum(), all.iter().filter(is_error).map(count).sum()))
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
            (json!({ "nonZeroExit": 3, "evicted": false }), "exit code 3"),
            (json!({ "earlyExit": true }), "ended by itself"),
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
