use super::*;

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// `seconds` into 2026.
fn at(seconds: u64) -> Time {
    Time::from_milliseconds(1_767_225_600_000 + seconds * 1000)
}

fn report() -> Report {
    let commit = Commit {
        sha: SHA.to_owned(),
        time: at(0),
        subject: "Say why".to_owned(),
        author: Some("Ada Lovelace".to_owned()),
    };
    let release = Release { digest: DIGEST.to_owned(), commit: Some(format!("{SHA}-dirty")) };
    Report {
        schema: SCHEMA,
        id: "run-1".to_owned(),
        actor: "ada".to_owned(),
        url: Some("https://github.com/acme/app/actions/runs/1".to_owned()),
        service: Some(Service { key: Service::key("srv-1"), name: Some("app".to_owned()) }),
        rehearsal: false,
        started: at(10),
        finished: at(70),
        commit: commit.clone(),
        commits: vec![commit],
        steps: vec![Step { name: "lint".to_owned(), outcome: StepOutcome::Passed, milliseconds: 1900 }],
        tests: Some(Tests { passed: 3, failed: 0, skipped: 1 }),
        coverage: Some(Coverage { covered: 9, lines: 10, threshold: 80 }),
        image: Some(Image {
            repository: "docker.io/o/app".to_owned(),
            digest: DIGEST.to_owned(),
            bytes: 3,
            attestations: vec![Attestation {
                artifact_type: Attestation::SBOM.to_owned(),
                digest: DIGEST.to_owned(),
            }],
        }),
        deployment: Some(Deployment {
            kind: DeploymentKind::Deploy,
            environment: "PROD".to_owned(),
            id: Some("dep-1".to_owned()),
            plan: Some("a".repeat(64)),
            started: at(20),
            finished: at(60),
            outcome: DeploymentOutcome::RolledBack,
            reason: Some("the app was never healthy".to_owned()),
            release: Some(release.clone()),
            previous: Some(Release { commit: None, ..release }),
        }),
        under_way: None,
    }
}

#[test]
fn a_report_survives_the_wire() {
    let text = serde_json::to_string(&report()).unwrap();
    assert!(text.contains(r#""started":"2026-01-01T00:00:10.000Z""#), "{text}");
    assert!(text.contains(r#""outcome":"rolled-back""#), "{text}");
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report());
    assert_eq!(report().problems(at(70)), []);
}

#[test]
fn optional_fields_may_be_absent() {
    let bare = Report {
        url: None,
        commits: Vec::new(),
        tests: None,
        coverage: None,
        image: None,
        deployment: None,
        ..report()
    };
    let text = serde_json::to_string(&bare).unwrap();
    assert!(!text.contains("null"), "{text}");
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), bare);
}

/// The start of the deployment that [`report`] reports.
fn start() -> Report {
    let Report { id, deployment, .. } = report();
    let deployment = deployment.unwrap();
    Report {
        id: Report::start_id(&id),
        started: deployment.started,
        finished: deployment.started,
        commits: Vec::new(),
        steps: Vec::new(),
        tests: None,
        coverage: None,
        image: None,
        deployment: None,
        under_way: Some(UnderWay {
            run: id,
            kind: deployment.kind,
            environment: deployment.environment,
            since: deployment.started,
            until: deployment.started.after(Duration::from_secs(3600)),
            release: deployment.release,
        }),
        ..report()
    }
}

#[test]
fn the_start_of_a_deployment_is_a_valid_report_also_for_a_reader_that_does_not_know_it() {
    let text = serde_json::to_string(&start()).unwrap();
    assert!(
        text.contains(r#""id":"run-1-start""#) && text.contains(r#""under_way":{"run":"run-1""#),
        "{text}"
    );
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), start());
    assert_eq!(start().problems(at(20)), []);
    // That reader ignores the field.
    let older = Report { under_way: None, ..start() };
    assert_eq!(older.problems(at(20)), []);
}

