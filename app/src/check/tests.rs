//! Every check with a finding and without, and the output.

use super::*;

const SECRET: &str = "tK7vQ2xW9mZ4pL8sR3bN6cF1yH5jD0gT7uA2eX4wM9qVz5Jk8BrU";
const GOOD: [(&str, &str); 6] = [
    ("SERVER_TYPE", "PROD"),
    ("HOSTS", "example.com"),
    ("SECRET_KEY", SECRET),
    ("SENTRY_DSN", "https://key@o1.ingest.sentry.io/42"),
    ("DATABASE", "/var/data/board.sqlite"),
    ("APP_COMMIT", "0123456789abcdef0123456789abcdef01234567"),
];

/// The findings of `app check --deploy`, or without it, with some variables added or replaced.
fn check(deploy: bool, changes: &[(&str, &str)]) -> Vec<(&'static str, Severity)> {
    let kept = GOOD.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| name != changed));
    let variables: Vec<_> = kept.chain(changes).copied().collect();
    let environment =
        |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
    let names: Vec<String> = variables.iter().map(|(name, _)| (*name).to_owned()).collect();
    run(&environment, &names, deploy).iter().map(|finding| (finding.id, finding.severity)).collect()
}

#[test]
fn a_good_environment_has_no_findings() {
    assert_eq!(check(true, &[]), []);
    assert_eq!(check(false, &[]), []);
}

#[test]
fn a_deploy_follows_the_rules_of_a_prod_server() {
    use Severity::{Error, Warning};
    for (change, found) in [
        (("SECRET_KEY", ""), ("security.W009", Error)),
        (
            ("SECRET_KEY_FALLBACKS", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,"),
            ("security.W025", Error),
        ),
        (("HOSTS", " , "), ("security.W020", Error)),
        (("HOSTS", "*"), ("app.R111", Warning)),
        (("SENTRY_DSN", "https://key@host/project"), ("app.R101", Error)),
        (("SENTRY_DSN", ""), ("app.R101", Warning)),
        (("RENDER_EXTERNAL_HOSTNAME", "https://x"), ("app.R102", Error)),
        (("DATABASE", ""), ("app.R103", Warning)),
        (("DATABASE", "postgres://u:p@db/app"), ("app.R103", Error)),
        (("DATABASE", "/tmp/board.sqlite"), ("app.R103", Warning)),
        (("DATABASE", "board.sqlite"), ("app.R103", Warning)),
        (("APP_COMMIT", ""), ("app.R104", Warning)),
        (("APP_IMAGE_DIGEST", "latest"), ("app.R104", Error)),
        (("PORT", "http"), ("app.R105", Error)),
        (("LISTEN", "here"), ("app.R105", Error)),
        (("SSL_VERIFY", "False"), ("app.R107", Error)),
        (("SENTRY_DNS", "https://key@host/1"), ("app.R108", Error)),
        (("SERVER_TYPE", "STAGE"), ("app.R109", Error)),
        (("DRAIN", "6min"), ("app.R110", Error)),
        (("SERVER_TYPE", "TEST"), ("security.W018", Warning)),
    ] {
        let findings = check(true, &[change]);
        assert!(
            !findings.is_empty() && findings.iter().all(|other| *other == found),
            "{change:?}: {findings:?}"
        );
    }
    // A deploy does not get the defaults of a TEST server.
    let weak = check(true, &[("SERVER_TYPE", "TEST"), ("SECRET_KEY", "hunter2"), ("HOSTS", "")]);
    assert!(weak.contains(&("security.W009", Error)) && weak.contains(&("security.W020", Error)), "{weak:?}");
}

#[test]
fn without_deploy_only_the_settings_are_checked() {
    let findings = check(
        false,
        &[("SERVER_TYPE", "TEST"), ("HOSTS", ""), ("SENTRY_DNS", "x"), ("SSL_VERIFY", "0"), ("DATABASE", "")],
    );
    assert_eq!(findings, [("app.R108", Severity::Warning)]);
}

#[test]
fn a_clock_that_is_years_off_is_found() {
    let first = humantime::parse_rfc3339("2026-01-01T00:00:00Z").unwrap();
    assert_eq!(clock(first), None);
    assert!(clock(first - Duration::from_secs(1)).is_some());
    let found = clock(UNIX_EPOCH).unwrap();
    assert_eq!((found.id, found.message.as_str()), ("app.R106", "the clock shows 1970-01-01T00:00:00Z"));
}

#[test]
fn findings_are_printed_as_text_and_as_json() {
    let problem = |id| Problem {
        id,
        variable: "PORT".to_owned(),
        wrong: "is \"odd\"".to_owned(),
        hint: "use another".to_owned(),
    };
    let findings = [
        Finding::new(Severity::Error, problem("app.R105")),
        Finding::new(Severity::Warning, problem("security.W009")),
    ];
    assert_eq!(
        text(&findings),
        "error   app.R105       PORT is \"odd\"\n                       use another\n\
         warning security.W009  PORT is \"odd\"\n                       use another\n\n1 error, 1 warning\n"
    );
    assert_eq!(
        json(&findings[..1]).unwrap(),
        r#"[{"id":"app.R105","severity":"error","message":"PORT is \"odd\"","hint":"use another"}]"#
    );
    assert!(!passes(&findings) && passes(&findings[1..]));
    assert_eq!(text(&[]), "no problems found\n");
    assert_eq!(json(&[]).unwrap(), "[]");
    let two = [findings[0].clone(), findings[0].clone()];
    assert!(text(&two).ends_with("\n2 errors, 0 warnings\n"));
}
