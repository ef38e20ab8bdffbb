//! A Render on loopback with one image-backed web service, which really runs what it is told to deploy.
//!
//! The end points, the error texts and the numbers are those of Render's API reference and documentation and of
//! recorded traffic. What a deploy does: pull the image by digest, unpack it, start its entry point with the
//! service's variables, wait for the health path, then switch the front address over.

mod api;
mod deploys;
mod engine;
mod front;
mod image;
mod instance;
mod limits;
mod refusal;
mod state;
mod unpack;
mod variables;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use self::api::Api;
use self::engine::Engine;
use self::front::Front;
use super::standin::{Exchange, Server, loopback_client};

pub(crate) use self::limits::Limits;

/// How the stand-in's one service is set up. [`Options::new`] gives what a new service on Render has.
#[derive(Clone)]
pub(crate) struct Options {
    /// `srv-…`.
    pub(crate) service_id: String,
    /// The one API key that is let in.
    pub(crate) api_key: String,
    /// `<host>/<repository>[:<tag>|@<digest>]`; a deploy may change the tag or digest only.
    pub(crate) image: String,
    /// The service's variables to begin with.
    pub(crate) variables: Vec<(String, String)>,
    /// With what to pull; nothing for a public image.
    pub(crate) pull: Option<PullCredential>,
    /// `healthCheckPath`; empty means that an open port is enough (Render docs, "Health checks").
    pub(crate) health_path: String,
    /// How long a new instance may be unhealthy: 15 minutes (Render docs, "Health checks").
    pub(crate) health_deadline: Duration,
    /// How long the previous instance stays after the switch: 60 seconds (Render docs, "Deploys").
    pub(crate) retire_after: Duration,
    /// `maxShutdownDelaySeconds`: from SIGTERM to SIGKILL.
    pub(crate) max_shutdown_delay: Duration,
    /// The requests that are allowed.
    pub(crate) limits: Limits,
    /// The workspace's policy for a deploy that is asked for while another runs.
    pub(crate) overlap: Overlap,
    /// Answer each deploy request with an empty 202, as Render was recorded to do in a third of all cases.
    pub(crate) always_accepted: bool,
    /// Whether a deploy's `imageUrl` becomes the service's image: Render's documentation contradicts itself.
    pub(crate) image_sticks: bool,
}

/// What the registry asks of whoever pulls.
#[derive(Clone)]
pub(crate) struct PullCredential {
    /// The user name.
    pub(crate) username: String,
    /// The password or token.
    pub(crate) password: String,
}

/// Render docs, "Deploys", §"Overlapping deploys".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// Finish the running deploy, then start the latest that waits; those between are skipped.
    Wait,
    /// Cancel the running deploy.
    Override,
}

impl Options {
    /// A service with Render's defaults.
    pub(crate) fn new(service_id: &str, api_key: &str, image: &str) -> Self {
        Self {
            service_id: service_id.to_owned(),
            api_key: api_key.to_owned(),
            image: image.to_owned(),
            variables: Vec::new(),
            pull: None,
            health_path: "/healthz".to_owned(),
            health_deadline: Duration::from_mins(15),
            retire_after: Duration::from_mins(1),
            max_shutdown_delay: Duration::from_secs(30),
            limits: Limits::default(),
            overlap: Overlap::Wait,
            always_accepted: false,
            image_sticks: false,
        }
    }
}

/// A running Render. [`RenderStandIn::stop`] ends its instances politely, dropping it kills them.
pub(crate) struct RenderStandIn {
    api: Server,
    front: Server,
    engine: Arc<Engine>,
    worker: JoinHandle<()>,
}

impl RenderStandIn {
    /// Starts a service that has never been deployed and unpacks its images under `work`.
    pub(crate) async fn start(options: Options, work: &Path) -> anyhow::Result<Self> {
        let client = loopback_client()?;
        let (front, traffic) = Server::start(|_| Front::new(client)).await?;
        let engine = Arc::new(Engine::new(options, work, front.address(), traffic)?);
        let (api, _) = Server::start(|_| Api::new(Arc::clone(&engine))).await?;
        let worker = tokio::spawn(Arc::clone(&engine).work());
        Ok(Self { api, front, engine, worker })
    }

    /// Where the API listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.api.address()
    }

    /// What `RENDER_API_URL` is set to.
    pub(crate) fn api_url(&self) -> String {
        format!("http://{}/v1", self.address())
    }

    /// The service's own address, which stays the same from deploy to deploy.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.front.address())
    }

    /// Every exchange with the API so far.
    pub(crate) fn transcript(&self) -> Vec<Exchange> {
        self.api.transcript()
    }

    /// What the instances have printed last, oldest first.
    pub(crate) fn log(&self) -> Vec<String> {
        self.engine.logs.read(|lines| lines.iter().map(|line| line.message.clone()).collect())
    }

    /// The processes that run now, each the leader of its group.
    #[cfg(test)]
    pub(crate) fn instance_pids(&self) -> Vec<u32> {
        self.engine.processes.pids()
    }

    /// Ends every instance: SIGTERM, then SIGKILL for those that are still there after five seconds.
    pub(crate) async fn stop(mut self) {
        self.worker.abort();
        // Aborting takes effect at the task's next await; until then it could start one more process.
        drop((&mut self.worker).await);
        self.engine.processes.stop_all(Duration::from_secs(5)).await;
    }
}

impl Drop for RenderStandIn {
    fn drop(&mut self) {
        self.worker.abort();
        self.engine.processes.kill_all();
    }
}

#[cfg(test)]
mod tests;
