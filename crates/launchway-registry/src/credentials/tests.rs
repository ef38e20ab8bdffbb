use super::*;
use crate::testing::{TOKEN, USERNAME, account, session};

const HUB: &str = "docker.io/acme/app";

/// Logins with this account and the `config.json` of this folder, which is also where helpers are.
fn logins(account: Account, folder: &Path) -> Logins {
    let path = folder.to_str().unwrap().to_owned();
    Logins { account: Some(account), docker_config: Some(folder.join("config.json")), path: Some(path) }
}

/// What is found with this account and this `config.json`.
fn find(account: Account, config: &str, repository: &str) -> Result<Option<Credentials>> {
    let dir = tempfile::tempdir().unwrap();
    if !config.is_empty() {
        fs_err::write(dir.path().join("config.json"), config).unwrap();
    }
    session(logins(account, dir.path())).credentials(&repository.parse().unwrap())
}

/// An account of a registry.
fn account_of(registry: &str) -> Account {
    account(registry, Some(USERNAME), Some(TOKEN))
}

/// The settings of an account of Docker Hub, none of which is set.
fn unset() -> Account {
    account("docker.io", None, None)
}

fn auths(key: &str, pair: &str) -> String {
    format!(r#"{{"auths":{{"{key}":{{"auth":"{}"}}}}}}"#, STANDARD.encode(pair))
}

#[test]
fn an_account_goes_first_and_only_to_its_registry() {
    let config = auths("https://index.docker.io/v1/", "other:password");
    let found = find(account_of("docker.io"), &config, HUB).unwrap().unwrap();
    assert_eq!((found.username.as_str(), found.source), (USERNAME, Source::Account));
    assert_eq!(found.password.expose(), TOKEN);
    assert!(!format!("{found:?}").contains("hunter2"));

    assert_eq!(find(account_of("docker.io"), &config, "ghcr.io/acme/app").unwrap(), None);
    let found = find(account_of("ghcr.io"), "", "ghcr.io/o/other").unwrap().unwrap();
    assert_eq!(found.source, Source::Account);
    assert_eq!(find(account_of("ghcr.io"), "", HUB).unwrap(), None);
}

#[test]
fn half_an_account_is_an_error() {
    let half = account("docker.io", Some(USERNAME), None);
    let error = find(half, "", HUB).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Missing);
    assert_eq!(error.to_string(), "`THE_TOKEN` is not set: hub.example.com → Tokens");
}

#[test]
fn a_hint_names_what_the_caller_offers() {
    let (hub, other) = (HUB.parse().unwrap(), "ghcr.io/o/app".parse().unwrap());
    let with = Logins { account: Some(unset()), ..Logins::default() };
    assert_eq!(
        with.hint(&hub),
        "set THE_USERNAME and THE_TOKEN (where to get a token: hub.example.com → Tokens), or run `docker login`"
    );
    assert_eq!(with.hint(&other), "run `docker login ghcr.io`", "the account is for Docker Hub");
    assert_eq!(Logins::default().hint(&other), "run `docker login ghcr.io`");
}

#[test]
fn a_rejected_login_is_explained_by_its_source() {
    let logins = Logins { account: Some(account_of("docker.io")), ..Logins::default() };
    let suspicion = |password: &str, source| {
        let credentials =
            Credentials { username: USERNAME.to_owned(), password: Secret::new(password), source };
        logins.suspicion(&credentials)
    };
    assert_eq!(suspicion(TOKEN, Source::Account), "THE_USERNAME or THE_TOKEN is wrong or has expired");
    assert_eq!(suspicion(TOKEN, Source::DockerConfig), "the saved `docker login` is wrong or has expired");
    assert_eq!(suspicion("\"hunter2\"", Source::Account), "`THE_TOKEN` is in quotes: set it again");
}

