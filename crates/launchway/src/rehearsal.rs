//! `cargo xtask rehearse`: the same pipeline against a registry, a Render and a Sentry on loopback.
//!
//! The stand-ins share no code with the clients that talk to them. A drill breaks one of them on purpose.

pub(crate) mod drills;
pub(crate) mod proof;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::context::Context;
use crate::executor::plan::Options as StepOptions;
use crate::executor::{self, Request, Scope};
use crate::table::JobId;
use crate::table::rule::Trigger;
use crate::turn::Turn;
use launchway_core::command::bare;
use launchway_core::environment::Environment;
use launchway_core::exit::{Exit, OrExit as _};
use launchway_core::http::Reach;
use launchway_core::interrupt;
use launchway_core::secret::random_word;
use launchway_fakes::Exchange;
use launchway_fakes::registry::{Auth, RegistryStandIn};
use launchway_fakes::render::{GroupHooks, Options, PullCredential, RenderStandIn};
use launchway_fakes::sentry::SentryStandIn;

/// Runs the pipeline as on the release branch, with all three jobs or these, and proves what came of it.
///
/// With `stay` the stand-ins and the app are kept up until the run is interrupted.
pub(crate) fn run(
    ctx: &Context,
    jobs: Option<Vec<JobId>>,
    explain: bool,
    stay: bool,
    fresh: bool,
) -> Result<()> {
    let request = Request {
        scope: Scope::Jobs(jobs),
        trigger: Trigger::push(&ctx.config.branch),
        options: StepOptions::of(&ctx.config),
        explain,
        keep_going: false,
        reuse: !fresh,
    };
    if explain {
        // To explain is to start nothing and to write nothing: the addresses are not known yet.
        let image = format!("127.0.0.1:0/{}", Stage::REPOSITORY);
        let variables =
            Environment::of([("PIPELINE_IMAGE", image.as_str()), ("RENDER_SERVICE_ID", Stage::SERVICE)]);
        return executor::run(&ctx.rehearsed(variables, Reach::Only(Vec::new())), &request).map(drop);
    }
    let _stage = Turn::wait(ctx, Turn::REHEARSAL)?;
    let turn = Turn::wait(ctx, Turn::OUTPUT)?;
    let folder = ctx.output().join("rehearsal");
    // The stand-ins begin empty: what an earlier rehearsal pushed must not pass for this one's.
    if folder.exists() {
        fs_err::remove_dir_all(&folder)?;
    }
    fs_err::create_dir_all(&folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let stage = runtime.block_on(Stage::set(ctx, &folder)).or_exit(Exit::Usage)?;
    stage.announce(ctx);
    let played = stage.play(ctx, &request, &runtime);
    // Also after a failure: what was exchanged is kept, and no process is left.
    let kept = stage.keep_transcripts(ctx, &folder);
    if played.is_err() {
        stage.tell_log(ctx, &folder);
    }
    if stay && played.is_ok() {
        // What goes on needs nothing but the stage.
        drop(turn);
        ctx.reporter.text(format!("\nthe app is at {} until Ctrl-C", stage.render.url()));
        // Only an interrupt ends it, and that is what was asked for.
        while ctx.interrupt.sleep(Duration::from_hours(1)).is_ok() {}
    }
    stage.clear(&runtime);
    ctx.reporter.redact(crate::context::redactor(&ctx.environment));
    played.and(kept)
}

/// The three stand-ins and the secrets that only this rehearsal knows.
pub(crate) struct Stage {
    registry: RegistryStandIn,
    render: RenderStandIn,
    sentry: SentryStandIn,
    repository: String,
    registry_token: String,
    api_key: String,
    secret_key: String,
}

impl Stage {
    const SERVICE: &str = "srv-rehearsal";
    const USER: &str = "rehearsal";
    const REPOSITORY: &str = "launchway/rehearsal";

    async fn set(ctx: &Context, folder: &Path) -> Result<Self> {
        Self::set_with(ctx, folder, |_| {}).await
    }

    async fn set_with(ctx: &Context, folder: &Path, adapt: impl FnOnce(&mut Options)) -> Result<Self> {
        let registry_token = random_word()?;
        let api_key = random_word()?;
        let login = Auth::Basic { username: Self::USER.to_owned(), password: registry_token.clone() };
        let registry = RegistryStandIn::start(&folder.join("registry"), login).await?;
        let repository = format!("{}/{}", registry.address(), Self::REPOSITORY);
        let mut options = Options {
            pull: Some(PullCredential { username: Self::USER.to_owned(), password: registry_token.clone() }),
            health_path: ctx.config.deploy.health.clone(),
            version_path: ctx.config.deploy.version.clone(),
            // The real one gives up after 15 minutes and keeps the old instance for one.
            health_deadline: Duration::from_secs(30),
            retire_after: Duration::from_millis(500),
            max_shutdown_delay: Duration::from_secs(10),
            hooks: GroupHooks {
                command: |program| bare(program),
                started: interrupt::group_started,
                ended: interrupt::group_ended,
            },
            // As on a service that was created with a first image.
            ..Options::new(Self::SERVICE, &api_key, &format!("{repository}:latest"))
        };
        adapt(&mut options);
        let render = RenderStandIn::start(options, &folder.join("render")).await?;
        let sentry = SentryStandIn::start().await?;
        let secret_key = random_word()? + &random_word()?;
        Ok(Self { registry, render, sentry, repository, registry_token, api_key, secret_key })
    }

    fn announce(&self, ctx: &Context) {
        ctx.reporter.note(format!("registry  {}", self.registry.address()));
        ctx.reporter.note(format!("Render    {}", self.render.address()));
        ctx.reporter.note(format!("Sentry    {}", self.sentry.address()));
        ctx.reporter
            .note("the pipeline runs as on a push to the release branch; nothing leaves this machine");
        if ctx.git.dirty {
            ctx.reporter.note(
                "the tree has uncommitted changes: the image is tagged `-dirty`, and `latest` stays away",
            );
        }
    }

    /// Runs the pipeline against the stand-ins and proves what came of it.
    fn play(&self, ctx: &Context, request: &Request, runtime: &Runtime) -> Result<()> {
        let rehearsed = ctx.rehearsed(self.environment(), Reach::Only(self.reach()?));
        let results = executor::run(&rehearsed, request)?;
        if matches!(&request.scope, Scope::Jobs(Some(jobs)) if !jobs.contains(&JobId::Deploy)) {
            ctx.reporter.note("nothing is proved: the deploy job was not asked for");
            return Ok(());
        }
        proof::prove(&rehearsed, self, runtime, &results)
    }

    /// What the pipeline's variables are in this rehearsal.
    fn environment(&self) -> Environment {
        Environment::of(self.variables())
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("PIPELINE_IMAGE", self.repository.clone()),
            ("DOCKERHUB_USERNAME", Self::USER.to_owned()),
            ("DOCKERHUB_TOKEN", self.registry_token.clone()),
            ("RENDER_API_URL", self.render.api_url()),
            ("RENDER_API_KEY", self.api_key.clone()),
            ("RENDER_SERVICE_ID", Self::SERVICE.to_owned()),
            ("SERVER_TYPE", "PROD".to_owned()),
            ("HOSTS", "localhost,127.0.0.1".to_owned()),
            ("SECRET_KEY", self.secret_key.clone()),
            ("SENTRY_DSN", self.sentry.dsn()),
            ("SENTRY_URL", self.sentry.url()),
            ("SENTRY_AUTH_TOKEN", self.sentry.token().to_owned()),
            ("SENTRY_ORG", SentryStandIn::ORGANIZATION.to_owned()),
            ("SENTRY_PROJECT", SentryStandIn::PROJECT.to_owned()),
        ]
    }

    /// Everything that nobody may tell or leave, also as it travels.
    fn secrets(&self) -> Vec<String> {
        let login = format!("{}:{}", Self::USER, self.registry_token);
        vec![
            self.registry_token.clone(),
            self.api_key.clone(),
            self.secret_key.clone(),
            self.sentry.dsn(),
            self.sentry.token().to_owned(),
            STANDARD.encode(login),
        ]
    }

    fn reach(&self) -> Result<Vec<SocketAddr>> {
        let front =
            self.render.url().trim_start_matches("http://").parse().context("the front has no address")?;
        Ok(vec![self.registry.address(), self.render.address(), self.sentry.address(), front])
    }

    /// One line an exchange, without bodies and headers.
    fn keep_transcripts(&self, ctx: &Context, folder: &Path) -> Result<()> {
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
            ctx.leave_json(&folder.join(format!("{name}.jsonl")), &text)?;
        }
        let log = self.render.log().join("\n") + "\n";
        ctx.leave(&folder.join("app.log"), &log)
    }

    /// The app's last lines: where a deploy failed, they usually say why.
    fn tell_log(&self, ctx: &Context, folder: &Path) {
        const LAST: usize = 10;
        let lines = self.render.log();
        if lines.is_empty() {
            return;
        }
        let last = lines.get(lines.len().saturating_sub(LAST)..).unwrap_or_default();
        ctx.reporter
            .note(format!("the app's last lines, all of them in {}:", folder.join("app.log").display()));
        for line in last {
            ctx.reporter.note(format!("  {line}"));
        }
    }

    fn clear(self, runtime: &Runtime) {
        runtime.block_on(self.render.stop());
    }
}

#[cfg(test)]
mod tests;
