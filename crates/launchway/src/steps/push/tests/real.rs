//! A Docker Engine that pulls what was pushed to Debian's `docker-registry`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::registries::{DockerRegistry, Login, PASSWORD, USERNAME, context, skipped};
use super::*;
use launchway_core::command::Call;

/// `docker-registry` 2.8 has no referrers API, and takes an index only when it has what the index lists.
#[test]
fn a_real_registry_lists_what_is_attached_under_a_tag() {
    let Some(registry) =
        DockerRegistry::start("a_real_registry_lists_what_is_attached_under_a_tag", &Login::Htpasswd)
    else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    add_sources(dir.path());
    let digest = write_layout(dir.path(), &[COMMIT, "latest"], "hello");
    let first = push(&context(&registry.host, dir.path(), PASSWORD)).unwrap();
    assert_eq!(first.referrers.len(), 2);
    let ctx = context(&registry.host, dir.path(), PASSWORD);
    let tag: Tag = digest.as_str().replace(':', "-").parse().unwrap();
    let index = || {
        ctx.registry(Access::Pull)
            .unwrap()
            .digest(&first.repository, &Reference::Tag(tag.clone()))
            .unwrap()
            .unwrap()
    };
    let before = index();
    for referrer in &first.referrers {
        let reference = Reference::Digest(referrer.digest.clone());
        assert_eq!(
            ctx.registry(Access::Pull).unwrap().digest(&first.repository, &reference).unwrap(),
            Some(referrer.digest.clone())
        );
    }
    let second = push(&context(&registry.host, dir.path(), PASSWORD)).unwrap();
    assert_eq!((second.bytes_sent, second.bytes_skipped), (0, first.bytes_sent));
    assert_eq!((index(), second.referrers), (before, first.referrers));
}

/// Removes a pulled image.
pub(super) struct Pulled(pub(super) String);

impl Drop for Pulled {
    fn drop(&mut self) {
        drop(Call::new("docker").args(["image", "rm", "--force", &self.0]).read(Path::new("/")));
    }
}

#[test]
fn docker_pulls_what_was_pushed() {
    let test = "docker_pulls_what_was_pushed";
    if Call::new("docker").args(["version", "--format", "{{.Server.Version}}"]).read(Path::new("/")).is_err()
    {
        skipped(test, "no Docker Engine responds");
        return;
    }
    let Some(registry) = DockerRegistry::start(test, &Login::Htpasswd) else { return };
    let dir = tempfile::tempdir().unwrap();
    // Its own contents: the image of another run of this test must not be removed with ours.
    write_layout(dir.path(), &[COMMIT], &registry.host);
    let pushed = push(&context(&registry.host, dir.path(), PASSWORD)).unwrap();
    let docker = registry.dir.path().join("docker");
    fs_err::create_dir(&docker).unwrap();
    let auth = STANDARD.encode(format!("{USERNAME}:{PASSWORD}"));
    let host = &registry.host;
    fs_err::write(docker.join("config.json"), json!({ "auths": { host: { "auth": auth } } }).to_string())
        .unwrap();
    let image = Pulled(format!("{}@{}", pushed.repository, pushed.digest));
    let pull = Call::new("docker").args(["--config", docker.to_str().unwrap(), "pull", "--quiet", &image.0]);
    pull.read(Path::new("/")).unwrap();
    let digests =
        Call::new("docker").args(["image", "inspect", "--format", "{{json .RepoDigests}}", &image.0]);
    assert!(digests.read(Path::new("/")).unwrap().contains(pushed.digest.as_str()));

    // The same login serves us, found in Docker's configuration.
    let environment = Environment::of([
        ("PIPELINE_IMAGE", pushed.repository.to_string()),
        ("DOCKER_CONFIG", docker.display().to_string()),
    ]);
    let ctx = Context::for_test(dir.path(), environment);
    assert_eq!(push(&ctx).unwrap().bytes_sent, 0);
}
