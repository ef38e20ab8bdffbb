//! A service that runs nothing: its deploys move from status to status as a script says, and so does what its front
//! responds. It is for tests of clients, which need every order of events and no processes.
//!
//! Everything else is the same Render: key, lists and pages, variables, faults.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::engine::Engine;
use super::image::Reference;
use super::state::{Deploy, State, Status, Trigger, now};
use super::{Call, FakeRender, Fault, Limits, Options};

/// How the deploys of a service go that runs nothing.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The images that can be deployed, by digest.
    pub images: BTreeMap<String, ScriptedImage>,
    /// What the front responds to requests for the version, one by one; the last one stays. Where it is empty, and from
    /// the second deploy on, the commit of the live image.
    pub versions: VecDeque<String>,
    /// Whether Render refuses to cancel a deploy, and what the next look at that deploy shows.
    pub refused_cancel: Option<Look>,
    /// What happens to the service once the first deploy is requested: kind and details.
    pub events: Vec<(&'static str, Value)>,
    /// What the app prints once the first deploy is requested.
    pub log: Vec<String>,
    /// How many responses Render counts, by status; without it that call is answered 404.
    pub counted: Option<Vec<(u16, u64)>>,
    /// Joins the list of deploys when one is requested.
    pub joins: Option<Somebodys>,
}

/// An image whose deploys are scripted.
#[derive(Clone, Debug, Default)]
pub struct ScriptedImage {
    /// What the app responds as its version.
    pub commit: String,
    /// The digest that Render shows for it, if any.
    pub sha: Option<String>,
    /// What looks at its deploys show, one by one; the last one stays.
    pub looks: VecDeque<Look>,
    /// Why its deploys ended, in the details of `deploy_ended`.
    pub reason: Value,
}

/// What a look at a deploy shows.
#[derive(Clone, Copy, Debug)]
pub enum Look {
    /// This status, which the deploy has from then on.
    Status(&'static str),
    /// This response instead: a status code and a body.
    Response(u16, &'static str),
}

/// A deploy that somebody else requested.
#[derive(Clone, Debug)]
pub struct Somebodys {
    /// `dep-…`.
    pub id: &'static str,
    /// Its status, which no look changes.
    pub status: &'static str,
    /// Whether it was requested on the dashboard rather than through the API.
    pub manual: bool,
    /// The digest of its image.
    pub digest: String,
}

impl From<&'static str> for Look {
    fn from(status: &'static str) -> Self {
        Self::Status(status)
    }
}

impl From<(u16, &'static str)> for Look {
    fn from((status, body): (u16, &'static str)) -> Self {
        Self::Response(status, body)
    }
}

impl ScriptedImage {
    /// An image of this commit that goes live at the third look.
    pub fn new(commit: &str, digest: &str) -> Self {
        Self {
            commit: commit.to_owned(),
            sha: Some(digest.to_owned()),
            looks: ["queued", "update_in_progress", "live"].map(Look::Status).into(),
            reason: json!({}),
        }
    }

    /// Sets what looks at its deploys show.
    pub fn looks(&mut self, looks: impl IntoIterator<Item = impl Into<Look>>) {
        self.looks = looks.into_iter().map(Into::into).collect();
    }
}

/// The service as somebody changes it who is not the client under test.
#[derive(Clone)]
pub struct Service(pub(super) Arc<Engine>);

impl Service {
    /// Replaces all variables.
    pub fn set_variables(&self, variables: Vec<(String, String)>) {
        self.0.state.change(|state| state.variables = variables);
    }

    /// Sets one variable.
    pub fn set_variable(&self, name: &str, value: &str) {
        self.0.state.change(|state| state.set_variable(name, value.to_owned()));
    }

    /// Suspends the service.
    pub fn suspend(&self) {
        self.0.state.change(|state| state.suspended = true);
    }

    /// Adds a deploy to the list, as the newest one.
    pub fn add_deploy(&self, deploy: &Somebodys) {
        self.0.add(deploy, Duration::ZERO);
    }

    /// Ends one deploy of the list in this status.
    pub fn set_status(&self, id: &str, status: &'static str) {
        self.0.state.change(|state| state.set_status(id, Status::named(status)));
    }

    /// Empties the list of deploys.
    pub fn forget_deploys(&self) {
        self.0.state.change(|state| state.deploys.clear());
    }

    /// Makes something go wrong.
    pub fn fault(&self, fault: Fault) {
        self.0.faults.add(fault);
    }

    /// Records an event.
    pub fn record(&self, kind: &'static str, details: Value) {
        self.0.state.change(|state| state.record(kind, details));
    }

    /// Changes the script.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        self.0.state.change(|state| state.script.as_mut().map(change));
    }

    /// The requested references and their deploys' ids, oldest first.
    pub fn deploys(&self) -> Vec<(String, String)> {
        let both = |deploy: &Deploy| (deploy.id.clone(), deploy.reference.clone());
        self.0.state.read(|state| state.deploys.iter().map(both).collect())
    }

    /// The id of the live deploy.
    pub fn live_id(&self) -> Option<String> {
        let live = |deploy: &&Deploy| deploy.status == Status::Live;
        self.0.state.read(|state| state.deploys.iter().find(live).map(|deploy| deploy.id.clone()))
    }

    /// The image that the service's settings name.
    pub fn image(&self) -> String {
        self.0.state.read(|state| state.image.clone())
    }
}

/// A scripted Render with a runtime of its own, for tests that block.
pub struct ScriptedRender {
    render: FakeRender,
    _runtime: Runtime,
}

impl ScriptedRender {
    /// Starts it with nothing live.
    pub fn start(mut options: Options, script: Script, work: &Path) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        options.limits = Limits { reads: u32::MAX, deploys: u32::MAX, writes: u32::MAX, ..options.limits };
        options.script = Some(script);
        let render = runtime.block_on(FakeRender::start(options, work))?;
        Ok(Self { render, _runtime: runtime })
    }

