//! A Render on loopback with one image-backed web service, which runs the images that it deploys.
//!
//! The endpoints, the error texts and the numbers are those of Render's API reference and documentation and of recorded
//! traffic. A deploy pulls the image by digest, unpacks it, starts its entry point with the service's variables, waits
//! for the health path, then switches the front address over.

mod api;
mod deploys;
mod due;
mod engine;
mod failure;
mod fault;
mod front;
mod image;
mod instance;
mod launch;
mod limits;
mod observed;
mod random;
mod refusal;
mod rights;
mod script;
mod scripted;
mod state;
mod unpack;
mod variables;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio::task::JoinHandle;

use self::api::Api;
use self::due::Faults;
use self::engine::Engine;
use self::front::Front;
use self::image::Reference;
use self::state::{Deploy, State, Status, Trigger};
use crate::server::{Exchange, Server, loopback_client};

pub use self::fault::{Call, Fault, ImageFault};
pub use self::front::Traffic;
pub use self::limits::Limits;
pub use self::random::Random;
pub use self::script::{Look, Script, ScriptedImage, ScriptedRender, Service, Somebodys};

/// The setup of the fake's one service. [`Options::new`] has the defaults of a new service on Render.
#[derive(Clone)]
pub struct Options {
    /// `srv-…`.
    pub service_id: String,
    /// The only API key that is accepted.
    pub api_key: String,
    /// `<host>/<repository>[:<tag>|@<digest>]`; a deploy may change the tag or digest only.
    pub image: String,
    /// The service's initial variables.
    pub variables: Vec<(String, String)>,
    /// The port that the service always listens on, if it does not read `PORT`.
    pub fixed_port: Option<u16>,
    /// A variable, besides `PORT`, that tells the service its port; `$PORT` in the value stands for the port.
    pub port_variable: Option<(String, String)>,
    /// The service's setting "Docker Command": it replaces the image's `CMD`, or the program's arguments if the image
    /// has no entry point. `$PORT` stands for the port.
    pub arguments: Option<Vec<String>>,
    /// The credential for pulls; `None` for a public image.
    pub pull: Option<PullCredential>,
    /// `healthCheckPath`; empty means that an open port is enough (Render docs, "Health checks").
    pub health_path: String,
    /// The service's version path, whose response a fault can replace.
    pub version_path: String,
    /// How long a new instance may be unhealthy: 15 minutes (Render docs, "Health checks").
    pub health_deadline: Duration,
    /// How long the previous instance stays after the switch: 60 seconds (Render docs, "Deploys").
    pub retire_after: Duration,
    /// `maxShutdownDelaySeconds`: from SIGTERM to SIGKILL.
    pub max_shutdown_delay: Duration,
    /// The allowed rates of requests.
    pub limits: Limits,
    /// The workspace's policy for a deploy that is requested while another runs.
    pub overlap: Overlap,
    /// Whether a deploy's `imageUrl` becomes the service's image: Render's documentation contradicts itself.
    pub image_sticks: bool,
    /// The service's name.
    pub name: String,
    /// How deploys go if nothing is to run.
    pub script: Option<Script>,
    /// Called with the process groups that start and end.
    pub hooks: GroupHooks,
}

/// Involves the program that runs the fake in the instances' processes: it may have to kill them, or be unable to.
#[derive(Clone, Copy)]
pub struct GroupHooks {
    /// The command that starts a program, without arguments.
    pub command: fn(&Path) -> Command,
    /// How a program starts as in a container; without it, it sees this machine's files and has the rights of our user.
    pub container: Option<Container>,
    /// A group has started; its leader has this process id.
    pub started: fn(u32),
    /// The leader has been waited for: its id may belong to another process from now on.
    pub ended: fn(u32),
}

/// Starts programs as in a container, with the image's files alone.
#[derive(Clone, Copy)]
pub struct Container {
    /// Adds to a root folder what the program finds there besides the image's files.
    pub prepare: fn(&Path) -> std::io::Result<()>,
    /// The command that starts a program there, without arguments.
    pub command: fn(&Contained) -> anyhow::Result<Command>,
}

/// A program in a container.
pub struct Contained {
    /// The folder that it sees as `/`; what its owner may do there is what the image's user may do.
    pub root: PathBuf,
    /// The program, by its path from there.
    pub program: String,
    /// The working folder, from there.
    pub folder: String,
    /// The number of the image's user.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

impl Default for GroupHooks {
    fn default() -> Self {
        Self { command: plain_command, container: None, started: |_| {}, ended: |_| {} }
    }
}

#[expect(clippy::disallowed_methods, reason = "its environment is cleared")]
fn plain_command(program: &Path) -> Command {
    Command::new(program)
}

/// What the registry requires for a pull.
#[derive(Clone)]
pub struct PullCredential {
    /// The user name.
    pub username: String,
    /// The password or token.
    pub password: String,
}

/// Render docs, "Deploys", §"Overlapping deploys".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// Finish the running deploy, then start the latest waiting one; those in between are skipped.
    Wait,
    /// Cancel the running deploy.
    Override,
}

impl Options {
    /// A service with Render's defaults.
    pub fn new(service_id: &str, api_key: &str, image: &str) -> Self {
        Self {
            service_id: service_id.to_owned(),
            api_key: api_key.to_owned(),
            image: image.to_owned(),
            variables: Vec::new(),
            pull: None,
            health_path: "/healthz".to_owned(),
            version_path: "/version".to_owned(),
            health_deadline: Duration::from_secs(900),
            retire_after: Duration::from_secs(60),
            max_shutdown_delay: Duration::from_secs(30),
            limits: Limits::default(),
            overlap: Overlap::Wait,
            image_sticks: false,
            fixed_port: None,
            port_variable: None,
            arguments: None,
            name: "fake".to_owned(),
            script: None,
            hooks: GroupHooks::default(),
        }
    }
}

