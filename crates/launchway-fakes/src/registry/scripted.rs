//! The registry for tests of blocking clients: with its own runtime and folder, and behind a script.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};

use super::{Auth, FakeRegistry, Fault, ReferrersResponse};
use crate::script::{Reply, Request, Rule, Script};
use crate::server::random_hex;

/// A registry behind a script that responds first; dropping it stops it.
pub struct Scripted {
    registry: FakeRegistry,
    script: Arc<Script>,
    folder: PathBuf,
    runtime: Option<Runtime>,
}

impl Scripted {
    /// The repository of the methods that do not take a name.
    pub const REPOSITORY: &str = "acme/app";

    /// A registry without a login and without a referrers API.
    pub fn plain() -> anyhow::Result<Self> {
        Self::new(|_, _| None)
    }

    /// The same, behind `rule`, which gets each request and the number of earlier ones with the same method and path.
    /// `None` leaves the request to the registry.
    pub fn new(
        rule: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let registry = Self::start(Auth::Anonymous, Box::new(rule))?;
        registry.registry.fault(Fault::Referrers(ReferrersResponse::Status(404)));
        Ok(registry)
    }

    /// A registry with this login and with a referrers API.
    pub fn with_login(auth: Auth) -> anyhow::Result<Self> {
        Self::start(auth, Box::new(|_, _| None))
    }

    fn start(auth: Auth, rule: Rule) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("launchway-registry-{}", random_hex::<16>()));
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.context("failed to start a runtime")?;
        let script = Arc::new(Script::new(rule));
        let start = FakeRegistry::start_with(&folder, auth, Some(Arc::clone(&script)));
        let registry = runtime.block_on(start)?;
        Ok(Self { registry, script, folder, runtime: Some(runtime) })
    }

    /// `127.0.0.1:<port>`.
    pub fn host(&self) -> String {
        self.registry.address().to_string()
    }

    /// The full name of [`Self::REPOSITORY`].
    pub fn repository(&self) -> String {
        format!("{}/{}", self.host(), Self::REPOSITORY)
    }

    /// The registry behind the script.
    pub fn registry(&self) -> &FakeRegistry {
        &self.registry
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.script.requests()
    }

    /// Every request as `METHOD path`, without the query and without the path of [`Self::REPOSITORY`].
    pub fn lines(&self) -> Vec<String> {
        let own = format!("/v2/{}/", Self::REPOSITORY);
        let line = |request: &Request| format!("{} {}", request.method, request.path().replace(&own, ""));
        self.requests().iter().map(line).collect()
    }

    /// The number of requests with this method and a target that contains `part`.
    pub fn count(&self, method: &str, part: &str) -> usize {
        self.requests().iter().filter(|request| request.is(method, part)).count()
    }

    /// The digest that a tag points to.
    pub fn tag(&self, tag: &str) -> Option<String> {
        self.registry.digest_of(Self::REPOSITORY, tag)
    }

    /// Stores these bytes as a manifest under the tag.
    pub fn set_tag(&self, tag: &str, manifest: &[u8]) -> anyhow::Result<()> {
        self.registry.keep(Self::REPOSITORY, &[], manifest, &[tag]).map(drop)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waits for the listener to close, but not for responses.
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
        // What remains is in the folder for temporary files.
        fs_err::remove_dir_all(&self.folder).ok();
    }
}
