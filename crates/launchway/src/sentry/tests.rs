use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

use super::*;
use launchway_core::environment::Environment;
use launchway_core::events::Event;

/// What was asked of a Sentry that answers everything with this status: one line and the body each.
fn asked(status: u16, variables: &[(&str, &str)], act: impl FnOnce(&Context)) -> (Vec<String>, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let (mut head, mut line, mut length) = (String::new(), String::new(), 0);
            while reader.read_line(&mut line).unwrap() > 2 {
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
                if head.is_empty() || line.starts_with("authorization: ") {
                    head.push_str(line.trim_end());
                    head.push(' ');
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            tell.send(head.replace(" HTTP/1.1", "") + &String::from_utf8(body).unwrap()).ok();
            let answer = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 4\r\n\r\nsaid");
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture");
    let environment = Environment::of(variables.iter().copied()).with(Environment::of([("SENTRY_URL", url)]));
    let ctx = Context::for_test(&root, environment);
    act(&ctx);
    let words = |event: Event| match event {
        Event::Note { text } => Some(text),
        Event::CheckSkipped { check, reason } => Some(format!("skipped {check}: {reason}")),
        _ => None,
    };
    (told.try_iter().collect(), ctx.reporter.events().into_iter().filter_map(words).collect())
}

const SET: [(&str, &str); 3] =
    [("SENTRY_AUTH_TOKEN", "sntrys_token"), ("SENTRY_ORG", "acme"), ("SENTRY_PROJECT", "board")];

fn at(seconds: u64) -> Time {
    Time::from_milliseconds((1_767_225_600 + seconds) * 1000)
}

#[test]
fn a_release_is_made_finalised_and_recorded_as_deployed() {
    let commit = Commit { sha: "a".repeat(40), time: at(0), subject: "Say why".to_owned(), author: None };
    let (asked, told) = asked(201, &SET, |ctx| {
        announce(ctx, &[commit]);
        deployed(ctx, Kind::Deploy, &ctx.git.commit, at(1), "production");
    });
    // When it ended is now.
    let ended = asked[1].split('"').nth(3).unwrap();
    insta::assert_snapshot!(asked.join("\n").replace(ended, "[now]"), @r#"
    POST /api/0/organizations/acme/releases/ authorization: Bearer sntrys_token {"commits":[{"id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","message":"Say why","timestamp":"2026-01-01T00:00:00.000Z"}],"projects":["board"],"version":"app@0.1.0+0123456789ab"}
    PUT /api/0/organizations/acme/releases/app@0.1.0%2B0123456789ab/ authorization: Bearer sntrys_token {"dateReleased":"[now]","projects":["board"]}
    POST /api/0/organizations/acme/releases/app@0.1.0%2B0123456789ab/deploys/ authorization: Bearer sntrys_token {"dateFinished":"[now]","dateStarted":"2026-01-01T00:00:01.000Z","environment":"production","projects":["board"]}
    "#);
    assert_eq!(
        told,
        [
            "Sentry release app@0.1.0+0123456789ab with 1 commit",
            "Sentry knows of the deploy of app@0.1.0+0123456789ab to production"
        ]
    );
}

#[test]
fn a_rollback_is_a_deploy_of_the_older_release() {
    let roll_back = |ctx: &Context| deployed(ctx, Kind::Rollback, &"b".repeat(40), at(1), "production");
    let (asked, told) = asked(201, &SET, roll_back);
    assert_eq!(asked.len(), 1);
    assert!(
        asked[0].starts_with("POST /api/0/organizations/acme/releases/app@0.1.0%2Bbbbbbbbbbbbb/deploys/"),
        "{asked:?}"
    );
    assert_eq!(told, ["Sentry knows of the deploy of app@0.1.0+bbbbbbbbbbbb to production"]);
}

#[test]
fn a_sentry_that_does_not_want_to_is_a_skip() {
    for (status, said) in [
        (
            401,
            "skipped Sentry release: Sentry refuses `SENTRY_AUTH_TOKEN`: it needs the scope `project:releases` (or `org:ci`)",
        ),
        (
            404,
            "skipped Sentry release: Sentry does not find it: look at `SENTRY_ORG` and `SENTRY_PROJECT`: said",
        ),
        (500, "skipped Sentry release: Sentry answers 500 Internal Server Error: said"),
    ] {
        let (_, told) = asked(status, &SET, |ctx| announce(ctx, &[]));
        assert_eq!(told, [said]);
    }
}

#[test]
fn without_its_variables_nobody_is_asked() {
    let (asked_of, told) = asked(201, &[], |ctx| announce(ctx, &[]));
    assert!(asked_of.is_empty() && told.is_empty());
    let (asked_of, told) = asked(201, &SET[..1], |ctx| announce(ctx, &[]));
    assert!(asked_of.is_empty());
    assert_eq!(told, ["skipped Sentry release: not set: SENTRY_ORG, SENTRY_PROJECT"]);
}
