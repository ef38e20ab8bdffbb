use std::path::Path;
use std::time::SystemTime;

use super::*;
use crate::testing::stub::{BEFORE, COMMIT, DIGEST, KEY, OTHER, Stub, deploy};
use launchway_core::environment::Environment;
use launchway_core::events::Event;
use launchway_core::exit::Exit;
use launchway_core::http::Reach;

mod back;
mod chaos;
mod endings;
mod requests;
mod undo;

const VALUES: [(&str, &str); 4] = [
    ("SERVER_TYPE", "value-of-type"),
    ("HOSTS", "value-of-hosts"),
    ("SECRET_KEY", "value-of-key"),
    ("SENTRY_DSN", "value-of-dsn"),
];
const PACE: Pace = Pace {
    poll: Duration::from_millis(3),
    backoff: Duration::from_millis(1),
    patience: Duration::from_millis(60),
    queue: Duration::from_millis(40),
    undo: Duration::from_millis(100),
    bake: Duration::from_millis(10),
};

fn context(stub: &Stub) -> Context {
    let environment = Environment::of(VALUES).with(Environment::of([
        ("RENDER_API_KEY", KEY.to_owned()),
        ("RENDER_SERVICE_ID", "srv-1".to_owned()),
        ("RENDER_API_URL", stub.url("/v1").to_string()),
        ("PIPELINE_DIGEST", DIGEST.to_owned()),
    ]));
    let mut ctx = Context::for_test(stub.folder.path(), environment);
    ctx.reach = Reach::Only(vec![stub.address]);
    ctx
}

/// A stub whose variables are already what a deploy wants.
fn settled() -> Stub {
    let stub = Stub::start();
    stub.state().variables = VALUES.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    stub
}

fn attempt(ctx: &Context) -> Result<Deployment> {
    recorded(ctx, &Options::default()).result
}

/// A deploy with its record, which is as the report's format wants it.
fn recorded(ctx: &Context, options: &Options) -> Attempt {
    checked(record::attempt(ctx, &goal(Kind::Deploy), &plan(ctx, options).unwrap()))
}

fn goal(kind: Kind) -> Goal {
    Goal { kind, pace: PACE, ask: |_| Choice::Undo }
}

fn checked(attempt: Attempt) -> Attempt {
    let commit = report::Commit {
        sha: COMMIT.to_owned(),
        time: transaction::now(),
        subject: String::new(),
        author: None,
    };
    let whole = report::Report {
        schema: report::SCHEMA,
        id: "run-1".to_owned(),
        actor: "somebody".to_owned(),
        url: None,
        service: attempt.service.clone(),
        rehearsal: true,
        started: attempt.record.started,
        finished: attempt.record.finished,
        commit,
        commits: Vec::new(),
        steps: Vec::new(),
        tests: None,
        coverage: None,
        image: None,
        deployment: Some(attempt.record.clone()),
    };
    assert_eq!(whole.problems(SystemTime::now().into()), Vec::new());
    attempt
}

