//! Runs the deploys: one at a time, from the pull to the switch of the traffic; then two generations side by side.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HOST;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::due::Faults;
use super::failure::{Failure, image_failure};
use super::fault::{Deed, ImageFault};
use super::front::Front;
use super::image::{Puller, Reference, Unpacked};
use super::instance::{Instance, Processes};
use super::state::{
    Deploy, Live, Logs, PROBE_PAUSE, PROBE_TIMEOUT, RETIRE_AFTER, Running, State, Status, Trigger, Variables,
    now,
};
use super::{Options, Overlap, rights, scripted};
use crate::server::{Shared, loopback_client, random_hex};

/// The service: its state, and what is needed to run it.
pub(crate) struct Engine {
    pub(crate) options: Options,
    pub(crate) state: Shared<State>,
    pub(crate) logs: Arc<Shared<Logs>>,
    pub(crate) processes: Arc<Processes>,
    /// The address that users see.
    pub(crate) front_address: SocketAddr,
    pub(crate) front: Arc<Front>,
    pub(crate) faults: Arc<Faults>,
    folder: PathBuf,
    prober: reqwest::Client,
}

/// Why a deploy cannot be cancelled.
pub(crate) enum NotCancelled {
    Unknown,
    Over,
}

impl Engine {
    pub(crate) fn new(
        options: Options,
        folder: &Path,
        front_address: SocketAddr,
        front: Arc<Front>,
        faults: Arc<Faults>,
    ) -> anyhow::Result<Self> {
        fs_err::create_dir_all(folder)?;
        Ok(Self {
            state: Shared::new(State::new(
                options.image.clone(),
                options.variables.clone(),
                options.script.clone(),
            )),
            logs: Arc::new(Shared::new(Logs::new())),
            processes: Arc::new(Processes::new(options.hooks)),
            front_address,
            front,
            faults,
            folder: fs_err::canonicalize(folder)?,
            prober: loopback_client()?,
            options,
        })
    }

    /// The digest that an image resolves to now; fails if Render could not pull it.
    pub(crate) async fn resolve(&self, reference: &Reference) -> anyhow::Result<String> {
        if self.is_scripted() {
            return Ok(scripted::resolved(reference));
        }
        Puller::new(reference.clone(), self.options.pull.clone())?.resolve().await
    }

    /// Queues a deploy for the worker. The second value says whether it has to wait for another.
    pub(crate) fn request(&self, reference: String, sha: String, trigger: Trigger) -> (Deploy, bool) {
        self.request_under(self.options.overlap, reference, sha, trigger)
    }

    fn request_under(
        &self,
        overlap: Overlap,
        reference: String,
        sha: String,
        trigger: Trigger,
    ) -> (Deploy, bool) {
        if self.is_scripted() {
            return (self.scripted(reference, sha, trigger), false);
        }
        let now = now();
        let id = format!("dep-{}", random_hex::<10>());
        self.state.change(|state| {
            let variables = match &trigger {
                Trigger::Api | Trigger::Manual => None,
                // Render docs, "Rollbacks": the variables are those of the deploy that it rolls back to.
                Trigger::Rollback { target } => {
                    state.deploy(target).and_then(|target| target.variables.clone())
                }
            };
            let busy = state.running.is_some() || state.waiting.is_some();
            let deploy = Deploy {
                id: id.clone(),
                reference,
                sha,
                status: Status::Queued,
                trigger,
                created_at: now,
                started_at: None,
                updated_at: now,
                finished_at: None,
                variables,
            };
            state.deploys.push(deploy.clone());
            let superseded = json!({ "newDeploy": { "id": id } });
            if let Some(skipped) = state.waiting.replace(id.clone()) {
                state.end(&skipped, Status::Canceled, &superseded);
            }
            if overlap == Overlap::Override
                && let Some(running) = state.running.take()
            {
                running.cancel.send(()).ok();
                state.end(&running.deploy, Status::Canceled, &superseded);
            }
            (deploy, busy)
        })
    }

    /// Somebody else's action while a client is at work.
    pub(crate) async fn somebody(&self, deed: Deed) {
        match deed {
            Deed::Set { key, value } => self.state.change(|state| state.set_variable(&key, value)),
            Deed::RequestDeploy { image, cancelling } => {
                let Ok(reference) = Reference::parse(&image) else { return };
                // An image that cannot be pulled is never deployed.
                let Ok(sha) = self.resolve(&reference).await else { return };
                let overlap = if cancelling { Overlap::Override } else { self.options.overlap };
                self.request_under(overlap, image, sha, Trigger::Api);
            }
        }
    }

