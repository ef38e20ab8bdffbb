//! What Render stores about the service, and how it shows it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::instance::Instance;
use super::script::Script;

/// Environment variables in the order in which they were first set.
pub(crate) type Variables = Vec<(String, String)>;

/// All of the service's state that changes.
pub(crate) struct State {
    pub(crate) image: String,
    pub(crate) variables: Variables,
    pub(crate) suspended: bool,
    pub(crate) script: Option<Script>,
    /// How many deploys a script has accepted.
    pub(crate) requested: usize,
    pub(crate) updated_at: SystemTime,
    pub(crate) deploys: Vec<Deploy>,
    pub(crate) events: Vec<Event>,
    /// The deploy that starts when none is running.
    pub(crate) waiting: Option<String>,
    pub(crate) running: Option<Running>,
    pub(crate) live: Option<Live>,
}

/// The running deploy, and how to stop it.
pub(crate) struct Running {
    pub(crate) deploy: String,
    pub(crate) cancel: oneshot::Sender<()>,
}

/// The deploy that gets the traffic.
pub(crate) struct Live {
    pub(crate) deploy: String,
    pub(crate) instance: Arc<Instance>,
}

/// One deploy.
#[derive(Clone)]
pub(crate) struct Deploy {
    pub(crate) id: String,
    /// The requested reference.
    pub(crate) reference: String,
    /// The digest of the `linux/amd64` manifest that it resolved to at that time.
    pub(crate) sha: String,
    pub(crate) status: Status,
    pub(crate) trigger: Trigger,
    pub(crate) created_at: SystemTime,
    pub(crate) started_at: Option<SystemTime>,
    pub(crate) updated_at: SystemTime,
    pub(crate) finished_at: Option<SystemTime>,
    /// Its variables: the service's when it started, or those of the deploy that it rolls back to.
    pub(crate) variables: Option<Variables>,
}

/// Render's API reference, `deployStatus`, without those that image-backed services do not reach here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Queued,
    UpdateInProgress,
    Live,
    Deactivated,
    UpdateFailed,
    Canceled,
    /// A scripted status that no deploy otherwise has here.
    Other(&'static str),
}

/// Who requested a deploy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    Api,
    /// On the dashboard.
    Manual,
    Rollback {
        target: String,
    },
}

/// Something that happened to the service.
#[derive(Clone)]
pub(crate) struct Event {
    id: String,
    pub(crate) timestamp: SystemTime,
    pub(crate) kind: &'static str,
    details: Value,
}

/// One line that an instance wrote.
#[derive(Clone)]
pub(crate) struct LogLine {
    pub(crate) id: String,
    pub(crate) timestamp: SystemTime,
    pub(crate) instance: String,
    pub(crate) message: String,
}

/// The latest lines.
pub(crate) type Logs = VecDeque<LogLine>;

impl State {
    pub(crate) fn new(image: String, variables: Variables, script: Option<Script>) -> Self {
        Self {
            image,
            variables,
            suspended: false,
            script,
            requested: 0,
            updated_at: now(),
            deploys: Vec::new(),
            events: Vec::new(),
            waiting: None,
            running: None,
            live: None,
        }
    }

    pub(crate) fn set_variable(&mut self, key: &str, value: String) {
        match self.variables.iter_mut().find(|(name, _)| name == key) {
            Some((_, current)) => *current = value,
            None => self.variables.push((key.to_owned(), value)),
        }
    }

    pub(crate) fn deploy(&self, id: &str) -> Option<&Deploy> {
        self.deploys.iter().find(|deploy| deploy.id == id)
    }

