use super::*;
use crate::environment::Environment;

const HUB: &str = "docker.io/slipway/app";

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

    assert_eq!(find(&variables, &config, "ghcr.io/slipway/app").unwrap(), None);
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
        (r#"{"auths":{"docker.io":{}},"credsStore":"desktop"}"#, "credential helper"),
        (r#"{"credHelpers":{"docker.io":"ecr-login"}}"#, "credential helper"),
        (r#"{"auths":{"docker.io":{"auth":"not base64"}}}"#, "no valid `auth`"),
        (r#"{"auths":{"docker.io":{"auth":"bm9jb2xvbg=="}}}"#, "no valid `auth`"),
    ] {
        let error = find(&[], config, HUB).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Missing);
        let error = error.to_string();
        assert!(error.contains(expected) && error.contains("config.json"), "{error}");
        assert!(error.contains("set DOCKERHUB_USERNAME and DOCKERHUB_TOKEN"), "{error}");
    }
    let error =
        find(&[], r#"{"auths":{"docker.io":{"auth":7,"x":"hunter2"}}}"#, HUB).unwrap_err().to_string();
    assert!(error.contains("is not a Docker configuration") && !error.contains("hunter2"), "{error}");
}

#[test]
fn without_a_folder_for_it_there_is_no_configuration() {
    let ctx = Context::for_test(Path::new("/nonexistent"), Environment::default());
    assert_eq!(Credentials::find(&ctx, &HUB.parse().unwrap()).unwrap(), None);
    let ctx = Context::for_test(Path::new("/nonexistent"), Environment::of([("HOME", "/nonexistent")]));
    assert_eq!(docker_config(&ctx).unwrap(), Path::new("/nonexistent/.docker/config.json"));
}
