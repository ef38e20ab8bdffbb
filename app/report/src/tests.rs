use super::*;

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn report() -> Report {
    let at = |seconds: u64| Time::from_milliseconds(1_767_225_600_000 + seconds * 1000);
    let commit = Commit { sha: SHA.to_owned(), time: at(0), subject: "Say why".to_owned() };
    let release = Release { digest: DIGEST.to_owned(), commit: Some(format!("{SHA}-dirty")) };
    Report {
        schema: SCHEMA,
        id: "run-1".to_owned(),
        actor: "ada".to_owned(),
        url: Some("https://github.com/slipway/app/actions/runs/1".to_owned()),
        rehearsal: false,
        started: at(10),
        finished: at(70),
        commit: commit.clone(),
        commits: vec![commit],
        steps: vec![Step { name: "lint".to_owned(), outcome: StepOutcome::Passed, milliseconds: 1900 }],
        tests: Some(Tests { passed: 3, failed: 0, skipped: 1 }),
        coverage: Some(Coverage { covered: 9, lines: 10, floor: 80 }),
        image: Some(Image { repository: "docker.io/o/app".to_owned(), digest: DIGEST.to_owned(), bytes: 3 }),
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
    }
}

#[test]
fn a_report_survives_the_wire() {
    let text = serde_json::to_string(&report()).unwrap();
    assert!(text.contains(r#""started":"2026-01-01T00:00:10.000Z""#), "{text}");
    assert!(text.contains(r#""outcome":"rolled-back""#), "{text}");
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report());
    assert_eq!(report().problems(), []);
}

#[test]
fn what_is_optional_may_be_absent() {
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
    bad.steps[0].milliseconds = u64::MAX;
    bad.coverage = Some(Coverage { covered: 11, lines: 10, floor: 101 });
    bad.tests = Some(Tests { passed: u64::MAX, failed: 0, skipped: 0 });
    bad.image = Some(Image { repository: String::new(), digest: SHA.to_owned(), bytes: u64::MAX });
    let deployment = bad.deployment.as_mut().unwrap();
    deployment.environment = String::new();
    deployment.id = Some("dep 1".to_owned());
    deployment.plan = Some("a".to_owned());
    deployment.finished = Time::from_milliseconds(0);
    deployment.reason = Some(String::new());
    deployment.release = Some(Release { digest: String::new(), commit: Some("dirty".to_owned()) });
    let fields: Vec<_> = bad.problems().into_iter().map(|problem| problem.field).collect();
    assert_eq!(
        fields,
        [
            "schema",
            "id",
            "actor",
            "url",
            "finished",
            "commit.sha",
            "commits[0].subject",
            "steps[0].name",
            "steps[0].milliseconds",
            "tests.passed",
            "coverage.covered",
            "coverage.floor",
            "image.repository",
            "image.digest",
            "image.bytes",
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
    let said: Vec<_> = many.problems().iter().map(ToString::to_string).collect();
    assert_eq!(said, ["`commits` must be at most 100", "`steps` must be at most 20"]);
}

#[test]
fn what_is_not_known_and_what_is_no_time_is_refused() {
    let text = serde_json::to_string(&report()).unwrap();
    let more = text.replacen('{', r#"{"more":1,"#, 1);
    assert!(serde_json::from_str::<Report>(&more).unwrap_err().to_string().contains("unknown field `more`"));
    for time in ["yesterday", "1969-12-31T23:59:59Z", "2026-01-01 00:00:10", "2026-02-30T00:00:00Z"] {
        let bad = text.replace("2026-01-01T00:00:10.000Z", time);
        assert!(
            serde_json::from_str::<Report>(&bad).unwrap_err().to_string().contains("must look like"),
            "{time}"
        );
    }
}

#[test]
fn a_time_stays_within_what_can_be_written() {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};
    assert_eq!(Time::from_milliseconds(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    assert_eq!(Time::from(UNIX_EPOCH - Duration::from_secs(1)).milliseconds(), 0);
    let at = Time::from_milliseconds(1500);
    assert_eq!(Time::from(SystemTime::from(at)), at);
    assert_eq!(at.since(Time::from_milliseconds(500)), Duration::from_secs(1));
    assert_eq!(Time::from_milliseconds(500).since(at), Duration::ZERO);
}