/// The exit and the error; neither they nor what was told before hold a value.
fn failure(ctx: &Context) -> (Exit, String) {
    let error = attempt(ctx).unwrap_err();
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

fn stable(stub: &Stub, text: &str) -> String {
    let plan = |line: &str| match line.split_once("plan ") {
        Some(("", hash)) if hash.len() == 64 => "plan [hash]".to_owned(),
        // As many as the machine had time for.
        _ if line.starts_with("baked for ") => "baked".to_owned(),
        _ => line.to_owned(),
    };
    let text = text.lines().map(plan).collect::<Vec<_>>().join("\n");
    text.replace(&stub.address.to_string(), "[app]").replace(DIGEST, "[digest]").replace(OTHER, "[other]")
}

#[test]
fn the_plan_needs_neither_variables_nor_an_image() {
    let mut ctx = Context::for_test(Path::new("/nowhere"), Environment::default());
    ctx.config.deploy.check = ["check", "--deploy", "--json"].map(str::to_owned).into();
    ctx.config.deploy.timeout = Duration::from_mins(10);
    let lines = |ctx: &Context| {
        plan(ctx, &Options::default()).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    insta::assert_snapshot!(lines(&ctx).join("\n"), @"
    check that service `RENDER_SERVICE_ID` is up and runs `docker.io/acme/app`
    look for deploys that are under way, and wait a while for them to end
    take the digest from the registry's tag `0123456789abcdef0123456789abcdef01234567`, and look for it in the registry
    read all variables, and plan what changes of SERVER_TYPE, HOSTS, SECRET_KEY, SENTRY_DSN
    run the image's program with `check --deploy --json` and that environment; stop where it finds an error
    read it all again, and stop where it has changed
    write those of these variables that differ: SERVER_TYPE, HOSTS, SECRET_KEY, SENTRY_DSN
    ask for a deploy of `docker.io/acme/app@<digest>`
    follow it until it is live, cancel it after 10m
    compare the digest that Render runs with the one that was asked for
    ask the app at `/version` until it answers commit 0123456789ab 5 times in a row
    stay for 1m, and ask `/healthz` and `/version` all the while
    have the service's settings name that digest
    keep the release and its variables, encrypted, for a rollback
    ");
    ctx.environment = Environment::of([("PIPELINE_DIGEST", DIGEST), ("RENDER_SERVICE_ID", "srv-1")]);
    ctx.config.deploy.environment.clear();
    insta::assert_snapshot!(lines(&ctx)[0..4].join("\n"), @"
    check that service `srv-1` is up and runs `docker.io/acme/app`
    look for deploys that are under way, and wait a while for them to end
    take the digest from `PIPELINE_DIGEST`: sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, and look for it in the registry
    read all variables, and plan what changes
    ");
}

#[test]
fn a_plan_with_a_digest_that_is_none_is_refused() {
    let ctx = Context::for_test(Path::new("/nowhere"), Environment::of([("PIPELINE_DIGEST", "latest")]));
    assert_eq!(Exit::of(&plan(&ctx, &Options::default()).unwrap_err()), Exit::Usage);
}

#[test]
fn all_missing_variables_are_named_before_anything_is_asked() {
    let stub = Stub::start();
    let mut ctx = context(&stub);
    ctx.environment = ctx.environment.without(&["RENDER_API_KEY", "HOSTS", "SENTRY_DSN"]);
    let (exit, said) = failure(&ctx);
    assert_eq!(exit, Exit::Missing);
    assert!(["RENDER_API_KEY", "HOSTS", "SENTRY_DSN"].iter().all(|name| said.contains(name)), "{said}");
    assert!(stub.state().transcript.is_empty());
}

#[test]
fn a_good_deploy_ends_live_and_proved() {
    let stub = Stub::start();
    stub.state().deploys.push(deploy("dep-busy", "update_in_progress", "manual", OTHER, 2));
    stub.state().variables = (0..101).map(|n| (format!("OWN_{n}"), "value-of-own".to_owned())).collect();
    stub.state().variables.push(("SERVER_TYPE".to_owned(), "value-of-type".to_owned()));
    stub.state().variables.push(("HOSTS".to_owned(), "value-of-old".to_owned()));
    let ctx = context(&stub);
    let deployment = attempt(&ctx).unwrap();
    let told = stable(&stub, &notes(&ctx));
    let others: Vec<String> = (0..101).map(|n| format!("OWN_{n}")).collect();
    let left =
        |line: &str| line.strip_prefix("not ours, left alone: ").map(|names| names.split(", ").count());
    assert_eq!(told.lines().find_map(left), Some(others.len()));
    let told: Vec<&str> = told.lines().filter(|line| left(line).is_none()).collect();
    insta::assert_snapshot!(told.join("\n"), @"
    service `app`: http://[app]/
    deploy dep-busy is update_in_progress: waiting up to 40ms for it to end
    deploy dep-busy is update_in_progress: Render finishes it first, or cancels it, as the workspace is set
    from [other] (commit beef5678beef)
    to   [digest] (commit 0123456789ab)
    change  HOSTS       12 characters #87898dde → 14 characters #fbaaf42b
    add     SECRET_KEY  12 characters #5e0c83d4
    add     SENTRY_DSN  12 characters #6e36dfbf
    keep    SERVER_TYPE 13 characters #108151d4
    plan [hash]
    asking for `docker.io/acme/app@[digest]`
    deploy dep-ours: created
    deploy dep-ours: queued
    deploy dep-ours: update_in_progress
    deploy dep-ours: live
    http://[app]/version answers commit 0123456789ab
    baked
    the service's settings name this digest
    ");
    assert_eq!((deployment.id.as_str(), deployment.status.as_str()), ("dep-ours", "live"));
    assert_eq!((deployment.digest.as_str(), deployment.commit.as_str()), (DIGEST, COMMIT));
    assert_eq!(deployment.variables_written, ["HOSTS", "SECRET_KEY", "SENTRY_DSN"]);
    // Each by its own key, and nothing lost.
    assert_eq!(
        stub.asked("PUT"),
        [
            r#"PUT /v1/services/srv-1/env-vars/HOSTS {"value":"value-of-hosts"}"#,
            r#"PUT /v1/services/srv-1/env-vars/SECRET_KEY {"value":"value-of-key"}"#,
            r#"PUT /v1/services/srv-1/env-vars/SENTRY_DSN {"value":"value-of-dsn"}"#,
        ]
    );
    assert_eq!(stub.state().variables.len(), 101 + 4);
    assert_eq!(stub.asked("PATCH").len(), 1);
    assert!(stub.state().service["imagePath"].as_str().unwrap().ends_with(DIGEST));
    assert_eq!(
        stub.asked("POST"),
        [format!(r#"POST /v1/services/srv-1/deploys {{"imageUrl":"docker.io/acme/app@{DIGEST}"}}"#)]
    );
    assert!(!format!("{} {deployment:?}", notes(&ctx)).contains("value-of"));
}

#[test]
fn a_service_that_cannot_be_deployed_to_is_left_alone() {
    let stub = Stub::start();
    stub.state().service["suspended"] = "suspended".into();
    stub.state().service["serviceDetails"]["healthCheckPath"] = "".into();
    let (exit, said) = failure(&context(&stub));
    assert_eq!(exit, Exit::DeployFailed);
    insta::assert_snapshot!(said, @"
    the service `app` cannot be deployed to:
    - it is suspended: resume it in its settings
    - it has no health check path, so Render would call any open port healthy: set one in its settings
    ");
    assert_eq!(stub.asked("P"), Vec::<String>::new());
}

#[test]
fn explaining_shows_the_plan_and_writes_nothing() {
    let stub = settled();
    let ctx = context(&stub);
    let actions = plan(&ctx, &Options::default()).unwrap();
    let lines = explained(&ctx, &actions);
    assert!(lines.iter().any(|line| line.starts_with("keep    HOSTS")), "{lines:?}");
    let hash = lines.last().unwrap().strip_prefix("plan ").unwrap().to_owned();
    assert_eq!(stub.asked("P"), Vec::<String>::new());
    assert!(fs_err::read_dir(stub.folder.path()).unwrap().next().is_none());

    let expect = |hash: &str| Options { expect: Some(hash.to_owned()), attach: None };
    let refused = recorded(&ctx, &expect(&"0".repeat(64))).result.unwrap_err();
    assert_eq!(Exit::of(&refused), Exit::DeployFailed);
    let said = refused.to_string();
    assert!(
        said.contains(&hash) && said.contains(&"0".repeat(64)) && said.contains("nothing was written"),
        "{said}"
    );
    assert_eq!(stub.asked("P"), Vec::<String>::new());
    let attempt = recorded(&ctx, &expect(&hash));
    assert_eq!((attempt.record.plan, attempt.record.outcome), (Some(hash), report::DeploymentOutcome::Live));
    attempt.result.unwrap();

    // Without what it takes to ask, it says so.
    let none = Context::for_test(stub.folder.path(), Environment::default());
    let lines = explained(&none, &plan(&none, &Options::default()).unwrap());
    let told =
        |line: &String| line.starts_with("what that changes is not known: `RENDER_API_KEY` is not set");
    assert!(lines.iter().any(told), "{lines:?}");
}

#[test]
fn a_base_that_changed_meanwhile_stops_the_deploy() {
    type Meddle = fn(&Stub);
    let meddles: [Meddle; 3] = [
        |stub| stub.state().variables.push(("OWN".to_owned(), "value-of-own".to_owned())),
        |stub| stub.state().deploys.push(deploy("dep-somebody", "live", "manual", DIGEST, 5)),
        |stub| stub.state().service["suspended"] = "suspended".into(),
    ];
    for meddle in meddles {
        let stub = settled();
        let ctx = context(&stub);
        let mut transaction = Transaction::begin(&ctx, Kind::Deploy, PACE).unwrap();
        let mut stopped = None;
        for action in plan(&ctx, &Options::default()).unwrap() {
            if action == Action::Confirm {
                meddle(&stub);
            }
            if let Err(error) = transaction.execute(&action) {
                stopped = Some((action, error));
                break;
            }
        }
        let (action, error) = stopped.unwrap();
        assert_eq!((action, Exit::of(&error)), (Action::Confirm, Exit::DeployFailed));
        assert!(error.to_string().contains("nothing was written"), "{error:#}");
        let (outcome, _) = transaction.give_up(error, |_| Choice::Undo);
        assert_eq!(outcome, report::DeploymentOutcome::Unchanged);
        assert_eq!(stub.asked("P"), Vec::<String>::new());
    }
}

#[test]
fn a_stand_in_is_asked_more_often_than_render() {
    let pace = |url: &str| Pace::of(&Url::parse(url).unwrap()).poll;
    assert_eq!(pace("https://api.render.com/v1"), Duration::from_secs(3));
    assert_eq!(pace("http://127.0.0.1:1/v1"), Duration::from_millis(250));
}
