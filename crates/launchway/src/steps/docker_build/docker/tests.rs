//! With a running Docker engine.

use std::io::Write as _;
use std::path::Path;

use super::*;
use crate::steps::docker_build::Options;
use crate::steps::docker_build::tests::{compile_program, planned_with, workspace};
use launchway_core::command::Call;
use launchway_image::layer::Layer;
use launchway_image::layout::Layout;
use launchway_registry::Digest;

/// Whether an engine responds; where none does, the test says that it did not run.
///
/// Not with `eprintln!`, which the test runner would keep to itself.
fn has_engine(test: &str) -> bool {
    let answers =
        Call::new("docker").args(["version", "--format", "{{.Server.Version}}"]).read(Path::new("/")).is_ok();
    if !answers {
        writeln!(std::io::stderr(), "SKIPPED: {test}: no Docker engine").unwrap();
    }
    answers
}

fn docker(line: &str) -> Result<String> {
    Call::new("docker").args(line.split(' ')).read(Path::new("/"))
}

/// Removes images when it is dropped, also by a test that fails: by name, and those left without one by label.
struct Images {
    names: Vec<String>,
    label: String,
}

impl Drop for Images {
    fn drop(&mut self) {
        for image in &self.names {
            drop(docker(&format!("image rm --force {image}")));
        }
        drop(docker(&format!("image prune --force --filter label={}", self.label)));
    }
}

#[test]
fn the_engine_takes_the_archive_and_runs_the_image() {
    if !has_engine("the_engine_takes_the_archive_and_runs_the_image") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut ctx = workspace(dir.path());
    // A name of its own, so that nobody's image is touched.
    ctx.config.image = format!("localhost/launchway-test-{}", std::process::id());
    compile_program(&ctx);
    let archive = dir.path().join("out/image.tar");
    let options = Options { output: Some(archive.clone()), load: true, ..Engine::Builtin.into() };
    let name = format!("{}:{}", ctx.config.image, ctx.git.commit);
    let latest = format!("{}:latest", ctx.config.image);
    let _images =
        Images { names: vec![name.clone(), latest.clone()], label: "launchway.test=none".to_owned() };
    let make = |options: &Options| {
        planned_with(&ctx, options).unwrap().without_children().run(&ctx.runner()).unwrap()
    };
    let built = make(&options);

    assert!(archive.is_file());
    for name in [&name, &latest] {
        let id = docker(&format!("image inspect --format {{{{.Id}}}} {name}")).unwrap();
        assert_eq!(id, built.config.as_str());
    }
    let said = docker(&format!("run --rm --network none {name}")).unwrap();
    assert_eq!(said, format!("Some(\"hello\") Ok(\"{}\")", ctx.git.commit));
    let container = docker(&format!("create {name}")).unwrap();
    let copied = docker(&format!("cp {container}:/etc/group {}", dir.path().join("group").display()));
    docker(&format!("rm {container}")).unwrap();
    copied.unwrap();
    assert_eq!(fs_err::read_to_string(dir.path().join("group")).unwrap(), "root:x:0:\n");

    // What is not kept is removed, and what the engine saves of it is the image again.
    let options = Options { load: true, ..Engine::Builtin.into() };
    make(&options);
    assert!(!ctx.output().join("image.tar").exists());
    let id = ctx.output().join("docker.iid");
    fs_err::write(&id, built.config.as_str()).unwrap();
    let saved = dir.path().join("saved.tar");
    Save { id: id.clone(), archive: saved.clone() }.run(&ctx.runner()).unwrap();
    assert!(!id.exists());
    let image = docker_archive::read(&saved, Platform::Amd64, &ctx.interrupt).unwrap();
    let layout = Layout::open(&ctx.output().join("image")).unwrap();
    assert_eq!(Digest::of(&image.config), built.config);
    let layers: Vec<_> = image.layers.iter().map(Layer::descriptor).collect();
    assert_eq!(layers, layout.layers, "the engine's copy, compressed anew, is the same blobs");
}
