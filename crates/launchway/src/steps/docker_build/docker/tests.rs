//! With a running Docker engine.

use std::io::Write as _;
use std::path::Path;

use super::*;
use crate::context::Context;
use crate::steps::docker_build::tests::{compile_program, planned_with, workspace};
use crate::steps::docker_build::{Build, DockerBuildPlan, Options};
use launchway_core::command::Call;
use launchway_core::environment::Environment;
use launchway_image::compare;
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

/// Like the Dockerfiles of real services: builder stage, accounts, health check, arguments and labels.
const DOCKERFILE: &str = r#"ARG RUST_IMAGE=docker.io/library/rust:1.95.0-slim-bookworm
FROM ${RUST_IMAGE} AS build
ENV RUSTFLAGS="-Ctarget-feature=+crt-static --remap-path-prefix=/usr/local/cargo=/cargo"
WORKDIR /workspace
COPY . .
RUN cargo build --release --locked --package app --bin app --target x86_64-unknown-linux-gnu

FROM scratch
COPY rootfs/ /
COPY --from=build /workspace/target/x86_64-unknown-linux-gnu/release/app /app/app
WORKDIR /app
USER 65532:65532
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s --retries=3 CMD ["/app/app", "healthcheck"]
ENTRYPOINT ["/app/app"]
CMD ["serve"]
ARG VERSION=unknown
ARG COMMIT=unknown
ENV APP_COMMIT=$COMMIT
LABEL org.opencontainers.image.title="A service" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$COMMIT
"#;

/// A base image is made here, since none can be pulled. What this does not prove is that the builder stage compiles: the
/// base holds one program, which is its `/bin/sh`, and which for `cargo build` copies a binary that lies in the context.
#[test]
fn both_engines_make_the_same_image() {
    if !has_engine("both_engines_make_the_same_image") {
        return;
    }
    let (dir, base) =
        (tempfile::tempdir().unwrap(), format!("localhost/launchway-base-{}", std::process::id()));
    let mut ctx = workspace(dir.path());
    ctx.config.image = format!("localhost/launchway-parity-{}", std::process::id());
    ctx.environment = Environment::of([("HOME", "/home/me"), ("PIPELINE_RUST_IMAGE", &base)]);
    fs_err::write(dir.path().join("Dockerfile"), DOCKERFILE).unwrap();
    fs_err::write(dir.path().join(".dockerignore"), "target\n").unwrap();
    fs_err::copy(compile_program(&ctx), dir.path().join("compiled")).unwrap();

    let name = format!("{}:{}", ctx.config.image, ctx.git.commit);
    let label = format!("launchway.test={}", std::process::id());
    // The builder stage's images inherit the base's label.
    let images = Images { names: vec![name.clone(), base.clone()], label: label.clone() };
    make_base(&ctx, &base, &label);
    let built =
        planned_with(&ctx, &Engine::Builtin.into()).unwrap().without_children().run(&ctx.runner()).unwrap();
    let folder = ctx.output().join("image");
    let own_folder = dir.path().join("image-builtin");
    fs_err::rename(&folder, &own_folder).unwrap();
    let DockerBuildPlan { build: Build::Docker(plan), output, .. } =
        planned_with(&ctx, &Engine::Docker.into()).unwrap()
    else {
        panic!("a plan of the builtin engine")
    };
    let result = plan.build.run(&ctx.runner()).and_then(|()| plan.import(&ctx.runner(), &output));
    let id = docker(&format!("image inspect --format {{{{.Id}}}} {name}"));
    drop(images);

    let events = ctx.reporter.events();
    result.unwrap_or_else(|error| panic!("{error:#}\n{events:#?}"));
    let (ours, theirs) = (Layout::open(&own_folder).unwrap(), Layout::open(&folder).unwrap());
    assert_eq!(ours.manifest.digest, built.digest);
    assert_eq!(theirs.config.digest.as_str(), id.unwrap(), "the engine's own name for it");
    assert_eq!((&theirs.tags, theirs.engine), (&ours.tags, Engine::Docker));
    assert!(!ctx.output().join("docker.tar").exists() && !ctx.output().join("docker.iid").exists());
    let differences = compare::differences(&ctx.interrupt, &ours, &theirs, "app/app").unwrap();
    let places: Vec<&str> = differences.iter().map(|difference| difference.place.as_str()).collect();
    // The classic builder's and BuildKit's own fields, and the time of the build.
    assert!(places.contains(&"created"), "{differences:#?}");
    let known = ["config ArgsEscaped", "config Image", "created"];
    assert!(places.iter().all(|place| known.contains(place)), "{differences:#?}");
}

fn make_base(ctx: &Context, name: &str, label: &str) {
    let source = ctx.root.join("target/sh.rs");
    fs_err::write(
        &source,
        r#"fn main() {
            let line = std::env::args().nth(2).unwrap();
            let expected = "cargo build --release --locked --package app --bin app --target x86_64-unknown-linux-gnu";
            assert_eq!(line, expected);
            assert!(std::env::var("RUSTFLAGS").unwrap().starts_with("-Ctarget-feature=+crt-static "));
            let folder = "/workspace/target/x86_64-unknown-linux-gnu/release";
            std::fs::create_dir_all(folder).unwrap();
            std::fs::copy("/workspace/compiled", format!("{folder}/app")).unwrap();
        }"#,
    )
    .unwrap();
    let program = ctx.root.join("target/sh");
    Call::new("rustc")
        .args(["--edition=2024", "-Ctarget-feature=+crt-static", "--target", &ctx.config.target, "-o"])
        .args([program.display().to_string(), source.display().to_string()])
        .read(&ctx.root)
        .unwrap();
    let base = ctx.root.join("target/base.tar");
    let mut tar = tar::Builder::new(fs_err::File::create(&base).unwrap());
    tar.append_path_with_name(&program, "bin/sh").unwrap();
    tar.into_inner().unwrap();
    Call::new("docker")
        .args(["import", "--change", &format!("LABEL {label}"), &base.display().to_string(), name])
        .read(&ctx.root)
        .unwrap();
}
