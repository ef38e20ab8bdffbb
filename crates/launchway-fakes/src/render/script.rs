//! A service that runs nothing: a script moves its deploys from status to status and determines the front's responses.
//! For tests of clients, which need every order of events and no processes.
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
use super::state::{Deploy, Status};
use super::{FakeRender, Fault, Limits, Options};

/// How the deploys of a scripted service go.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The images that can be deployed, by digest.
    pub images: BTreeMap<String, ScriptedImage>,
    /// The front's responses to requests for the version, one by one; the last one repeats. Without any, and from the
    /// second deploy on, it is the commit of the live image.
    pub versions: VecDeque<String>,
    /// Whether Render refuses to cancel a deploy, and the deploy's next poll after that.
    pub refused_cancel: Option<Look>,
    /// The events of the service once the first deploy is requested: kind and details.
    pub events: Vec<(&'static str, Value)>,
    /// What the service prints once the first deploy is requested.
    pub log: Vec<String>,
    /// How many responses Render counts, by status; without it, that call gets a 404.
    pub counted: Option<Vec<(u16, u64)>>,
    /// Deploys that join the list when one is requested.
    pub joins: Option<Somebodys>,
}

/// An image whose deploys are scripted.
#[derive(Clone, Debug, Default)]
pub struct ScriptedImage {
    /// The commit in the service's version response.
    pub commit: String,
    /// The digest that Render shows for it, if any.
    pub sha: Option<String>,
    /// The results of polling its deploys, one by one; the last one repeats.
    pub looks: VecDeque<Look>,
    /// Why its deploys ended, in the details of `deploy_ended`.
    pub reason: Value,
}

/// The result of polling a deploy.
#[derive(Clone, Copy, Debug)]
pub enum Look {
    /// This status, which the deploy keeps from then on.
    Status(&'static str),
    /// This response instead: a status code and a body.
    Response(u16, &'static str),
}

/// A deploy that somebody else requested.
#[derive(Clone, Debug)]
pub struct Somebodys {
    /// `dep-…`.
    pub id: &'static str,
    /// Its status, which polling does not change.
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
    /// An image of this commit that goes live at the third poll.
    pub fn new(commit: &str, digest: &str) -> Self {
        Self {
            commit: commit.to_owned(),
            sha: Some(digest.to_owned()),
            looks: ["queued", "update_in_progress", "live"].map(Look::Status).into(),
            reason: json!({}),
        }
    }

    /// Sets the results of polling its deploys.
    pub fn looks(&mut self, looks: impl IntoIterator<Item = impl Into<Look>>) {
        self.looks = looks.into_iter().map(Into::into).collect();
    }
}

/// Changes the service on behalf of somebody other than the client under test.
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

    /// Ends one deploy of the list with this status.
    pub fn set_status(&self, id: &str, status: &'static str) {
        self.0.state.change(|state| state.set_status(id, Status::named(status)));
    }

    /// Empties the list of deploys.
    pub fn forget_deploys(&self) {
        self.0.state.change(|state| state.deploys.clear());
    }

    /// Injects a fault.
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

    /// The requested references with their deploys' ids, oldest first.
    pub fn deploys(&self) -> Vec<(String, String)> {
        let both = |deploy: &Deploy| (deploy.id.clone(), deploy.reference.clone());
        self.0.state.read(|state| state.deploys.iter().map(both).collect())
    }

    /// The id of the live deploy.
    pub fn live_id(&self) -> Option<String> {
        let live = |deploy: &&Deploy| deploy.status == Status::Live;
        self.0.state.read(|state| state.deploys.iter().find(live).map(|deploy| deploy.id.clone()))
    }

    /// The image in the service's settings.
    pub fn image(&self) -> String {
        self.0.state.read(|state| state.image.clone())
    }
}

/// A scripted Render with its own runtime, for blocking tests.
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

    /// The number of requests with this method and a path that ends like this.
    pub fn count(&self, method: &str, end: &str) -> usize {
        self.requests(method, end).len()
    }

    /// The paths of the requests with this method that end like this, in order.
    pub fn requests(&self, method: &str, end: &str) -> Vec<String> {
        let all = self.transcript().into_iter();
        let fits = all.filter(|exchange| exchange.method == method && exchange.path.ends_with(end));
        fits.map(|exchange| exchange.path).collect()
    }

    /// The number of requests that were not reads.
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

/// A scripted response.
pub(super) fn response(status: u16, body: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // Tests are impatient.
    (status, [("retry-after", "0")], body.to_owned()).into_response()
}