    /// Moves a deploy on. It counts as finished when it first reaches a final state.
    pub(crate) fn set_status(&mut self, id: &str, status: Status) {
        let now = now();
        if let Some(deploy) = self.deploys.iter_mut().find(|deploy| deploy.id == id) {
            deploy.status = status;
            deploy.updated_at = now;
            match status {
                Status::Queued | Status::Other(_) => {}
                Status::UpdateInProgress => deploy.started_at = Some(now),
                Status::Live | Status::Deactivated | Status::UpdateFailed | Status::Canceled => {
                    deploy.finished_at.get_or_insert(now);
                }
            }
        }
    }

    /// Ends a deploy, with the reason in the event that clients read.
    pub(crate) fn end(&mut self, id: &str, status: Status, reason: &Value) {
        self.set_status(id, status);
        // The number is left over from the API's first version.
        let (outcome, number) = match status {
            Status::UpdateFailed => ("failed", 3),
            Status::Canceled => ("canceled", 4),
            _ => ("succeeded", 2),
        };
        let details = json!({ "deployId": id, "deployStatus": outcome, "status": number, "reason": reason });
        self.record("deploy_ended", details);
    }

    pub(crate) fn record(&mut self, kind: &'static str, details: Value) {
        let id = format!("evt-{:020}", self.events.len());
        self.events.push(Event { id, timestamp: now(), kind, details });
    }
}

impl Deploy {
    /// Render's API reference, `deploy`. An image has no commit: the field is null in recorded responses.
    pub(crate) fn json(&self) -> Value {
        self.json_as(Some(&self.sha))
    }

    /// The same with another digest.
    pub(crate) fn json_as(&self, sha: Option<&str>) -> Value {
        json!({
            "id": self.id,
            "commit": null,
            "image": { "ref": self.reference, "sha": sha },
            "status": self.status.name(),
            "trigger": match self.trigger {
                Trigger::Api => "api",
                Trigger::Manual => "manual",
                Trigger::Rollback { .. } => "rollback",
            },
            "createdAt": time(self.created_at),
            "startedAt": self.started_at.map(time),
            "updatedAt": time(self.updated_at),
            "finishedAt": self.finished_at.map(time),
        })
    }
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::UpdateInProgress => "update_in_progress",
            Self::Live => "live",
            Self::Deactivated => "deactivated",
            Self::UpdateFailed => "update_failed",
            Self::Canceled => "canceled",
            Self::Other(name) => name,
        }
    }

    /// The status with this name.
    pub(crate) fn named(name: &'static str) -> Self {
        let known = [
            Self::Queued,
            Self::UpdateInProgress,
            Self::Live,
            Self::Deactivated,
            Self::UpdateFailed,
            Self::Canceled,
        ];
        known.into_iter().find(|status| status.name() == name).unwrap_or(Self::Other(name))
    }

    /// Whether a deploy in this status can still change.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::UpdateInProgress | Self::Other(_))
    }
}

impl Event {
    /// The id also serves as the event's cursor.
    pub(crate) fn json(&self, service: &str) -> (String, Value) {
        let event = json!({
            "id": self.id,
            "serviceId": service,
            "timestamp": time(self.timestamp),
            "type": self.kind,
            "details": self.details,
        });
        (self.id.clone(), event)
    }
}

/// The time to the microsecond, so that a time that was read back compares equal.
pub(crate) fn now() -> SystemTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let nanoseconds = since.subsec_nanos() % 1000;
    SystemTime::UNIX_EPOCH + since.saturating_sub(Duration::from_nanos(nanoseconds.into()))
}

/// Render writes times with microseconds and `Z`.
pub(crate) fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_micros(time).to_string()
}

/// How many lines are kept, and how long each may be.
pub(crate) const MAX_LINES: usize = 200;
pub(crate) const MAX_LINE: u64 = 4096;

/// How long an instance may take to respond to a health check (Render docs, "Health checks").
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long Render keeps the previous instance (Render docs, "Deploys").
pub(crate) const RETIRE_AFTER: Duration = Duration::from_secs(60);
/// How long to wait before the next health check of a new instance.
pub(crate) const PROBE_PAUSE: Duration = Duration::from_millis(50);
