//! The fakes of one rehearsal, the service's variables in it, and the secrets that only this rehearsal knows.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::config::Config;
use crate::git::Git;
use launchway_core::command::{Namespace, bare, contained};
use launchway_core::environment::Environment;
use launchway_core::events::Reporter;
use launchway_core::interrupt;
use launchway_core::secret::random_word;
use launchway_fakes::Exchange;
use launchway_fakes::registry::{Auth, FakeRegistry};
use launchway_fakes::render::{Contained, Container, FakeRender, GroupHooks, Options, PullCredential};
use launchway_fakes::sentry::FakeSentry;
use launchway_image::smoke::Port;

/// A registry, a Render and a Sentry on loopback.
pub(super) struct Fakes {
    pub(super) registry: FakeRegistry,
    pub(super) render: FakeRender,
    pub(super) sentry: FakeSentry,
    pub(super) repository: String,
    /// What a deploy sets on the service.
    pub(super) service: Vec<ServiceValue>,
    registry_token: String,
    api_key: String,
}

/// A variable of the service with its value in a rehearsal.
#[derive(Clone)]
pub(super) struct ServiceValue {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// `rehearse.environment`.
    Configured,
    /// The environment of this run; never for a secret, which could give access to something outside of the rehearsal.
    Environment,
    /// The fake Sentry.
    Sentry,
    MadeUp,
}

impl ServiceValue {
    /// Every variable of the service; the one that holds the DSN gets this address.
    fn all(config: &Config, environment: &Environment, dsn: &str) -> Result<Vec<Self>> {
        let (deploy, configured) = (&config.deploy, &config.rehearse.environment);
        let value = |variable: &crate::config::ServiceVariable| -> Result<Self> {
            let name = variable.name.clone();
            let in_environment = environment.get(&name).filter(|_| !variable.secret);
            let (value, origin) = if deploy.sentry.as_ref().is_some_and(|sentry| sentry.dsn == name) {
                (dsn.to_owned(), Origin::Sentry)
            } else if let Some(value) = configured.get(&name) {
                (value.clone(), Origin::Configured)
            } else if let Some(value) = in_environment {
                (value.to_owned(), Origin::Environment)
            } else {
                (made_up()?, Origin::MadeUp)
            };
            Ok(Self { name, value, origin })
        };
        deploy.environment.iter().map(value).collect()
    }

    /// Whether only this rehearsal knows the value.
    fn is_secret(&self) -> bool {
        matches!(self.origin, Origin::Sentry | Origin::MadeUp)
    }

    /// The value in the previous release: none if the deploy adds the variable, another one if the value is generated.
    pub(super) fn earlier(&self) -> Result<Option<String>> {
        Ok(match self.origin {
            Origin::Sentry => None,
            Origin::MadeUp => Some(made_up()?),
            Origin::Configured | Origin::Environment => Some(self.value.clone()),
        })
    }
}

/// Starts a program of the fake Render in a user namespace.
fn in_namespace(program: &Contained) -> Result<Command> {
    let Contained { root, program, folder, uid, gid } = program;
    let namespace = Namespace { root: root.clone(), folder: folder.clone(), uid: *uid, gid: *gid };
    contained(&namespace, program).context("this program cannot start itself again")
}

/// Long enough for a key.
fn made_up() -> Result<String> {
    Ok(random_word()? + &random_word()?)
}

impl Fakes {
    pub(super) const SERVICE: &str = "srv-rehearsal";
    const USER: &str = "rehearsal";
    pub(super) const REPOSITORY: &str = "launchway/rehearsal";

    pub(super) async fn start(config: &Config, environment: &Environment, folder: &Path) -> Result<Self> {
        Self::start_with(config, environment, folder, |_, _| Ok(())).await
    }

