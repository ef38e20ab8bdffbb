//! A service's instances, log and metrics: <https://api-docs.render.com/reference/list-logs>, `/get-http-requests`.
//!
//! They explain a failure or end a wait early; a deploy must not depend on any of them.

use std::collections::BTreeSet;
use std::time::SystemTime;

use serde::Deserialize;

use crate::api::{Api, ApiError};
use crate::model::or_default;

/// A line that the service printed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LogLine {
    /// Without its line break.
    #[serde(deserialize_with = "or_default")]
    pub message: String,
    /// RFC 3339.
    #[serde(deserialize_with = "or_default")]
    pub timestamp: String,
    #[serde(deserialize_with = "or_default")]
    labels: Vec<LogLabel>,
}

#[derive(Clone, Debug, Deserialize)]
struct LogLabel {
    name: String,
    value: String,
}

impl LogLine {
    /// The id of the instance that printed it, if Render returns it.
    pub fn instance(&self) -> Option<&str> {
        self.labels.iter().find(|label| label.name == "instance").map(|label| label.value.as_str())
    }
}

impl Api {
    /// The instances that were started before then. One request without retries.
    pub fn instances_before(&self, time: SystemTime) -> Result<BTreeSet<String>, ApiError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Instance {
            id: String,
            created_at: String,
        }
        let all: Vec<Instance> = self.get_once(&["services", self.id(), "instances"], &[])?;
        let older = |instance: &Instance| {
            humantime::parse_rfc3339(&instance.created_at).is_ok_and(|created| created < time)
        };
        Ok(all.into_iter().filter(older).map(|instance| instance.id).collect())
    }

    /// The service's last lines since then, oldest first, at most a hundred. One request without retries.
    pub fn log(&self, owner: &str, since: SystemTime) -> Result<Vec<LogLine>, ApiError> {
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
        let mut page: Page = self.get_once(&["logs"], &query)?;
        page.logs.sort_by(|a, b| a.timestamp.cmp(&b.timestamp));
        Ok(page.logs)
    }

    /// How many requests the service has responded to since then, and to how many of them with 5xx. One request without
    /// retries.
    pub fn responses(&self, since: SystemTime) -> Result<(f64, f64), ApiError> {
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
        let all: Vec<Series> = self.get_once(&["metrics", "http-requests"], &query)?;
        let count = |series: &Series| series.values.iter().map(|point| point.value).sum::<f64>();
        let is_error = |series: &&Series| {
            series.labels.iter().any(|label| label.field == "statusCode" && label.value.starts_with('5'))
        };
        Ok((all.iter().map(count).sum(), all.iter().filter(is_error).map(count).sum()))
    }
}
