//! The release against the real thing: Debian's `docker-registry` with a password, skopeo that copies what is in it,
//! and a Docker Engine that runs it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::registry::{PASSWORD, Registry, USERNAME};
use crate::support::{Fixture, program, skipped, try_program};

#[test]
fn an_image_is_pushed_once_and_runs_where_it_is_pulled() {
    const TEST: &str = "an_image_is_pushed_once_and_runs_where_it_is_pulled";
    let Some(registry) = Registry::start(TEST) else { return };
    let fixture = Fixture::new();
    let head = fixture.head();
    let image = registry.image();
    let variables =
        [("PIPELINE_IMAGE", image.as_str()), ("DOCKERHUB_USERNAME", USERNAME), ("DOCKERHUB_TOKEN", PASSWORD)];
    let push = || fixture.xtask(&["push"]).envs(&variables).finish();

    // There is nothing to push yet.
    push().exits(2).says(&["no image of commit", "run `cargo xtask docker-build` first"]);
    fixture.xtask(&["docker-build"]).envs(&variables).finish().exits(0);
    let built = fixture.record()["image"].clone();
    let wrong = fixture.xtask(&["push"]).envs(&variables).env("DOCKERHUB_TOKEN", "a-wrong-password").finish();
    wrong
        .exits(4)
        .says(&["rejected the user name or token", "`docker login "])
        .says_nothing_of(&["a-wrong-password"]);

    push().exits(0).says(&["tagged `latest`", " uploaded"]).says_nothing_of(&["already there"]);
    let first = fixture.json("target/xtask/push.json");
    assert_eq!((&first["digest"], &first["latest"]), (&built["digest"], &json!(true)));
    assert_eq!((&first["commit_tag"], &first["previous_latest"]), (&json!(head), &Value::Null));
    assert!(first["bytes_sent"].as_u64() > Some(0));
    push()
        .exits(0)
        .says(&["`latest` already points to it", " already there"])
        .says_nothing_of(&[" uploaded"]);
    let second = fixture.json("target/xtask/push.json");
    assert_eq!((&second["bytes_sent"], &second["bytes_skipped"]), (&json!(0), &first["bytes_sent"]));
    assert_eq!(fixture.record()["pushed"]["digest"], built["digest"]);

    // What a stranger sees there.
    let digest = built["digest"].as_str().unwrap();
    for tag in [head.as_str(), "latest"] {
        assert_eq!(registry.digest(tag).as_deref(), Some(digest), "{tag}");
    }
    is_copied_by_skopeo(TEST, &registry, digest, &head);
    runs_where_it_is_pulled(TEST, &registry, digest, &head);
    let text = registry.everything();
    assert!(!text.is_empty() && !contains(&text, PASSWORD), "the registry keeps nothing but the image");
}

/// The base is made by the pipeline itself: there is no other registry to take one from.
#[test]
fn an_image_on_a_base_is_mounted_and_runs_where_it_is_pulled() {
    const TEST: &str = "an_image_on_a_base_is_mounted_and_runs_where_it_is_pulled";
    let Some(registry) = Registry::start(TEST) else { return };
    let fixture = Fixture::new();
    let (base, image) = (format!("{}/acme/base", registry.host()), registry.image());
    let run = |image: &str, password: &str, arguments: &[&str]| {
        let login = [("DOCKERHUB_USERNAME", USERNAME), ("DOCKERHUB_TOKEN", password)];
        fixture.xtask(arguments).env("PIPELINE_IMAGE", image).envs(&login).finish()
    };
    run(&base, PASSWORD, &["docker-build"]).exits(0);
    run(&base, PASSWORD, &["push"]).exits(0);
    let named = format!("{base}@{}", fixture.record()["pushed"]["digest"].as_str().unwrap());

    // The base has the binary's folder and the motd; of the latter there is a new one.
    fixture.replace("Dockerfile", "FROM scratch", &format!("FROM {named}"));
    fixture.append("motd", "And more.\n");
    fixture.commit();
    run(&image, "a-wrong-password", &["docker-build", "--explain"])
        .exits(4)
        .says(&[&format!("Dockerfile:7: the base image `{named}`: "), "rejected the user name or token"]);
    let begin = format!("begin with {named}, which is {named} for linux/amd64: 2 layers, ");
    run(&image, PASSWORD, &["docker-build", "--explain"]).exits(0).says(&[&begin]);
    // All of the base is here by now, so nobody is asked for it.
    run(&image, "a-wrong-password", &["docker-build"]).exits(0).says(&["smoke run: up in"]);
    let built = fixture.record()["image"].clone();
    assert_eq!(built["layers"].as_array().unwrap().len(), 4);
    run(&image, PASSWORD, &["push", "--explain"]).exits(0).says(&[&format!(" will be mounted from {base}")]);
    run(&image, PASSWORD, &["push"]).exits(0).says(&[" mounted from the base image"]);
    let digest = built["digest"].as_str().unwrap();
    assert_eq!(registry.digest("latest").as_deref(), Some(digest));
    runs_where_it_is_pulled(TEST, &registry, digest, &fixture.head());
}

