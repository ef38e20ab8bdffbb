mod base;
mod faults;
mod real;
pub(crate) mod registries;
mod suite;
mod wire;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::testing::registry::{context_on, plain, scripted, tagged};
use launchway_core::environment::Environment;
use launchway_core::events::Event;
use launchway_fakes::Reply;

/// The commit of contexts for tests.
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Writes an OCI layout of an image with one layer, which holds one file, and returns the manifest's digest.
fn write_layout(root: &Path, tags: &[&str], contents: &str) -> Digest {
    let folder = root.join("target/xtask/image");
    fs_err::create_dir_all(folder.join("blobs/sha256")).unwrap();
    let put = |media_type: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs_err::write(folder.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    };
    let mut header = tar::Header::new_ustar();
    header.set_size(contents.len() as u64);
    header.set_mode(0o644);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, "hello.txt", contents.as_bytes()).unwrap();
    let tar = tar.into_inner().unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    std::io::Write::write_all(&mut gzip, &tar).unwrap();
    let layer = put("application/vnd.oci.image.layer.v1.tar+gzip", &gzip.finish().unwrap());
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&tar)] },
    });
    let config = put("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    let manifest = put(MANIFEST, manifest.to_string().as_bytes());
    let tagged = tags.iter().map(|tag| {
        let mut descriptor = manifest.clone();
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        descriptor
    });
    let index = json!({ "schemaVersion": 2, "manifests": tagged.collect::<Vec<_>>() });
    fs_err::write(folder.join("index.json"), index.to_string()).unwrap();
    serde_json::from_value(manifest["digest"].clone()).unwrap()
}

/// Without waiting between two tries.
fn push(ctx: &Context) -> Result<PushRecord> {
    push_with(ctx, ctx.registry(Access::Push)?.with_backoff(Duration::from_millis(1)))
}

/// The push of a client that is set up otherwise.
fn push_with(ctx: &Context, client: Client) -> Result<PushRecord> {
    plan(ctx)?.run_with(client, &ctx.named_secrets(), &ctx.reporter, &ctx.interrupt)
}

fn notes(ctx: &Context) -> Vec<String> {
    let note = |event| if let Event::Note { text } = event { Some(text) } else { None };
    ctx.reporter.events().into_iter().filter_map(note).collect()
}

#[test]
fn a_plan_prints_itself() {
    let dir = tempfile::tempdir().unwrap();
    let digest = write_layout(dir.path(), &[COMMIT, "latest"], "hello");
    let ctx = Context::for_test(dir.path(), Environment::of([("PIPELINE_IMAGE", "acme/app")]));
    let text = plan(&ctx).unwrap().to_string();
    let text = text.replace(&dir.path().display().to_string(), "ROOT").replace(COMMIT, "COMMIT");
    let text = text.replace(digest.as_str(), "DIGEST").replace(&digest.short(), "SHORT");
    insta::assert_snapshot!(text, @"
    scan the 2 parts of the image for secrets, keys, `.env` and `.git`
    check docker.io/acme/app:COMMIT: it must be unused or point to DIGEST
    upload to docker.io/acme/app the missing blobs of sha256:867959402207… 88 B, sha256:2729f53e9da7… 163 B
    tag SHORT as docker.io/acme/app:COMMIT and verify it
    skip SBOM and provenance: without `Cargo.lock` the image's dependencies are unknown
    move docker.io/acme/app:latest to SHORT and verify it
    write ROOT/target/xtask/push.json
    ");
}

/// Puts the fixture beside the image: the attestations are made from it.
fn add_sources(root: &Path) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture/.");
    let copy = launchway_core::command::Call::new("cp").args(["-r", fixture.to_str().unwrap(), "."]);
    copy.read(root).unwrap();
}

#[test]
fn attestations_are_attached_before_latest_moves() {
    let dir = tempfile::tempdir().unwrap();
    add_sources(dir.path());
    let digest = write_layout(dir.path(), &[COMMIT, "latest"], "hello");
    let server = plain();
    let ctx = context_on(&server, dir.path(), &[]);
    let text = plan(&ctx).unwrap().to_string();
    let folder = dir.path().join("target/xtask/attest");
    let attach = format!(
        "write them to {}, and attach to {}@{}: sbom.cdx.json sha256:",
        folder.display(),
        server.repository(),
        digest.short()
    );
    assert!(text.contains(&attach) && text.contains(", provenance.json sha256:"), "{text}");
    let first = push(&ctx).unwrap();
    let types: Vec<&str> = first.referrers.iter().map(|referrer| referrer.artifact_type.as_str()).collect();
    assert_eq!(types, [attestation::SBOM, attestation::PROVENANCE]);
    let text = fs_err::read_to_string(record(&ctx.kept())).unwrap();
    assert_eq!(serde_json::from_str::<PushRecord>(&text).unwrap(), first);
    let lines = server.lines();
    let place = |line: &str| lines.iter().position(|seen| seen == line).unwrap();
    for referrer in &first.referrers {
        let attached = place(&format!("PUT manifests/{}", referrer.digest));
        assert!(place(&format!("PUT manifests/{COMMIT}")) < attached, "{lines:?}");
        assert!(attached < place("PUT manifests/latest"), "{lines:?}");
    }
    let second = push(&context_on(&server, dir.path(), &[])).unwrap();
    assert_eq!((second.bytes_sent, second.bytes_skipped), (0, first.bytes_sent));
    assert_eq!(second.referrers, first.referrers);
    // A record of before there were any.
    let mut old: serde_json::Value = serde_json::from_str(&text).unwrap();
    old.as_object_mut().unwrap().remove("referrers");
    assert_eq!(serde_json::from_value::<PushRecord>(old).unwrap().referrers, []);
}

