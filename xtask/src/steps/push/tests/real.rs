//! Against Debian's `docker-registry` with a password, and a Docker Engine that pulls what was pushed.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::*;
use crate::command::Call;
use crate::registry::resolve;

const USERNAME: &str = "pusher";
const PASSWORD: &str = "a-real-password";

/// Says that a test did not run: not with `eprintln!`, which the test runner swallows.
fn skipped(test: &str, reason: &str) {
    writeln!(std::io::stderr(), "SKIPPED: {test}: {reason}").unwrap();
}

/// A `docker-registry` that is killed when it is dropped.
struct Registry {
    child: Child,
    host: String,
    dir: TempDir,
}

impl Registry {
    /// Starts one, or says that the test is skipped and why.
    fn start(test: &str) -> Option<Self> {
        for program in ["docker-registry", "htpasswd"] {
            let path = std::env::var_os("PATH").unwrap_or_default();
            if !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
                skipped(test, &format!("{program} is not installed"));
                return None;
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().display();
        let users = Call::new("htpasswd").args(["-Bbn", USERNAME, PASSWORD]).read(dir.path()).unwrap();
        fs_err::write(dir.path().join("users"), users).unwrap();
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {folder}/blobs}}}}\n\
             http: {{addr: '{host}'}}\nauth: {{htpasswd: {{realm: 'a, b', path: {folder}/users}}}}\n"
        );
        fs_err::write(dir.path().join("config.yaml"), config).unwrap();
        #[expect(
            clippy::disallowed_methods,
            reason = "a server that runs while the test does; `Call` waits for its child"
        )]
        let child = Command::new("docker-registry")
            .args(["serve", "config.yaml"])
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self { child, host, dir };
        for _ in 0..1000 {
            if TcpStream::connect(&registry.host).is_ok() {
                return Some(registry);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("docker-registry does not listen");
    }

    fn context(&self, root: &Path, password: &str) -> Context {
        let image = format!("{}/acme/app", self.host);
        let variables = [
            ("PIPELINE_IMAGE", image.as_str()),
            ("DOCKERHUB_USERNAME", USERNAME),
            ("DOCKERHUB_TOKEN", password),
        ];
        Context::for_test(root, Environment::of(variables))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_real_registry_takes_and_keeps_an_image() {
    let Some(registry) = Registry::start("a_real_registry_takes_and_keeps_an_image") else { return };
    let dir = tempfile::tempdir().unwrap();
    let digest = write_layout(dir.path(), &[COMMIT, "latest"], "hello");
    let first_ctx = registry.context(dir.path(), PASSWORD);
    let first = push(&first_ctx).unwrap();
    assert!(first.bytes_sent > 0 && first.bytes_skipped == 0 && first.latest, "{first:?}");
    assert_eq!((first.blobs.len(), &first.previous_latest), (2, &None));
    let second_ctx = registry.context(dir.path(), PASSWORD);
    let second = push(&second_ctx).unwrap();
    assert_eq!((second.bytes_sent, second.bytes_skipped), (0, first.bytes_sent));
    let ctx = registry.context(dir.path(), PASSWORD);
    let repository = &second.repository;
    for reference in [Reference::Tag(Tag::latest()), Reference::Digest(digest.clone())] {
        assert_eq!(resolve(&ctx, repository, &reference).unwrap(), Some(digest.clone()));
    }
    assert_eq!(resolve(&ctx, repository, &Reference::Tag("no-such".parse().unwrap())).unwrap(), None);
    // The next commit changed nothing that is in the image.
    let mut next = registry.context(dir.path(), PASSWORD);
    next.git.commit = "f".repeat(40);
    write_layout(dir.path(), &[&next.git.commit, "latest"], "hello");
    let third = push(&next).unwrap();
    assert_eq!((third.bytes_sent, third.bytes_skipped), (0, first.bytes_sent));
    assert!(notes(&next)[0].starts_with("present sha256:"), "{:?}", notes(&next));
    // Another build of the same commit is refused.
    let next = write_layout(dir.path(), &[COMMIT], "changed");
    let error = push(&registry.context(dir.path(), PASSWORD)).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert!(error.to_string().contains(next.as_str()), "{error}");
    // Seen with `--nocapture`.
    for (ctx, pushed) in [(&first_ctx, &first), (&second_ctx, &second)] {
        println!("{}\nin {} ms", notes(ctx).join("\n"), pushed.milliseconds);
    }
    for action in plan(&registry.context(dir.path(), PASSWORD)).unwrap() {
        println!("{action}");
    }
}

/// `docker-registry` 2.8 has no referrers API, and takes an index only when it has what the index lists.
#[test]
fn a_real_registry_lists_what_is_attached_under_a_tag() {
    let Some(registry) = Registry::start("a_real_registry_lists_what_is_attached_under_a_tag") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    add_sources(dir.path());
    let digest = write_layout(dir.path(), &[COMMIT, "latest"], "hello");
    let first = push(&registry.context(dir.path(), PASSWORD)).unwrap();
    assert_eq!(first.referrers.len(), 2);
    let ctx = registry.context(dir.path(), PASSWORD);
    let tag: Tag = digest.as_str().replace(':', "-").parse().unwrap();
    let index = || resolve(&ctx, &first.repository, &Reference::Tag(tag.clone())).unwrap().unwrap();
    let before = index();
    for referrer in &first.referrers {
        let reference = Reference::Digest(referrer.digest.clone());
        assert_eq!(resolve(&ctx, &first.repository, &reference).unwrap(), Some(referrer.digest.clone()));
    }
    let second = push(&registry.context(dir.path(), PASSWORD)).unwrap();
    assert_eq!((second.bytes_sent, second.bytes_skipped), (0, first.bytes_sent));
    assert_eq!((index(), second.referrers), (before, first.referrers));
}

#[test]
fn a_real_registry_refuses_a_wrong_password() {
    let Some(registry) = Registry::start("a_real_registry_refuses_a_wrong_password") else { return };
    let dir = tempfile::tempdir().unwrap();
    write_layout(dir.path(), &[COMMIT, "latest"], "hello");
    let ctx = registry.context(dir.path(), "a-wrong-password");
    let error = push(&ctx).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    let error = format!("{error:#}");
    assert!(error.contains("refused the user name or token: DOCKERHUB_USERNAME or"), "{error}");
    assert!(!format!("{error}{:?}", ctx.reporter.told()).contains("a-wrong-password"), "{error}");
    println!("{error}");
}

/// Removes a pulled image.
struct Pulled(String);

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
        skipped(test, "no Docker Engine answers");
        return;
    }
    let Some(registry) = Registry::start(test) else { return };
    let dir = tempfile::tempdir().unwrap();
    // Its own contents: the image of another run of this test must not be removed with ours.
    write_layout(dir.path(), &[COMMIT], &registry.host);
    let pushed = push(&registry.context(dir.path(), PASSWORD)).unwrap();
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
