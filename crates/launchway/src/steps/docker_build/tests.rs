use std::path::Path;

use super::*;
use crate::workspace::Workspace;
use launchway_core::command::Call;
use launchway_core::environment::Environment;
use launchway_core::events::Event;
use launchway_image::layout::Layout;

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

/// A context whose Dockerfile is `DOCKERFILE`, in a folder.
pub(super) fn workspace(root: &Path) -> Context {
    fs_err::create_dir_all(root.join("rootfs/etc")).unwrap();
    fs_err::write(root.join("rootfs/etc/group"), "root:x:0:\n").unwrap();
    fs_err::write(root.join("rootfs/etc/passwd"), "root:x:0:0::/:\n").unwrap();
    fs_err::write(root.join("Dockerfile"), DOCKERFILE).unwrap();
    Context::for_test(root, Environment::of([("HOME", "/home/me")]))
}

fn toolchain() -> Toolchain {
    Toolchain {
        commit: Some("c0ffee".to_owned()),
        pinned: None,
        sysroot: "/opt/rust".into(),
        cargo_home: "/home/me/.cargo".into(),
        workspace: Workspace { version: "1.2.3".to_owned(), ..Workspace::default() },
    }
}

/// The program that the image starts: it is compiled once, and stands where cargo would put it.
pub(super) fn compile_program(ctx: &Context) -> PathBuf {
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

pub(super) fn planned_with(ctx: &Context, options: &Options) -> Result<DockerBuildPlan> {
    plan_with(ctx, options, Sources::read(&ctx.root, &ctx.git)?, &toolchain())
}

fn planned(ctx: &Context) -> Result<DockerBuildPlan> {
    planned_with(ctx, &Engine::Builtin.into())
}

impl DockerBuildPlan {
    /// The same plan for a program that is already there and cannot be started.
    pub(crate) fn without_children(self) -> Self {
        self.with_builtin(BuiltinBuild::without_children)
    }

    fn with_builtin(self, change: impl FnOnce(BuiltinBuild) -> BuiltinBuild) -> Self {
        match self.build {
            Build::Builtin(build) => Self { build: Build::Builtin(Box::new(change(*build))), ..self },
            Build::Docker(_) => panic!("a plan of the Docker engine"),
        }
    }
}

fn build(ctx: &Context) -> Result<Built> {
    planned(ctx)?.without_children().run(&ctx.runner())
}

#[test]
fn the_plan_is_what_explain_shows() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = workspace(dir.path());
    let root = dir.path().display().to_string();
    insta::assert_snapshot!(planned(&ctx).unwrap().to_string().replace(&root, "/w"), @r#"
in /w: CARGO_TARGET_DIR=/w/target/image CARGO_ENCODED_RUSTFLAGS=$'-Ctarget-feature=+crt-static\x1f--remap-path-prefix=/w=/workspace\x1f--remap-path-prefix=/home/me/.cargo=/cargo\x1f--remap-path-prefix=/opt/rust=/rust\x1f--remap-path-prefix=/opt/rust/lib/rustlib/src/rust=/rustc/c0ffee' CARGO_INCREMENTAL=0 RUSTC_WRAPPER='' RUSTC_WORKSPACE_WRAPPER='' SOURCE_DATE_EPOCH=1767225600 TZ=UTC cargo build --profile release --locked --package app --bin app --target x86_64-unknown-linux-gnu
check that /w/target/image/x86_64-unknown-linux-gnu/release/app is a static program for linux/amd64
pack a layer of 2 folders and 2 files: COPY rootfs/ /
pack a layer of /app/app: COPY --from=build /w/release/app /app/app
start /app/app of the packed layers on loopback, request /healthz and /version, end it with SIGTERM
write the image to /w/target/xtask/image: docker.io/acme/app:0123456789abcdef0123456789abcdef01234567 docker.io/acme/app:latest
"#);
}

#[test]
fn a_bad_final_stage_fails_before_anything_is_compiled() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = workspace(dir.path());
    fs_err::write(dir.path().join("Dockerfile"), format!("{DOCKERFILE}RUN true\n")).unwrap();
    let error = planned(&ctx).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Usage);
    assert!(error.to_string().starts_with("Dockerfile:12: nothing can `RUN` in `scratch`"), "{error}");
}

