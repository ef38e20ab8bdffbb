use super::*;
use crate::Digest;
use crate::testing::{
    BASIC, anonymous, latest, latest_of, logged_in, plain, quick, scripted, session, session_through,
    wants_basic,
};
use launchway_core::environment::Environment;
use launchway_core::exit::Exit;
use launchway_fakes::Reply;
use launchway_fakes::registry::Scripted;

#[test]
fn too_many_requests_are_retried_when_the_registry_says() {
    let server = scripted(|_, before| (before == 0).then(|| Reply::new(429).header("Retry-After", "1")));
    let started = std::time::Instant::now();
    assert_eq!(latest_of(&server, anonymous(), Access::Push).unwrap(), None);
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(server.lines().len(), 2);
}

#[test]
fn a_registry_that_keeps_failing_is_given_up() {
    let server = scripted(|_, _| Some(Reply::new(500)));
    let error = latest_of(&server, anonymous(), Access::Push).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    let expected = format!("{} responded with 500 Internal Server Error; tried 5 times", server.host());
    assert_eq!(error.to_string(), expected);
    assert_eq!(server.lines().len(), 5);
}

#[test]
fn a_host_that_does_not_listen_is_an_error_without_the_address() {
    let host = {
        let server = plain();
        server.host()
    };
    let repository: Repository = format!("{host}/acme/app").parse().unwrap();
    let error = quick(session(anonymous()), Access::Pull).digest(&repository, &latest()).unwrap_err();
    let error = error.to_string();
    assert!(error.starts_with(&format!("no response from {host}: ")), "{error}");
    assert!(error.contains("refused") && !error.contains("/v2/"), "{error}");
}