    /// Starts them. `adapt` adjusts the Render options, and gets the values that a deploy will set.
    pub(super) async fn start_with(
        config: &Config,
        environment: &Environment,
        folder: &Path,
        adapt: impl FnOnce(&mut Options, &[ServiceValue]) -> Result<()>,
    ) -> Result<Self> {
        let registry_token = random_word()?;
        let api_key = random_word()?;
        let login = Auth::Basic { username: Self::USER.to_owned(), password: registry_token.clone() };
        let registry = FakeRegistry::start(&folder.join("registry"), login).await?;
        let repository = format!("{}/{}", registry.address(), Self::REPOSITORY);
        let sentry = FakeSentry::start().await?;
        let service = ServiceValue::all(config, environment, &sentry.dsn())?;
        let deploy = &config.deploy;
        let set_by_hand = config.rehearse.environment.iter();
        let set_by_hand = set_by_hand.filter(|(name, _)| service.iter().all(|value| value.name != **name));
        let mut options = Options {
            pull: Some(PullCredential { username: Self::USER.to_owned(), password: registry_token.clone() }),
            health_path: deploy.health.clone(),
            version_path: deploy.version.clone().unwrap_or_else(|| deploy.health.clone()),
            fixed_port: match deploy.port {
                Port::Fixed(port) => Some(port),
                Port::Standard | Port::Variable { .. } | Port::Arguments { .. } => None,
            },
            port_variable: match &deploy.port {
                Port::Variable { variable, value } => Some((variable.clone(), value.clone())),
                Port::Standard | Port::Fixed(_) | Port::Arguments { .. } => None,
            },
            arguments: match &deploy.port {
                Port::Arguments { arguments } => Some(arguments.clone()),
                Port::Standard | Port::Fixed(_) | Port::Variable { .. } => None,
            },
            variables: set_by_hand.map(|(name, value)| (name.clone(), value.clone())).collect(),
            // The real Render gives up after 15 minutes and keeps the old instance for one.
            health_deadline: Duration::from_secs(30),
            retire_after: Duration::from_millis(500),
            max_shutdown_delay: Duration::from_secs(10),
            hooks: GroupHooks {
                command: |program| bare(program),
                container: deploy
                    .port
                    .in_container()
                    .is_ok()
                    .then_some(Container { prepare: Namespace::prepare, command: in_namespace }),
                started: interrupt::group_started,
                ended: interrupt::group_ended,
            },
            // As on a service that was created with a first image.
            ..Options::new(Self::SERVICE, &api_key, &format!("{repository}:latest"))
        };
        adapt(&mut options, &service)?;
        let render = FakeRender::start(options, &folder.join("render")).await?;
        Ok(Self { registry, render, sentry, repository, service, registry_token, api_key })
    }

    pub(super) fn announce(&self, config: &Config, reporter: &Reporter, git: &Git) {
        reporter.note(format!("registry  {}", self.registry.address()));
        reporter.note(format!("Render    {}", self.render.address()));
        reporter.note(format!("Sentry    {}", self.sentry.address()));
        reporter.note("the pipeline runs as on a push to the release branch; nothing leaves this machine");
        Self::announce_machine(config, reporter);
        let (mut read, mut generated) = (Vec::new(), Vec::new());
        for ServiceValue { name, origin, .. } in &self.service {
            match origin {
                Origin::Environment => read.push(name.clone()),
                Origin::MadeUp => generated.push(name.clone()),
                Origin::Sentry if !config.rehearse.environment.contains_key(name) => {
                    generated.push(format!("{name} (the fake Sentry's)"));
                }
                Origin::Sentry | Origin::Configured => {}
            }
        }
        for (words, names) in [
            ("taken from the environment", read),
            ("generated, because `rehearse.environment` does not set them", generated),
        ] {
            if !names.is_empty() {
                reporter.note(format!("variables {words}: {}", names.join(", ")));
            }
        }
        if git.dirty {
            reporter.note(
                "the tree has uncommitted changes: the image is tagged `-dirty`, and `latest` does not move",
            );
        }
    }

    /// Says why the service does not run as in a container, if it does not.
    pub(super) fn announce_machine(config: &Config, reporter: &Reporter) {
        if let Err(reason) = config.deploy.port.in_container() {
            reporter.note(format!(
                "the fake Render starts the service with the files and rights of this machine, because {reason}"
            ));
        }
    }

    /// The pipeline's variables in this rehearsal.
    pub(super) fn environment(&self) -> Environment {
        Environment::of(self.variables())
    }

