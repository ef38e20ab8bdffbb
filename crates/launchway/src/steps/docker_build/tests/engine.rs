//! With a running Docker engine.

use std::io::Write as _;

use super::*;

/// Whether an engine answers; where none does, the test says that it did not run.
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

/// Without cargo, and without the smoke run: the program here is no server.
fn without_cargo(ctx: &Context, options: &Options) -> Vec<Action> {
    let mut actions = engines::plan(ctx, options, &Sources::read(ctx).unwrap(), &toolchain()).unwrap();
    actions.retain(|action| !matches!(action, Action::Compile { .. } | Action::Smoke(_)));
    actions
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
    let built = run(&ctx, &without_cargo(&ctx, &options)).unwrap();

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
    run(&ctx, &without_cargo(&ctx, &options)).unwrap();
    assert!(!ctx.output().join("image.tar").exists());
    let id = ctx.output().join("docker.iid");
    fs_err::write(&id, built.config.as_str()).unwrap();
    let saved = dir.path().join("saved.tar");
    Task::Save { id: id.clone(), archive: saved.clone() }.run(&ctx.runner()).unwrap();
    assert!(!id.exists());
    let image = docker_archive::read(&saved, Platform::Amd64, &ctx.interrupt).unwrap();
    let layout = Layout::open(&ctx.output().join("image")).unwrap();
    assert_eq!(Digest::of(&image.config), built.config);
    let layers: Vec<_> = image.layers.iter().map(Layer::descriptor).collect();
    assert_eq!(layers, layout.layers, "the engine's copy, compressed anew, is the same blobs");
}

/// This workspace's own `Dockerfile`, from a base image that is made here since none can be pulled.
///
/// The classic builder follows every line of it. What this does not prove is that the builder stage compiles: the base
/// holds one program, which is its `/bin/sh`, and which for `cargo build` copies a binary that lies in the context.
#[test]
fn both_engines_make_the_same_of_this_workspace() {
    if !has_engine("both_engines_make_the_same_of_this_workspace") {
        return;
    }
    let (dir, base) =
        (tempfile::tempdir().unwrap(), format!("localhost/launchway-base-{}", std::process::id()));
    let mut ctx = workspace(dir.path());
    ctx.config.image = format!("localhost/launchway-parity-{}", std::process::id());
    ctx.environment = Environment::of([("HOME", "/home/me"), ("PIPELINE_RUST_IMAGE", &base)]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    for file in ["Dockerfile", ".dockerignore"] {
        fs_err::copy(root.join(file), dir.path().join(file)).unwrap();
    }
    copy(&root.join("app/rootfs"), &dir.path().join("app/rootfs"));
    fs_err::copy(compile_program(&ctx), dir.path().join("compiled")).unwrap();

    let name = format!("{}:{}", ctx.config.image, ctx.git.commit);
    let label = format!("launchway.test={}", std::process::id());
    // The builder stage's images inherit the base's label.
    let images = Images { names: vec![name.clone(), base.clone()], label: label.clone() };
    make_base(&ctx, &base, &label);
    let options = Options { compare: true, ..Engine::Builtin.into() };
    let result = run(&ctx, &without_cargo(&ctx, &options));
    let id = docker(&format!("image inspect --format {{{{.Id}}}} {name}"));
    drop(images);

    let told = format!("{:#?}", ctx.reporter.events());
    let built = result.unwrap_or_else(|error| panic!("{error:#}\n{told}"));
    let ours = Layout::open(&ctx.output().join("image")).unwrap();
    assert_eq!(ours.manifest.digest, built.digest);
    let theirs = Layout::open(&ctx.output().join("image-docker")).unwrap();
    assert_eq!(theirs.config.digest.as_str(), id.unwrap(), "the engine's own name for it");
    assert_eq!(theirs.tags, ours.tags);
    assert!(!ctx.output().join("docker.tar").exists() && !ctx.output().join("docker.iid").exists());
    let table = ctx.reporter.events().into_iter().find_map(|event| match event {
        Event::Text { text } if text.starts_with("place ") => Some(text),
        _ => None,
    });
    let table = table.unwrap();
    let places: Vec<&str> = table.lines().skip(1).filter_map(|line| line.split("  ").next()).collect();
    // The classic builder's and BuildKit's own fields, and the time of the build.
    assert!(places.contains(&"created"), "{table}");
    let known = ["config ArgsEscaped", "config Image", "created"];
    assert!(places.iter().all(|place| known.contains(place)), "{table}");
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

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let (path, place) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &place);
        } else {
            fs_err::copy(path, place).unwrap();
        }
    }
}
