//! Images on a base: built with what a registry has, and pushed without sending it again.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::real::Pulled;
use super::registries::{DockerRegistry, Login, PASSWORD, USERNAME, basic, bearer, context, skipped};
use super::*;
use crate::attestation::Build;
use crate::steps::docker_build;
use launchway_core::command::Call;
use launchway_fakes::registry::Fault;
use launchway_image::Engine;
use launchway_image::layout::Layout;

/// A static program as far as its headers say.
fn program() -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(120, 0);
    (bytes[18], bytes[32], bytes[54], bytes[56], bytes[64]) = (62, 64, 56, 1, 1);
    bytes
}

/// The small workspace, with a program that cargo would have left.
fn workspace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    add_sources(dir.path());
    add_program(dir.path());
    dir
}

fn add_program(root: &Path) {
    let binary = root.join("target/image/x86_64-unknown-linux-gnu/release/app");
    fs_err::create_dir_all(binary.parent().unwrap()).unwrap();
    fs_err::write(binary, program()).unwrap();
}

/// Builds without cargo, and without the smoke run: the program does not run.
fn build(ctx: &Context) -> docker_build::Built {
    docker_build::plan(ctx, &Engine::Builtin.into()).unwrap().without_children().run(&ctx.runner()).unwrap()
}

/// Pushes a base to `acme/base` and gives its name by digest.
fn push_base(host: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    write_layout(dir.path(), &[COMMIT], "of the base");
    let mut ctx = context(host, dir.path(), PASSWORD);
    ctx.environment =
        ctx.environment.with(Environment::of([("PIPELINE_IMAGE", format!("{host}/acme/base"))]));
    let pushed = push(&ctx).unwrap();
    format!("{}@{}", pushed.repository, pushed.digest)
}

fn begin_with(root: &Path, base: &str) {
    let dockerfile = fs_err::read_to_string(root.join("Dockerfile")).unwrap();
    assert!(dockerfile.contains("FROM scratch"));
    fs_err::write(root.join("Dockerfile"), dockerfile.replace("FROM scratch", &format!("FROM {base}")))
        .unwrap();
}

/// A base and an image on it, on one registry; `expected` is what becomes of the base's layer.
fn goes_on(host: &str, expected: Outcome) {
    let name = push_base(host);
    let dir = workspace();
    begin_with(dir.path(), &name);
    let ctx = context(host, dir.path(), PASSWORD);
    let built = build(&ctx);
    let layout = Layout::open(&ctx.output().join("image")).unwrap();
    let base = layout.base.clone().unwrap();
    assert_eq!((base.repository.to_string().as_str(), base.layers), (name.split('@').next().unwrap(), 1));
    let manifest: serde_json::Value = serde_json::from_slice(&layout.manifest_bytes).unwrap();
    let label = |label: &str| &manifest["annotations"][format!("org.opencontainers.image.base.{label}")];
    assert_eq!((label("name"), label("digest").as_str()), (&json!(name), name.split('@').nth(1)));
    let config = fs_err::read(layout.blob(&layout.config.digest)).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.base.name"], json!(name));
    for list in [&config["history"], &config["rootfs"]["diff_ids"], &manifest["layers"]] {
        assert_eq!(list.as_array().unwrap().len(), built.layers.len());
    }
    let from_base = Build { base: Some(&base), ..Build::for_test(&ctx, Engine::Builtin) };
    let attestations = attestation::attestations(from_base, &base.repository, &layout.manifest);
    let provenance: serde_json::Value =
        serde_json::from_slice(&attestations.unwrap().unwrap()[1].document).unwrap();
    let made_from = &provenance["predicate"]["buildDefinition"]["resolvedDependencies"][3];
    assert_eq!(*made_from, json!({ "name": name, "digest": { "sha256": base.digest.hex() } }));
    // The same again, to the byte.
    assert_eq!(build(&context(host, dir.path(), PASSWORD)), built);

    let lines = plan(&ctx).unwrap().explained(&ctx);
    let mounted = format!("will be mounted from {host}/acme/base");
    assert_eq!(lines.iter().filter(|line| line.ends_with(&mounted)).count(), 1, "{lines:#?}");
    let pushed = push(&ctx).unwrap();
    assert_eq!(pushed.blobs[0].outcome, expected, "{pushed:#?}");
    assert_eq!(pushed.bytes_mounted, if expected == Outcome::Mounted { built.layers[0] } else { 0 });
    assert!(pushed.blobs[1..4].iter().all(|blob| blob.outcome == Outcome::Uploaded), "{pushed:#?}");
    let again = push(&context(host, dir.path(), PASSWORD)).unwrap();
    assert_eq!((again.bytes_sent, again.bytes_mounted), (0, 0));
}

