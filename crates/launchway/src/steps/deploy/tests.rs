use std::cell::RefCell;
use std::ops::Deref;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::config::SignedPath;
use crate::testing::registry::scripted;
use kept_release::{KeptReleases, Origin};
use launchway_core::environment::Environment;
use launchway_core::events::Event;
use launchway_core::exit::Exit;
use launchway_core::http::NetworkPolicy;
use launchway_core::secret::Secret;
use launchway_fakes::Reply;
use launchway_fakes::render::{
    Call, Fault, Options as RenderOptions, Script, ScriptedImage, ScriptedRender, Somebodys,
};

mod automatic_rollback;
mod chaos;
mod endings;
mod facts;
mod requests;
mod rollback;

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// What is live before.
const OTHER: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const THIRD: &str = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";
/// Of `Context::for_test`, which [`DIGEST`] reports.
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// What [`OTHER`] reports.
const BEFORE: &str = "beef5678beef5678beef5678beef5678beef5678";
const KEY: &str = "rnd_key-of-the-test";

const VALUES: [(&str, &str); 4] = [
    ("SERVER_MODE", "value-of-type"),
    ("ALIAS", "value-of-hosts"),
    ("CIPHER_KEY", "value-of-key"),
    ("ERRORS_DSN", "value-of-dsn"),
];

/// A Render whose deploys follow a script, and the folder of the workspace that deploys to it.
struct Fixture {
    render: ScriptedRender,
    folder: tempfile::TempDir,
}

impl Deref for Fixture {
    type Target = ScriptedRender;

    fn deref(&self) -> &ScriptedRender {
        &self.render
    }
}

impl Fixture {
    /// A service without variables, on which [`OTHER`] is live.
    fn start() -> Self {
        Self::start_with(|_| {})
    }

    fn start_with(adapt: impl FnOnce(&mut RenderOptions)) -> Self {
        let fixture = Self::empty(adapt);
        fixture.service().add_deploy(&somebodys("dep-before", "live", OTHER));
        fixture
    }

    /// A service on which nothing was ever live.
    fn empty(adapt: impl FnOnce(&mut RenderOptions)) -> Self {
        let mut other = ScriptedImage::new(BEFORE, OTHER);
        other.looks(["update_in_progress", "live"]);
        let images = [(DIGEST.to_owned(), ScriptedImage::new(COMMIT, DIGEST)), (OTHER.to_owned(), other)];
        let script = Script { images: images.into(), counted: Some(vec![(200, 100)]), ..Script::default() };
        let mut options = RenderOptions::new("srv-1", KEY, "docker.io/acme/app:latest");
        options.name = "app".to_owned();
        adapt(&mut options);
        let render = ScriptedRender::start(options, script, &std::env::temp_dir()).unwrap();
        Self { render, folder: tempfile::tempdir().unwrap() }
    }

    /// A service whose variables are already what a deploy wants.
    fn settled() -> Self {
        let fixture = Self::start();
        fixture.set(&VALUES);
        fixture
    }

    fn set(&self, variables: &[(&str, &str)]) {
        self.service().set_variables(owned(variables));
    }

    fn sorted_variables(&self) -> Vec<(String, String)> {
        self.variables().into_iter().collect()
    }

    fn script(&self, change: impl FnOnce(&mut Script)) {
        self.service().script(change);
    }

    /// Changes the image that is deployed.
    fn ours(&self, change: impl FnOnce(&mut ScriptedImage)) {
        self.script(|script| change(script.images.get_mut(DIGEST).unwrap()));
    }

    /// Changes the image that was live before.
    fn earlier(&self, change: impl FnOnce(&mut ScriptedImage)) {
        self.script(|script| change(script.images.get_mut(OTHER).unwrap()));
    }

