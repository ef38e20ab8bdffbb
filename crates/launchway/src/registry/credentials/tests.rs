use super::*;
use launchway_core::environment::Environment;

const HUB: &str = "docker.io/launchway/app";

/// What is found with these variables and this `config.json`.
fn find(variables: &[(&str, &str)], config: &str, repository: &str) -> Result<Option<Credentials>> {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    if !config.is_empty() {
        fs_err::write(dir.path().join("config.json"), config).unwrap();
    }
    let environment =
        Environment::of(variables.iter().copied()).with(Environment::of([("DOCKER_CONFIG", folder)]));
    Credentials::find(&Context::for_test(dir.path(), environment), &repository.parse().unwrap())
}

fn auths(key: &str, pair: &str) -> String {
    format!(r#"{{"auths":{{"{key}":{{"auth":"{}"}}}}}}"#, STANDARD.encode(pair))
}

#[test]
fn the_variables_go_first_and_only_to_the_images_registry() {
    let variables = [("DOCKERHUB_USERNAME", "me"), ("DOCKERHUB_TOKEN", "hunter2-hunter2")];
    let config = auths("https://index.docker.io/v1/", "other:password");
    let found = find(&variables, &config, HUB).unwrap().unwrap();
    assert_eq!((found.username.as_str(), found.source), ("me", Source::Variables));
    assert_eq!(found.password.expose(), "hunter2-hunter2");
    assert!(!format!("{found:?}").contains("hunter2"));

    assert_eq!(find(&variables, &config, "ghcr.io/launchway/app").unwrap(), None);
    let moved = [variables[0], variables[1], ("PIPELINE_IMAGE", "ghcr.io/o/app")];
    assert_eq!(find(&moved, "", "ghcr.io/o/other").unwrap().unwrap().source, Source::Variables);
    assert_eq!(find(&moved, "", HUB).unwrap(), None);
}

#[test]
fn half_a_pair_is_an_error() {
    let error = find(&[("DOCKERHUB_USERNAME", "me")], "", HUB).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Missing);
    assert!(error.to_string().contains("`DOCKERHUB_TOKEN` is not set"), "{error}");
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
        let found = find(&[], &auths(key, "me:pass:word"), repository).unwrap().expect(key);
        let seen = (found.username.as_str(), found.password.expose(), found.source);
        assert_eq!(seen, ("me", "pass:word", Source::DockerConfig), "of `{key}`");
    }
    for key in ["ghcr.io.example.com", "127.0.0.1:5000", "https://ghcr.io/other"] {
        assert_eq!(find(&[], &auths(key, "me:password"), "ghcr.io/o/app").unwrap(), None, "of `{key}`");
    }
    assert_eq!(find(&[], "", HUB).unwrap(), None);
    assert_eq!(find(&[], r#"{"auths":{},"credsStore":"desktop"}"#, HUB).unwrap(), None);
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
        let error = find(&[], config, HUB).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Missing);
        let error = error.to_string();
        assert!(error.contains(expected) && error.contains("config.json"), "{error}");
        assert!(error.contains("set DOCKERHUB_USERNAME and DOCKERHUB_TOKEN"), "{error}");
    }
    for config in ["[\"hunter2\"]", "{\"hunter2\"", "hunter2"] {
        let error = find(&[], config, HUB).unwrap_err().to_string();
        assert!(error.contains("is not a Docker configuration") && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn without_a_folder_for_it_there_is_no_configuration() {
    let ctx = Context::for_test(Path::new("/nonexistent"), Environment::default());
    assert_eq!(Credentials::find(&ctx, &HUB.parse().unwrap()).unwrap(), None);
    let ctx = Context::for_test(Path::new("/nonexistent"), Environment::of([("HOME", "/nonexistent")]));
    assert_eq!(docker_config(&ctx).unwrap(), Path::new("/nonexistent/.docker/config.json"));
}

/// What is found with this `config.json` and helpers that keep `name:address` each, but `empty` keeps nothing.
fn helped(config: &str, repository: &str) -> Option<(String, String)> {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    for name in ["own", "store"] {
        let script =
            format!(r#"read -r at; echo "{{\"Username\":\"{name}\",\"Secret\":\"secret of $at\"}}""#);
        helper::tests::install(dir.path(), name, &script);
    }
    helper::tests::install(dir.path(), "empty", "echo credentials not found in native keychain; exit 1");
    fs_err::write(dir.path().join("config.json"), config).unwrap();
    let environment = Environment::of([("DOCKER_CONFIG", folder), ("PATH", folder)]);
    let ctx = Context::for_test(dir.path(), environment);
    let found = Credentials::find(&ctx, &repository.parse().unwrap()).unwrap()?;
    assert_eq!(found.source, Source::DockerConfig);
    Some((found.username, found.password.expose().to_owned()))
}

#[test]
fn helpers_are_asked_in_dockers_order() {
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
    let folder = dir.path().to_str().unwrap();
    helper::tests::install(dir.path(), "broken", "echo hunter2 | tee /dev/stderr; exit 1");
    fs_err::write(dir.path().join("config.json"), r#"{"credsStore":"broken"}"#).unwrap();
    let environment = Environment::of([("DOCKER_CONFIG", folder), ("PATH", folder)]);
    let ctx = Context::for_test(dir.path(), environment);
    let error = Credentials::find(&ctx, &HUB.parse().unwrap()).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Missing);
    let error = error.to_string();
    assert!(error.contains("`docker-credential-broken`, which ended with exit status: 1"), "{error}");
    assert!(error.contains("set DOCKERHUB_USERNAME") && !error.contains("hunter2"), "{error}");
    ctx.interrupt.set();
    let error = Credentials::find(&ctx, &HUB.parse().unwrap()).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Interrupted);
}

#[test]
fn an_identity_token_is_one_wherever_it_stands() {
    let config = r#"{"auths":{"ghcr.io":{"auth":"bWU6","identitytoken":"hunter2-hunter2"}}}"#;
    let found = find(&[], config, "ghcr.io/o/app").unwrap().unwrap();
    assert!(found.is_identity_token() && found.password.expose() == "hunter2-hunter2");
    let variables = [("DOCKERHUB_USERNAME", "me"), ("DOCKERHUB_TOKEN", "hunter2-hunter2")];
    assert!(!find(&variables, config, HUB).unwrap().unwrap().is_identity_token());
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
        assert_eq!(find(&[], config, HUB).unwrap(), None, "of `{config}`");
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
        let found = find(&[], &config, HUB).unwrap().unwrap();
        assert_eq!((found.username.as_str(), found.password.expose()), ("me", "hunter2-hunter2"), "{config}");
    }
}

#[test]
fn a_rehearsal_does_not_read_dockers_configuration() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("config.json"), auths("docker.io", "me:password")).unwrap();
    let environment = Environment::of([("DOCKER_CONFIG", dir.path().to_str().unwrap())]);
    let mut ctx = Context::for_test(dir.path(), environment);
    let words = format!("`docker login`, in {}/config.json", dir.path().display());
    assert_eq!(login(&ctx, &HUB.parse().unwrap()).unwrap(), Some(words));
    ctx.reach = launchway_core::http::Reach::Only(Vec::new());
    assert_eq!(login(&ctx, &HUB.parse().unwrap()).unwrap(), None);
}
