//! The service of one drill, on fakes: the earlier release is live with its own variables, and constantly gets
//! requests.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use ring::hmac;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::drill::{Drill, Fault, Side, Step};
use super::releases::{EARLIER, Releases};
use crate::config::Config;
use crate::rehearsal::fakes::{Fakes, Origin};
use crate::table::DRILL;
use launchway_core::environment::Environment;
use launchway_core::secret::random_word;
use launchway_fakes::render::{self, Call};
use launchway_fakes::{hex, loopback_client};

/// The fakes, and the state in which a drill finds them.
pub(super) struct DrilledService {
    pub(super) fakes: Fakes,
    earlier: String,
    new: String,
    /// The state before anything ran.
    found: State,
    wanted: Vec<(String, String)>,
    /// What somebody else sets, in drills with somebody else.
    theirs: Option<(String, String)>,
    token: Option<String>,
    /// The path that returns the commit.
    version: Option<String>,
    /// A folder that is not there: a developer's own login to a registry is not used.
    docker_config: String,
    visitors: JoinHandle<()>,
    key: hmac::Key,
    /// Dropped last.
    runtime: Runtime,
}

/// The state of the service and the registry at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    live: Option<String>,
    variables: BTreeMap<String, String>,
    latest: Option<String>,
}

impl DrilledService {
    /// Starts the fakes of a drill with the earlier release live.
    pub(super) fn start(
        config: &Config,
        environment: &Environment,
        releases: &Releases,
        drill: &Drill,
        folder: &Path,
    ) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let set = Fakes::start_with(config, environment, folder, |options, service| {
            options.variables.push(("KEPT".to_owned(), "not the pipeline's".to_owned()));
            for value in service {
                options.variables.extend(value.earlier()?.map(|earlier| (value.name.clone(), earlier)));
            }
            options.health_deadline = Duration::from_secs(2);
            options.retire_after = Duration::from_millis(200);
            options.max_shutdown_delay = Duration::from_secs(2);
            Ok(())
        });
        let fakes = runtime.block_on(set)?;
        let wanted: Vec<_> =
            fakes.service.iter().map(|value| (value.name.clone(), value.value.clone())).collect();
        let latest: &[&str] = if drill.run == Step::Push || releases.is_dirty() { &["latest"] } else { &[] };
        let earlier = releases.keep_earlier(&fakes.registry, Fakes::REPOSITORY, latest)?;
        if drill.run != Step::Push {
            let tags: &[&str] =
                if releases.is_dirty() { &[&releases.tag] } else { &[&releases.tag, "latest"] };
            releases.keep_new(&fakes.registry, Fakes::REPOSITORY, tags)?;
        }
        let image = format!("{}@{earlier}", fakes.repository);
        runtime.block_on(fakes.render.begin_with(&image, Duration::from_secs(30)))?;
        let visitors = runtime.spawn(visits(format!("{}{}", fakes.render.url(), config.deploy.health)));
        let mut key = [0; 32];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut key)
            .map_err(|_| anyhow!("the system provides no random numbers"))?;
        let mut service = Self {
            found: State::of(&fakes),
            fakes,
            earlier,
            new: releases.new_digest(),
            theirs: wanted.first().map(|(name, _)| (name.clone(), "set by somebody else".to_owned())),
            wanted,
            token: None,
            version: config.deploy.version.clone(),
            docker_config: folder.join("docker").display().to_string(),
            visitors,
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            runtime,
        };
        if drill.faults.iter().any(|fault| matches!(fault, Fault::WrongToken)) {
            service.token = Some(random_word()?);
        }
        Ok(service)
    }

    /// Injects the faults of the drill.
    pub(super) fn inject(&self, releases: &Releases, drill: &Drill) -> Result<()> {
        drill.faults.iter().try_for_each(|fault| self.apply(releases, fault))
    }

    fn apply(&self, releases: &Releases, fault: &Fault) -> Result<()> {
        let Fakes { registry, render: on_render, sentry, .. } = &self.fakes;
        let image = format!("{}@{}", self.fakes.repository, self.earlier);
        match fault {
            Fault::RegistryDown => registry.close(),
            Fault::Registry(fault) => registry.fault(*fault),
            // Set in the environment instead.
            Fault::WrongToken => {}
            Fault::TagTaken => {
                releases.keep_earlier(registry, Fakes::REPOSITORY, &[&releases.tag])?;
            }
            Fault::Render(fault) => on_render.fault(fault.clone()),
            Fault::Queued => on_render.fault(render::Fault::Queued { image }),
            Fault::Superseded => on_render.fault(render::Fault::Superseded { image }),
            Fault::Overtaken => on_render.fault(render::Fault::Overtaken { image }),
            Fault::VariableChanged => {
                if let Some((key, value)) = self.theirs.clone() {
                    on_render.fault(render::Fault::VariableChanged { key, value });
                }
            }
            Fault::NoWritesAfterDeploy => {
                let forbidden = render::Fault::Forbidden(Call::Write);
                on_render.fault(render::Fault::After(Call::Deploy, Box::new(forbidden)));
            }
            Fault::Image(fault) => on_render.fault(render::Fault::Image(self.new.clone(), *fault)),
            Fault::EarlierGone => {
                registry.forget(Fakes::REPOSITORY, &self.earlier);
            }
            Fault::Sentry(mode) => sentry.set_mode(*mode),
            Fault::Interrupted(call) | Fault::Killed(call) => on_render.stop_at(*call),
        }
        Ok(())
    }

    /// The whole environment of the pipeline's run, except for what the machine adds.
    pub(super) fn variables(&self, drill: &Drill, step: Step) -> Result<Vec<(String, String)>> {
        let mut variables = self.fakes.variables();
        variables.push((DRILL.to_owned(), drill.name.to_owned()));
        if let Some(token) = &self.token {
            variables.extend([("REGISTRY_TOKEN".to_owned(), token.clone())]);
        }
        if step == Step::Deploy {
            variables.push(("PIPELINE_DIGEST".to_owned(), self.new.clone()));
        }
        let allowed: Vec<String> = self.fakes.addresses()?.iter().map(ToString::to_string).collect();
        variables.push(("XTASK_NETWORK".to_owned(), allowed.join(",")));
        variables.push(("DOCKER_CONFIG".to_owned(), self.docker_config.clone()));
        Ok(variables)
    }

    /// What no run may print or leave behind.
    pub(super) fn secrets(&self) -> Vec<String> {
        let mut secrets = self.fakes.secrets();
        secrets.extend(self.token.clone());
        let made_up = self.fakes.service.iter().filter(|value| value.origin == Origin::MadeUp);
        secrets.extend(made_up.filter_map(|value| self.found.variables.get(&value.name).cloned()));
        secrets
    }

    pub(super) fn state(&self) -> State {
        State::of(&self.fakes)
    }

    /// Waits until no deploy is in progress: a requested one may still be running.
    pub(super) fn settle(&self) {
        let end = Instant::now() + Duration::from_secs(10);
        while self.fakes.render.is_busy() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether a run reached the call at which the fake stops, within `timeout`.
    pub(super) fn stopped(&self, timeout: Duration) -> bool {
        self.runtime.block_on(self.fakes.render.stopped(timeout))
    }

    /// Which release the parts of a state belong to: the image, the variables, and what `latest` points to.
    ///
    /// If both releases have the same variables, they count as those of the `expected` one.
    pub(super) fn sides(&self, state: &State, expected: Side) -> [Side; 3] {
        let image = |digest: &Option<String>| match digest.as_deref() {
            Some(digest) if digest == self.earlier => Side::Earlier,
            Some(digest) if digest == self.new => Side::New,
            _ => Side::Other,
        };
        let with = |pairs: &[(String, String)]| {
            let mut variables = self.found.variables.clone();
            variables.extend(pairs.iter().cloned());
            variables
        };
        let variables = [
            (Side::Earlier, self.found.variables.clone()),
            (Side::New, with(&self.wanted)),
            (Side::Theirs, with(self.theirs.as_slice())),
        ];
        let fits = |(_, variables): &&(Side, BTreeMap<String, String>)| *variables == state.variables;
        let mut fitting = variables.iter().filter(fits).map(|(side, _)| *side);
        let variables = match fitting.clone().find(|side| *side == expected) {
            Some(side) => side,
            None => fitting.next().unwrap_or(Side::Other),
        };
        [image(&state.live), variables, image(&state.latest)]
    }

    /// The names of the variables that have neither their old nor their new value.
    pub(super) fn astray(&self, state: &State) -> Vec<String> {
        let wanted = |name: &str| self.wanted.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let names = state.variables.keys().chain(self.found.variables.keys());
        let mut names: Vec<String> = names
            .filter(|name| {
                let now = state.variables.get(*name);
                now != self.found.variables.get(*name) && now != wanted(name.as_str())
            })
            .cloned()
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The names of the variables that have the new release's value rather than the earlier one's.
    pub(super) fn written(&self, state: &State) -> Vec<String> {
        let written = self.wanted.iter().filter(|(name, value)| {
            state.variables.get(name) == Some(value) && self.found.variables.get(name) != Some(value)
        });
        written.map(|(name, _)| name.clone()).collect()
    }

    /// Describes a state: digests abbreviated, variables as a hash with a key that is discarded with the drill, so that
    /// states can be compared and reveal nothing.
    pub(super) fn shown(&self, state: &State) -> String {
        let digest = |digest: &Option<String>| {
            let hex = digest.as_deref().and_then(|digest| digest.strip_prefix("sha256:"));
            hex.map_or_else(|| "none".to_owned(), |hex| hex.chars().take(8).collect())
        };
        let mut context = hmac::Context::with_key(&self.key);
        for (name, value) in &state.variables {
            for part in [name, value] {
                context.update(&part.len().to_be_bytes());
                context.update(part.as_bytes());
            }
        }
        let tag = hex(context.sign().as_ref());
        format!("{} · {} · {}", digest(&state.live), &tag[..8], digest(&state.latest))
    }

    /// A remark if the service does not report the commit that is live.
    pub(super) fn wrong_commit(&self, releases: &Releases, live: Side) -> Option<String> {
        let wanted = match live {
            Side::Earlier => EARLIER,
            Side::New => releases.tag.as_str(),
            Side::Theirs | Side::Other => return None,
        };
        let url = format!("{}{}", self.fakes.render.url(), self.version.as_ref()?);
        let asked = async { loopback_client().ok()?.get(url).send().await.ok()?.text().await.ok() };
        let answer = self.runtime.block_on(asked).unwrap_or_default();
        let version = serde_json::from_str::<serde_json::Value>(&answer);
        let is_it = version.is_ok_and(|version| version["commit"] == wanted);
        (!is_it).then(|| format!("commit {wanted} is live, and the service responds `{}`", answer.trim()))
    }

    /// How many requests a live instance did not respond to.
    pub(super) fn lost(&self) -> u64 {
        self.fakes.render.traffic().lost
    }

    /// How often the new release has been deployed.
    pub(super) fn deploys(&self) -> usize {
        self.fakes.render.deploys_of(&self.new)
    }

    /// Whether anything was written on the service.
    pub(super) fn was_written(&self) -> bool {
        self.fakes
            .render
            .transcript()
            .iter()
            .any(|exchange| exchange.method != "GET" && (200..300).contains(&exchange.status))
    }

    pub(super) fn stop(self) {
        self.visitors.abort();
        self.fakes.stop(&self.runtime);
    }
}

impl State {
    fn of(fakes: &Fakes) -> Self {
        Self {
            live: fakes.render.live(),
            variables: fakes.render.variables(),
            latest: fakes.registry.digest_of(Fakes::REPOSITORY, "latest"),
        }
    }
}

/// Constantly sends requests to the service.
async fn visits(url: String) {
    let Ok(client) = loopback_client() else { return };
    loop {
        // The front counts those without a response.
        drop(client.get(&url).send().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