    /// Replaces the live instance with a new one of the same image and variables; `false` if none is live.
    pub(crate) fn restart(self: Arc<Self>) -> bool {
        let live = |state: &State| state.live.as_ref().and_then(|live| state.deploy(&live.deploy).cloned());
        let Some(deploy) = self.state.read(live) else { return false };
        tokio::spawn(async move {
            let variables = deploy.variables.clone().unwrap_or_default();
            // If it fails, the old one continues.
            if let Ok(instance) = self.attempt(&deploy, variables).await {
                self.take_over(&deploy, instance, |state| {
                    state.live.as_ref().is_some_and(|live| live.deploy == deploy.id)
                });
            }
        });
        true
    }

    /// Cancels a waiting or running deploy.
    pub(crate) fn cancel(&self, id: &str) -> Result<Deploy, NotCancelled> {
        if self.is_scripted() {
            return self.cancel_scripted(id).ok_or(NotCancelled::Over);
        }
        self.state.change(|state| {
            state.deploy(id).ok_or(NotCancelled::Unknown)?;
            if state.waiting.as_deref() == Some(id) {
                state.waiting = None;
            } else {
                let running =
                    state.running.take_if(|running| running.deploy == id).ok_or(NotCancelled::Over)?;
                running.cancel.send(()).ok();
            }
            state.end(id, Status::Canceled, &json!({}));
            state.deploy(id).cloned().ok_or(NotCancelled::Unknown)
        })
    }

    /// Runs the deploys one after the other, for ever.
    pub(crate) async fn work(self: Arc<Self>) {
        loop {
            self.state.wait_for(Duration::MAX, |state| state.waiting.as_ref().map(|_| ())).await;
            if let Some((deploy, variables, cancelled)) = self.claim() {
                // Dropping the attempt kills any instance that it has started.
                let outcome = tokio::select! {
                    biased;
                    _ = cancelled => continue,
                    outcome = self.attempt(&deploy, variables) => outcome,
                };
                match outcome {
                    Ok(instance) => self.promote(&deploy, instance),
                    Err((instance, failure)) => self.fail(&deploy, &instance, &failure),
                }
            }
        }
    }

    /// Takes the waiting deploy, if there still is one.
    fn claim(&self) -> Option<(Deploy, Variables, oneshot::Receiver<()>)> {
        self.state.change(|state| {
            let id = state.waiting.take()?;
            let (cancel, cancelled) = oneshot::channel();
            state.running = Some(Running { deploy: id.clone(), cancel });
            state.set_status(&id, Status::UpdateInProgress);
            let current = state.variables.clone();
            let deploy = state.deploys.iter_mut().find(|deploy| deploy.id == id)?;
            let variables = deploy.variables.get_or_insert(current).clone();
            let deploy = deploy.clone();
            let mut trigger = json!({ "clearCache": false, "deployedByRender": false, "envUpdated": false });
            trigger["manual"] = json!(deploy.trigger == Trigger::Api);
            trigger["rollback"] = json!(deploy.trigger != Trigger::Api);
            if let Trigger::Rollback { target } = &deploy.trigger {
                trigger["rollbackTargetDeployId"] = json!(target);
            }
            state.record("deploy_started", json!({ "deployId": id, "trigger": trigger }));
            Some((deploy, variables, cancelled))
        })
    }

    /// From the pull to a healthy instance.
    async fn attempt(&self, deploy: &Deploy, variables: Variables) -> Result<Instance, (String, Failure)> {
        let id = format!("{}-{}", self.options.service_id, &random_hex::<3>()[..5]);
        match self.bring_up(&id, deploy, variables).await {
            Ok(instance) => Ok(instance),
            Err(failure) => Err((id, failure)),
        }
    }

