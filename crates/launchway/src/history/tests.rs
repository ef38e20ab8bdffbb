use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use launchway_report::{Deployment, DeploymentKind, DeploymentOutcome, Release};
use reqwest::Url;

use super::*;
use crate::config::SignedPath;
use crate::steps::deploy::Start;
use crate::steps::push::tests::registries::{self, DockerRegistry, Login, PASSWORD, basic};
use crate::testing::git;
use crate::timings::Timings;
use launchway_core::events::Event;
use launchway_core::http::NetworkPolicy;
use launchway_fakes::board::Board;

pub(super) fn deployed(id: &str) -> Report {
    ended(id, 0)
}

/// A run that ended so many seconds into the year.
pub(super) fn ended(id: &str, seconds: u64) -> Report {
    let at = Time::from_milliseconds((1_767_225_600 + seconds) * 1000);
    let sha = "0123456789abcdef0123456789abcdef01234567".to_owned();
    let digest = format!("sha256:{}", "a".repeat(64));
    Report {
        schema: SCHEMA,
        id: id.to_owned(),
        actor: "ada".to_owned(),
        url: None,
        service: None,
        rehearsal: false,
        started: at,
        finished: at,
        commit: Commit { sha: sha.clone(), time: at, subject: "Say why".to_owned(), author: None },
        commits: Vec::new(),
        steps: Vec::new(),
        tests: None,
        coverage: None,
        image: None,
        deployment: Some(Deployment {
            kind: DeploymentKind::Deploy,
            environment: "PROD".to_owned(),
            id: None,
            plan: None,
            started: at,
            finished: at,
            outcome: DeploymentOutcome::Live,
            reason: None,
            release: Some(Release { digest, commit: Some(sha) }),
            previous: None,
        }),
        under_way: None,
    }
}

pub(super) fn bytes(report: &Report) -> Vec<u8> {
    serde_json::to_vec(report).unwrap()
}

fn notes(ctx: &Context) -> Vec<String> {
    let words = |event: Event| match event {
        Event::Note { text } => Some(text),
        Event::CheckSkipped { check, reason } => Some(format!("skipped {check}: {reason}")),
        _ => None,
    };
    ctx.reporter.events().into_iter().filter_map(words).collect()
}

fn site(board: &Board) -> Url {
    Url::parse(&format!("http://{}/", board.address())).unwrap()
}

/// Keeps and sends a report with the timeouts of a real run.
fn send(ctx: &Context, report: &Report, site: Option<&Url>) {
    send_as(ctx, report, plan(ctx), site);
}

fn send_as(ctx: &Context, report: &Report, plan: ReportPlan, site: Option<&Url>) {
    let record = record(report, plan, site);
    let key = |name: &str| ctx.config.secret(&ctx.environment, name);
    let board = board(record.plan.board.as_ref(), record.site.as_ref(), key);
    history(ctx).send(report, &record.plan, ctx.session(), board);
}

fn record(report: &Report, plan: ReportPlan, site: Option<&Url>) -> DeploymentRecord {
    let deployment = report.deployment.clone().unwrap();
    DeploymentRecord { deployment, changes: None, service: None, site: site.cloned(), key: None, plan }
}

fn history(ctx: &Context) -> History {
    History::new(&ctx.kept(), &ctx.reporter)
}

/// The report of a run of this context.
fn report_of(ctx: &Context, so_far: &RunState) -> Report {
    let record = record(&deployed("x"), plan(ctx), None);
    report(ctx.project(), &ctx.environment, &ctx.reporter, so_far, &record)
}

fn plan(ctx: &Context) -> ReportPlan {
    ReportPlan::new(ctx.image(), &ctx.config.deploy, &Timings::of(&ctx.config.deploy))
}

fn ledger_of(ctx: &Context) -> Reports {
    ledger::read(&ctx.registry(Access::Pull).unwrap(), ctx.image()).unwrap().reports
}

fn context(registry: &str, root: &Path) -> Context {
    let mut ctx = registries::context(registry, root, PASSWORD);
    ctx.environment = ctx.environment.with(Environment::of([("CIPHER_KEY", "k".repeat(50))]));
    ctx.config.deploy.reports =
        Some(SignedPath { path: "/api/v1/reports".to_owned(), key: "CIPHER_KEY".to_owned() });
    ctx
}