/// Another tool finds the commit's image there, and takes all of it, to a folder and to another repository.
fn is_copied_by_skopeo(test: &str, registry: &Registry, digest: &str, commit: &str) {
    let folder = tempfile::tempdir().unwrap();
    if try_program("skopeo", &["--version"], folder.path()).is_err() {
        return skipped(test, "no skopeo");
    }
    fs_err::write(folder.path().join("auth.json"), login(registry)).unwrap();
    let skopeo = |arguments: &[&str]| {
        let all: Vec<&str> = arguments.iter().copied().chain(["--authfile", "auth.json"]).collect();
        program("skopeo", &all, folder.path())
    };
    let inspect = |reference: &str| -> Value {
        serde_json::from_str(&skopeo(&["inspect", "--tls-verify=false", reference])).unwrap()
    };
    let found = inspect(&format!("docker://{}:{commit}", registry.image()));
    assert_eq!((&found["Digest"], &found["Architecture"]), (&json!(digest), &json!("amd64")));
    assert_eq!(found["Labels"]["org.opencontainers.image.revision"], commit);

    let pushed = format!("docker://{}@{digest}", registry.image());
    skopeo(&["copy", "--preserve-digests", "--src-tls-verify=false", &pushed, "dir:copy"]);
    let manifest = fs_err::read(folder.path().join("copy/manifest.json")).unwrap();
    let sum = program("sha256sum", &["copy/manifest.json"], folder.path());
    assert_eq!(sum.split(' ').next(), digest.strip_prefix("sha256:"));
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    for layer in manifest["layers"].as_array().unwrap() {
        let hex = layer["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        assert_eq!(fs_err::metadata(folder.path().join("copy").join(hex)).unwrap().len(), layer["size"]);
    }

    let copy = format!("docker://{}/acme/copy:{commit}", registry.host());
    let plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    skopeo(&["copy", "--preserve-digests", plain[0], plain[1], &pushed, &copy]);
    assert_eq!(inspect(&copy)["Digest"], digest);
}

/// The registry's login as a file that Docker and skopeo read.
fn login(registry: &Registry) -> String {
    let login = STANDARD.encode(format!("{USERNAME}:{PASSWORD}"));
    json!({ "auths": { registry.host(): { "auth": login } } }).to_string()
}

/// Pulls by digest with a login of the test's own, runs it on loopback and asks it who it is.
fn runs_where_it_is_pulled(test: &str, registry: &Registry, digest: &str, commit: &str) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().to_str().unwrap().to_owned();
    let docker = |arguments: &[&str]| {
        let all: Vec<&str> = ["--config", &config].iter().chain(arguments).copied().collect();
        try_program("docker", &all, folder.path())
    };
    if let Err(why) = docker(&["version"]) {
        return skipped(test, &format!("no docker: {why}"));
    }
    fs_err::write(folder.path().join("config.json"), login(registry)).unwrap();
    let reference = format!("{}@{digest}", registry.image());
    let mut left = Left { folder: &folder, commands: Vec::new() };
    docker(&["pull", "--quiet", &reference]).unwrap();
    left.commands.push(["rmi", "--force", &reference].map(str::to_owned));
    let strict = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    let run = ["run", "--detach", "--publish", "127.0.0.1::8000"];
    let container = docker(&[&run[..], &strict, &[&reference]].concat()).unwrap();
    left.commands.push(["rm", "--force", &container].map(str::to_owned));
    let address = docker(&["port", &container, "8000"]).unwrap();
    let answer = ask(&address, "/version");
    assert!(answer.contains(&format!("\"commit\":\"{commit}\"")), "{answer}");
    let user = docker(&["inspect", "--format", "{{.Config.User}}", &container]).unwrap();
    assert_eq!(user, "65532:65532");
    // The engine is on this machine, and so is the process.
    let process = docker(&["inspect", "--format", "{{.State.Pid}}", &container]).unwrap();
    let status = fs_err::read_to_string(format!("/proc/{process}/status")).unwrap();
    for line in
        ["Uid:\t65532\t65532\t65532\t65532", "Gid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000"]
    {
        assert!(status.contains(line), "no `{line}` in {status}");
    }
}

/// What a test left in the engine: removed also when it fails, the last first.
struct Left<'a> {
    folder: &'a tempfile::TempDir,
    commands: Vec<[String; 3]>,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        for command in self.commands.iter().rev() {
            // The rest is still to be removed.
            let command: Vec<&str> = command.iter().map(String::as_str).collect();
            drop(try_program("docker", &command, self.folder.path()));
        }
    }
}

/// The answer of a server that may need a moment to come up.
fn ask(address: &str, path: &str) -> String {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let mut answer = String::new();
        // A published port takes connections before anybody listens behind it.
        let asked = TcpStream::connect(address).and_then(|mut stream| {
            write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
            stream.read_to_string(&mut answer)
        });
        if asked.is_ok() && !answer.is_empty() {
            return answer;
        }
        assert!(Instant::now() < end, "{address} does not respond: {asked:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn two_checkouts_of_a_commit_make_the_same_image() {
    let fixture = Fixture::new();
    let clone = fixture.cloned();
    assert_ne!(fixture.root(), clone.root());
    let digest = |fixture: &Fixture| {
        fixture.run(&["docker-build"]).exits(0);
        fixture.record()["image"]["digest"].as_str().unwrap().to_owned()
    };
    let (first, second) = (digest(&fixture), digest(&clone));
    assert_eq!(first, second);
    // And a file that is not in the image does not change it: the commit does.
    clone.write("README.md", "Changed.\n");
    clone.commit();
    assert_ne!(digest(&clone), first);
}

#[test]
fn skopeo_reads_the_image_on_disk() {
    let fixture = Fixture::new();
    if try_program("skopeo", &["--version"], &fixture.root()).is_err() {
        return skipped("skopeo_reads_the_image_on_disk", "no skopeo");
    }
    fixture.run(&["docker-build"]).exits(0);
    let place = format!("oci:{}:latest", fixture.path("target/xtask/image").display());
    let image: Value =
        serde_json::from_str(&program("skopeo", &["inspect", &place], &fixture.root())).unwrap();
    assert_eq!(image["Digest"], fixture.record()["image"]["digest"]);
    assert_eq!(image["Labels"]["org.opencontainers.image.revision"], fixture.head());
}