#[test]
fn an_explained_plan_counts_the_bytes() {
    let dir = tempfile::tempdir().unwrap();
    write_layout(dir.path(), &[COMMIT, "latest"], "hello");
    let server = plain();
    let ctx = context_on(&server, dir.path(), &[]);
    let lines = || plan(&ctx).unwrap().explained(&ctx);
    let before = lines();
    assert_eq!(before.len(), 8 + 3);
    assert_eq!(before[2], "  without a login");
    assert!(before[4].starts_with("  sha256:") && before[4].ends_with(" B will be uploaded"), "{before:?}");
    let total = before[6].split(" of ").next().unwrap().trim();
    assert_eq!(before[6], format!("  {total} of {total} to upload"));
    assert!(server.requests().iter().all(|request| request.method == "HEAD"), "{:?}", server.lines());
    push(&ctx).unwrap();
    let after = lines();
    assert!(
        after[4].ends_with(" B is already there") && after[5].ends_with(" B is already there"),
        "{after:?}"
    );
    assert_eq!(after[6], format!("  0 B of {total} to upload"));

    let host = server.host();
    drop(server);
    let alone = lines();
    assert_eq!(alone.len(), 8 + 1);
    let expected =
        format!("  at most {total}: the registry cannot be read at the moment (no response from {host}: ");
    assert!(alone[4].starts_with(&expected), "{alone:?}");
}

#[test]
fn what_cannot_be_planned_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let mut ctx = Context::for_test(dir.path(), Environment::default());
    let error = |ctx: &Context| {
        let error = plan(ctx).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Usage);
        format!("{error:#}")
    };
    let none = error(&ctx);
    assert!(none.starts_with("no image of commit 0123456789ab to push: "), "{none}");
    assert!(none.contains(" contains no image: run "), "{none}");
    assert_eq!(none.matches("run `cargo xtask docker-build` first").count(), 1, "{none}");
    write_layout(dir.path(), &["1111111111111111111111111111111111111111", "latest"], "hello");
    assert!(error(&ctx).contains(&format!("has no tag `{COMMIT}`: run `")), "{}", error(&ctx));
    let layout = dir.path().join("target/xtask/image");
    let digest = write_layout(dir.path(), &[COMMIT], "hello");
    fs_err::write(layout.join("blobs/sha256").join(digest.hex()), "{}").unwrap();
    assert!(error(&ctx).contains("the manifest does not match"), "{}", error(&ctx));
    write_layout(dir.path(), &[COMMIT], "hello");
    for blob in fs_err::read_dir(layout.join("blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        if path.file_name().unwrap().to_str() != Some(digest.hex()) {
            fs_err::write(path, "x").unwrap();
        }
    }
    assert!(error(&ctx).contains("has different contents: 1 bytes"), "{}", error(&ctx));
    ctx.git.dirty = true;
    let dirty = error(&ctx);
    assert!(dirty.starts_with("the tree differs from commit 0123456789ab: commit or stash"), "{dirty}");
    let ctx = Context::for_test(dir.path(), Environment::of([("PIPELINE_IMAGE", "acme/app:1")]));
    assert!(error(&ctx).contains("must name a repository only"), "{}", error(&ctx));
}