#[test]
fn docker_keeps_a_login_under_several_keys() {
    for (key, repository) in [
        ("https://index.docker.io/v1/", HUB),
        ("docker.io", HUB),
        ("registry-1.docker.io", HUB),
        ("ghcr.io", "ghcr.io/o/app"),
        ("https://ghcr.io/v2/", "ghcr.io/o/app"),
        ("127.0.0.1:5000", "127.0.0.1:5000/app"),
        ("http://127.0.0.1:5000", "127.0.0.1:5000/app"),
    ] {
        let found = find(unset(), &auths(key, "me:pass:word"), repository).unwrap().expect(key);
        let seen = (found.username.as_str(), found.password.expose(), found.source);
        assert_eq!(seen, ("me", "pass:word", Source::DockerConfig), "of `{key}`");
    }
    for key in ["ghcr.io.example.com", "127.0.0.1:5000", "https://ghcr.io/other"] {
        assert_eq!(find(unset(), &auths(key, "me:password"), "ghcr.io/o/app").unwrap(), None, "of `{key}`");
    }
    assert_eq!(find(unset(), "", HUB).unwrap(), None);
    assert_eq!(find(unset(), r#"{"auths":{},"credsStore":"desktop"}"#, HUB).unwrap(), None);
}

#[test]
fn what_cannot_be_used_is_named_with_the_way_out() {
    for (config, expected) in [
        (
            r#"{"auths":{"docker.io":{}},"credsStore":"desktop"}"#,
            "leaves the login to `docker-credential-desktop`, which is not in PATH, for docker.io: set",
        ),
        (r#"{"credHelpers":{"docker.io":"ecr-login"}}"#, "`docker-credential-ecr-login`, which is not in"),
        (r#"{"auths":{"docker.io":{"auth":7,"x":"hunter2"}}}"#, "no valid `auth`"),
        (r#"{"auths":{"docker.io":{"auth":"not base64"}}}"#, "no valid `auth`"),
        (r#"{"auths":{"docker.io":{"auth":"bm9jb2xvbg=="}}}"#, "no valid `auth`"),
    ] {
        let error = find(unset(), config, HUB).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Missing);
        let error = error.to_string();
        assert!(error.contains(expected) && error.contains("config.json"), "{error}");
        assert!(error.contains("set THE_USERNAME and THE_TOKEN"), "{error}");
    }
    for config in ["[\"hunter2\"]", "{\"hunter2\"", "hunter2"] {
        let error = find(unset(), config, HUB).unwrap_err().to_string();
        assert!(error.contains("is not a Docker configuration") && !error.contains("hunter2"), "{error}");
    }
}

/// What is found with this `config.json` and helpers that keep `name:address` each, but `empty` keeps nothing.
fn helped(config: &str, repository: &str) -> Option<(String, String)> {
    let dir = tempfile::tempdir().unwrap();
    for name in ["own", "store"] {
        let script =
            format!(r#"read -r at; echo "{{\"Username\":\"{name}\",\"Secret\":\"secret of $at\"}}""#);
        helper::tests::install(dir.path(), name, &script);
    }
    helper::tests::install(dir.path(), "empty", "echo credentials not found in native keychain; exit 1");
    fs_err::write(dir.path().join("config.json"), config).unwrap();
    let session = session(logins(unset(), dir.path()));
    let found = session.credentials(&repository.parse().unwrap()).unwrap()?;
    assert_eq!(found.source, Source::DockerConfig);
    Some((found.username, found.password.expose().to_owned()))
}

#[test]
fn helpers_run_in_dockers_order() {
    let auth = STANDARD.encode("file:password");
    let both = r#"{"credHelpers":{"ghcr.io":"own"},"credsStore":"store"}"#;
    let empty = format!(r#"{{"auths":{{"ghcr.io":{{"auth":"{auth}"}}}},"credsStore":"empty"}}"#);
    for (config, repository, expected) in [
        (both, "ghcr.io/o/app", Some(("own", "secret of ghcr.io"))),
        (both, "quay.io/o/app", Some(("store", "secret of quay.io"))),
        (both, HUB, Some(("store", "secret of https://index.docker.io/v1/"))),
        (
            r#"{"credHelpers":{"docker.io":"own"}}"#,
            HUB,
            Some(("own", "secret of https://index.docker.io/v1/")),
        ),
        (empty.as_str(), "ghcr.io/o/app", Some(("file", "password"))),
        (empty.as_str(), "quay.io/o/app", None),
    ] {
        let expected = expected.map(|(name, secret)| (name.to_owned(), secret.to_owned()));
        assert_eq!(helped(config, repository), expected, "{config}: {repository}");
    }
}

#[test]
fn a_helper_that_fails_is_named() {
    let dir = tempfile::tempdir().unwrap();
    helper::tests::install(dir.path(), "broken", "echo hunter2 | tee /dev/stderr; exit 1");
    fs_err::write(dir.path().join("config.json"), r#"{"credsStore":"broken"}"#).unwrap();
    let session = session(logins(unset(), dir.path()));
    let error = session.credentials(&HUB.parse().unwrap()).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Missing);
    let error = error.to_string();
    assert!(error.contains("`docker-credential-broken`, which exited with 1"), "{error}");
    assert!(error.contains("set THE_USERNAME") && !error.contains("hunter2"), "{error}");
    session.interrupt.set();
    let error = session.credentials(&HUB.parse().unwrap()).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Interrupted);
}

#[test]
fn an_identity_token_is_one_wherever_it_stands() {
    let config = r#"{"auths":{"ghcr.io":{"auth":"bWU6","identitytoken":"hunter2-hunter2"}}}"#;
    let found = find(unset(), config, "ghcr.io/o/app").unwrap().unwrap();
    assert!(found.is_identity_token() && found.password.expose() == "hunter2-hunter2");
    assert!(!find(account_of("docker.io"), config, HUB).unwrap().unwrap().is_identity_token());
}

#[test]
fn null_and_what_we_do_not_know_are_nothing() {
    let auth = STANDARD.encode("me:hunter2-hunter2");
    for config in [
        "",
        "null",
        r#"{"auths":null,"credsStore":null,"credHelpers":null}"#,
        r#"{"auths":{"docker.io":null},"credHelpers":{"docker.io":null}}"#,
        r#"{"auths":{"docker.io":{"auth":null,"identitytoken":null,"email":null}}}"#,
        r#"{"auths":{"docker.io":{}},"credsStore":""}"#,
    ] {
        assert_eq!(find(unset(), config, HUB).unwrap(), None, "of `{config}`");
    }
    for config in [
        format!(
            r#"{{"auths":{{"ghcr.io":null,"x":7,"docker.io":{{"auth":"{auth}","identitytoken":null}}}},"credsStore":null}}"#
        ),
        format!(
            r#"{{"auths":{{"docker.io":{{"auth":"{auth}"}}}},"credHelpers":{{"docker.io":null}},"psFormat":[1],"proxies":{{"default":null}}}}"#
        ),
        r#"{"auths":{"docker.io":{"username":"me","password":"hunter2-hunter2"}}}"#.to_owned(),
    ] {
        let found = find(unset(), &config, HUB).unwrap().unwrap();
        assert_eq!((found.username.as_str(), found.password.expose()), ("me", "hunter2-hunter2"), "{config}");
    }
}

#[test]
fn a_login_is_named_by_its_source() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("config.json"), auths("docker.io", "me:password")).unwrap();
    let login = |logins: Logins| session(logins).login(&HUB.parse().unwrap()).unwrap();
    let words = format!("`docker login`, in {}/config.json", dir.path().display());
    assert_eq!(login(logins(unset(), dir.path())), Some(words));
    assert_eq!(login(logins(account_of("docker.io"), dir.path())).unwrap(), "THE_USERNAME and THE_TOKEN");
    assert_eq!(
        login(Logins::default()),
        None,
        "Docker's configuration is read only where the caller says so"
    );
}