    async fn bring_up(&self, id: &str, deploy: &Deploy, variables: Variables) -> Result<Instance, Failure> {
        let image_fault = self.faults.image_fault(&deploy.sha);
        if image_fault == Some(ImageFault::NotPulled) {
            return Err(Failure::Pull("the registry does not give the image away".to_owned()));
        }
        let unpacked = self.pull(id, deploy).await.map_err(|error| Failure::Pull(format!("{error:#}")))?;
        let start = async {
            let launch = self.launch(unpacked, variables, id).await?;
            Instance::start(id.to_owned(), launch, &self.processes, &self.logs).await
        };
        let instance = start.await.map_err(|error| Failure::Start(format!("{error:#}")))?;
        let deadline = self.options.health_deadline;
        tokio::select! {
            biased;
            status = instance.exited() => Err(Failure::Exit(status)),
            failure = image_failure(image_fault) => Err(failure),
            healthy = tokio::time::timeout(deadline, self.until_healthy(instance.address, image_fault)) => {
                healthy.map(|()| instance).map_err(|_| Failure::Unhealthy { after: deadline })
            }
        }
    }

    /// Every instance has its own copy of the image, as on its own machine.
    async fn pull(&self, id: &str, deploy: &Deploy) -> anyhow::Result<Unpacked> {
        let mut puller = Puller::new(Reference::parse(&deploy.reference)?, self.options.pull.clone())?;
        puller.pull(&deploy.sha, &self.folder.join(id)).await
    }

    /// Makes what is left of the images removable: a user without rights on a folder could be the one who runs this.
    pub(crate) fn open_folder(&self) {
        if self.options.hooks.container.is_some() {
            rights::open(&self.folder);
        }
    }

    async fn until_healthy(&self, address: SocketAddr, image_fault: Option<ImageFault>) {
        while image_fault.is_some_and(ImageFault::is_fatal) || !self.is_healthy(address).await {
            tokio::time::sleep(PROBE_PAUSE).await;
        }
    }

    /// 2xx or 3xx within five seconds, with the public name as `Host` (Render docs, "Health checks").
    async fn is_healthy(&self, address: SocketAddr) -> bool {
        let path = &self.options.health_path;
        if path.is_empty() {
            return TcpStream::connect(address).await.is_ok();
        }
        let request = self.prober.get(format!("http://{address}{path}")).timeout(PROBE_TIMEOUT);
        let answer = request.header(HOST, self.front_address.ip().to_string()).send().await;
        answer.is_ok_and(|answer| answer.status().is_success() || answer.status().is_redirection())
    }

    /// Switches the traffic to a healthy instance, unless its deploy was cancelled at the last moment.
    fn promote(&self, deploy: &Deploy, instance: Instance) {
        self.take_over(deploy, instance, |state| {
            if state.running.take_if(|running| running.deploy == deploy.id).is_none() {
                return false;
            }
            if self.options.image_sticks {
                state.image.clone_from(&deploy.reference);
            }
            if let Some(previous) = state.live.as_ref().map(|live| live.deploy.clone()) {
                state.set_status(&previous, Status::Deactivated);
            }
            state.end(&deploy.id, Status::Live, &json!({}));
            true
        });
    }

    /// Switches the traffic if `still` allows it. The previous generation stays for a while, for the requests that it
    /// is responding to; then it gets SIGTERM, and finally SIGKILL.
    fn take_over(&self, deploy: &Deploy, instance: Instance, still: impl FnOnce(&mut State) -> bool) {
        let instance = Arc::new(instance);
        let previous = self.state.change(|state| {
            if !still(state) {
                return None;
            }
            let under_way = self.front.switch(instance.address, &deploy.sha);
            state.live.replace(Live { deploy: deploy.id.clone(), instance }).zip(under_way)
        });
        if let Some((previous, under_way)) = previous {
            let (after, grace) = (self.options.retire_after, self.options.max_shutdown_delay);
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                // Independent of `retire_after`: on Render a request has a minute to get its response.
                under_way.answered(RETIRE_AFTER).await;
                previous.instance.stop(grace).await;
            });
        }
    }

    fn fail(&self, deploy: &Deploy, instance: &str, failure: &Failure) {
        self.state.change(|state| {
            if state.running.take_if(|running| running.deploy == deploy.id).is_none() {
                return;
            }
            let reason = failure.reason();
            match failure {
                Failure::Pull(message) => {
                    state.record(
                        "image_pull_failed",
                        json!({ "imageURL": deploy.reference, "message": message }),
                    );
                }
                Failure::Start(_) | Failure::Exit(_) | Failure::OutOfMemory | Failure::Unhealthy { .. } => {
                    state.record("server_failed", json!({ "instanceID": instance, "reason": reason }));
                }
            }
            state.end(&deploy.id, Status::UpdateFailed, &json!({ "failure": reason }));
        });
    }
}