#[test]
fn the_sources_are_checked_out_once_whichever_engines_follow() {
    let dir = tempfile::tempdir().unwrap();
    let mut ctx = workspace(dir.path());
    for line in [&["init", "--quiet"][..], &["add", "--all"], &["commit", "--quiet", "--message", "Begin"]] {
        crate::testing::git(dir.path(), line);
    }
    ctx.git.commit = crate::testing::git(dir.path(), &["rev-parse", "HEAD"]);
    for engine in Engine::ALL {
        let lines = lines(&ctx, &engine.into());
        assert_eq!(lines.matches("check out the files of commit ").count(), 1, "{lines}");
    }
}

/// The lines of a plan, as they are on every machine.
fn lines(ctx: &Context, options: &Options) -> String {
    let text = planned_with(ctx, options).unwrap().to_string().replace(&ctx.root.display().to_string(), "/w");
    let text = text.replace(
        "docker buildx build --load --provenance=false --sbom=false",
        "DOCKER_BUILDKIT=0 docker build",
    );
    // The name of the container is made of the root.
    match text.find("launchway-smoke-").map(|start| start + "launchway-smoke-".len()) {
        Some(place) => format!("{}NAME{}", &text[..place], &text[place + 12..]),
        None => text,
    }
}

#[test]
fn the_docker_engine_gets_what_the_builtin_engine_gets() {
    let dir = tempfile::tempdir().unwrap();
    let mut ctx = workspace(dir.path());
    insta::assert_snapshot!(lines(&ctx, &Engine::Docker.into()), @"
check that a Docker engine responds
DOCKER_BUILDKIT=0 docker build --file /w/Dockerfile --platform linux/amd64 --iidfile /w/target/xtask/docker.iid --tag docker.io/acme/app:0123456789abcdef0123456789abcdef01234567 --build-arg COMMIT=0123456789abcdef0123456789abcdef01234567 --build-arg CREATED=2026-01-01T00:00:00Z --build-arg VERSION=1.2.3 --label org.opencontainers.image.revision=0123456789abcdef0123456789abcdef01234567 --label org.opencontainers.image.created=2026-01-01T00:00:00Z /w
docker run --rm --name launchway-smoke-NAME --read-only --cap-drop ALL --security-opt no-new-privileges --publish 127.0.0.1::8000 --env ALIAS=localhost,127.0.0.1 --env SERVER_MODE=PROD --env CIPHER_KEY=79bc5bb8c9551e0eee361ac94bd55b91f64bf8a03cb9a51058908c131abfd73a --env LISTEN=0.0.0.0 --env PORT=8000 docker.io/acme/app:0123456789abcdef0123456789abcdef01234567, request /healthz and /version, end it with `docker stop`
docker save --output /w/target/xtask/docker.tar ID, with the ID from /w/target/xtask/docker.iid
read /w/target/xtask/docker.tar, recompress its layers and write the image to /w/target/xtask/image: docker.io/acme/app:0123456789abcdef0123456789abcdef01234567 docker.io/acme/app:latest
");
    // A label that the Dockerfile sets is not set again, and a mirror replaces the base image.
    ctx.environment = Environment::of([("PIPELINE_RUST_IMAGE", "mirror.example.com/rust:1")]);
    let label = "LABEL org.opencontainers.image.revision=$COMMIT\n";
    fs_err::write(dir.path().join("Dockerfile"), format!("{DOCKERFILE}{label}")).unwrap();
    let text = lines(&ctx, &Engine::Docker.into());
    assert!(text.contains(" --build-arg RUST_IMAGE=mirror.example.com/rust:1 "), "{text}");
    assert!(
        !text.contains("image.revision=") && text.contains(" --label org.opencontainers.image.created="),
        "{text}"
    );
}

#[test]
fn the_image_goes_where_it_is_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = workspace(dir.path());
    let own = lines(&ctx, &Engine::Builtin.into());
    let options = |output: Option<&str>, load| Options {
        output: output.map(PathBuf::from),
        load,
        ..Options::from(Engine::Builtin)
    };
    let reach = "check that a Docker engine responds\n";
    assert_eq!(
        lines(&ctx, &options(Some("/a/b.tar"), false)),
        format!("{own}\nwrite the image into /a/b.tar")
    );
    assert_eq!(
        lines(&ctx, &options(Some("/a/b.tar"), true)),
        format!("{reach}{own}\nwrite the image into /a/b.tar\ndocker load < /a/b.tar")
    );
    let place = "/w/target/xtask/image.tar";
    assert_eq!(
        lines(&ctx, &options(None, true)),
        format!("{reach}{own}\nwrite the image into {place}\ndocker load < {place}, then remove that file")
    );
}