#[test]
fn what_the_registry_has_is_mounted() {
    goes_on(&basic().host(), Outcome::Mounted);
    let tokens = bearer(Duration::from_secs(60));
    goes_on(&tokens.host(), Outcome::Mounted);
    let starts = tokens.registry().transcript();
    let starts =
        starts.iter().filter(|seen| seen.path == "/v2/acme/app/blobs/uploads/" && seen.status == 201);
    assert_eq!(starts.count(), 1);
}

#[test]
fn a_registry_may_rather_have_it_uploaded() {
    let fake = basic();
    fake.registry().fault(Fault::MountDeclined);
    goes_on(&fake.host(), Outcome::Uploaded);
    // The first is used up by the request without a token.
    let fake = bearer(Duration::from_secs(60));
    fake.registry().fault(Fault::MountDeclined);
    fake.registry().fault(Fault::MountDeclined);
    goes_on(&fake.host(), Outcome::Uploaded);
}

#[test]
fn what_a_real_registry_has_is_mounted() {
    for login in [Login::Htpasswd, Login::Token] {
        let Some(registry) = DockerRegistry::start("what_a_real_registry_has_is_mounted", &login) else {
            continue;
        };
        goes_on(&registry.host, Outcome::Mounted);
    }
}

#[test]
fn another_registry_gets_no_request_to_mount() {
    let (there, here) = (basic(), plain());
    let dir = workspace();
    begin_with(dir.path(), &push_base(&there.host()));
    build(&context(&there.host(), dir.path(), PASSWORD));
    let pushed = push(&context_on(&here, dir.path(), &[])).unwrap();
    assert_eq!((pushed.blobs[0].outcome, pushed.bytes_mounted), (Outcome::Uploaded, 0));
    assert!(here.requests().iter().all(|request| !request.target.contains("mount=")), "{:?}", here.lines());
}

/// A tar of a small system: folders with modes of their own, and a link that every distribution has.
fn system() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, text: &str| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(if kind.is_symlink() { 0 } else { text.len() as u64 });
        if kind.is_symlink() {
            header.set_link_name(text).unwrap();
            tar.append_data(&mut header, path, &b""[..]).unwrap();
        } else {
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
    };
    add("tmp/", tar::EntryType::Directory, 0o1777, "");
    add("usr/bin/", tar::EntryType::Directory, 0o755, "");
    add("etc/motd", tar::EntryType::Regular, 0o644, "of the base");
    add("bin", tar::EntryType::Symlink, 0o777, "usr/bin");
    tar.into_inner().unwrap()
}