#[test]
fn without_the_digest_header_the_manifest_is_hashed() {
    let server = scripted(|request, _| match request.method.as_str() {
        "HEAD" => Some(Reply::new(200)),
        _ => Some(Reply::new(200).body(r#"{"schemaVersion":2}"#)),
    });
    assert_eq!(
        latest_of(&server, anonymous(), Access::Pull).unwrap(),
        Some(Digest::of(br#"{"schemaVersion":2}"#))
    );
    assert_eq!(server.lines(), ["HEAD manifests/latest", "GET manifests/latest"]);
    assert!(server.requests()[1].header("accept").contains("application/vnd.oci.image.manifest.v1+json"));

    let gone = scripted(|request, _| (request.method == "HEAD").then(|| Reply::new(200)));
    assert_eq!(latest_of(&gone, anonymous(), Access::Pull).unwrap(), None);
}

#[test]
fn a_manifest_is_read_where_the_registry_does_not_know_head() {
    let server = scripted(|request, _| request.is("HEAD", "/manifests/").then(|| Reply::new(405)));
    assert_eq!(latest_of(&server, anonymous(), Access::Pull).unwrap(), None);
    let manifest = br#"{"schemaVersion":2}"#;
    server.set_tag("latest", manifest).unwrap();
    assert_eq!(latest_of(&server, anonymous(), Access::Pull).unwrap(), Some(Digest::of(manifest)));
    let both = ["HEAD manifests/latest", "GET manifests/latest"];
    assert_eq!(server.lines(), [both, both].concat());
}

#[test]
fn a_digest_header_must_be_one() {
    let server = scripted(|_, _| Some(Reply::new(200).header("Docker-Content-Digest", "md5:1")));
    let error = latest_of(&server, anonymous(), Access::Pull).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert!(error.to_string().contains("returned no valid digest for `latest`"), "{error}");
}

#[test]
fn a_redirect_is_followed_on_the_same_origin_with_the_login() {
    let server = scripted(|request, _| {
        wants_basic(request).or_else(|| {
            request.target.contains("/manifests/").then(|| Reply::new(307).header("Location", "/elsewhere"))
        })
    });
    assert_eq!(latest_of(&server, logged_in(&server), Access::Pull).unwrap(), None);
    assert_eq!(server.requests()[2].target, "/elsewhere");
    assert_eq!(server.requests()[2].header("authorization"), BASIC);
}

#[test]
fn a_redirect_to_another_server_of_this_machine_is_refused() {
    let other = plain();
    let place = format!("http://{}/secret", other.host());
    let server = scripted(move |_, _| Some(Reply::new(307).header("Location", place.clone())));
    let error = latest_of(&server, logged_in(&server), Access::Pull).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert!(error.to_string().contains("redirects to `127.0.0.1` without https"), "{error}");
    assert!(other.lines().is_empty());
}

#[test]
fn a_circle_of_redirects_ends() {
    let server = scripted(|_, _| Some(Reply::new(302).header("Location", "?again")));
    let error = latest_of(&server, anonymous(), Access::Pull).unwrap_err();
    assert!(error.to_string().contains("refused to read `latest`: 302 Found"), "{error}");
    assert_eq!(server.lines().len(), 4);
}

#[test]
fn a_response_that_breaks_off_is_retried() {
    let server = scripted(|request, before| match request.method.as_str() {
        "HEAD" => Some(Reply::new(200)),
        // Promises more than it sends.
        _ if before == 0 => Some(Reply::new(200).header("Content-Length", "99").body("{}")),
        _ => Some(Reply::new(200).body(r#"{"schemaVersion":2}"#)),
    });
    assert_eq!(
        latest_of(&server, anonymous(), Access::Pull).unwrap(),
        Some(Digest::of(br#"{"schemaVersion":2}"#))
    );
    assert_eq!(server.count("GET", "manifests"), 2);
}

#[test]
fn an_endless_response_is_not_read() {
    let server = scripted(|request, _| {
        let long = usize::try_from(Http::LONGEST_TEXT).unwrap() + 1;
        Some(if request.method == "HEAD" { Reply::new(200) } else { Reply::new(200).body(vec![b' '; long]) })
    });
    let error = latest_of(&server, anonymous(), Access::Pull).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert!(error.to_string().contains("sent more than 8388608 bytes"), "{error}");
}

/// A host with one response to everything.
fn host(reply: &Reply) -> Scripted {
    let reply = reply.clone();
    scripted(move |_, _| Some(reply.clone()))
}

fn page(status: u16) -> Reply {
    let html = "<!doctype html><html><title>Acme &amp; friends</title><p>Welcome</html>";
    Reply::new(status).header("Content-Type", "text/html; charset=utf-8").body(html)
}

#[test]
fn a_host_that_is_not_a_registry_is_recognised_before_anything_is_compared() {
    for (status, words) in [
        (200, "is not a registry: it responds to `/v2/` with 200 OK and a web page (Acme & friends)."),
        (404, "is not a registry: it responds to `/v2/` with 404 Not Found and a web page (Acme & friends)."),
        (403, "is not a registry: it responds to `/v2/` with 403 Forbidden and a web page (Acme & friends)."),
    ] {
        let server = host(&page(status));
        let error = latest_of(&server, logged_in(&server), Access::Push).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Registry);
        let error = error.to_string();
        assert!(error.contains(words) && error.contains("as in `docker.io/acme/app`"), "{error}");
    }
    let server = host(&Reply::new(200).header("Content-Type", "application/json").body(r#"{"ok":true}"#));
    let error = latest_of(&server, logged_in(&server), Access::Push).unwrap_err().to_string();
    assert!(error.contains(r#"did not send a manifest for `latest` ({"ok":true})"#), "{error}");
}

#[test]
fn a_registry_may_send_a_page_where_it_has_nothing() {
    let api = ("Docker-Distribution-Api-Version", "registry/2.0");
    for base in [Reply::new(200).header(api.0, api.1), Reply::challenge("Basic realm=x"), Reply::new(200)] {
        let shown = format!("{base:?}");
        let server =
            scripted(move |request, _| Some(if request.target == "/v2/" { base.clone() } else { page(404) }));
        assert_eq!(latest_of(&server, logged_in(&server), Access::Push).unwrap(), None, "{shown}");
    }
    let server =
        scripted(move |request, _| Some(if request.target == "/v2/" { Reply::new(200) } else { page(200) }));
    let error = latest_of(&server, logged_in(&server), Access::Push).unwrap_err().to_string();
    assert!(error.contains("did not read `latest`: it sent a web page (Acme & friends)"), "{error}");
}

#[test]
fn a_registry_is_quoted_whatever_it_speaks() {
    for (reply, words) in [
        (Reply::new(400).body("unknown vendor field\u{1b}[2J\n"), "(unknown vendor field[2J)"),
        (page(400), "(Acme & friends)"),
        (Reply::new(400).body(r#"{"errors":[{"code":"A","message":"b","detail":"c"}]}"#), "(A: b: c)"),
    ] {
        // The response to a HEAD has no words.
        let server = scripted(move |request, _| {
            Some(if request.target == "/v2/" { Reply::new(200) } else { reply.clone() })
        });
        let error = latest_of(&server, anonymous(), Access::Push).unwrap_err().to_string();
        assert!(error.contains("refused to read `latest`: 400 Bad Request"), "{error}");
        assert!(error.ends_with(words), "{error}");
    }
}

#[test]
fn a_limit_has_a_hint() {
    let words = "toomanyrequests: You have reached your unauthenticated pull rate limit.";
    for (has_login, hint) in [
        (false, "wait a while, or log in for a higher limit: run `docker login 127.0.0.1:"),
        (true, "wait a while, or use an account with a higher limit"),
    ] {
        let server = scripted(move |request, _| {
            let get = request.is("GET", "/manifests/");
            let head = request.is("HEAD", "/manifests/").then(|| Reply::new(200));
            get.then(|| Reply::new(429).header("Retry-After", "21600").body(words)).or(head)
        });
        let error =
            latest_of(&server, if has_login { logged_in(&server) } else { anonymous() }, Access::Push)
                .unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Registry);
        let expected = format!(
            "{} responded with 429 Too Many Requests ({words}); it asks for a wait of 6h: ",
            server.host()
        );
        let error = error.to_string();
        assert!(error.starts_with(&expected) && error.contains(hint), "{error}");
    }
}

#[test]
fn a_secret_is_redacted_before_a_quote_is_cut() {
    let server = scripted(|request, _| {
        let got = format!("{} {}", "x".repeat(270), request.header("authorization"));
        wants_basic(request).or_else(|| Some(Reply::new(400).body(got)))
    });
    let error = latest_of(&server, logged_in(&server), Access::Push).unwrap_err().to_string();
    assert!(error.ends_with(" Basic <redacted>)"), "{error}");
}

#[test]
fn a_registry_that_quotes_what_it_got_is_not_quoted() {
    let server = scripted(|request, _| {
        let got = format!("you sent {}", request.header("authorization"));
        wants_basic(request).or_else(|| Some(Reply::new(400).body(got)))
    });
    let error = latest_of(&server, logged_in(&server), Access::Push).unwrap_err().to_string();
    assert!(error.contains("(you sent Basic <redacted>)"), "{error}");
}

#[test]
fn a_permanent_error_is_not_tried_again() {
    let proxy = scripted(|_, _| Some(Reply::new(403)));
    let address = proxy.host();
    let environment = Environment::of([("HTTPS_PROXY", address.as_str())]);
    let session = session_through(anonymous(), &environment);
    let client = Client::new(session, Access::Push);
    let error = client.digest(&"registry.test/acme/app".parse().unwrap(), &latest()).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert_eq!(proxy.requests().len(), 1, "{error}");
    assert!(error.to_string().starts_with(&format!("the proxy at {address} refuses to connect")), "{error}");
}