/// A run, then one on another machine, then one that finds the board without its disk.
fn history_survives(registry: &str) {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let board = Board::start().unwrap();
    let ctx = context(registry, first.path());
    send(&ctx, &ended("run-1", 1), Some(&site(&board)));
    assert_eq!(notes(&ctx).last().unwrap(), "the board has the report of this run", "{:?}", notes(&ctx));
    assert_eq!(board.report("run-1").unwrap(), bytes(&ended("run-1", 1)));

    let ctx = context(registry, second.path());
    send(&ctx, &ended("run-2", 2), Some(&site(&board)));
    assert_eq!(board.ids(), ["run-1", "run-2"]);
    let recorded = ledger_of(&ctx);
    assert_eq!(recorded.keys().collect::<Vec<_>>(), ["run-1", "run-2"]);

    let empty = Board::start().unwrap();
    let ctx = context(registry, first.path());
    send(&ctx, &ended("run-3", 3), Some(&site(&empty)));
    assert_eq!(notes(&ctx).last().unwrap(), "3 reports sent to the board");
    assert_eq!(empty.ids(), ["run-1", "run-2", "run-3"]);
    assert_eq!(empty.report("run-2").unwrap(), recorded["run-2"]);
    // Nothing is sent twice.
    send(&ctx, &ended("run-3", 3), Some(&site(&empty)));
    assert_eq!(notes(&ctx).last().unwrap(), "the board has every report");
}

#[test]
fn the_history_survives_a_lost_disk_with_the_fake() {
    history_survives(&basic().host());
}

#[test]
fn the_history_survives_a_lost_disk_with_docker_registry() {
    let test = "the_history_survives_a_lost_disk_with_docker_registry";
    if let Some(registry) = DockerRegistry::start(test, &Login::Htpasswd) {
        history_survives(&registry.host);
    }
}

#[test]
fn what_was_not_delivered_is_kept_and_sent_next_time() {
    let registry = basic();
    let dir = tempfile::tempdir().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ctx = context(&nobody.to_string(), dir.path());
    let hurried = ReportPlan { ledger_timeout: Duration::from_millis(200), ..plan(&ctx) };
    send_as(&ctx, &ended("run-1", 1), hurried, Some(&Url::parse(&format!("http://{nobody}/")).unwrap()));
    let reported = notes(&ctx);
    assert!(reported[reported.len() - 2].starts_with("skipped ledger: "), "{reported:?}");
    assert!(reported[reported.len() - 1].starts_with("skipped board: it did not respond"), "{reported:?}");

    let board = Board::start().unwrap();
    let ctx = context(&registry.host(), dir.path());
    send(&ctx, &ended("run-2", 2), Some(&site(&board)));
    assert_eq!(board.ids(), ["run-1", "run-2"]);
    assert_eq!(ledger_of(&ctx).len(), 2);
}

/// A run that is over does not hang on a registry and a board that take what they are sent and never answer.
#[test]
fn what_never_answers_is_left_alone_soon() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(&address.to_string(), dir.path());
    let site = Url::parse(&format!("http://{address}/")).unwrap();
    let started = Instant::now();
    let timeouts = (Duration::from_millis(200), Duration::from_millis(400));
    let plan = ReportPlan { ledger_timeout: timeouts.0, timeout: timeouts.1, ..plan(&ctx) };
    send_as(&ctx, &ended("run-1", 1), plan, Some(&site));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let reported = notes(&ctx);
    assert!(
        matches!(&reported[..], [ledger, board]
            if ledger.starts_with("skipped ledger: ") && ledger.ends_with("; no time is left for another try")
            && board.starts_with("skipped board: it did not respond")),
        "{reported:?}"
    );
    assert_eq!(history(&ctx).ids().unwrap(), ["run-1"]);
    // Nor does one that was asked to end, however much patience there is.
    let ctx = context(&address.to_string(), dir.path());
    ctx.interrupt.set();
    send(&ctx, &ended("run-2", 2), None);
    assert_eq!(notes(&ctx), ["skipped ledger: interrupted"]);
    assert_eq!(history(&ctx).ids().unwrap(), ["run-1", "run-2"]);
}

/// The start of a deployment by this context.
fn start(ctx: &Context, site: &Url) -> Start {
    Start {
        kind: DeploymentKind::Rollback,
        environment: "PROD".to_owned(),
        since: SystemTime::now().into(),
        release: None,
        service: None,
        site: Some(site.clone()),
        key: None,
        plan: plan(ctx),
    }
}

#[test]
fn a_start_has_an_id_of_its_own_and_the_deadline_of_its_deploy() {
    let dir = tempfile::tempdir().unwrap();
    let board = Board::start().unwrap();
    let ctx = context("127.0.0.1:1", dir.path());
    let so_far = RunState::new(&ctx.git).unwrap();
    let start = start(&ctx, &site(&board));
    begin(&ctx, &so_far, &start);
    assert_eq!(notes(&ctx), ["the board has the start of this deployment"]);
    let id = format!("{}-start", so_far.id);
    assert_eq!(board.ids(), [id.as_str()]);
    let report: Report = serde_json::from_slice(&board.report(&id).unwrap()).unwrap();
    assert_eq!(report.deployment, None);
    let under_way = report.under_way.unwrap();
    assert_eq!(under_way.run, so_far.id);
    assert_eq!((under_way.kind, under_way.since), (DeploymentKind::Rollback, start.since));
    assert_eq!(under_way.until, start.since.after(ctx.config.deploy.longest()));
}