    /// How many requests of this method there were to paths that end like this.
    pub fn count(&self, method: &str, end: &str) -> usize {
        self.requests(method, end).len()
    }

    /// The paths of this method that end like this, in order.
    pub fn requests(&self, method: &str, end: &str) -> Vec<String> {
        let all = self.transcript().into_iter();
        let fits = all.filter(|exchange| exchange.method == method && exchange.path.ends_with(end));
        fits.map(|exchange| exchange.path).collect()
    }

    /// How many requests were no readings.
    pub fn writes(&self) -> usize {
        self.transcript().iter().filter(|exchange| exchange.method != "GET").count()
    }
}

impl Deref for ScriptedRender {
    type Target = FakeRender;

    fn deref(&self) -> &FakeRender {
        &self.render
    }
}

/// A deploy as Render shows it, which of a script may be another digest or none.
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

    /// Somebody else's deploy appears, whatever comes of the request.
    pub(super) fn before(&self, call: Option<Call>) {
        if call == Some(Call::Ask) {
            let joins = self.state.change(|state| state.script.as_mut()?.joins.take());
            if let Some(deploy) = joins {
                // Later than the one that is being requested.
                self.add(&deploy, Duration::from_secs(1));
            }
        }
    }

    fn add(&self, deploy: &Somebodys, later: Duration) {
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

    /// Takes a request for a deploy; Render starts the most recent one.
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

    /// Moves a requested deploy on to what the next look shows, or gives the response of its own.
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

    /// What a request at the front gets: the health path 200, the version path the commit of what is live.
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
        // No two at the same time: clients sort by it.
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

/// What a reference stands for where nothing is pulled: its digest, or else its tag.
pub(super) fn resolved(reference: &Reference) -> String {
    reference.version().to_owned()
}

fn line_of(text: &str) -> super::state::LogLine {
    super::state::LogLine {
        id: crate::server::random_hex::<8>(),
        timestamp: now(),
        instance: "srv-scripted".to_owned(),
        message: text.to_owned(),
    }
}

/// The next one; the last one stays.
fn next<T: Clone>(queue: &mut VecDeque<T>) -> Option<T> {
    if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() }
}

pub(super) fn response(status: u16, body: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // Patience is what tests have none of.
    (status, [("retry-after", "0")], body.to_owned()).into_response()
}
