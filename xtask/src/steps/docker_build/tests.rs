use std::io::Write as _;

use super::*;
use crate::environment::Environment;
use crate::report::Event;

const DOCKERFILE: &str = r#"FROM rust AS build
FROM scratch
COPY rootfs/ /
COPY --from=build /w/release/app /app/app
WORKDIR /app
ENTRYPOINT ["/app/app"]
CMD ["hello"]
ARG COMMIT=unknown
ARG VERSION=unknown
ENV APP_COMMIT=$COMMIT
LABEL org.opencontainers.image.version=$VERSION
"#;

/// A context whose recipe is `DOCKERFILE`, in a folder.
fn workspace(root: &Path) -> Context {
    fs_err::create_dir_all(root.join("rootfs/etc")).unwrap();
    fs_err::write(root.join("rootfs/etc/group"), "root:x:0:\n").unwrap();
    fs_err::write(root.join("rootfs/etc/passwd"), "root:x:0:0::/:\n").unwrap();
    fs_err::write(root.join("Dockerfile"), DOCKERFILE).unwrap();
    Context::for_test(root, Environment::of([("HOME", "/home/me")]))
}

fn toolchain() -> Toolchain {
    Toolchain {
        sysroot: "/opt/rust".into(),
        cargo_home: "/home/me/.cargo".into(),
        version: "1.2.3".to_owned(),
    }
}

/// The program that the image starts: it is compiled once, and stands where cargo would put it.
fn compile_program(ctx: &Context) -> PathBuf {
    let source = ctx.root.join("program.rs");
    fs_err::write(
        &source,
        r#"fn main() { println!("{:?} {:?}", std::env::args().nth(1), std::env::var("APP_COMMIT")); }"#,
    )
    .unwrap();
    let binary = ctx.root.join("target/image/x86_64-unknown-linux-gnu/release/app");
    fs_err::create_dir_all(binary.parent().unwrap()).unwrap();
    Call::new("rustc")
        .args(["--edition=2024", "-Ctarget-feature=+crt-static", "-Cstrip=symbols", "--target"])
        .args([ctx.config.target.as_str(), "-o"])
        .args([binary.display().to_string(), source.display().to_string()])
        .read(&ctx.root)
        .unwrap();
    binary
}

/// The plan without its first action, which is cargo's, and without the smoke run: the program here is no server.
fn without_compiling(ctx: &Context) -> Vec<Action> {
    let mut actions = builtin(ctx, &toolchain()).unwrap();
    assert!(matches!(actions.remove(0), Action::Compile(_)));
    actions.retain(|action| !matches!(action, Action::Smoke(_)));
    actions
}

#[test]
fn the_plan_is_what_explain_shows() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = workspace(dir.path());
    let root = dir.path().display().to_string();
    let lines: Vec<String> = builtin(&ctx, &toolchain())
        .unwrap()
        .iter()
        .map(|action| action.to_string().replace(&root, "/w"))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
CARGO_TARGET_DIR=/w/target/image CARGO_ENCODED_RUSTFLAGS=$'-Ctarget-feature=+crt-static\x1f--remap-path-prefix=/w=/workspace\x1f--remap-path-prefix=/home/me/.cargo=/cargo\x1f--remap-path-prefix=/opt/rust=/rust' cargo build --release --locked --package app --bin app --target x86_64-unknown-linux-gnu
check that /w/target/image/x86_64-unknown-linux-gnu/release/app is a static program for linux/amd64
pack a layer of 2 folders and 2 files: COPY rootfs/ /
pack a layer of /app/app: COPY --from=build /w/release/app /app/app
start /app/app of the packed layers on loopback, ask it for /healthz and /version, end it with SIGTERM
write the image to /w/target/xtask/image: docker.io/slipway/app:0123456789abcdef0123456789abcdef01234567 docker.io/slipway/app:latest
"#);
}

#[test]
fn a_bad_recipe_fails_before_anything_is_compiled() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = workspace(dir.path());
    fs_err::write(dir.path().join("Dockerfile"), format!("{DOCKERFILE}RUN true\n")).unwrap();
    let error = builtin(&ctx, &toolchain()).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Usage);
    assert!(error.to_string().starts_with("Dockerfile:12: `RUN`"), "{error}");
}

#[test]
fn the_docker_engine_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = plan(&workspace(dir.path()), Engine::Docker).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Usage);
    assert_eq!(
        error.to_string(),
        "the docker engine is not part of this version: use --engine builtin (the default), or run `docker build .`"
    );
}

#[test]
fn the_machine_is_asked_for_what_the_plan_needs() {
    let dir = tempfile::tempdir().unwrap();
    let mut ctx = workspace(dir.path());
    ctx.root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
    let toolchain = Toolchain::ask(&ctx).unwrap();
    assert!(toolchain.sysroot.join("lib/rustlib").is_dir());
    assert_eq!(toolchain.cargo_home, Path::new("/home/me/.cargo"));
    assert_eq!(toolchain.version, env!("CARGO_PKG_VERSION"));
    ctx.config.app = "nobody".to_owned();
    let error = Toolchain::ask(&ctx).err().unwrap();
    assert_eq!(Exit::of(&error), Exit::Missing);
    assert!(format!("{error:#}").starts_with("`app` is `nobody`, which is not a package here"), "{error:#}");
}