    /// What looks at our deploy show.
    fn looks<const N: usize>(&self, looks: [&'static str; N]) {
        self.ours(|image| image.looks(looks));
    }

    fn joins(&self, deploy: Somebodys) {
        self.script(|script| script.joins = Some(deploy));
    }

    fn versions<const N: usize>(&self, versions: [&str; N]) {
        self.script(|script| script.versions = versions.map(str::to_owned).into());
    }

    fn interrupt(&self, ctx: &Context, at: Call) {
        let interrupt = ctx.interrupt.clone();
        self.on(at, 0, move |_| interrupt.set());
    }

    fn site(&self) -> reqwest::Url {
        self.url().parse().unwrap()
    }

    fn context(&self) -> Context {
        let environment = Environment::of(VALUES).with(Environment::of([
            ("RENDER_API_KEY", KEY.to_owned()),
            ("RENDER_SERVICE_ID", "srv-1".to_owned()),
            ("RENDER_API_URL", self.api_url()),
            ("PIPELINE_DIGEST", DIGEST.to_owned()),
        ]));
        let mut ctx = Context::for_test(self.folder.path(), environment);
        let front = self.url().trim_start_matches("http://").parse().unwrap();
        ctx.network = NetworkPolicy::Only(vec![self.address(), front]);
        ctx
    }
}

fn owned(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut owned: Vec<_> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    owned.sort();
    owned
}

fn somebodys(id: &'static str, status: &'static str, digest: &str) -> Somebodys {
    Somebodys { id, status, manual: false, digest: digest.to_owned() }
}

fn manual(id: &'static str, status: &'static str, digest: &str) -> Somebodys {
    Somebodys { manual: true, ..somebodys(id, status, digest) }
}

/// What a machine with this context keeps of releases.
fn kept(ctx: &Context) -> KeptReleases {
    KeptReleases::new(&ctx.kept(), Secret::new(KEY), "srv-1")
}

/// Short, but long enough for a busy machine wherever one must not end before its first response.
fn timings(ctx: &Context) -> Timings {
    Timings {
        poll: Duration::from_millis(3),
        backoff: Duration::from_millis(1),
        settle: Duration::from_millis(60),
        queue: Duration::from_millis(500),
        rollback: Duration::from_secs(5),
        bake: Duration::from_millis(10),
        ..Timings::of(&ctx.config.deploy)
    }
}

fn options(ctx: &Context) -> Options {
    Options::new(timings(ctx))
}

/// A deploy that an interrupt rolls back, and whose record fits the format of reports.
fn deploy(ctx: &Context) -> Concluded {
    deploy_with(ctx, &options(ctx))
}

fn deploy_with(ctx: &Context, options: &Options) -> Concluded {
    checked(DeployPlan::new(ctx, options).unwrap().run_with(ctx, &|_| (), |_, _| Choice::RollBack))
}

fn checked(deployed: Concluded) -> Concluded {
    let now: launchway_report::Time = SystemTime::now().into();
    let commit =
        launchway_report::Commit { sha: COMMIT.to_owned(), time: now, subject: String::new(), author: None };
    let deployment = &deployed.record.deployment;
    let whole = launchway_report::Report {
        schema: launchway_report::SCHEMA,
        id: "run-1".to_owned(),
        actor: "somebody".to_owned(),
        url: None,
        service: deployed.record.service.clone(),
        rehearsal: true,
        started: deployment.started,
        finished: deployment.finished,
        commit,
        commits: Vec::new(),
        steps: Vec::new(),
        tests: None,
        coverage: None,
        image: None,
        deployment: Some(deployment.clone()),
        under_way: None,
    };
    assert_eq!(whole.problems(SystemTime::now().into()), Vec::new());
    deployed
}

/// The exit and the error of a deploy; neither they nor what was reported before hold a value.
fn failure(ctx: &Context) -> (Exit, String) {
    failure_of(ctx, deploy(ctx))
}

fn failure_of(ctx: &Context, deployed: Concluded) -> (Exit, String) {
    let error = deployed.result.unwrap_err();
    let seen = format!("{error:#} {error:?} {}", notes(ctx));
    assert!(!seen.contains("value-of") && !seen.contains(KEY), "{seen}");
    (Exit::of(&error), format!("{error:#}"))
}

fn notes(ctx: &Context) -> String {
    let texts = ctx.reporter.events().into_iter().filter_map(|event| match event {
        Event::Note { text } => Some(text),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn stable(fixture: &Fixture, text: &str) -> String {
    let plan = |line: &str| match line.split_once("plan ") {
        Some(("", hash)) if hash.len() == 64 => "plan [hash]".to_owned(),
        // As many as the machine had time for.
        _ if line.starts_with("baked for ") => "baked".to_owned(),
        _ => line.to_owned(),
    };
    let text = text.lines().map(plan).collect::<Vec<_>>().join("\n");
    text.replace(fixture.site().as_str().trim_end_matches('/'), "[app]")
        .replace(DIGEST, "[digest]")
        .replace(OTHER, "[other]")
}

#[test]
fn the_plan_needs_neither_variables_nor_an_image() {
    let mut ctx = Context::for_test(Path::new("/nowhere"), Environment::default());
    ctx.config.deploy.check = ["check", "--deploy", "--json"].map(str::to_owned).into();
    ctx.config.deploy.reports =
        Some(SignedPath { path: "/api/v1/reports".to_owned(), key: "CIPHER_KEY".to_owned() });
    let plan =
        |ctx: &Context, timings: Timings| DeployPlan::new(ctx, &Options::new(timings)).unwrap().to_string();
    insta::assert_snapshot!(plan(&ctx, Timings::of(&ctx.config.deploy)), @"
    check that service `RENDER_SERVICE_ID` is up and runs `docker.io/acme/app`
    look for deploys in progress, and wait up to 2m for them to end
    take the digest from the registry's tag `0123456789abcdef0123456789abcdef01234567`, and look it up in the registry
    read all variables and plan the changes to SERVER_MODE, ALIAS, CIPHER_KEY, ERRORS_DSN
    run the image's program with `check --deploy --json` in the planned environment; stop if it reports an error
    read the service again; stop if it has changed
    if a release is live, report the start of this deploy to it at `/api/v1/reports`, within 10s; the deploy ends within 16m
    write the variables that differ: SERVER_MODE, ALIAS, CIPHER_KEY, ERRORS_DSN
    request a deploy of `docker.io/acme/app@<digest>`
    check the deploy every 3s until it is live; cancel it after 20s
    compare the digest that Render runs with the requested one
    poll the service at `/version` for up to 1m until it reports commit 0123456789ab 5 times in a row
    bake for 1m, polling `/healthz` and `/version`
    set that digest in the service's settings
    keep the release and its variables, encrypted, for a rollback
    add the report of this run to the ledger `docker.io/acme/app:ledger`, within 20s
    keep the encrypted releases under the tag `docker.io/acme/app:releases`, within 20s
    send the service at `/api/v1/reports` the reports that it lacks, within 30s
    if any of this fails: cancel the deploy, restore the variables (within 2m), then deploy and prove the earlier release, and check whether the service is up
    ");
    ctx.environment = Environment::of([
        ("PIPELINE_DIGEST", DIGEST),
        ("RENDER_SERVICE_ID", "srv-1"),
        ("SERVER_MODE", "PROD"),
        ("SENTRY_ORG", "acme"),
    ]);
    ctx.config.deploy.environment.retain(|variable| variable.name == "SERVER_MODE");
    ctx.config.deploy.version = None;
    ctx.config.deploy.reports = None;
    ctx.config.deploy.check.clear();
    insta::assert_snapshot!(plan(&ctx, Timings::of_rehearsal(&ctx.config.deploy)), @"
    check that service `srv-1` is up and runs `docker.io/acme/app`
    look for deploys in progress, and wait up to 5s for them to end
    take the digest from `PIPELINE_DIGEST`: sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, and look it up in the registry
    read all variables and plan the changes to SERVER_MODE
    read the service again; stop if it has changed
    write the variables that differ: SERVER_MODE
    skip Sentry: not set: SENTRY_AUTH_TOKEN, SENTRY_PROJECT
    request a deploy of `docker.io/acme/app@<digest>`
    check the deploy every 250ms until it is live; cancel it after 20s
    compare the digest that Render runs with the requested one
    poll the service at `/healthz` for up to 5s until it is healthy 5 times in a row; its commit is not proved, because `deploy.version` is not configured
    bake for 1s, polling `/healthz`
    set that digest in the service's settings
    keep the release and its variables, encrypted, for a rollback
    add the report of this run to the ledger `docker.io/acme/app:ledger`, within 20s
    keep the encrypted releases under the tag `docker.io/acme/app:releases`, within 20s
    if any of this fails: cancel the deploy, restore the variables (within 5s), then deploy and prove the earlier release, and check whether the service is up
    ");
}

#[test]
fn a_plan_with_an_invalid_digest_is_refused() {
    let ctx = Context::for_test(Path::new("/nowhere"), Environment::of([("PIPELINE_DIGEST", "latest")]));
    assert_eq!(Exit::of(&DeployPlan::new(&ctx, &options(&ctx)).unwrap_err()), Exit::Usage);
}

#[test]
fn all_missing_variables_are_named_before_the_first_request() {
    let fixture = Fixture::start();
    let mut ctx = fixture.context();
    ctx.environment = ctx.environment.without(&["RENDER_API_KEY", "ALIAS", "ERRORS_DSN"]);
    let (exit, said) = failure(&ctx);
    assert_eq!(exit, Exit::Missing);
    assert!(["RENDER_API_KEY", "ALIAS", "ERRORS_DSN"].iter().all(|name| said.contains(name)), "{said}");
    assert!(fixture.transcript().is_empty());
}

#[test]
fn a_good_deploy_ends_live_and_proved() {
    let fixture = Fixture::start();
    fixture.service().add_deploy(&manual("dep-busy", "update_in_progress", OTHER));
    let mut variables: Vec<_> = (0..101).map(|n| (format!("OWN_{n}"), "value-of-own".to_owned())).collect();
    variables.push(("SERVER_MODE".to_owned(), "value-of-type".to_owned()));
    variables.push(("ALIAS".to_owned(), "value-of-old".to_owned()));
    fixture.service().set_variables(variables);
    let ctx = fixture.context();
    let deployment = deploy(&ctx).result.unwrap();
    let reported = stable(&fixture, &notes(&ctx));
    let unmanaged =
        |line: &str| line.strip_prefix("unmanaged, left alone: ").map(|names| names.split(", ").count());
    assert_eq!(reported.lines().find_map(unmanaged), Some(101));
    let reported: Vec<&str> = reported.lines().filter(|line| unmanaged(line).is_none()).collect();
    insta::assert_snapshot!(reported.join("\n"), @"
    service `app`: [app]/
    deploy dep-busy is update_in_progress: waiting up to 500ms for it to end
    deploy dep-busy is update_in_progress: Render finishes it first or cancels it, depending on the workspace's settings
    from [other] (commit beef5678beef)
    to   [digest] (commit 0123456789ab)
    change  ALIAS       12 characters #7e8ebefe → 14 characters #368a0395
    add     CIPHER_KEY  12 characters #d692d21a
    add     ERRORS_DSN  12 characters #9b045449
    keep    SERVER_MODE 13 characters #237c8fbc
    plan [hash]
    requesting a deploy of `docker.io/acme/app@[digest]`
    deploy dep-1: created
    deploy dep-1: queued
    deploy dep-1: update_in_progress
    deploy dep-1: live
    [app]/version reports commit 0123456789ab
    baked
    the service's settings have this digest
    ");
    assert_eq!((deployment.id.as_str(), deployment.status.as_str()), ("dep-1", "live"));
    assert_eq!((deployment.digest.as_str(), deployment.commit.as_str()), (DIGEST, COMMIT));
    assert_eq!(deployment.variables_written, ["ALIAS", "CIPHER_KEY", "ERRORS_DSN"]);
    // Each by its own key, and nothing lost.
    let put = ["ALIAS", "CIPHER_KEY", "ERRORS_DSN"].map(|name| format!("/v1/services/srv-1/env-vars/{name}"));
    assert_eq!(fixture.requests("PUT", ""), put);
    let variables = fixture.variables();
    assert_eq!(variables.len(), 101 + 4);
    assert!(VALUES.iter().all(|(name, value)| variables[*name] == *value), "{variables:?}");
    assert_eq!(fixture.count("PATCH", ""), 1);
    assert!(fixture.service().image().ends_with(DIGEST));
    assert_eq!(fixture.requests("POST", ""), ["/v1/services/srv-1/deploys"]);
    let requested = format!("docker.io/acme/app@{DIGEST}");
    assert_eq!(fixture.service().deploys().last().unwrap(), &("dep-1".to_owned(), requested));
    assert!(!format!("{} {deployment:?}", notes(&ctx)).contains("value-of"));
}

/// The starts that a deploy announces, each with how much was written before.
fn announced(fixture: &Fixture, ctx: &Context) -> Vec<(Start, usize)> {
    let starts = RefCell::new(Vec::new());
    let announce = |start| starts.borrow_mut().push((start, fixture.writes()));
    let plan = DeployPlan::new(ctx, &options(ctx)).unwrap();
    let record = plan.run_with(ctx, &announce, |_, _| Choice::RollBack).record;
    let starts = starts.into_inner();
    assert!(starts.iter().all(|(start, _)| start.since == record.deployment.started), "{starts:?}");
    starts
}

#[test]
fn a_deploy_announces_its_start_before_the_first_write_and_with_the_key_of_what_is_live() {
    let fixture = Fixture::start();
    fixture.set(&[("CIPHER_KEY", "value-of-earlier-key")]);
    let mut ctx = fixture.context();
    ctx.config.deploy.reports =
        Some(SignedPath { path: "/reports".to_owned(), key: "CIPHER_KEY".to_owned() });
    let announced_of = |ctx: &Context| announced(&fixture, ctx);
    let [(start, writes)] = &announced_of(&ctx)[..] else { panic!("announced once") };
    assert_eq!(*writes, 0);
    assert_eq!(start.kind, launchway_report::DeploymentKind::Deploy);
    assert_eq!(start.environment, "value-of-type");
    assert_eq!(start.release.as_ref().unwrap().commit.as_deref(), Some(COMMIT));
    assert_eq!(start.site, Some(fixture.site()));
    assert_eq!(start.key.as_ref().unwrap().expose(), "value-of-earlier-key");
    // A deploy that stops before the first write never starts.
    fixture.service().suspend();
    assert_eq!(announced_of(&ctx).len(), 0);
    // Nor is there anything to announce it to before the first one.
    let empty = Fixture::empty(|_| {});
    assert_eq!(announced(&empty, &empty.context()).len(), 0);
}

#[test]
fn a_service_that_cannot_be_deployed_to_is_left_alone() {
    let fixture = Fixture::start_with(|options| options.health_path = String::new());
    fixture.service().suspend();
    let (exit, said) = failure(&fixture.context());
    assert_eq!(exit, Exit::DeployFailed);
    insta::assert_snapshot!(said, @"
    the service `app` cannot be deployed to:
    - it is suspended: resume it in its settings
    - it has no health check path, so Render would consider any open port healthy: set one in its settings
    ");
    assert_eq!(fixture.writes(), 0);
}

#[test]
fn explaining_shows_the_plan_and_writes_nothing() {
    let fixture = Fixture::settled();
    let ctx = fixture.context();
    let lines = DeployPlan::new(&ctx, &options(&ctx)).unwrap().explained(&ctx);
    assert!(lines.iter().any(|line| line.starts_with("keep    ALIAS")), "{lines:?}");
    let hash = lines.last().unwrap().strip_prefix("plan ").unwrap().to_owned();
    assert_eq!(fixture.writes(), 0);
    assert!(fs_err::read_dir(fixture.folder.path()).unwrap().next().is_none());

    let expect = |hash: &str| Options { expect: Some(hash.to_owned()), ..options(&ctx) };
    let refused = deploy_with(&ctx, &expect(&"0".repeat(64))).result.unwrap_err();
    assert_eq!(Exit::of(&refused), Exit::DeployFailed);
    let said = refused.to_string();
    assert!(
        said.contains(&hash) && said.contains(&"0".repeat(64)) && said.contains("nothing was written"),
        "{said}"
    );
    assert_eq!(fixture.writes(), 0);
    let deployed = deploy_with(&ctx, &expect(&hash));
    let record = deployed.record.deployment;
    assert_eq!((record.plan, record.outcome), (Some(hash), launchway_report::DeploymentOutcome::Live));
    deployed.result.unwrap();

    // Without what it takes to read the service, it says so.
    let none = Context::for_test(fixture.folder.path(), Environment::default());
    let lines = DeployPlan::new(&none, &options(&none)).unwrap().explained(&none);
    let unknown =
        |line: &String| line.starts_with("the changes cannot be computed: `RENDER_API_KEY` is not set");
    assert!(lines.iter().any(unknown), "{lines:?}");
}

#[test]
fn a_service_that_changes_meanwhile_stops_the_deploy() {
    type Meddle = fn(&launchway_fakes::render::Service);
    let meddles: [Meddle; 3] = [
        |service| service.set_variable("OWN", "value-of-own"),
        |service| {
            service.set_status("dep-before", "deactivated");
            service.add_deploy(&manual("dep-somebody", "live", DIGEST));
        },
        |service| service.suspend(),
    ];
    for meddle in meddles {
        let fixture = Fixture::settled();
        // After the check and the plan.
        fixture.on(Call::Service, 2, meddle);
        let ctx = fixture.context();
        let deployed = deploy(&ctx);
        assert_eq!(deployed.record.deployment.outcome, launchway_report::DeploymentOutcome::Unchanged);
        let (exit, said) = failure_of(&ctx, deployed);
        assert_eq!(exit, Exit::DeployFailed);
        assert!(said.contains("has changed since") && said.contains("nothing was written"), "{said}");
        assert_eq!(fixture.writes(), 0);
    }
}

#[test]
fn sentry_gets_the_release_before_the_deploy_and_the_deploy_after_its_proof() {
    let fixture = Fixture::settled();
    let folder = fixture.folder.path();
    fs_err::create_dir(folder.join("src")).unwrap();
    fs_err::write(folder.join("src/main.rs"), "fn main() {}").unwrap();
    fs_err::write(folder.join("Cargo.toml"), "[package]\nname = \"app\"\nversion = \"0.1.0\"").unwrap();
    let sentry = scripted(|_, _| Some(Reply::new(201)));
    let mut ctx = fixture.context();
    let variables = [
        ("SENTRY_URL", format!("http://{}", sentry.host())),
        ("SENTRY_AUTH_TOKEN", "sntrys_token-of-the-test".to_owned()),
        ("SENTRY_ORG", "acme".to_owned()),
        ("SENTRY_PROJECT", "board".to_owned()),
    ];
    ctx.environment = ctx.environment.with(Environment::of(variables));
    if let NetworkPolicy::Only(addresses) = &mut ctx.network {
        addresses.push(sentry.host().parse().unwrap());
    }
    let plan = DeployPlan::new(&ctx, &options(&ctx)).unwrap().to_string();
    for line in [
        "create the Sentry release app@0.1.0+0123456789ab with its new commits",
        "record the deploy of the Sentry release app@0.1.0+0123456789ab to value-of-type",
    ] {
        assert!(plan.lines().any(|planned| planned == line), "{plan}");
    }
    deploy(&ctx).result.unwrap();
    let reported = notes(&ctx);
    let place = |text: &str| reported.find(text).unwrap_or_else(|| panic!("{text} is not in {reported}"));
    assert!(place("Sentry release app@0.1.0+0123456789ab") < place("requesting a deploy"));
    let recorded = place("Sentry has the deploy of app@0.1.0+0123456789ab to value-of-type");
    assert!(place("the service's settings have this digest") < recorded);
    assert_eq!(sentry.requests().len(), 3);
}