#[test]
fn the_machine_is_asked_for_what_the_plan_needs() {
    let dir = tempfile::tempdir().unwrap();
    let mut ctx = workspace(dir.path());
    ctx.root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture");
    let sources = Sources::of_folder(dir.path()).unwrap();
    let toolchain = Toolchain::read(&ctx.root, &ctx.config, &ctx.environment, &sources).unwrap();
    assert!(toolchain.sysroot.join("lib/rustlib").is_dir());
    assert_eq!(toolchain.cargo_home, Path::new("/home/me/.cargo"));
    assert_eq!(toolchain.workspace.version, "0.1.0");
    ctx.config.package = "nobody".to_owned();
    let error = Toolchain::read(&ctx.root, &ctx.config, &ctx.environment, &sources).err().unwrap();
    assert_eq!(Exit::of(&error), Exit::Usage);
    assert!(
        error.to_string().starts_with("`package` is `nobody`, which is not a package of this"),
        "{error:#}"
    );
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
        file.set_modified(UNIX_EPOCH + Duration::from_secs(3600)).unwrap();
        fs_err::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    let binary = compile_program(&first);
    let copy = two.path().join(binary.strip_prefix(one.path()).unwrap());
    fs_err::create_dir_all(copy.parent().unwrap()).unwrap();
    fs_err::copy(&binary, &copy).unwrap();
    let built = build(&first).unwrap();
    assert_eq!(build(&second).unwrap(), built);
    assert_eq!(built.tags, [first.git.commit.as_str(), "latest"]);
    assert_eq!(built.repository, "docker.io/acme/app");

    let layout = Layout::open(&first.output().join("image")).unwrap();
    assert_eq!(
        (&layout.manifest.digest, layout.size(), layout.layers.len()),
        (&built.digest, built.bytes, 2)
    );
    let mut notes = first.reporter.events();
    notes.retain(|event| matches!(event, Event::Note { .. }));
    let expected = format!("image docker.io/acme/app:{} · {} · 2 layers, ", first.git.commit, built.digest);
    assert!(matches!(&notes[..], [Event::Note { text }] if text.starts_with(&expected)), "{notes:?}");
    // Another commit: the layers stay, so that only the configuration travels.
    let mut later = workspace(two.path());
    later.git.commit = "f".repeat(40);
    later.git.dirty = true;
    let dirty = build(&later).unwrap();
    assert_eq!(dirty.tags, [format!("{}-dirty", "f".repeat(40))]);
    assert_ne!(dirty.digest, built.digest);
    let second = Layout::open(&later.output().join("image")).unwrap();
    assert_eq!(second.layers, layout.layers);
    let config = fs_err::read_to_string(second.blob(&second.config.digest)).unwrap();
    assert!(config.contains(&format!("\"APP_COMMIT={}-dirty\"", "f".repeat(40))), "{config}");
}

#[test]
fn a_failing_compiler_and_an_interrupt_end_the_step() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = workspace(dir.path());
    let failing = planned(&ctx).unwrap().with_builtin(|build| build.with_compiler("false"));
    assert_eq!(Exit::of(&failing.run(&ctx.runner()).unwrap_err()), Exit::CheckFailed);
    ctx.interrupt.set();
    assert_eq!(Exit::of(&build(&ctx).unwrap_err()), Exit::Interrupted);
    assert!(!ctx.output().exists());
}