#[test]
fn a_start_names_its_problems() {
    let mut bad = Report { deployment: report().deployment, ..start() };
    let under_way = bad.under_way.as_mut().unwrap();
    under_way.run = "a/b".to_owned();
    under_way.kind = DeploymentKind::Other(String::new());
    under_way.environment = String::new();
    under_way.since = at(71 + SKEW.as_secs());
    under_way.until = at(70);
    under_way.release = Some(Release { digest: SHA.to_owned(), commit: Some("dirty".to_owned()) });
    let fields: Vec<_> = bad.problems(at(70)).into_iter().map(|problem| problem.field).collect();
    assert_eq!(
        fields,
        [
            "under_way.since",
            "under_way",
            "under_way.run",
            "under_way.kind",
            "under_way.environment",
            "under_way.until",
            "under_way.release.digest",
            "under_way.release.commit",
        ]
    );
    assert!(!bad.is_timely(at(70)));
    let mut late = start();
    late.under_way.as_mut().unwrap().until = at(21).after(Duration::from_secs(86_400));
    let messages: Vec<_> = late.problems(at(70)).iter().map(ToString::to_string).collect();
    assert_eq!(
        messages,
        ["`under_way.until` must be at most a day after `under_way.since`, and not before it"]
    );
}

/// A report as it was stored before starts were reported.
#[test]
fn a_stored_report_stays_valid_to_the_byte() {
    let stored = include_str!("tests/stored.json").trim_end();
    let read: Report = serde_json::from_str(stored).unwrap();
    assert_eq!((read.problems(at(70)), &read), (Vec::new(), &report()));
    assert_eq!(serde_json::to_string(&read).unwrap(), stored);
}

#[test]
fn every_problem_is_named_with_its_field() {
    let mut bad = report();
    bad.schema = 2;
    bad.id = "a/b".to_owned();
    bad.actor = "two\nlines".to_owned();
    bad.url = Some("javascript:alert(1)".to_owned());
    bad.finished = Time::from_milliseconds(0);
    bad.commit.sha = SHA.to_uppercase();
    bad.commits[0].subject = "x".repeat(201);
    bad.steps[0].name = String::new();
    bad.steps[0].outcome = StepOutcome::Other("\u{1b}[2J".to_owned());
    bad.steps[0].milliseconds = u64::MAX;
    bad.service = Some(Service { key: "srv-1".to_owned(), name: Some(String::new()) });
    bad.coverage = Some(Coverage { covered: 11, lines: 10, threshold: 101 });
    bad.tests = Some(Tests { passed: u64::MAX, failed: 0, skipped: 0 });
    bad.image = Some(Image {
        repository: String::new(),
        digest: SHA.to_owned(),
        bytes: u64::MAX,
        attestations: vec![Attestation { artifact_type: String::new(), digest: SHA.to_owned() }],
    });
    bad.commits[0].author = Some("\n".to_owned());
    let deployment = bad.deployment.as_mut().unwrap();
    deployment.kind = DeploymentKind::Other("x".repeat(41));
    deployment.outcome = DeploymentOutcome::Other(String::new());
    deployment.environment = String::new();
    deployment.id = Some("dep 1".to_owned());
    deployment.plan = Some("a".to_owned());
    deployment.finished = Time::from_milliseconds(0);
    deployment.reason = Some(String::new());
    deployment.release = Some(Release { digest: String::new(), commit: Some("dirty".to_owned()) });
    let fields: Vec<_> = bad.problems(at(70)).into_iter().map(|problem| problem.field).collect();
    assert_eq!(
        fields,
        [
            "schema",
            "id",
            "actor",
            "url",
            "service.key",
            "service.name",
            "finished",
            "deployment.finished",
            "finished",
            "commit.sha",
            "commits[0].subject",
            "commits[0].author",
            "steps[0].name",
            "steps[0].outcome",
            "steps[0].milliseconds",
            "tests.passed",
            "coverage.covered",
            "coverage.threshold",
            "image.repository",
            "image.digest",
            "image.bytes",
            "image.attestations[0].artifact_type",
            "image.attestations[0].digest",
            "deployment.kind",
            "deployment.outcome",
            "deployment.environment",
            "deployment.id",
            "deployment.plan",
            "deployment.finished",
            "deployment.reason",
            "deployment.release.digest",
            "deployment.release.commit",
        ]
    );
    let many = Report {
        commits: vec![report().commit; 101],
        steps: vec![report().steps[0].clone(); 21],
        ..report()
    };
    let messages: Vec<_> = many.problems(at(70)).iter().map(ToString::to_string).collect();
    assert_eq!(messages, ["`commits` must be at most 100", "`steps` must be at most 20"]);
}