/// Late, it would show a deployment that has ended.
#[test]
fn a_start_that_does_not_arrive_is_named_and_never_sent_again() {
    let registry = basic();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(&registry.host(), dir.path());
    let so_far = RunState::new(&ctx.git).unwrap();
    let hangs = Url::parse(&format!("http://{}/", silent.local_addr().unwrap())).unwrap();
    let mut to_nobody = start(&ctx, &hangs);
    to_nobody.plan.start_timeout = Duration::from_millis(100);
    let board_that_refuses = Board::refusing(422).unwrap();
    let clock = Instant::now();
    for start in [to_nobody, start(&ctx, &site(&board_that_refuses))] {
        begin(&ctx, &so_far, &start);
    }
    assert!(clock.elapsed() < Duration::from_secs(5), "{:?}", clock.elapsed());
    assert!(
        matches!(&notes(&ctx)[..], [silent, refused]
            if silent.starts_with("skipped start on the board: it did not respond")
            && refused.starts_with("skipped start on the board: the board responded 422")),
        "{:?}",
        notes(&ctx)
    );
    assert!(!history(&ctx).folder.exists());
    // The end of that run, and what a later run sends, hold no start.
    let board = Board::start().unwrap();
    send(&ctx, &deployed("run-1"), Some(&site(&board)));
    assert_eq!(board.ids(), ["run-1"]);
    assert_eq!(ledger_of(&ctx).keys().collect::<Vec<_>>(), ["run-1"]);
}

#[test]
fn a_start_is_signed_with_the_key_of_the_live_service_and_goes_only_where_reports_go() {
    let dir = tempfile::tempdir().unwrap();
    let board = Board::start().unwrap();
    let mut ctx = context("127.0.0.1:1", dir.path());
    ctx.environment = Environment::default();
    let so_far = RunState::new(&ctx.git).unwrap();
    let without_key = start(&ctx, &site(&board));
    begin(&ctx, &so_far, &without_key);
    begin(&ctx, &so_far, &Start { key: Some(Secret::new("k".repeat(50))), ..start(&ctx, &site(&board)) });
    ctx.config.deploy.reports = None;
    begin(&ctx, &so_far, &start(&ctx, &site(&board)));
    let [skipped, sent] = &notes(&ctx)[..] else { panic!("{:?}", notes(&ctx)) };
    assert!(skipped.starts_with("skipped start on the board: `CIPHER_KEY` is not set"), "{skipped}");
    assert_eq!(sent, "the board has the start of this deployment");
}

#[test]
fn a_secret_in_a_commit_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let git = |line: &[&str]| git(dir.path(), line);
    git(&["init", "--quiet"]);
    git(&["commit", "--quiet", "--allow-empty", "--message", "Log in with key-of-all-signing-4713"]);
    let mut ctx = Context::for_test(dir.path(), Environment::of([("CIPHER_KEY", "key-of-all-signing-4713")]));
    ctx.reporter.redact(ctx.redactor());
    ctx.git.commit = git(&["rev-parse", "HEAD"]).trim().to_owned();
    let found = report_of(&ctx, &RunState::new(&ctx.git).unwrap());
    assert_eq!(found.commit.subject, "Log in with <redacted>");
    assert_eq!(found.commits.len(), 1);
    assert_eq!(found.commits[0].subject, found.commit.subject);
}

