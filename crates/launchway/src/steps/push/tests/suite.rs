//! The same pushes against each registry, with each kind of login.

use std::time::Duration;

use super::registries::{DockerRegistry, IDENTITY, Login, PASSWORD, basic, bearer, context};
use super::*;

/// What a push to a registry with a login must do.
fn suite(host: &str) {
    let dir = tempfile::tempdir().unwrap();
    let digest = write_layout(dir.path(), &[COMMIT, "latest"], "hello");
    let first = push(&context(host, dir.path(), PASSWORD)).unwrap();
    assert!(first.bytes_sent > 0 && first.bytes_skipped == 0 && first.latest, "{first:?}");
    assert_eq!((first.blobs.len(), &first.previous_latest), (2, &None));
    let ctx = context(host, dir.path(), PASSWORD);
    let second = push(&ctx).unwrap();
    assert_eq!((second.bytes_sent, second.bytes_skipped), (0, first.bytes_sent));
    let named = |reference: Reference| {
        ctx.registry(Access::Pull).unwrap().digest(&second.repository, &reference).unwrap()
    };
    let latest = || Reference::Tag(Tag::latest());
    assert_eq!(named(latest()), Some(digest.clone()));
    assert_eq!(named(Reference::Digest(digest.clone())), Some(digest.clone()));
    assert_eq!(named(Reference::Tag("no-such".parse().unwrap())), None);

    // The next commit changed nothing that is in the image.
    let mut next = context(host, dir.path(), PASSWORD);
    next.git.commit = "f".repeat(40);
    write_layout(dir.path(), &[&next.git.commit, "latest"], "hello");
    let third = push(&next).unwrap();
    assert_eq!((third.bytes_sent, third.bytes_skipped), (0, first.bytes_sent));
    assert!(notes(&next).iter().all(|note| !note.contains("uploaded")), "{:?}", notes(&next));

    // Another build of the same commit is refused.
    let other = write_layout(dir.path(), &[COMMIT, "latest"], "changed");
    let error = push(&context(host, dir.path(), PASSWORD)).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert!(error.to_string().contains(other.as_str()), "{error}");
    assert_eq!(named(latest()), Some(digest.clone()));

    let wrong = context(host, dir.path(), "a-wrong-password");
    let error = push(&wrong).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    let error = format!("{error:#}");
    assert!(error.contains("rejected the user name or token"), "{error}");
    assert!(error.contains(": DOCKERHUB_USERNAME or DOCKERHUB_TOKEN is wrong or has expired"), "{error}");
    assert!(!format!("{error}{:?}", wrong.reporter.events()).contains("a-wrong-password"), "{error}");
    assert_eq!(named(latest()), Some(digest));
}

#[test]
fn the_fake_with_passwords() {
    suite(&basic().host());
}

#[test]
fn the_fake_with_tokens() {
    suite(&bearer(Duration::from_secs(60)).host());
}

#[test]
fn docker_registry_with_passwords() {
    if let Some(registry) = DockerRegistry::start("docker_registry_with_passwords", &Login::Htpasswd) {
        suite(&registry.host);
    }
}

#[test]
fn docker_registry_with_tokens() {
    if let Some(registry) = DockerRegistry::start("docker_registry_with_tokens", &Login::Token) {
        suite(&registry.host);
    }
}

/// A context whose only login is an identity token in Docker's configuration.
fn with_identity(host: &str, root: &Path, token: &str) -> Context {
    let config = json!({ "auths": { host: { "auth": "", "identitytoken": token } } });
    fs_err::write(root.join("config.json"), config.to_string()).unwrap();
    let (image, folder) = (format!("{host}/acme/app"), root.display().to_string());
    Context::for_test(root, Environment::of([("PIPELINE_IMAGE", image), ("DOCKER_CONFIG", folder)]))
}

#[test]
fn docker_registry_with_an_identity_token() {
    let test = "docker_registry_with_an_identity_token";
    let Some(registry) = DockerRegistry::start(test, &Login::Token) else { return };
    let dir = tempfile::tempdir().unwrap();
    write_layout(dir.path(), &[COMMIT, "latest"], "hello");
    assert!(push(&with_identity(&registry.host, dir.path(), IDENTITY)).unwrap().bytes_sent > 0);
    let ctx = with_identity(&registry.host, dir.path(), "an-expired-identity-token");
    let error = push(&ctx).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    let error = error.to_string();
    assert!(error.contains("the saved `docker login` is wrong or has expired"), "{error}");
    assert!(!error.contains("an-expired"), "{error}");
}

#[test]
fn an_identity_token_is_not_a_password() {
    let fake = basic();
    let dir = tempfile::tempdir().unwrap();
    write_layout(dir.path(), &[COMMIT, "latest"], "hello");
    let error = push(&with_identity(&fake.host(), dir.path(), IDENTITY)).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    let error = error.to_string();
    assert!(
        error.contains("requires a password, but Docker's configuration has an identity token"),
        "{error}"
    );
    assert!(!error.contains(IDENTITY), "{error}");
}
