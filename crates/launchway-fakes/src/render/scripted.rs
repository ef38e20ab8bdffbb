//! The deploys, the front and the log of a scripted service.

use std::collections::VecDeque;
use std::time::Duration;

use axum::response::Response;
use serde_json::{Value, json};

use super::Call;
use super::engine::Engine;
use super::image::Reference;
use super::script::{Look, Somebodys, response};
use super::state::{Deploy, LogLine, State, Status, Trigger, now};
use crate::server::random_hex;

/// A deploy as Render shows it; a script may give it another digest or none.
pub(super) fn json_of(state: &State, deploy: &Deploy) -> Value {
    match state.script.as_ref().and_then(|script| script.images.get(&deploy.sha)) {
        Some(image) => deploy.json_as(image.sha.as_deref()),
        None => deploy.json(),
    }
}

impl Engine {
    pub(super) fn json_of(&self, deploy: &Deploy) -> Value {
        self.state.read(|state| json_of(state, deploy))
    }

    pub(super) fn is_scripted(&self) -> bool {
        self.options.script.is_some()
    }

    /// Somebody else's deploy appears, whether or not the request succeeds.
    pub(super) fn before(&self, call: Option<Call>) {
        if call == Some(Call::Deploy) {
            let joins = self.state.change(|state| state.script.as_mut()?.joins.take());
            if let Some(deploy) = joins {
                // Later than the one that is being requested.
                self.add(&deploy, Duration::from_secs(1));
            }
        }
    }

    pub(super) fn add(&self, deploy: &Somebodys, later: Duration) {
        self.state.change(|state| {
            let reference = state.image.clone();
            let name = reference.split_once('@').map_or(reference.as_str(), |(name, _)| name);
            let name = match name.rsplit_once(':') {
                Some((name, tag)) if !tag.contains('/') => name,
                _ => name,
            };
            let reference = format!("{name}@{}", deploy.digest);
            let trigger = if deploy.manual { Trigger::Manual } else { Trigger::Api };
            let made = state.made(deploy.id.to_owned(), reference, deploy.digest.clone(), trigger, later);
            state.deploys.push(Deploy { status: Status::named(deploy.status), ..made });
        });
    }

    /// Accepts a request for a deploy; Render starts the most recent one.
    pub(super) fn scripted(&self, reference: String, sha: String, trigger: Trigger) -> Deploy {
        self.state.change(|state| {
            state.requested += 1;
            let number = state.requested;
            if number > 1 {
                if let Some(script) = &mut state.script {
                    script.versions.clear();
                }
                let open: Vec<String> = state
                    .deploys
                    .iter()
                    .filter(|deploy| deploy.status.is_open())
                    .map(|deploy| deploy.id.clone())
                    .collect();
                for id in open {
                    state.set_status(&id, Status::Canceled);
                }
            }
            let deploy = state.made(format!("dep-{number}"), reference, sha, trigger, Duration::ZERO);
            let deploy = Deploy { status: Status::Other("created"), ..deploy };
            state.deploys.push(deploy.clone());
            if self.options.image_sticks {
                state.image.clone_from(&deploy.reference);
            }
            if number == 1 {
                let script = state.script.clone().unwrap_or_default();
                script.events.into_iter().for_each(|(kind, details)| state.record(kind, details));
                self.logs.change(|logs| script.log.iter().for_each(|line| logs.push_back(line_of(line))));
            }
            deploy
        })
    }

    /// Moves a requested deploy on to the next poll's status, or returns the poll's own response.
    pub(super) fn look(&self, id: &str) -> Option<Response> {
        self.state.change(|state| {
            let deploy =
                state.deploy(id).filter(|deploy| deploy.status.is_open() || deploy.status == Status::Live)?;
            let sha = deploy.sha.clone();
            if !id.strip_prefix("dep-").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
            {
                return None;
            }
            let image = state.script.as_mut()?.images.get_mut(&sha)?;
            let look = next(&mut image.looks)?;
            let reason = image.reason.clone();
            match look {
                Look::Response(status, body) => Some(response(status, body)),
                Look::Status(status) => {
                    state.show(id, Status::named(status), &reason);
                    None
                }
            }
        })
    }

    /// Cancels a deploy that has not ended, unless the script refuses that.
    pub(super) fn cancel_scripted(&self, id: &str) -> Option<Deploy> {
        self.state.change(|state| {
            let deploy = state.deploy(id)?;
            let (open, sha) = (deploy.status.is_open(), deploy.sha.clone());
            let script = state.script.as_mut()?;
            if let Some(look) = script.refused_cancel {
                script.images.get_mut(&sha)?.looks = [look].into();
                return None;
            }
            if !open {
                return None;
            }
            state.end(id, Status::Canceled, &json!({}));
            state.deploy(id).cloned()
        })
    }

    /// The front's response: 200 at the health path, the live commit at the version path.
    pub(super) fn front_scripted(&self, is_version: bool) -> Response {
        if !is_version {
            return response(200, "ok\n");
        }
        self.state.change(|state| {
            let live = state.deploys.iter().find(|deploy| deploy.status == Status::Live);
            let sha = live.map(|deploy| deploy.sha.clone());
            let Some(script) = &mut state.script else { return response(404, "") };
            if let Some(version) = next(&mut script.versions) {
                return response(200, &json!({ "commit": version }).to_string());
            }
            match sha.and_then(|sha| script.images.get(&sha)) {
                Some(image) => response(200, &json!({ "commit": image.commit }).to_string()),
                None => response(404, "no instance is live\n"),
            }
        })
    }
}

impl State {
    fn made(&self, id: String, reference: String, sha: String, trigger: Trigger, later: Duration) -> Deploy {
        // All times differ: clients sort by them.
        let last = self.deploys.iter().map(|deploy| deploy.created_at).max();
        let created_at = match last {
            Some(last) if later.is_zero() && last >= now() && last < now() + Duration::from_millis(500) => {
                last + Duration::from_micros(1)
            }
            _ => now() + later,
        };
        Deploy {
            id,
            reference,
            sha,
            status: Status::Queued,
            trigger,
            created_at,
            started_at: None,
            updated_at: created_at,
            finished_at: None,
            variables: None,
        }
    }

    fn show(&mut self, id: &str, status: Status, reason: &Value) {
        match status {
            Status::Live => {
                let live = |deploy: &&mut Deploy| deploy.status == Status::Live && deploy.id != id;
                self.deploys.iter_mut().filter(live).for_each(|deploy| deploy.status = Status::Deactivated);
                self.set_status(id, status);
            }
            Status::UpdateFailed | Status::Canceled => self.end(id, status, reason),
            _ => self.set_status(id, status),
        }
    }
}

/// What a reference resolves to without a pull: its digest, else its tag.
pub(super) fn resolved(reference: &Reference) -> String {
    reference.version().to_owned()
}

fn line_of(text: &str) -> LogLine {
    LogLine {
        id: random_hex::<8>(),
        timestamp: now(),
        instance: "srv-scripted".to_owned(),
        message: text.to_owned(),
    }
}

/// The next item; the last one repeats.
fn next<T: Clone>(queue: &mut VecDeque<T>) -> Option<T> {
    if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() }
}
