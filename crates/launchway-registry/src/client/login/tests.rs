use super::*;
use crate::testing::{
    BASIC, USERNAME, account, anonymous, latest, latest_of, logged_in, plain, quick, repository, scripted,
    session, wants_basic,
};
use crate::{Access, Digest, Logins, Manifest, Tag};
use launchway_core::exit::Exit;
use launchway_fakes::Reply;
use launchway_fakes::registry::Scripted;

#[test]
fn a_registry_without_a_login_gets_no_credentials() {
    let server = plain();
    server.set_tag("latest", b"{}").unwrap();
    assert_eq!(latest_of(&server, logged_in(&server), Access::Push).unwrap(), Some(Digest::of(b"{}")));
    assert_eq!(server.lines(), ["HEAD manifests/latest"]);
    assert_eq!(server.requests()[0].header("authorization"), "");
}

#[test]
fn a_login_is_sent_on_a_challenge_and_remembered() {
    let server = scripted(|request, _| wants_basic(request));
    let client = quick(session(logged_in(&server)), Access::Push);
    assert_eq!(client.digest(&repository(&server), &latest()).unwrap(), None);
    assert_eq!(client.digest(&repository(&server), &latest()).unwrap(), None);
    let sent: Vec<String> =
        server.requests().iter().map(|request| request.header("authorization").to_owned()).collect();
    assert_eq!(sent, ["", BASIC, BASIC]);
}

#[test]
fn a_wrong_password_is_named() {
    let server = scripted(|_, _| Some(Reply::challenge("Basic realm=x")));
    let client = quick(session(logged_in(&server)), Access::Push);
    let manifest = Manifest::new("a/b", b"{}".to_vec());
    let error = client.tag(&repository(&server), &Tag::latest(), &manifest).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert_eq!(
        error.to_string(),
        format!(
            "the registry at {0} rejected the user name or token (UNAUTHORIZED: authentication required): \
             THE_USERNAME or THE_TOKEN is wrong or has expired; set THE_USERNAME and THE_TOKEN \
             (where to get a token: hub.example.com → Tokens), or run `docker login {0}`",
            server.host()
        )
    );
    // An account that is tried too often gets locked.
    assert_eq!(server.lines().len(), 2);
}

#[test]
fn a_password_that_stops_working_is_not_tried_twice() {
    let server =
        scripted(
            |request, before| {
                if before > 1 { Some(Reply::challenge("Basic realm=x")) } else { wants_basic(request) }
            },
        );
    let client = quick(session(logged_in(&server)), Access::Push);
    client.digest(&repository(&server), &latest()).unwrap();
    let error = client.digest(&repository(&server), &latest()).unwrap_err();
    assert!(error.to_string().contains("rejected the user name or token"), "{error}");
    assert_eq!(server.lines().len(), 3);
}

#[test]
fn without_credentials_the_hint_says_what_to_do() {
    let server = scripted(|_, _| Some(Reply::challenge("Basic realm=x")));
    let error = latest_of(&server, anonymous(), Access::Push).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Missing);
    assert!(error.to_string().contains("requires a login to read `latest`"), "{error}");
    let hint = format!(": run `docker login {}`", server.host());
    assert!(error.to_string().ends_with(&hint), "{error}");
}

