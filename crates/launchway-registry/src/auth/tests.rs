use super::*;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn challenge(scheme: &str, parameters: &[(&str, &str)]) -> Challenge {
    let parameters = parameters.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Challenge { scheme: scheme.to_owned(), parameters }
}

#[test]
fn headers_are_read_as_they_are_written_out_there() {
    let hub = [
        ("realm", "https://auth.docker.io/token"),
        ("service", "registry.docker.io"),
        ("scope", "repository:acme/app:pull,push"),
    ];
    for (header, expected) in [
        (
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:acme/app:pull,push""#,
            vec![challenge("bearer", &hub)],
        ),
        (
            r#"bearer  scope = "repository:acme/app:pull,push" , service=registry.docker.io ,, REALM="https://auth.docker.io/token""#,
            vec![challenge("bearer", &hub)],
        ),
        (r#"Basic realm="Registry Realm""#, vec![challenge("basic", &[("realm", "Registry Realm")])]),
        (
            r#"Basic realm="a, b=\"c\" \\", Bearer realm="r""#,
            vec![challenge("basic", &[("realm", r#"a, b="c" \"#)]), challenge("bearer", &[("realm", "r")])],
        ),
        (
            "Negotiate, Basic realm=r",
            vec![challenge("negotiate", &[]), challenge("basic", &[("realm", "r")])],
        ),
        ("realm=\"lost\"", vec![]),
        (r#"Bearer realm="never closed"#, vec![challenge("bearer", &[("realm", "never closed")])]),
        ("=,=", vec![]),
        ("", vec![]),
    ] {
        assert_eq!(challenges(header), expected, "of `{header}`");
    }
}

#[test]
fn scopes_add_up() {
    let pull = Scopes::parse("repository:acme/app:pull");
    let push = Scopes::repository("acme/app", &["pull", "push"]);
    assert!(push.cover(&pull) && !pull.cover(&push));
    let both = Scopes::parse("repository:h:5000/base:pull registry:catalog:* nonsense").and(&push);
    assert_eq!(
        both.to_string(),
        "registry:catalog:* repository:acme/app:pull,push repository:h:5000/base:pull"
    );
}

#[test]
fn a_token_is_requested_with_every_scope() {
    let challenges = challenges(
        r#"Basic realm="x", Bearer realm="https://auth.example.com/token?a=1",service="s 1",scope="repository:base:pull""#,
    );
    let wanted = Scopes::repository("app", &["pull", "push"]);
    let Scheme::Bearer { url, scopes } = scheme(&challenges, &url("https://r.io"), &wanted).unwrap() else {
        panic!("not Bearer");
    };
    assert_eq!(
        url.as_str(),
        "https://auth.example.com/token?a=1&service=s+1&scope=repository%3Aapp%3Apull%2Cpush&scope=repository%3Abase%3Apull"
    );
    assert!(scopes.cover(&wanted));
}

#[test]
fn a_password_goes_to_no_doubtful_realm() {
    let ask = |realm: &str, registry: &str| {
        let challenges = [challenge("bearer", &[("realm", realm)])];
        scheme(&challenges, &url(registry), &Scopes::default()).map(drop).map_err(|error| error.to_string())
    };
    ask("https://auth.example.com/token", "https://r.io").unwrap();
    ask("http://127.0.0.1:1/token", "http://127.0.0.1:2").unwrap();
    ask("https://auth.example.com/token", "http://127.0.0.1:2").unwrap();
    for (realm, registry, expected) in [
        ("http://auth.example.com/token", "https://r.io", "`auth.example.com` is not https"),
        ("http://auth.example.com/token", "http://127.0.0.1:2", "is not https"),
        ("http://127.0.0.1:1/token", "https://r.io", "on this machine"),
        ("https://localhost/token", "https://r.io", "on this machine"),
        ("ftp://auth.example.com/token", "https://r.io", "is not https"),
        ("/token", "https://r.io", "not an address"),
        ("mailto:me", "https://r.io", "not an address"),
    ] {
        let error = ask(realm, registry).unwrap_err();
        assert!(error.contains(expected), "{realm} of {registry}: {error}");
    }
}

#[test]
fn only_what_is_understood_is_a_scheme() {
    let registry = url("https://r.io");
    let of = |header: &str| scheme(&challenges(header), &registry, &Scopes::default());
    assert_eq!(of("Basic realm=x").unwrap(), Scheme::Basic);
    assert!(of("Bearer service=x").unwrap_err().to_string().contains("no `realm`"));
    assert!(of("Digest realm=x").unwrap_err().to_string().contains("neither Basic nor Bearer"));
}

#[test]
fn a_token_has_two_names() {
    let expose = |body: &str| token(body.as_bytes()).map(|token| token.expose().to_owned());
    assert_eq!(expose(r#"{"token":"a","access_token":"b","expires_in":300}"#).as_deref(), Some("a"));
    assert_eq!(expose(r#"{"access_token":"b"}"#).as_deref(), Some("b"));
    for none in ["{}", "", r#"{"token":""}"#, "[]"] {
        assert_eq!(expose(none), None);
    }
}

#[test]
fn an_identity_token_is_exchanged_by_a_form() {
    let url = Url::parse("https://a.io/token?tenant=1&service=r.io&scope=x%3Apull&scope=y%3Apush").unwrap();
    let (bare, form) = refresh(&url, &Secret::new("identity"));
    assert_eq!(bare.as_str(), "https://a.io/token?tenant=1");
    let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("service", "r.io"),
        ("scope", "x:pull y:push"),
        ("grant_type", "refresh_token"),
        ("client_id", "launchway-xtask"),
        ("refresh_token", "identity"),
    ];
    assert_eq!(form, expected);
    let (bare, _) = refresh(&Url::parse("https://a.io/token?service=s").unwrap(), &Secret::new("i"));
    assert_eq!(bare.as_str(), "https://a.io/token");
}