#[test]
fn additions_of_a_newer_version_are_accepted() {
    let text = serde_json::to_string(&report()).unwrap();
    let newer = text
        .replace('{', r#"{"added":{"by":"a newer version"},"#)
        .replace(r#""outcome":"passed""#, r#""outcome":"cached""#)
        .replace(r#""outcome":"rolled-back""#, r#""outcome":"paused""#)
        .replace(r#""kind":"deploy""#, r#""kind":"canary""#);
    let read: Report = serde_json::from_str(&newer).unwrap();
    assert_eq!(read.problems(at(70)), []);
    assert_eq!(read.steps[0].outcome, StepOutcome::Other("cached".to_owned()));
    let deployment = read.deployment.as_ref().unwrap();
    assert_eq!(deployment.kind, DeploymentKind::Other("canary".to_owned()));
    assert_eq!(deployment.outcome, DeploymentOutcome::Other("paused".to_owned()));
    // Unknown words survive a round trip.
    let again = serde_json::to_string(&read).unwrap();
    assert!(again.contains(r#""outcome":"paused""#) && again.contains(r#""outcome":"cached""#), "{again}");
}

#[test]
fn reports_of_an_older_version_are_read() {
    let mut old = Report { service: None, ..report() };
    old.commit.author = None;
    old.image.as_mut().unwrap().attestations.clear();
    let text = serde_json::to_string(&old).unwrap();
    assert!(!text.contains("service") && !text.contains("attestations"), "{text}");
    let older = text.replace(r#""threshold""#, r#""floor""#);
    assert_ne!(older, text);
    for text in [text, older] {
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), old);
    }
}

#[test]
fn a_newer_schema_is_rejected_with_a_hint() {
    let newer = Report { schema: 2, ..report() };
    let messages: Vec<_> = newer.problems(at(70)).iter().map(ToString::to_string).collect();
    assert_eq!(messages, ["`schema` must be 1; a newer schema needs a newer version of this program"]);
}

#[test]
fn impossible_times_are_rejected() {
    let skew = SKEW.as_secs();
    assert!(report().is_timely(at(70)));
    // The writer's clock is ahead.
    assert_eq!(Report { finished: at(70 + skew), ..report() }.problems(at(70)), []);
    let fields = |report: &Report| {
        assert!(!report.is_timely(at(70)));
        report.problems(at(70)).into_iter().map(|problem| problem.field).collect::<Vec<_>>()
    };
    assert_eq!(fields(&Report { finished: at(71 + skew), ..report() }), ["finished"]);
    let before = Time::from_milliseconds(Time::EARLIEST.milliseconds() - 1);
    assert_eq!(fields(&Report { started: before, ..report() }), ["started"]);
    let mut later = report();
    later.deployment.as_mut().unwrap().finished = Time::from_milliseconds(u64::MAX);
    assert_eq!(fields(&later), ["deployment.finished"]);
    // The times of commits are not checked.
    let mut odd = report();
    odd.commit.time = Time::from_milliseconds(0);
    odd.commits[0].time = Time::from_milliseconds(u64::MAX);
    assert_eq!(odd.problems(at(70)), []);
}

#[test]
fn the_key_of_a_service_does_not_reveal_its_id() {
    assert_eq!(Service::key(" srv-1\n"), Service::key("srv-1"));
    assert_ne!(Service::key("srv-1"), Service::key("srv-2"));
    assert!(!Service::key("srv-1").contains("srv"));
}

#[test]
fn malformed_times_are_rejected() {
    let text = serde_json::to_string(&report()).unwrap();
    for time in ["yesterday", "1969-12-31T23:59:59Z", "2026-01-01 00:00:10", "2026-02-30T00:00:00Z"] {
        let bad = text.replace("2026-01-01T00:00:10.000Z", time);
        assert!(
            serde_json::from_str::<Report>(&bad).unwrap_err().to_string().contains("must look like"),
            "{time}"
        );
    }
}

#[test]
fn times_stay_within_rfc_3339() {
    use std::time::{SystemTime, UNIX_EPOCH};
    assert_eq!(Time::from_milliseconds(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    assert_eq!(Time::from(UNIX_EPOCH - Duration::from_secs(1)).milliseconds(), 0);
    let at = Time::from_milliseconds(1500);
    assert_eq!(Time::from(SystemTime::from(at)), at);
    assert_eq!(at.after(Duration::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    assert_eq!(at.since(Time::from_milliseconds(500)), Duration::from_secs(1));
    assert_eq!(Time::from_milliseconds(500).since(at), Duration::ZERO);
}
