use std::io::Write as _;

use flate2::{Compression, GzBuilder};
use serde_json::json;

use super::*;
use crate::context::Context;
use launchway_core::environment::Environment;
use launchway_core::events::{Event, Outcome};
use launchway_image::Engine;
use launchway_image::binary::Platform;
use launchway_image::layout::Parts;
use launchway_registry::Access;
use launchway_registry::oci::{CONFIG, ImageManifest, LAYER, MANIFEST};

fn run(
    ctx: &Context,
    release: &Release,
    variables: &BTreeMap<String, Secret>,
    arguments: &[&str],
) -> Result<()> {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let check = AppCheck {
        arguments: &arguments,
        output: &ctx.output(),
        image: ctx.image(),
        registry: &ctx.registry(Access::Pull).unwrap(),
        reporter: &ctx.reporter,
        interrupt: &ctx.interrupt,
    };
    check.run(release, variables)
}

/// An image on disk whose entry point is this script, and its release.
fn image(ctx: &Context, script: &str, architecture: &str) -> Release {
    image_with(ctx, script, architecture, |_| {})
}

/// The same, with more entries.
fn image_with(
    ctx: &Context,
    script: &str,
    architecture: &str,
    more: impl Fn(&mut tar::Builder<Vec<u8>>),
) -> Release {
    let mut tar = tar::Builder::new(Vec::new());
    more(&mut tar);
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o755);
    let script = format!("#!/bin/sh\n{script}\n");
    header.set_size(script.len() as u64);
    tar.append_data(&mut header, "app", script.as_bytes()).unwrap();
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::new(1));
    gzip.write_all(&tar.into_inner().unwrap()).unwrap();
    let layer = gzip.finish().unwrap();
    let config = serde_json::to_vec(&json!({
        "os": "linux", "architecture": architecture,
        "config": { "Entrypoint": ["/app", "first"], "Env": ["IMAGE=yes"], "WorkingDir": "/" },
    }))
    .unwrap();
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        config: Descriptor::of(CONFIG, &config),
        layers: vec![Descriptor::of(LAYER, &layer)],
        annotations: BTreeMap::new(),
    };
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let parts =
        Parts { engine: Engine::Builtin, platform: Platform::Amd64, manifest, config, layers: vec![&layer] };
    let written = parts.write(None, &ctx.output().join("image"), &["tag".to_owned()]).unwrap();
    Release { digest: written.digest.to_string(), ..Release::default() }
}

fn here() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// What is reported, and how it ends.
fn checked(script: &str) -> (Result<()>, Vec<Event>) {
    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::for_test(dir.path(), Environment::default());
    let release = image(&ctx, script, here());
    let variables = [("CIPHER_KEY", "value-of-key"), ("PORT", "8123")]
        .map(|(name, value)| (name.to_owned(), Secret::new(value)));
    let done = run(&ctx, &release, &variables.into(), &["check", "--json"]);
    assert!(!ctx.output().join("check").exists());
    (done, ctx.reporter.events())
}

#[test]
fn the_program_sees_the_services_environment_and_nothing_else() {
    let script = r#"
        [ "$*" = "first check --json" ] && [ "$CIPHER_KEY" = value-of-key ] && [ "$IMAGE" = yes ] || exit 9
        [ "$PORT" = 8123 ] && [ "$RENDER" = true ] && [ -z "$HOME$CARGO_MANIFEST_DIR" ] || exit 8
        echo looking >&2
        echo '[{"id":"w1","severity":"warning","message":"no DSN","hint":"set one"}]'"#;
    let (done, reported) = checked(script);
    done.unwrap();
    let reported = format!("{reported:?}");
    assert!(reported.contains("warning: no DSN (w1): set one") && reported.contains("looking"), "{reported}");
    assert!(!reported.contains("value-of-key"), "{reported}");
}