    pub(super) fn variables(&self) -> Vec<(String, String)> {
        let of_pipeline = [
            ("PIPELINE_IMAGE", self.repository.clone()),
            ("REGISTRY_USERNAME", Self::USER.to_owned()),
            ("REGISTRY_TOKEN", self.registry_token.clone()),
            ("RENDER_API_URL", self.render.api_url()),
            ("RENDER_API_KEY", self.api_key.clone()),
            ("RENDER_SERVICE_ID", Self::SERVICE.to_owned()),
            ("SENTRY_URL", self.sentry.url()),
            ("SENTRY_AUTH_TOKEN", self.sentry.token().to_owned()),
            ("SENTRY_ORG", FakeSentry::ORGANIZATION.to_owned()),
            ("SENTRY_PROJECT", FakeSentry::PROJECT.to_owned()),
        ];
        let of_service = self.service.iter().map(|value| (value.name.clone(), value.value.clone()));
        of_pipeline.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(of_service).collect()
    }

    /// What must not be printed or left anywhere, in encoded form either.
    pub(super) fn secrets(&self) -> Vec<String> {
        let login = format!("{}:{}", Self::USER, self.registry_token);
        let of_service =
            self.service.iter().filter(|value| value.is_secret()).map(|value| value.value.clone());
        [
            self.registry_token.clone(),
            self.api_key.clone(),
            self.sentry.token().to_owned(),
            STANDARD.encode(login),
        ]
        .into_iter()
        .chain(of_service)
        .collect()
    }

    /// The addresses that the rehearsal may contact.
    pub(super) fn addresses(&self) -> Result<Vec<SocketAddr>> {
        let front =
            self.render.url().trim_start_matches("http://").parse().context("the front has no address")?;
        Ok(vec![self.registry.address(), self.render.address(), self.sentry.address(), front])
    }

    /// One line per exchange, without bodies and headers.
    pub(super) fn keep_transcripts(&self, reporter: &Reporter, folder: &Path) -> Result<()> {
        #[derive(Serialize)]
        struct Line<'a> {
            method: &'a str,
            path: &'a str,
            status: u16,
            request_bytes: u64,
        }
        let transcripts = [
            ("registry", self.registry.transcript()),
            ("render", self.render.transcript()),
            ("sentry", self.sentry.transcript()),
        ];
        for (name, exchanges) in transcripts {
            let mut text = String::new();
            for Exchange { method, path, status, request_bytes } in &exchanges {
                let line = Line { method, path, status: *status, request_bytes: *request_bytes };
                text.push_str(&serde_json::to_string(&line)?);
                text.push('\n');
            }
            reporter.leave_json(&folder.join(format!("{name}.jsonl")), &text)?;
        }
        let log = self.render.log().join("\n") + "\n";
        reporter.leave(&folder.join("app.log"), &log)
    }

    pub(super) fn stop(self, runtime: &Runtime) {
        runtime.block_on(self.render.stop());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;

    #[test]
    fn a_value_comes_from_the_configuration_the_environment_or_nowhere() {
        let variables = [("ALIAS", "from-here"), ("SERVER_MODE", "from-here"), ("CIPHER_KEY", "a-real-key")];
        let mut ctx = Context::for_test(Path::new("/w"), Environment::of(variables));
        ctx.config.rehearse.environment.remove("ALIAS");
        let values = ServiceValue::all(&ctx.config, &ctx.environment, "http://key@127.0.0.1:1/1").unwrap();
        let of = |name: &str| values.iter().find(|value| value.name == name).unwrap();
        let [mode, alias, key, dsn] = ["SERVER_MODE", "ALIAS", "CIPHER_KEY", "ERRORS_DSN"].map(of);
        assert_eq!((mode.value.as_str(), mode.origin), ("PROD", Origin::Configured));
        assert_eq!((alias.value.as_str(), alias.origin), ("from-here", Origin::Environment));
        assert_eq!(dsn.origin, Origin::Sentry);
        // A secret could lead out of the rehearsal.
        assert_eq!(key.origin, Origin::MadeUp);
        assert!(key.value.len() >= 50 && key.value != "a-real-key");
    }
}