#[test]
fn the_image_is_the_same_wherever_it_is_made() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = workspace(one.path());
    // Written in another order, at another time, with other rights for others.
    fs_err::create_dir_all(two.path().join("rootfs/etc")).unwrap();
    fs_err::write(two.path().join("rootfs/etc/passwd"), "").unwrap();
    let second = workspace(two.path());
    for (name, mode) in [("rootfs/etc/passwd", 0o600), ("rootfs/etc/group", 0o664), ("rootfs/etc", 0o700)] {
        let path = two.path().join(name);
        let file = fs_err::File::open(&path).unwrap().into_file();
        file.set_modified(UNIX_EPOCH + Duration::from_hours(1)).unwrap();
        fs_err::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    let binary = compile_program(&first);
    let copy = two.path().join(binary.strip_prefix(one.path()).unwrap());
    fs_err::create_dir_all(copy.parent().unwrap()).unwrap();
    fs_err::copy(&binary, &copy).unwrap();
    let built = run(&first, &without_compiling(&first)).unwrap();
    assert_eq!(run(&second, &without_compiling(&second)).unwrap(), built);
    assert_eq!(built.tags, [first.git.commit.as_str(), "latest"]);
    assert_eq!(built.repository, "docker.io/slipway/app");

    let layout = Layout::open(&first.output().join("image")).unwrap();
    assert_eq!(
        (&layout.manifest.digest, layout.size(), layout.layers.len()),
        (&built.digest, built.bytes, 2)
    );
    let notes: Vec<Event> = first.reporter.told();
    let expected =
        format!("image docker.io/slipway/app:{} · {} · 2 layers, ", first.git.commit, built.digest);
    assert!(matches!(&notes[..], [Event::Note { text }] if text.starts_with(&expected)), "{notes:?}");
    // Another commit: the layers stay, so that only the configuration travels.
    let mut later = workspace(two.path());
    later.git.commit = "f".repeat(40);
    later.git.dirty = true;
    let dirty = run(&later, &without_compiling(&later)).unwrap();
    assert_eq!(dirty.tags, [format!("{}-dirty", "f".repeat(40))]);
    assert_ne!(dirty.digest, built.digest);
    let second = Layout::open(&later.output().join("image")).unwrap();
    assert_eq!(second.layers, layout.layers);
    let config = fs_err::read_to_string(second.blob(&second.config.digest)).unwrap();
    assert!(config.contains(&format!("\"APP_COMMIT={}-dirty\"", "f".repeat(40))), "{config}");
}

#[test]
fn a_failing_compiler_and_a_dynamic_binary_end_the_step() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = workspace(dir.path());
    let error = run(&ctx, &[Action::Compile(Call::new("false"))]).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::CheckFailed);
    let dynamic = Action::Verify { binary: "/bin/true".into(), platform: Platform::Amd64 };
    assert_eq!(Exit::of(&run(&ctx, &[dynamic]).unwrap_err()), Exit::CheckFailed);
    ctx.interrupt.set();
    assert_eq!(Exit::of(&run(&ctx, &without_compiling(&ctx)).unwrap_err()), Exit::Interrupted);
    assert!(!ctx.output().exists());
}

#[test]
fn docker_runs_the_image() {
    if Call::new("docker").args(["version", "--format", "{{.Server.Version}}"]).read(Path::new("/")).is_err()
    {
        // Not `eprintln!`, which the test runner would keep to itself.
        writeln!(std::io::stderr(), "SKIPPED: docker_runs_the_image: no Docker engine").unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut ctx = workspace(dir.path());
    // A name of its own, so that nobody's image is touched.
    ctx.config.image = format!("localhost/slipway-test-{}", std::process::id());
    compile_program(&ctx);
    let built = run(&ctx, &without_compiling(&ctx)).unwrap();
    let layout = Layout::open(&ctx.output().join("image")).unwrap();

    // Engines before 25 load no pure layout: `manifest.json`, of the older archive format, points at the same blobs.
    let folder = ctx.output().join("image");
    let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    let name = format!("{}:{}", built.repository, built.tags[0]);
    let manifest = serde_json::json!([{
        "Config": blob(&built.config),
        "RepoTags": [name],
        "Layers": layout.layers.iter().map(|layer| blob(&layer.digest)).collect::<Vec<_>>(),
    }]);
    fs_err::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    let archive = dir.path().join("image.tar");
    let mut tar = tar::Builder::new(fs_err::File::create(&archive).unwrap());
    tar.append_dir_all(".", &folder).unwrap();
    tar.into_inner().unwrap();

    let docker = |line: &str| Call::new("docker").args(line.split(' ')).read(dir.path());
    docker(&format!("load --quiet --input {}", archive.display())).unwrap();
    let id = docker(&format!("image inspect --format {{{{.Id}}}} {name}"));
    let said = docker(&format!("run --rm --network none {name}"));
    let files = docker(&format!("create {name}"));
    if let Ok(container) = &files {
        docker(&format!("cp {container}:/etc/group {}", dir.path().join("group").display())).unwrap();
        docker(&format!("rm {container}")).unwrap();
    }
    docker(&format!("image rm {name}")).unwrap();
    assert_eq!(id.unwrap(), built.config.as_str());
    assert_eq!(said.unwrap(), format!("Some(\"hello\") Ok(\"{}\")", ctx.git.commit));
    assert_eq!(fs_err::read_to_string(dir.path().join("group")).unwrap(), "root:x:0:\n");
}