#[test]
fn what_fails_after_the_check_is_not_explained_by_its_lines() {
    let tail = |script: &str| {
        let dir = tempfile::tempdir().unwrap();
        let ctx = Context::for_test(dir.path(), Environment::default());
        let release = image(&ctx, script, here());
        ctx.reporter.step_started("deploy", dir.path()).unwrap();
        let done = run(&ctx, &release, &BTreeMap::new(), &["check"]);
        ctx.reporter.output("of the service");
        ctx.reporter.keep_tail();
        (done.is_ok(), ctx.reporter.step_finished("deploy", Outcome::Failed, 0).tail)
    };
    let service = || "of the service".to_owned();
    assert_eq!(tail("echo looking >&2; echo '[]'"), (true, vec![service()]));
    let refused = vec!["$ /app check".to_owned(), "looking".to_owned(), service()];
    assert_eq!(tail("echo looking >&2; exit 1"), (false, refused));
}

#[test]
fn errors_stop_the_deploy() {
    let errors = r#"echo '[{"id":"e1","severity":"error","message":"bad\u000akey","hint":"make one"},{"id":"e2","severity":"error","message":"no host"}]'; exit 1"#;
    let (done, _) = checked(errors);
    let error = done.unwrap_err();
    assert_eq!(Exit::of(&error), Exit::DeployFailed);
    insta::assert_snapshot!(error, @"
    the service's own check found errors in this environment, and nothing was written:
    - bad key (e1): make one
    - no host (e2)
    ");
    for (script, said) in [
        ("echo '[]'; exit 1", "it gave no reason"),
        (&errors.replace("exit 1", "exit 0"), "bad key (e1)"),
        ("echo hello", "printed no list of findings"),
        ("echo '[]'; exit 2", "exited with 2 and printed no list"),
        ("kill -9 $$", "was killed by signal 9"),
    ] {
        let error = checked(script).0.unwrap_err();
        assert_eq!(Exit::of(&error), Exit::DeployFailed);
        assert!(error.to_string().contains(said), "{error:#}");
    }
}

#[test]
fn an_image_that_cannot_be_run_here_is_skipped_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::for_test(dir.path(), Environment::default());
    let release = image(&ctx, "exit 9", "riscv64");
    run(&ctx, &release, &BTreeMap::new(), &["check"]).unwrap();
    assert!(format!("{:?}", ctx.reporter.events()).contains("linux/riscv64, not for this machine"));

    // Neither here nor in a registry that can be reached.
    let mut ctx = Context::for_test(dir.path(), Environment::default());
    ctx.network = launchway_core::http::NetworkPolicy::Only(Vec::new());
    let other = Release { digest: Digest::of(b"other").to_string(), ..Release::default() };
    run(&ctx, &other, &BTreeMap::new(), &["check"]).unwrap();
    assert!(format!("{:?}", ctx.reporter.events()).contains("was not built here and cannot be pulled"));
}

/// An entry whose path goes into its header as it is.
fn entry(tar: &mut tar::Builder<Vec<u8>>, path: &[u8], kind: tar::EntryType) {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_size(0);
    header.set_cksum();
    tar.append(&header, &b""[..]).unwrap();
}

#[test]
fn what_an_image_may_hold_does_not_stop_a_deploy() {
    use tar::EntryType::{Block, Char, Directory, Fifo, Regular};

    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::for_test(dir.path(), Environment::default());
    let release = image_with(&ctx, "echo '[]'", here(), |tar| {
        for (path, kind) in [
            (&b"dev/null"[..], Char),
            (b"dev/sda", Block),
            (b"pipe", Fifo),
            (b"/leading/slash", Regular),
            (b"not-utf-8-\xff\xfe", Regular),
        ] {
            entry(tar, path, kind);
        }
        (0..100_001).for_each(|_| entry(tar, b"folder/", Directory));
    });
    run(&ctx, &release, &BTreeMap::new(), &["check"]).unwrap();
    let reported = format!("{:?}", ctx.reporter.events());
    assert!(
        reported.contains("found no errors in this environment") && !reported.contains("CheckSkipped"),
        "{reported}"
    );

    // What nobody can unpack is named, and stops nothing.
    let release = image_with(&ctx, "exit 9", here(), |tar| entry(tar, b"../out", Regular));
    run(&ctx, &release, &BTreeMap::new(), &["check"]).unwrap();
    let reported = format!("{:?}", ctx.reporter.events());
    assert!(
        reported.contains("the image cannot be unpacked here: its entry `../out`: leaves the image"),
        "{reported}"
    );
}
