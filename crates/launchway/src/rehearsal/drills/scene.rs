//! The stand-ins of one drill: the earlier release is live with variables of its own, and somebody uses the app.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use ring::hmac;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::drill::{Break, Drill, Side, Step};
use super::releases::{EARLIER, Releases};
use crate::context::Context;
use crate::rehearsal::fakes::{Fakes, Origin};
use launchway_core::secret::random_word;
use launchway_fakes::render::{Call, Fault};
use launchway_fakes::{hex, loopback_client};

/// What somebody else sets, in a drill with somebody else.
const THEIRS: (&str, &str) = ("HOSTS", "theirs.example.com");

/// The stand-ins, and what they looked like at first.
pub(super) struct Scene {
    pub(super) stage: Fakes,
    earlier: String,
    new: String,
    /// Before anything was run.
    found: State,
    wanted: Vec<(String, String)>,
    token: Option<String>,
    visitors: JoinHandle<()>,
    key: hmac::Key,
    /// The last to go.
    runtime: Runtime,
}

/// The service and the registry at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    live: Option<String>,
    variables: BTreeMap<String, String>,
    latest: Option<String>,
}

impl Scene {
    /// Sets the stage for a drill and breaks it.
    pub(super) fn set(ctx: &Context, releases: &Releases, drill: &Drill, folder: &Path) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let set = Fakes::start_with(ctx, folder, |options, service| {
            options.variables.push(("KEPT".to_owned(), "not the pipeline's".to_owned()));
            for value in service {
                options.variables.extend(value.earlier()?.map(|earlier| (value.name.clone(), earlier)));
            }
            options.health_deadline = Duration::from_secs(2);
            options.retire_after = Duration::from_millis(200);
            options.max_shutdown_delay = Duration::from_secs(2);
            Ok(())
        });
        let stage = runtime.block_on(set)?;
        let wanted: Vec<_> =
            stage.service.iter().map(|value| (value.name.clone(), value.value.clone())).collect();
        let latest: &[&str] = if drill.run == Step::Push || ctx.git.dirty { &["latest"] } else { &[] };
        let earlier = releases.keep_earlier(&stage.registry, Fakes::REPOSITORY, latest)?;
        if drill.run != Step::Push {
            let tags: &[&str] = if ctx.git.dirty { &[&releases.tag] } else { &[&releases.tag, "latest"] };
            releases.keep_new(&stage.registry, Fakes::REPOSITORY, tags)?;
        }
        let image = format!("{}@{earlier}", stage.repository);
        runtime.block_on(stage.render.begin_with(&image, Duration::from_secs(30)))?;
        let visitors = runtime.spawn(visits(format!("{}{}", stage.render.url(), ctx.config.deploy.health)));
        let mut key = [0; 32];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut key)
            .map_err(|_| anyhow!("the system gives no random numbers"))?;
        let mut scene = Self {
            found: State::of(&stage),
            stage,
            earlier,
            new: releases.new_digest(),
            wanted,
            token: None,
            visitors,
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            runtime,
        };
        if drill.breaks.iter().any(|broken| matches!(broken, Break::WrongToken)) {
            scene.token = Some(random_word()?);
        }
        Ok(scene)
    }

    /// Breaks what the drill wants broken.
    pub(super) fn break_it(&self, releases: &Releases, drill: &Drill) -> Result<()> {
        drill.breaks.iter().try_for_each(|broken| self.apply(releases, broken))
    }

    fn apply(&self, releases: &Releases, broken: &Break) -> Result<()> {
        let Fakes { registry, render, sentry, .. } = &self.stage;
        let image = format!("{}@{}", self.stage.repository, self.earlier);
        match broken {
            Break::RegistryDown => registry.close(),
            Break::Registry(fault) => registry.fault(*fault),
            // It is in the environment.
            Break::WrongToken => {}
            Break::TagTaken => {
                releases.keep_earlier(registry, Fakes::REPOSITORY, &[&releases.tag])?;
            }
            Break::Render(fault) => render.fault(fault.clone()),
            Break::Behind => render.fault(Fault::Behind { image }),
            Break::Superseded => render.fault(Fault::Superseded { image }),
            Break::Overtaken => render.fault(Fault::Followed { image }),
            Break::Meddled => {
                let (key, value) = THEIRS;
                render.fault(Fault::Meddled { key: key.to_owned(), value: value.to_owned() });
            }
            Break::NoWritesAfterDeploy => {
                let broken = Fault::Forbidden(Call::Write);
                render.fault(Fault::Then(Call::Ask, Box::new(broken)));
            }
            Break::Sick(ailment) => render.fault(Fault::Sick(self.new.clone(), *ailment)),
            Break::EarlierGone => {
                registry.forget(Fakes::REPOSITORY, &self.earlier);
            }
            Break::Sentry(mode) => sentry.answer_as(*mode),
            Break::Interrupted(call) | Break::Killed(call) => render.stop_at(*call),
        }
        Ok(())
    }

    /// The whole environment of the pipeline's run, but for what the machine adds.
    pub(super) fn variables(&self, ctx: &Context, step: Step) -> Result<Vec<(String, String)>> {
        let mut variables = self.stage.variables();
        if let Some(token) = &self.token {
            variables.extend([("DOCKERHUB_TOKEN".to_owned(), token.clone())]);
        }
        if step == Step::Deploy {
            variables.push(("PIPELINE_DIGEST".to_owned(), self.new.clone()));
        }
        let allowed: Vec<String> = self.stage.addresses()?.iter().map(ToString::to_string).collect();
        variables.push(("XTASK_REACH".to_owned(), allowed.join(",")));
        // Nobody's own login to a registry is used.
        let nowhere = ctx.output().join("rehearsal/docker");
        variables.push(("DOCKER_CONFIG".to_owned(), nowhere.display().to_string()));
        Ok(variables)
    }

    /// Everything that no run may tell or leave.
    pub(super) fn secrets(&self) -> Vec<String> {
        let mut secrets = self.stage.secrets();
        secrets.extend(self.token.clone());
        let made_up = self.stage.service.iter().filter(|value| value.origin == Origin::MadeUp);
        secrets.extend(made_up.filter_map(|value| self.found.variables.get(&value.name).cloned()));
        secrets
    }

    pub(super) fn state(&self) -> State {
        State::of(&self.stage)
    }

    /// Waits until no deploy is under way any more: what was asked for may still be at work.
    pub(super) fn settle(&self) {
        let end = Instant::now() + Duration::from_secs(10);
        while self.stage.render.is_busy() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether a run came within `timeout` to the call at which the clock stops.
    pub(super) fn stopped(&self, timeout: Duration) -> bool {
        self.runtime.block_on(self.stage.render.stopped(timeout))
    }

    /// Of which release the parts of a state are: the image, the variables and what `latest` names.
    pub(super) fn sides(&self, state: &State) -> [Side; 3] {
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
        let theirs = [(THEIRS.0.to_owned(), THEIRS.1.to_owned())];
        let variables = if state.variables == self.found.variables {
            Side::Earlier
        } else if state.variables == with(&self.wanted) {
            Side::New
        } else if state.variables == with(&theirs) {
            Side::Theirs
        } else {
            Side::Other
        };
        [image(&state.live), variables, image(&state.latest)]
    }

    /// The names of the variables that are neither as they were nor as they were to become.
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

    /// The names of the variables that have the new release's value and not the earlier one's.
    pub(super) fn written(&self, state: &State) -> Vec<String> {
        let written = self.wanted.iter().filter(|(name, value)| {
            state.variables.get(name) == Some(value) && self.found.variables.get(name) != Some(value)
        });
        written.map(|(name, _)| name.clone()).collect()
    }

    /// A state in one word for each part: digests cut short, and of the variables a hash with a key that is lost with
    /// the drill, so that it can be compared and nothing be learned from it.
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

    /// What is wrong with what the app answers to somebody who asks it himself, where its image is not a sick one.
    pub(super) fn impostor(&self, ctx: &Context, live: Side) -> Option<String> {
        let tag = ctx.git.tag();
        let wanted = match live {
            Side::Earlier => EARLIER,
            Side::New => tag.as_str(),
            Side::Theirs | Side::Other => return None,
        };
        let url = format!("{}{}", self.stage.render.url(), ctx.config.deploy.version.as_ref()?);
        let asked = async { loopback_client().ok()?.get(url).send().await.ok()?.text().await.ok() };
        let answer = self.runtime.block_on(asked).unwrap_or_default();
        let version = serde_json::from_str::<serde_json::Value>(&answer);
        let is_it = version.is_ok_and(|version| version["commit"] == wanted);
        (!is_it).then(|| format!("commit {wanted} is live, and the app answers `{}`", answer.trim()))
    }

    /// Requests that a live instance did not answer.
    pub(super) fn lost(&self) -> u64 {
        self.stage.render.traffic().lost
    }

    /// How many deploys of the new release there have been.
    pub(super) fn deploys(&self) -> usize {
        self.stage.render.deploys_of(&self.new)
    }

    /// Whether anything was written on the service.
    pub(super) fn was_written(&self) -> bool {
        self.stage
            .render
            .transcript()
            .iter()
            .any(|exchange| exchange.method != "GET" && (200..300).contains(&exchange.status))
    }

    pub(super) fn clear(self) {
        self.visitors.abort();
        self.stage.stop(&self.runtime);
    }
}

impl State {
    fn of(stage: &Fakes) -> Self {
        Self {
            live: stage.render.live(),
            variables: stage.render.variables(),
            latest: stage.registry.digest_of(Fakes::REPOSITORY, "latest"),
        }
    }
}

/// Somebody uses the app all the time.
async fn visits(url: String) {
    let Ok(client) = loopback_client() else { return };
    loop {
        // The front counts what was not answered.
        drop(client.get(&url).send().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