/// The image of another tool, in its own form, pushed by that tool; and what is built on it runs.
#[test]
fn a_base_that_docker_made_and_pushed() {
    let test = "a_base_that_docker_made_and_pushed";
    let docker = |config: &Path, line: &str| {
        Call::new("docker").args(["--config", config.to_str().unwrap()]).args(line.split(' ')).read(config)
    };
    if docker(Path::new("/"), "version").is_err() {
        return skipped(test, "no Docker Engine responds");
    }
    let Some(registry) = DockerRegistry::start(test, &Login::Htpasswd) else { return };
    let (host, dir) = (&registry.host, workspace());
    let auth = STANDARD.encode(format!("{USERNAME}:{PASSWORD}"));
    let config = registry.dir.path().join("docker");
    fs_err::create_dir(&config).unwrap();
    fs_err::write(config.join("config.json"), json!({ "auths": { host: { "auth": auth } } }).to_string())
        .unwrap();
    fs_err::write(config.join("system.tar"), system()).unwrap();
    let base = Pulled(format!("{host}/acme/base:1"));
    let import = Call::new("docker").args(["import", "--change", "ENV A=base", "--change", "CMD [\"base\"]"]);
    import.args(["system.tar", &base.0]).read(&config).unwrap();
    docker(&config, &format!("push --quiet {}", base.0)).unwrap();

    begin_with(dir.path(), &base.0);
    let dockerfile = fs_err::read_to_string(dir.path().join("Dockerfile")).unwrap();
    let dockerfile = dockerfile.replace("/app/app\n", "/bin/\n").replace("[\"/app/app\"]", "[\"/bin/app\"]");
    fs_err::write(dir.path().join("Dockerfile"), dockerfile.replace("CMD [\"serve\"]\n", "ENV B=$A\n"))
        .unwrap();
    let source = dir.path().join("program.rs");
    fs_err::write(
        &source,
        r#"use std::os::unix::fs::PermissionsExt;
        fn main() {
            let mode = std::fs::metadata("/tmp").unwrap().permissions().mode();
            let link = std::fs::read_link("/bin").unwrap();
            let motd = std::fs::read_to_string("/etc/motd").unwrap();
            let words: Vec<String> = std::env::args().skip(1).collect();
            print!("{:o} {} {} {:?} {}", mode, link.display(), motd.trim(), words, std::env::var("B").unwrap());
        }"#,
    )
    .unwrap();
    let binary = dir.path().join("target/image/x86_64-unknown-linux-gnu/release/app");
    Call::new("rustc")
        .args([
            "--edition=2024",
            "-Ctarget-feature=+crt-static",
            "--target",
            "x86_64-unknown-linux-gnu",
            "-o",
        ])
        .args([binary.display().to_string(), source.display().to_string()])
        .read(dir.path())
        .unwrap();
    let ctx = context(host, dir.path(), PASSWORD);
    build(&ctx);
    let pushed = push(&ctx).unwrap();
    assert_eq!(pushed.blobs[0].outcome, Outcome::Mounted);
    let image = Pulled(format!("{}@{}", pushed.repository, pushed.digest));
    docker(&config, &format!("pull --quiet {}", image.0)).unwrap();
    let output = docker(&config, &format!("run --rm --network none {}", image.0)).unwrap();
    let motd = fs_err::read_to_string(dir.path().join("motd")).unwrap();
    // The base's `CMD` belonged to its own `ENTRYPOINT`, and the sticky bit is still there.
    assert_eq!(output, format!("41777 usr/bin {} [] base", motd.trim()));
}

/// What a commit that changes nothing of the image uploads, in bytes of request bodies.
fn second_commit(push: impl Fn(&str, &Path) -> PushRecord, received: impl Fn() -> u64) -> u64 {
    let dir = workspace();
    let first = push(COMMIT, dir.path());
    let before = received();
    let second = push(&"f".repeat(40), dir.path());
    assert_ne!(first.digest, second.digest);
    let uploaded = second.blobs.iter().filter(|blob| blob.outcome == Outcome::Uploaded);
    // The configuration and the provenance. The bill of materials is what it was.
    assert_eq!(uploaded.count(), 2, "{second:#?}");
    assert_eq!(second.referrers.len(), 2);
    received() - before
}

#[test]
fn a_commit_that_changes_nothing_of_the_image_uploads_less_than_5_kb() {
    let build_and_push = |mut ctx: Context, commit: &str| {
        commit.clone_into(&mut ctx.git.commit);
        ctx.git.time += u64::from(commit != COMMIT);
        build(&ctx);
        push(&ctx).unwrap()
    };
    let fake = basic();
    let bytes = second_commit(
        |commit, root| build_and_push(context(&fake.host(), root, PASSWORD), commit),
        || fake.registry().transcript().iter().map(|seen| seen.request_bytes).sum(),
    );
    // A registry without a list of referrers gets one from us.
    let plain = plain();
    let more = second_commit(
        |commit, root| build_and_push(context_on(&plain, root, &[]), commit),
        || plain.requests().iter().map(|request| request.body.len() as u64).sum(),
    );
    println!("{bytes} B, and {more} B without a referrers API");
    // The list of both documents is what makes it more.
    assert!(1000 < bytes && bytes < more && more < 5000, "{bytes} B, {more} B");
}