#[test]
fn a_first_push_sends_and_a_second_finds_all_there() {
    let dir = tempfile::tempdir().unwrap();
    let digest = write_layout(dir.path(), &[COMMIT, "latest"], "hello");
    let server = plain();
    server.set_tag("latest", b"an older one").unwrap();
    let ctx = context_on(&server, dir.path(), &[]);
    let first = push(&ctx).unwrap();
    assert_eq!((&first.digest, first.latest, first.bytes_skipped), (&digest, true, 0));
    assert_eq!(first.previous_latest, Some(Digest::of(b"an older one")));
    assert!(first.blobs.iter().all(|blob| blob.outcome == Outcome::Uploaded));
    let text = fs_err::read_to_string(dir.path().join("target/xtask/push.json")).unwrap();
    assert_eq!(serde_json::from_str::<PushRecord>(&text).unwrap(), first);
    assert_eq!(
        (tagged(&server, COMMIT), tagged(&server, "latest")),
        (Some(digest.clone()), Some(digest.clone()))
    );
    let lines = server.lines();
    let place = |line: &str| lines.iter().position(|seen| seen == line).unwrap();
    assert!(place(&format!("HEAD manifests/{COMMIT}")) == 0);
    let last_blob = lines.iter().rposition(|line| line.contains("PUT blobs")).unwrap();
    assert!(last_blob < place(&format!("PUT manifests/{COMMIT}")), "{lines:?}");
    assert!(place(&format!("PUT manifests/{COMMIT}")) < place("PUT manifests/latest"), "{lines:?}");

    let before = server.lines().len();
    let ctx = context_on(&server, dir.path(), &[]);
    let second = push(&ctx).unwrap();
    assert_eq!((second.bytes_sent, second.bytes_skipped), (0, first.bytes_sent));
    assert_eq!(second.previous_latest, Some(digest.clone()));
    assert_eq!(
        server.lines()[before..],
        [format!("HEAD manifests/{COMMIT}"), "HEAD manifests/latest".to_owned()]
    );
    let end = format!("{}@{digest}: {} already there", server.repository(), size(first.bytes_sent));
    assert_eq!(
        notes(&ctx),
        [&format!("already there under `{COMMIT}`"), "`latest` already points to it", &end]
    );
}

#[test]
fn an_image_that_holds_a_secret_is_not_pushed() {
    let dir = tempfile::tempdir().unwrap();
    write_layout(dir.path(), &[COMMIT, "latest"], "key = hunter2-hunter2\n");
    let server = plain();
    let ctx = context_on(&server, dir.path(), &[("CIPHER_KEY", "hunter2-hunter2")]);
    let error = push(&ctx).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Usage);
    let output = format!("{error:#}{:?}", ctx.reporter.events());
    assert!(output.contains("layer 1, `hello.txt`: CIPHER_KEY") && !output.contains("hunter2"), "{output}");
    assert_eq!(server.lines(), [""; 0], "no request is sent");
    assert!(!record(&ctx.kept()).exists());
    push(&context_on(&server, dir.path(), &[("CIPHER_KEY", "hunter3-hunter3")])).unwrap();
}

#[test]
fn a_commit_tag_never_moves() {
    let dir = tempfile::tempdir().unwrap();
    let digest = write_layout(dir.path(), &[COMMIT, "latest"], "hello");
    let server = plain();
    server.set_tag(COMMIT, b"another").unwrap();
    let error = push(&context_on(&server, dir.path(), &[])).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    let error = error.to_string();
    assert!(error.contains(digest.as_str()) && error.contains(Digest::of(b"another").as_str()), "{error}");
    assert!(error.contains("a commit tag never moves"), "{error}");
    assert_eq!(server.lines(), [format!("HEAD manifests/{COMMIT}")]);
    assert!(!dir.path().join("target/xtask/push.json").exists());
}

#[test]
fn the_tag_of_a_dirty_tree_may_move_on_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let tag = format!("{COMMIT}-dirty");
    let digest = write_layout(dir.path(), &[&tag, "latest"], "hello");
    let server = plain();
    server.set_tag(&tag, b"another").unwrap();
    let mut ctx = context_on(&server, dir.path(), &[]);
    ctx.git.dirty = true;
    assert!(plan(&ctx).unwrap().to_string().contains(&format!("-dirty: it will point to {digest}\n")));
    let pushed = push(&ctx).unwrap();
    assert_eq!((pushed.latest, pushed.previous_latest), (false, None));
    assert_eq!((tagged(&server, &tag), tagged(&server, "latest")), (Some(digest), None));
}

#[test]
fn latest_stays_when_the_commit_tag_is_not_proved() {
    let dir = tempfile::tempdir().unwrap();
    write_layout(dir.path(), &[COMMIT, "latest"], "hello");
    let wrong = Digest::of(b"wrong").to_string();
    let server = scripted({
        let wrong = wrong.clone();
        move |request, before| {
            (request.is("HEAD", COMMIT) && before > 0)
                .then(|| Reply::new(200).header("Docker-Content-Digest", wrong.clone()))
        }
    });
    let error = push(&context_on(&server, dir.path(), &[])).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Registry);
    assert!(error.to_string().contains(&format!("says that it points to {wrong}")), "{error}");
    assert_eq!(server.count("PUT", "manifests/latest"), 0);

    let forgetful = scripted(|request, _| request.is("HEAD", COMMIT).then(|| Reply::new(404)));
    let error = push(&context_on(&forgetful, dir.path(), &[])).unwrap_err();
    assert!(error.to_string().contains("says that it points to nothing"), "{error}");
    assert_eq!(tagged(&forgetful, "latest"), None);
}

#[test]
fn an_interrupt_ends_a_push() {
    let dir = tempfile::tempdir().unwrap();
    write_layout(dir.path(), &[COMMIT, "latest"], "hello");
    let server = plain();
    let ctx = context_on(&server, dir.path(), &[]);
    ctx.interrupt.set();
    assert_eq!(Exit::of(&push(&ctx).unwrap_err()), Exit::Interrupted);
    assert!(server.lines().is_empty());
}