/// A registry with tokens: `/token` gives `t0`, `t1`, …; `accepts` says whether a token is taken.
fn with_tokens(accepts: impl Fn(&str) -> bool + Send + Sync + 'static) -> Scripted {
    scripted(move |request, before| {
        if request.target.starts_with("/token") {
            let wrong = !matches!(request.header("authorization"), "" | BASIC);
            return Some(if wrong {
                Reply::new(401).body(r#"{"details":"incorrect username or password"}"#)
            } else {
                Reply::new(200).body(format!(r#"{{"token":"t{before}"}}"#))
            });
        }
        let token = request.header("authorization").trim_start_matches("Bearer ");
        let host = request.header("host");
        (!accepts(token)).then(|| {
            Reply::challenge(format!(
                r#"Bearer realm="http://{host}/token",service="s",scope="repository:acme/base:pull""#
            ))
        })
    })
}

#[test]
fn one_token_carries_every_scope() {
    let server = with_tokens(|token| token == "t0");
    let client = quick(session(logged_in(&server)), Access::Push);
    for _ in 0..2 {
        client.digest(&repository(&server), &latest()).unwrap();
    }
    let manifests = "/v2/acme/app/manifests/latest";
    let token =
        "/token?service=s&scope=repository%3Aacme%2Fapp%3Apull%2Cpush&scope=repository%3Aacme%2Fbase%3Apull";
    let sent: Vec<(String, String)> = server
        .requests()
        .iter()
        .map(|request| (request.target.clone(), request.header("authorization").to_owned()))
        .collect();
    let expected = [(manifests, ""), (token, BASIC), (manifests, "Bearer t0"), (manifests, "Bearer t0")];
    assert_eq!(sent, expected.map(|(target, sent)| (target.to_owned(), sent.to_owned())));
}

#[test]
fn a_token_that_expires_is_replaced_once() {
    let uses = std::sync::atomic::AtomicUsize::new(0);
    let server = with_tokens(move |token| match token {
        "t0" => uses.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0,
        token => token == "t1",
    });
    let client = quick(session(logged_in(&server)), Access::Push);
    for _ in 0..3 {
        client.digest(&repository(&server), &latest()).unwrap();
    }
    assert_eq!(server.count("GET", "/token"), 2);
}

#[test]
fn a_token_that_never_helps_is_a_matter_of_permission() {
    let server = with_tokens(|_| false);
    let error = latest_of(&server, logged_in(&server), Access::Push).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert!(error.to_string().contains("does not let this account read `latest`"), "{error}");
    assert_eq!(server.count("GET", "/token"), 1);
}

#[test]
fn a_token_server_may_refuse_the_password() {
    let server = with_tokens(|_| false);
    let wrong = account(&server.host(), Some(USERNAME), Some("wrong-password"));
    let wrong = Logins { account: Some(wrong), ..Logins::default() };
    let error = latest_of(&server, wrong, Access::Push).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    let error = error.to_string();
    assert!(error.contains("rejected the user name or token (incorrect username or password)"), "{error}");
    assert!(!error.contains("wrong-password"), "{error}");
}

#[test]
fn what_is_public_is_read_with_an_anonymous_token() {
    let server = with_tokens(|token| token == "t0");
    server.set_tag("latest", b"{}").unwrap();
    let found = latest_of(&server, anonymous(), Access::Pull).unwrap();
    assert_eq!(found, Some(Digest::of(b"{}")));
    let token = &server.requests()[1];
    assert_eq!(token.header("authorization"), "");
    assert!(token.target.contains("scope=repository%3Aacme%2Fapp%3Apull&"), "{}", token.target);
}

#[test]
fn a_token_server_may_be_busy_or_broken() {
    let server = scripted(|request, before| {
        if !request.target.starts_with("/token") {
            let host = request.header("host");
            return Some(Reply::challenge(format!("Bearer realm=\"http://{host}/token\"")));
        }
        Some(if before == 0 { Reply::new(503) } else { Reply::new(200).body("{}") })
    });
    let error = latest_of(&server, logged_in(&server), Access::Push).unwrap_err();
    assert_eq!(error.to_string(), format!("the token server at {} sent no token", server.host()));
    assert_eq!(server.count("GET", "/token"), 2);
}

#[test]
fn a_realm_that_leaks_is_refused() {
    let server = scripted(|_, _| Some(Reply::challenge(r#"Bearer realm="http://auth.example.com/token""#)));
    let error = latest_of(&server, logged_in(&server), Access::Push).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert!(error.to_string().contains("`auth.example.com` is not https"), "{error}");
}

#[test]
fn another_origin_gets_no_credentials_even_when_it_asks() {
    let server = scripted(|request, _| wants_basic(request));
    let other = scripted(|_, _| Some(Reply::challenge("Basic realm=x")));
    let client = quick(session(logged_in(&server)), Access::Push);
    client.digest(&repository(&server), &latest()).unwrap();
    let repository = repository(&server);
    let elsewhere = Url::parse(&format!("http://{}/v2/acme/app/x", other.host())).unwrap();
    let request = crate::client::Request {
        repository: &repository,
        source: None,
        method: Method::PUT,
        url: elsewhere,
        action: "upload".to_owned(),
        prepare: &|request| Ok(request),
    };
    client.send(&request).unwrap_err();
    let sent: Vec<String> =
        other.requests().iter().map(|request| request.header("authorization").to_owned()).collect();
    assert_eq!(sent, [""]);
}

#[test]
fn a_token_server_may_refuse_everybody() {
    let server = scripted(|request, _| {
        let host = request.header("host");
        Some(if request.target.starts_with("/token") {
            Reply::new(401)
        } else {
            Reply::challenge(format!("Bearer realm=\"http://{host}/token\""))
        })
    });
    let error = latest_of(&server, anonymous(), Access::Pull).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Missing);
    assert!(error.to_string().contains("requires a login to get a token"), "{error}");
}