#[test]
fn a_board_that_refuses_is_named_and_nothing_fails() {
    let registry = basic();
    for (status, said) in [
        (401, "skipped board: it rejected the signature"),
        (409, "skipped report run-1: the board responded 409 Conflict: no, <thanks>"),
        (422, "skipped report run-1: the board responded 422 Unprocessable Entity: no, <thanks>"),
        (503, "skipped board: it responded 503"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let board = Board::refusing(status).unwrap();
        let ctx = context(&registry.host(), dir.path());
        send(&ctx, &ended("run-1", 1), Some(&site(&board)));
        assert!(notes(&ctx).iter().any(|note| note.starts_with(said)), "{:?}", notes(&ctx));
    }
}

#[test]
fn a_ledger_keeps_the_lines_of_others() {
    let registry = basic();
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(&registry.host(), dir.path());
    let client = ctx.registry(launchway_registry::Access::Push).unwrap();
    let (repository, tag) = (ctx.image().parse().unwrap(), "ledger".parse().unwrap());
    let kind = "application/vnd.launchway.ledger.v1";
    let others = b"0000 {}\n".to_vec();
    client.put_document(&repository, &tag, kind, std::slice::from_ref(&others), dir.path()).unwrap();
    send(&ctx, &ended("run-1", 1), None);
    let ours = [bytes(&ended("run-1", 1)), b"\n".to_vec()].concat();
    assert_eq!(client.document(&repository, &tag, kind).unwrap().unwrap(), [[others, ours].concat()]);
    let error = client.document(&repository, &tag, "another/kind").unwrap_err();
    assert!(error.to_string().contains("was not written by Launchway (another/kind)"), "{error}");
    assert!(client.document(&repository, &"absent".parse().unwrap(), kind).unwrap().is_none());
}

/// Reports of a newer version: one that is read, one that would be misread, and what is no report at all.
#[test]
fn what_a_newer_version_wrote_is_passed_on_to_the_byte() {
    let registry = basic();
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(&registry.host(), dir.path());
    let text = String::from_utf8(bytes(&ended("run-1", 1))).unwrap();
    let added =
        text.replacen('{', r#"{"added":{"by":"a newer version"},"#, 1).replace("\"live\"", "\"paused\"");
    let other = r#"{"schema":2,"id":"run-2","finished":[2026,1,1]}"#.to_owned();
    fs_err::create_dir_all(history(&ctx).folder).unwrap();
    for (name, text) in [("run-1", added.as_str()), ("run-2", &other), ("notes", "[]")] {
        fs_err::write(history(&ctx).folder.join(format!("{name}.json")), text).unwrap();
    }
    let board = Board::start().unwrap();
    send(&ctx, &ended("run-3", 3), Some(&site(&board)));
    let reported = notes(&ctx).join("\n");
    assert!(
        reported.contains("3 reports sent to the board") && reported.contains("notes.json is not a report"),
        "{reported}"
    );
    let recorded = ledger_of(&ctx);
    for (id, text) in [("run-1", &added), ("run-2", &other)] {
        let sent = board.report(id).unwrap();
        assert_eq!((&sent, &recorded[id]), (&text.clone().into_bytes(), &sent), "{id}");
    }
    assert_eq!(fs_err::read_to_string(history(&ctx).folder.join("notes.json")).unwrap(), "[]");

    // On a machine that has only the ledger, in both formats.
    let elsewhere = tempfile::tempdir().unwrap();
    for (as_json, said) in [
        (false, "1 report was written by a newer Launchway: update to see it"),
        (true, r#""added":{"by":"a newer version"}"#),
    ] {
        let ctx = context(&registry.host(), elsewhere.path());
        show(&ctx, as_json).unwrap();
        let reported = format!("{:?}", ctx.reporter.events()).replace('\\', "");
        assert!(
            reported.contains(said) && reported.contains("paused") && !reported.contains("CheckSkipped"),
            "{reported}"
        );
    }
}

#[test]
fn a_rehearsal_is_no_part_of_the_history() {
    let dir = tempfile::tempdir().unwrap();
    let mut ctx = Context::for_test(dir.path(), Environment::default());
    assert!(history(&ctx).folder.ends_with("target/xtask/history"));
    ctx.network = NetworkPolicy::Only(Vec::new());
    assert!(history(&ctx).folder.ends_with("target/xtask/rehearsal/history"));
}

#[test]
fn a_report_says_who_where_and_what_is_new() {
    let variables = [
        ("GITHUB_SERVER_URL", "https://github.com"),
        ("GITHUB_REPOSITORY", "acme/app"),
        ("GITHUB_RUN_ID", "7"),
        ("GITHUB_ACTOR", "ada\n"),
    ];
    let ctx = Context::for_test(Path::new("/nowhere"), Environment::of(variables));
    let so_far = RunState::new(&ctx.git).unwrap();
    let found = report_of(&ctx, &so_far);
    assert_eq!(found.problems(SystemTime::now().into()), []);
    assert_eq!(found.url.as_deref(), Some("https://github.com/acme/app/actions/runs/7"));
    assert_eq!((found.actor.as_str(), found.id.as_str()), ("ada", so_far.id.as_str()));
    // Without git there is the commit of the run and no other.
    assert_eq!((found.commit.sha.as_str(), found.commits.len()), (ctx.git.commit.as_str(), 0));
    let ctx = Context::for_test(Path::new("/nowhere"), Environment::of([("USER", "grace")]));
    assert_eq!(actor(&ctx.root, &ctx.environment), "grace");
}
