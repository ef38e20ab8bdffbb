use std::path::Path;

use super::super::Manifest;
use super::super::testing::{Reply, Request, Server};
use super::*;
use launchway_core::environment::Environment;
use launchway_core::exit::Exit;
use launchway_registry::{Digest, Reference, Tag};

const VARIABLES: [(&str, &str); 2] = [("DOCKERHUB_USERNAME", "me"), ("DOCKERHUB_TOKEN", "hunter2-hunter2")];

/// `me:hunter2-hunter2`.
const BASIC: &str = "Basic bWU6aHVudGVyMi1odW50ZXIy";

fn root() -> &'static Path {
    Path::new("/nonexistent")
}

fn latest() -> Reference {
    Reference::Tag(Tag::latest())
}

/// What `latest` names on a server, asked with these variables.
fn ask(server: &Server, variables: &[(&str, &str)], access: Access) -> Result<Option<Digest>> {
    let ctx = server.context(root(), variables);
    Client::new(&ctx, access)?.hurried().digest(&server.repository(), &latest())
}

fn wants_basic(request: &Request) -> Option<Reply> {
    (request.header("authorization") != BASIC).then(|| Reply::challenge(r#"Basic realm="x, y""#))
}

#[test]
fn a_registry_without_a_login_gets_no_credentials() {
    let server = Server::plain();
    server.set_tag("latest", b"{}");
    assert_eq!(ask(&server, &VARIABLES, Access::Push).unwrap(), Some(Digest::of(b"{}")));
    assert_eq!(server.lines(), ["HEAD manifests/latest"]);
    assert_eq!(server.seen()[0].header("authorization"), "");
}

#[test]
fn a_challenge_is_answered_and_remembered() {
    let server = Server::twisted(|request, _| wants_basic(request));
    let ctx = server.context(root(), &VARIABLES);
    let client = Client::new(&ctx, Access::Push).unwrap().hurried();
    assert_eq!(client.digest(&server.repository(), &latest()).unwrap(), None);
    assert_eq!(client.digest(&server.repository(), &latest()).unwrap(), None);
    let sent: Vec<String> =
        server.seen().iter().map(|request| request.header("authorization").to_owned()).collect();
    assert_eq!(sent, ["", BASIC, BASIC]);
}

#[test]
fn a_wrong_password_is_said_to_be_wrong() {
    let server = Server::twisted(|_, _| Some(Reply::challenge("Basic realm=x")));
    let ctx = server.context(root(), &VARIABLES);
    let client = Client::new(&ctx, Access::Push).unwrap().hurried();
    let manifest =
        Manifest { digest: Digest::of(b"{}"), media_type: "a/b".to_owned(), bytes: b"{}".to_vec() };
    let error = client.tag(&server.repository(), &Tag::latest(), &manifest).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert_eq!(
        error.to_string(),
        format!(
            "the registry at {0} refused the user name or token (UNAUTHORIZED: authentication required): \
             DOCKERHUB_USERNAME or DOCKERHUB_TOKEN is wrong or has expired; set DOCKERHUB_USERNAME and DOCKERHUB_TOKEN \
             to an account of that registry, or run `docker login {0}`",
            server.host()
        )
    );
    // An account that is tried too often gets locked.
    assert_eq!(server.lines().len(), 2);
}

#[test]
fn a_password_that_stops_working_is_not_tried_twice() {
    let server = Server::twisted(|request, before| {
        if before > 1 { Some(Reply::challenge("Basic realm=x")) } else { wants_basic(request) }
    });
    let ctx = server.context(root(), &VARIABLES);
    let client = Client::new(&ctx, Access::Push).unwrap().hurried();
    client.digest(&server.repository(), &latest()).unwrap();
    let error = client.digest(&server.repository(), &latest()).unwrap_err();
    assert!(error.to_string().contains("refused the user name or token"), "{error}");
    assert_eq!(server.lines().len(), 3);
}

#[test]
fn without_credentials_the_way_out_is_named() {
    let server = Server::twisted(|_, _| Some(Reply::challenge("Basic realm=x")));
    let error = ask(&server, &[], Access::Push).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Missing);
    assert!(error.to_string().contains("wants a login to read `latest`"), "{error}");
    assert!(error.to_string().contains("set DOCKERHUB_USERNAME and DOCKERHUB_TOKEN"), "{error}");
}

/// A registry with tokens: `/token` gives `t0`, `t1`, …; `accepts` says whether a token is taken.
fn with_tokens(accepts: impl Fn(&str) -> bool + Send + Sync + 'static) -> Server {
    Server::twisted(move |request, before| {
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
    let ctx = server.context(root(), &VARIABLES);
    let client = Client::new(&ctx, Access::Push).unwrap().hurried();
    for _ in 0..2 {
        client.digest(&server.repository(), &latest()).unwrap();
    }
    let manifests = "/v2/acme/app/manifests/latest";
    let token =
        "/token?service=s&scope=repository%3Aacme%2Fapp%3Apull%2Cpush&scope=repository%3Aacme%2Fbase%3Apull";
    let sent: Vec<(String, String)> = server
        .seen()
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
    let ctx = server.context(root(), &VARIABLES);
    let client = Client::new(&ctx, Access::Push).unwrap().hurried();
    for _ in 0..3 {
        client.digest(&server.repository(), &latest()).unwrap();
    }
    assert_eq!(server.count("GET", "/token"), 2);
}

#[test]
fn a_token_that_never_helps_is_a_matter_of_permission() {
    let server = with_tokens(|_| false);
    let error = ask(&server, &VARIABLES, Access::Push).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert!(error.to_string().contains("does not let this account read `latest`"), "{error}");
    assert_eq!(server.count("GET", "/token"), 1);
}

#[test]
fn a_token_server_may_refuse_the_password() {
    let server = with_tokens(|_| false);
    let wrong = [VARIABLES[0], ("DOCKERHUB_TOKEN", "wrong-password")];
    let error = ask(&server, &wrong, Access::Push).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    let error = error.to_string();
    assert!(error.contains("refused the user name or token (incorrect username or password)"), "{error}");
    assert!(!error.contains("wrong-password"), "{error}");
}

#[test]
fn what_is_public_is_read_with_an_anonymous_token() {
    let server = with_tokens(|token| token == "t0");
    server.set_tag("latest", b"{}");
    let ctx = server.context(root(), &[]);
    let found = super::super::resolve(&ctx, &server.repository(), &latest()).unwrap();
    assert_eq!(found, Some(Digest::of(b"{}")));
    let token = &server.seen()[1];
    assert_eq!(token.header("authorization"), "");
    assert!(token.target.contains("scope=repository%3Aacme%2Fapp%3Apull&"), "{}", token.target);
}

#[test]
fn a_token_server_may_be_busy_or_broken() {
    let server = Server::twisted(|request, before| {
        if !request.target.starts_with("/token") {
            let host = request.header("host");
            return Some(Reply::challenge(format!("Bearer realm=\"http://{host}/token\"")));
        }
        Some(if before == 0 { Reply::new(503) } else { Reply::new(200).body("{}") })
    });
    let error = ask(&server, &VARIABLES, Access::Push).unwrap_err();
    assert_eq!(error.to_string(), format!("the token server at {} sent no token", server.host()));
    assert_eq!(server.count("GET", "/token"), 2);
}

#[test]
fn a_realm_that_leaks_is_refused() {
    let server =
        Server::twisted(|_, _| Some(Reply::challenge(r#"Bearer realm="http://auth.example.com/token""#)));
    let error = ask(&server, &VARIABLES, Access::Push).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert!(error.to_string().contains("`auth.example.com` is not https"), "{error}");
}

#[test]
fn too_many_requests_are_made_again_when_asked_to() {
    let server =
        Server::twisted(|_, before| (before == 0).then(|| Reply::new(429).header("Retry-After", "1")));
    let started = std::time::Instant::now();
    assert_eq!(ask(&server, &[], Access::Push).unwrap(), None);
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(server.lines().len(), 2);
}

#[test]
fn a_registry_that_keeps_failing_is_given_up() {
    let server = Server::twisted(|_, _| Some(Reply::new(500)));
    let error = ask(&server, &[], Access::Push).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    let expected = format!("{} answered 500 Internal Server Error; tried 5 times", server.host());
    assert_eq!(error.to_string(), expected);
    assert_eq!(server.lines().len(), 5);
}

#[test]
fn nobody_there_is_an_error_without_the_address() {
    let host = {
        let server = Server::plain();
        server.host()
    };
    let repository: Repository = format!("{host}/acme/app").parse().unwrap();
    let ctx = Context::for_test(root(), launchway_core::environment::Environment::default());
    let error =
        Client::new(&ctx, Access::Pull).unwrap().hurried().digest(&repository, &latest()).unwrap_err();
    let error = error.to_string();
    assert!(error.starts_with(&format!("no response from {host}: ")), "{error}");
    assert!(error.contains("refused") && !error.contains("/v2/"), "{error}");
}

#[test]
fn without_the_digest_header_the_manifest_is_hashed() {
    let server = Server::twisted(|request, _| match request.method.as_str() {
        "HEAD" => Some(Reply::new(200)),
        _ => Some(Reply::new(200).body(r#"{"schemaVersion":2}"#)),
    });
    assert_eq!(ask(&server, &[], Access::Pull).unwrap(), Some(Digest::of(br#"{"schemaVersion":2}"#)));
    assert_eq!(server.lines(), ["HEAD manifests/latest", "GET manifests/latest"]);
    assert!(server.seen()[1].header("accept").contains("application/vnd.oci.image.manifest.v1+json"));

    let gone = Server::twisted(|request, _| (request.method == "HEAD").then(|| Reply::new(200)));
    assert_eq!(ask(&gone, &[], Access::Pull).unwrap(), None);
}

#[test]
fn a_digest_header_must_be_one() {
    let server = Server::twisted(|_, _| Some(Reply::new(200).header("Docker-Content-Digest", "md5:1")));
    let error = ask(&server, &[], Access::Pull).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert!(error.to_string().contains("names no valid digest for `latest`"), "{error}");
}

#[test]
fn a_redirect_is_followed_on_the_same_origin_with_the_login() {
    let server = Server::twisted(|request, _| {
        wants_basic(request).or_else(|| {
            request.target.contains("/manifests/").then(|| Reply::new(307).header("Location", "/elsewhere"))
        })
    });
    assert_eq!(ask(&server, &VARIABLES, Access::Pull).unwrap(), None);
    assert_eq!(server.seen()[2].target, "/elsewhere");
    assert_eq!(server.seen()[2].header("authorization"), BASIC);
}

#[test]
fn a_redirect_to_another_server_of_this_machine_is_refused() {
    let other = Server::plain();
    let place = format!("http://{}/secret", other.host());
    let server = Server::twisted(move |_, _| Some(Reply::new(307).header("Location", place.clone())));
    let error = ask(&server, &VARIABLES, Access::Pull).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert!(error.to_string().contains("sends us to `127.0.0.1` without https"), "{error}");
    assert!(other.lines().is_empty());
}

#[test]
fn a_circle_of_redirects_ends() {
    let server = Server::twisted(|_, _| Some(Reply::new(302).header("Location", "?again")));
    let error = ask(&server, &[], Access::Pull).unwrap_err();
    assert!(error.to_string().contains("answered 302 Found when asked to read `latest`"), "{error}");
    assert_eq!(server.lines().len(), 4);
}

#[test]
fn another_origin_gets_no_credentials_even_when_it_asks() {
    let server = Server::twisted(|request, _| wants_basic(request));
    let other = Server::twisted(|_, _| Some(Reply::challenge("Basic realm=x")));
    let ctx = server.context(root(), &VARIABLES);
    let client = Client::new(&ctx, Access::Push).unwrap().hurried();
    client.digest(&server.repository(), &latest()).unwrap();
    let repository = server.repository();
    let elsewhere = Url::parse(&format!("http://{}/v2/acme/app/x", other.host())).unwrap();
    let ask = Ask {
        repository: &repository,
        source: None,
        method: Method::PUT,
        url: elsewhere,
        action: "upload".to_owned(),
        dress: &|request| Ok(request),
    };
    client.send(&ask).unwrap_err();
    let sent: Vec<String> =
        other.seen().iter().map(|request| request.header("authorization").to_owned()).collect();
    assert_eq!(sent, [""]);
}

#[test]
fn an_answer_that_breaks_off_is_asked_for_again() {
    let server = Server::twisted(|request, before| match request.method.as_str() {
        "HEAD" => Some(Reply::new(200)),
        // Promises more than it sends.
        _ if before == 0 => Some(Reply::new(200).header("Content-Length", "99").body("{}")),
        _ => Some(Reply::new(200).body(r#"{"schemaVersion":2}"#)),
    });
    assert_eq!(ask(&server, &[], Access::Pull).unwrap(), Some(Digest::of(br#"{"schemaVersion":2}"#)));
    assert_eq!(server.count("GET", "manifests"), 2);
}

#[test]
fn an_endless_answer_is_not_read() {
    let server = Server::twisted(|request, _| {
        let long = usize::try_from(Http::LONGEST_TEXT).unwrap() + 1;
        Some(if request.method == "HEAD" { Reply::new(200) } else { Reply::new(200).body(vec![b' '; long]) })
    });
    let error = ask(&server, &[], Access::Pull).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert!(error.to_string().contains("sent more than 8388608 bytes"), "{error}");
}

#[test]
fn a_token_server_may_refuse_everybody() {
    let server = Server::twisted(|request, _| {
        let host = request.header("host");
        Some(if request.target.starts_with("/token") {
            Reply::new(401)
        } else {
            Reply::challenge(format!("Bearer realm=\"http://{host}/token\""))
        })
    });
    let error = ask(&server, &[], Access::Pull).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Missing);
    assert!(error.to_string().contains("wants a login to get a token"), "{error}");
}

/// A host that answers everything like this.
fn host(reply: &Reply) -> Server {
    let reply = reply.clone();
    Server::twisted(move |_, _| Some(reply.clone()))
}

fn page(status: u16) -> Reply {
    let html = "<!doctype html><html><title>Acme &amp; friends</title><p>Welcome</html>";
    Reply::new(status).header("Content-Type", "text/html; charset=utf-8").body(html)
}

#[test]
fn a_host_that_is_no_registry_is_recognised_before_anything_is_compared() {
    for (status, words) in [
        (200, "is not a registry: it answers `/v2/` with 200 OK with a web page (Acme & friends)."),
        (404, "is not a registry: it answers `/v2/` with 404 Not Found with a web page (Acme & friends)."),
        (403, "is not a registry: it answers `/v2/` with 403 Forbidden with a web page (Acme & friends)."),
    ] {
        let server = host(&page(status));
        let error = ask(&server, &VARIABLES, Access::Push).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Registry);
        let error = error.to_string();
        assert!(error.contains(words) && error.contains("as in `docker.io/acme/app`"), "{error}");
    }
    let server = host(&Reply::new(200).header("Content-Type", "application/json").body(r#"{"ok":true}"#));
    let error = ask(&server, &VARIABLES, Access::Push).unwrap_err().to_string();
    assert!(
        error.contains(r#"something else than a manifest when asked for `latest` ({"ok":true})"#),
        "{error}"
    );
}

#[test]
fn a_registry_may_answer_with_a_page_where_it_has_nothing() {
    let api = ("Docker-Distribution-Api-Version", "registry/2.0");
    for base in [Reply::new(200).header(api.0, api.1), Reply::challenge("Basic realm=x"), Reply::new(200)] {
        let shown = format!("{base:?}");
        let server = Server::twisted(move |request, _| {
            Some(if request.target == "/v2/" { base.clone() } else { page(404) })
        });
        assert_eq!(ask(&server, &VARIABLES, Access::Push).unwrap(), None, "{shown}");
    }
    let server = Server::twisted(move |request, _| {
        Some(if request.target == "/v2/" { Reply::new(200) } else { page(200) })
    });
    let error = ask(&server, &VARIABLES, Access::Push).unwrap_err().to_string();
    assert!(
        error.contains("answered with a web page (Acme & friends) when asked to read `latest`"),
        "{error}"
    );
}

#[test]
fn a_registry_is_quoted_whatever_it_speaks() {
    for (reply, words) in [
        (Reply::new(400).body("unknown vendor field\u{1b}[2J\n"), "(unknown vendor field[2J)"),
        (page(400), "(Acme & friends)"),
        (Reply::new(400).body(r#"{"errors":[{"code":"A","message":"b","detail":"c"}]}"#), "(A: b: c)"),
    ] {
        // A HEAD is answered without words.
        let server = Server::twisted(move |request, _| {
            Some(if request.target == "/v2/" { Reply::new(200) } else { reply.clone() })
        });
        let error = ask(&server, &[], Access::Push).unwrap_err().to_string();
        assert!(error.contains("answered 400 Bad Request when asked to read `latest`"), "{error}");
        assert!(error.ends_with(words), "{error}");
    }
}

#[test]
fn a_limit_names_the_way_out() {
    let words = "toomanyrequests: You have reached your unauthenticated pull rate limit.";
    for (variables, way_out) in [
        (&[][..], "wait a while, or log in for a higher limit: set DOCKERHUB_USERNAME"),
        (&VARIABLES, "wait a while, or use an account with a higher limit"),
    ] {
        let server = Server::twisted(move |request, _| {
            let asked = request.is("GET", "/manifests/");
            let head = request.is("HEAD", "/manifests/").then(|| Reply::new(200));
            asked.then(|| Reply::new(429).header("Retry-After", "21600").body(words)).or(head)
        });
        let error = ask(&server, variables, Access::Push).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Registry);
        let expected =
            format!("{} answered 429 Too Many Requests ({words}); it asks to wait 6h: ", server.host());
        let error = error.to_string();
        assert!(error.starts_with(&expected) && error.contains(way_out), "{error}");
    }
}

#[test]
fn a_registry_that_quotes_what_it_got_is_not_quoted() {
    let server = Server::twisted(|request, _| {
        let got = format!("you sent {}", request.header("authorization"));
        wants_basic(request).or_else(|| Some(Reply::new(400).body(got)))
    });
    let error = ask(&server, &VARIABLES, Access::Push).unwrap_err().to_string();
    assert!(error.contains("(you sent Basic <redacted>)"), "{error}");
}

#[test]
fn what_lasts_is_asked_once() {
    let proxy = Server::twisted(|_, _| Some(Reply::new(403)));
    let address = proxy.host();
    let variables = [
        ("HTTPS_PROXY", address.as_str()),
        ("DOCKERHUB_USERNAME", "me"),
        ("DOCKERHUB_TOKEN", "hunter2-hunter2"),
    ];
    let ctx = Context::for_test(Path::new("/nonexistent"), Environment::of(variables));
    let client = Client::new(&ctx, Access::Push).unwrap();
    let latest = Reference::Tag(Tag::latest());
    let error = client.digest(&"registry.test/acme/app".parse().unwrap(), &latest).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert_eq!(proxy.seen().len(), 1, "{error}");
    assert!(error.to_string().starts_with(&format!("the proxy at {address} does not connect")), "{error}");
}