/// A running Render. [`FakeRender::stop`] ends its instances gracefully; dropping it kills them.
pub struct FakeRender {
    api: Server,
    front: Server,
    engine: Arc<Engine>,
    worker: JoinHandle<()>,
}

impl FakeRender {
    /// Starts a service that has never been deployed. Unpacks its images under `work`.
    pub async fn start(options: Options, work: &Path) -> anyhow::Result<Self> {
        let client = loopback_client()?;
        let faults = Arc::new(Faults::new());
        let proxy = Front::new(client, Arc::clone(&faults), options.version_path.clone());
        let (front, proxy) = Server::start(|_| proxy).await?;
        let engine = Arc::new(Engine::new(options, work, front.address(), Arc::clone(&proxy), faults)?);
        if engine.is_scripted() {
            proxy.follow_script(&engine);
        }
        let (api, _) = Server::start(|_| Api::new(Arc::clone(&engine))).await?;
        let worker = tokio::spawn(Arc::clone(&engine).work());
        Ok(Self { api, front, engine, worker })
    }

    /// The address of the API.
    pub fn address(&self) -> SocketAddr {
        self.api.address()
    }

    /// The value for `RENDER_API_URL`.
    pub fn api_url(&self) -> String {
        format!("http://{}/v1", self.address())
    }

    /// The service's own address, which stays the same from deploy to deploy.
    pub fn url(&self) -> String {
        format!("http://{}", self.front.address())
    }

    /// Every exchange with the API so far.
    pub fn transcript(&self) -> Vec<Exchange> {
        self.api.transcript()
    }

    /// Counts of the front's responses so far.
    pub fn traffic(&self) -> Traffic {
        self.engine.front.traffic()
    }

    /// Injects a fault.
    pub fn fault(&self, fault: Fault) {
        self.engine.faults.add(fault);
    }

    /// Gives access to the service, for changes behind the client's back.
    pub fn service(&self) -> Service {
        Service(Arc::clone(&self.engine))
    }

    /// Acts before a call of this kind, after `before` others.
    pub fn on(&self, call: Call, before: usize, act: impl FnOnce(&Service) + Send + 'static) {
        self.engine.faults.hook(call, before, Box::new(act));
    }

    /// Holds the next call of this kind: it gets no response before [`FakeRender::go_on`].
    pub fn stop_at(&self, call: Call) {
        self.engine.faults.stop_at(call);
    }

    /// Whether that call came in time.
    pub async fn stopped(&self, timeout: Duration) -> bool {
        self.engine.faults.stopped(timeout).await
    }

    /// Releases the held call.
    pub fn go_on(&self) {
        self.engine.faults.go_on();
    }

    /// Deploys an image as if somebody had requested it, and waits until it is live.
    pub async fn begin_with(&self, image: &str, timeout: Duration) -> anyhow::Result<()> {
        let sha = self.engine.resolve(&Reference::parse(image)?).await?;
        let (deploy, _) = self.engine.request(image.to_owned(), sha, Trigger::Api);
        let over = |state: &State| {
            let status = state.deploy(&deploy.id)?.status;
            (!matches!(status, Status::Queued | Status::UpdateInProgress)).then_some(status)
        };
        match self.engine.state.wait_for(timeout, over).await {
            Some(Status::Live) => Ok(()),
            other => bail!("the first release did not go live: {other:?}; it said {:?}", self.log()),
        }
    }

    /// The digest of the image that gets the traffic.
    pub fn live(&self) -> Option<String> {
        let live = |deploy: &&Deploy| deploy.status == Status::Live;
        self.engine.state.read(|state| state.deploys.iter().find(live).map(|deploy| deploy.sha.clone()))
    }

    /// How many deploys of this digest there have been, ours and others.
    pub fn deploys_of(&self, digest: &str) -> usize {
        self.engine.state.read(|state| state.deploys.iter().filter(|deploy| deploy.sha == digest).count())
    }

    /// Whether a deploy is waiting or running.
    pub fn is_busy(&self) -> bool {
        self.engine.state.read(|state| state.running.is_some() || state.waiting.is_some())
    }

    /// The service's current variables by name.
    pub fn variables(&self) -> BTreeMap<String, String> {
        self.engine.state.read(|state| state.variables.iter().cloned().collect())
    }

    /// The latest lines of the instances, oldest first.
    pub fn log(&self) -> Vec<String> {
        self.engine.logs.read(|lines| lines.iter().map(|line| line.message.clone()).collect())
    }

    /// The running processes, each the leader of its group.
    pub fn instance_pids(&self) -> Vec<u32> {
        self.engine.processes.pids()
    }

    /// Ends every instance: SIGTERM, then SIGKILL for those that are left after five seconds.
    pub async fn stop(mut self) {
        self.worker.abort();
        // An abort takes effect at the task's next await; until then it could start one more process.
        drop((&mut self.worker).await);
        self.engine.processes.stop_all(Duration::from_secs(5)).await;
    }
}

impl Drop for FakeRender {
    fn drop(&mut self) {
        self.worker.abort();
        self.engine.processes.kill_all();
        self.engine.open_folder();
    }
}

#[cfg(test)]
mod tests;
