//! This repository's whole `Dockerfile`, builder stage and all, built by the Docker engine and compared with our own
//! image.

use std::path::Path;

use launchway_core::interrupt::Interrupt;
use launchway_image::layout::Layout;
use launchway_image::{Engine, compare};

use crate::support::{Fixture, skipped, toolchain, try_program};

/// Removes images when it is dropped: by name, and by label those that were left without one.
struct Images {
    names: [String; 2],
    label: String,
}

impl Drop for Images {
    fn drop(&mut self) {
        let here = std::env::temp_dir();
        for name in &self.names {
            drop(try_program("docker", &["image", "rm", "--force", name], &here));
        }
        // The builder leaves the container of a step that failed.
        let filter = format!("label={}", self.label);
        for kind in ["container", "image"] {
            drop(try_program("docker", &[kind, "prune", "--force", "--filter", &filter], &here));
        }
    }
}

/// Without a handler the first process of a container does not end by the signal, and the smoke run says so.
const HANDLER: &str = "unsafe extern \"C\" {\n    fn signal(number: i32, handler: extern \"C\" fn(i32)) -> usize;\n    fn _exit(code: i32) -> !;\n}\n\nextern \"C\" fn end(_: i32) {\n    unsafe { _exit(0) }\n}\n\nfn main() {\n    unsafe { signal(15, end) };\n";

#[test]
fn both_engines_compile_and_pack_the_same() {
    const TEST: &str = "both_engines_compile_and_pack_the_same";
    let fixture = Fixture::new();
    if let Err(why) = try_program("docker", &["version"], &fixture.root()) {
        return skipped(TEST, &format!("no Docker engine: {why}"));
    }
    fixture.replace("app/src/main.rs", "fn main() {\n", HANDLER);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fixture.write("Dockerfile", &fs_err::read_to_string(root.join("Dockerfile")).unwrap());
    for file in ["group", "nsswitch.conf", "passwd"] {
        let path = format!("app/rootfs/etc/{file}");
        fixture.write(&path, &fs_err::read_to_string(root.join(&path)).unwrap());
    }
    fixture.commit();
    let number = std::process::id();
    let (base, image) =
        (format!("localhost/launchway-toolchain-{number}"), format!("localhost/launchway-compiled-{number}"));
    let label = format!("launchway.parity={number}");
    let _images =
        Images { names: [base.clone(), format!("{image}:{}", fixture.head())], label: label.clone() };
    let folder = tempfile::tempdir().unwrap();
    if let Err(why) = toolchain::import(&base, &label, folder.path()) {
        return skipped(TEST, &why);
    }
    // In the container, and here.
    let builds = [
        ("docker", "/workspace/app".to_owned()),
        ("builtin", fixture.path("target/xtask/source/app").display().to_string()),
    ];
    let [docker, builtin] = builds.map(|(engine, place)| {
        let run = fixture.xtask(&["docker-build", "--engine", engine]);
        let ran = run.envs(&[("PIPELINE_RUST_IMAGE", &base), ("PIPELINE_IMAGE", &image)]).finish().exits(0);
        ran.says(&["smoke run: up in "]);
        let log = fixture.read("target/xtask/logs/docker-build.log");
        assert!(log.contains(&format!("Compiling app v0.1.0 ({place})")), "{log}");
        for left in ["docker.tar", "docker.iid"] {
            assert!(!fixture.path(&format!("target/xtask/{left}")).exists(), "{left}");
        }
        let layout = folder.path().join(engine);
        fs_err::rename(fixture.path("target/xtask/image"), &layout).unwrap();
        Layout::open(&layout).unwrap()
    });
    let name = format!("{image}:{}", fixture.head());
    let id =
        try_program("docker", &["image", "inspect", "--format", "{{.Id}}", &name], &fixture.root()).unwrap();
    assert_eq!(docker.config.digest.as_str(), id.trim(), "the engine's own name for it");
    assert_eq!(
        (&docker.tags, docker.engine, builtin.engine),
        (&builtin.tags, Engine::Docker, Engine::Builtin)
    );
    let differences = compare::differences(&Interrupt::default(), &builtin, &docker, "app/app").unwrap();
    assert!(differences.iter().all(|difference| difference.reason.is_some()), "{differences:#?}");
    // The classic builder's and BuildKit's own fields, and the time of the build.
    let places: Vec<&str> = differences.iter().map(|difference| difference.place.as_str()).collect();
    assert!(places.contains(&"created"), "{differences:#?}");
    fixture.is_left_alone();
}
