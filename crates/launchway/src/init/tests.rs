//! Small repositories of many kinds: what is found in each, and what is planned for it.

mod linking;
mod packages;
mod rehearsal;
mod workflows;

use tempfile::TempDir;

use super::detect::Findings;
use super::*;
use crate::testing::git;
use launchway_core::exit::Exit;
use launchway_image::binary::Platform;
use launchway_image::final_stage::{Binaries, FinalStage};

const MAIN: &str = r#"
use axum::{Router, routing::get};

#[tokio::main]
async fn main() {
    let port = std::env::var("PORT").unwrap_or("8000".into());
    let app = Router::new().route("/", get(index)).route("/healthz", get(|| async {}));
}
"#;

/// A committed repository of a package `web` with these files besides.
fn repository(files: &[(&str, &str)]) -> TempDir {
    let package = "[package]\nname = \"web\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    let ordinary = [
        ("Cargo.toml", package),
        ("Cargo.lock", "version = 4\n"),
        ("src/main.rs", MAIN),
        (".gitignore", "/target\n"),
    ];
    let ordinary = ordinary.iter().filter(|(path, _)| !files.iter().any(|(other, _)| other == path));
    // A sub-folder has a Cargo root of its own.
    let apart = files.iter().any(|(path, _)| *path == "backend/Cargo.toml");
    bare(&ordinary.filter(|_| !apart).chain(files).copied().collect::<Vec<_>>())
}

fn bare(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    git(dir.path(), &["init", "--quiet", "--initial-branch", "main"]);
    git(dir.path(), &["add", "--all"]);
    git(dir.path(), &["commit", "--quiet", "--message", "all"]);
    git(dir.path(), &["remote", "add", "origin", "https://github.com/Acme/Web.git"]);
    dir
}

fn findings(dir: &TempDir) -> Findings {
    detect::detect(dir.path(), None, None).unwrap()
}

fn plan(dir: &TempDir) -> Plan {
    Plan::new(&findings(dir), Origin::Version("0.1.0"), &Baseline::default()).unwrap()
}

/// What is added to `Cargo.toml`.
fn tables(plan: &Plan) -> &str {
    &plan.changes.iter().find(|change| change.path == "Cargo.toml").unwrap().added
}

fn file<'p>(plan: &'p Plan, path: &str) -> &'p str {
    &plan.files.iter().find(|(known, _)| known == path).unwrap_or_else(|| panic!("{path}: {plan}")).1
}

#[test]
fn a_package_without_a_dockerfile_gets_one() {
    let plan = plan(&repository(&[]));
    insta::assert_snapshot!(tables(&plan), @r#"
    # The pipeline's configuration, read by `cargo xtask`.
    [package.metadata.pipeline]
    package = "web"  # the only binary
    branch = "main"  # the current branch
    image = "docker.io/acme/web"  # origin
    coverage = 0  # until `init` has measured what the tests cover
    target = "x86_64-unknown-linux-gnu"

    [package.metadata.pipeline.deploy]
    health = "/healthz"  # src/main.rs:7
    timeout = "10m"
    bake = "30s"
    environment = []
    "#);
    insta::assert_snapshot!(file(&plan, "Dockerfile"), @r#"
    # Describes the image of `cargo xtask docker-build` and `docker build -f Dockerfile .`.

    FROM docker.io/library/rust:1-slim-bookworm AS build
    WORKDIR /workspace
    COPY . .
    RUN cargo build --release --locked --package web --bin web --target x86_64-unknown-linux-gnu \
        --config 'target.x86_64-unknown-linux-gnu.rustflags=["-Ctarget-feature=+crt-static"]'

    FROM scratch
    # User accounts, name lookup.
    COPY xtask/rootfs/ /
    COPY --chown=65532:65532 xtask/empty/ /tmp/
    COPY --from=build /workspace/target/x86_64-unknown-linux-gnu/release/web /app/web
    WORKDIR /app
    USER 65532:65532
    ENTRYPOINT ["/app/web"]
    "#);
    let manifest = file(&plan, "xtask/Cargo.toml");
    assert!(
        manifest.contains("\nlaunchway = { version = \"0.1.0\", default-features = false }\n"),
        "{manifest}"
    );
}

#[test]
fn a_dockerfile_that_can_be_followed_is_left_alone() {
    let dockerfile = "FROM rust AS build\nFROM scratch\nCOPY --from=build /out/web /service\nVOLUME /data\nENTRYPOINT [\"/service\"]\n";
    let dir = repository(&[("Dockerfile", dockerfile)]);
    assert_eq!(findings(&dir).shipped.place.to_string(), "Dockerfile:5");
    let plan = plan(&dir);
    assert!(plan.files.iter().all(|(path, _)| path.starts_with("xtask/")), "{plan}");
    assert!(!tables(&plan).contains("dockerfile"), "{plan}");
}

#[test]
fn what_the_final_stage_runs_becomes_files_or_is_left_out_with_the_reason() {
    let dockerfile = "\
FROM rust AS build
ENV SQLX_OFFLINE=true
RUN apt-get install -y protobuf-compiler && cargo build --release --features tls
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y ca-certificates libssl3 curl
RUN useradd --uid 4000 web && mkdir -p /data && chown web /data
COPY --from=build /src/target/release/web /usr/local/bin/web
COPY assets /srv/assets
WORKDIR /srv
USER web
HEALTHCHECK CMD curl -f http://localhost/
CMD web --quiet
";
    let dir = repository(&[("Dockerfile", dockerfile), ("assets/a.css", "")]);
    let plan = plan(&dir);
    assert_eq!(findings(&dir).refusals.len(), 2, "{:?}", findings(&dir).refusals);
    let text = file(&plan, "Dockerfile.launchway");
    let (_, stage) = text.split_once("FROM scratch\n").unwrap();
    insta::assert_snapshot!(stage, @r#"
    # User accounts, name lookup, CA certificates.
    COPY xtask/rootfs/ /
    COPY --chown=4000:4000 xtask/empty/ /data/
    COPY --chown=4000:4000 xtask/empty/ /tmp/
    COPY assets /srv/assets
    COPY --from=build /workspace/target/x86_64-unknown-linux-gnu/release/web /usr/local/bin/web
    WORKDIR /srv
    USER 4000:4000
    CMD ["/usr/local/bin/web", "--quiet"]
    "#);
    assert!(
        plan.certificates && file(&plan, "xtask/rootfs/etc/passwd").contains("web:x:4000:4000:"),
        "{plan}"
    );
    insta::assert_snapshot!(plan.dropped.join("\n"), @r"
    the package ca-certificates (line 5): the certificates are copied into the image instead
    the package libssl3 (line 5): the program is linked statically and includes what it needs
    the package curl (line 5): it served a health check, which Render performs itself
    the health check (line 11): its program is not in the image; Render requests the health path itself
    ");
    assert!(
        text.contains("--no-install-recommends protobuf-compiler &&") && text.contains("--features tls"),
        "{text}"
    );
    let tables = tables(&plan);
    assert!(tables.contains("features = [\"tls\"]\nenvironment = { SQLX_OFFLINE = \"true\" }"), "{tables}");
    // What was written can be followed.
    let file = launchway_image::dockerfile::Dockerfile::new("Dockerfile.launchway", text);
    let binaries = Binaries { shipped: "web".to_owned(), ..Binaries::default() };
    assert!(FinalStage::parse_blind(&file, &binaries, Platform::Amd64).unwrap().is_some());
}

#[test]
fn a_single_stage_starts_the_same_program() {
    let dockerfile = "FROM rust:1\nWORKDIR /app\nCOPY . .\nRUN cargo build --release\nEXPOSE 3000\nCMD [\"./target/release/web\"]\n";
    let main = "fn main() { listen(\"0.0.0.0:3000\") }";
    let dir = repository(&[("Dockerfile", dockerfile), ("src/main.rs", main)]);
    let plan = plan(&dir);
    let text = file(&plan, "Dockerfile.launchway");
    assert!(text.ends_with("/app/web\nWORKDIR /app\nEXPOSE 3000\nCMD [\"/app/web\"]\n"), "{text}");
    assert!(tables(&plan).contains("port = 3000  # Dockerfile:5"), "{plan}");
    assert!(plan.dropped[0].starts_with("`COPY . .` (line 3)"), "{plan}");
}

#[test]
fn a_workspace_with_several_programs_needs_a_choice() {
    let member =
        |name: &str| format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    let (web, cli) = (member("web"), member("admin"));
    let files = [
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"web\", \"?????\"]\nexclude = [\"target\", \"docs\"]\n",
        ),
        ("docs/a.md", ""),
        ("web/Cargo.toml", web.as_str()),
        ("web/src/main.rs", MAIN),
        ("web/src/bin/migrate.rs", "fn main() {}"),
        ("admin/Cargo.toml", cli.as_str()),
        ("admin/src/main.rs", "fn main() {}"),
        ("Cargo.lock", "version = 4\n"),
        (".gitignore", "target/\n"),
    ];
    let dir = bare(&files);
    let error = detect::detect(dir.path(), None, None).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Usage, "{error:#}");
    assert!(error.to_string().contains("package `web`, binary `migrate`"), "{error}");
    let error = detect::detect(dir.path(), Some("nope"), None).unwrap_err().to_string();
    assert!(error.contains("no binary matches"), "{error}");
    let findings = detect::detect(dir.path(), None, Some("migrate")).unwrap();
    assert_eq!(findings.shipped.value.package, "web");
    let plan = Plan::new(&findings, Origin::Version("0.1.0"), &Baseline::default()).unwrap();
    let tables = tables(&plan);
    assert!(
        tables.contains(
            "[workspace.metadata.pipeline]\npackage = \"web\"  # the command line\nbinary = \"migrate\""
        ),
        "{tables}"
    );
    let manifest = &plan.changes.iter().find(|change| change.path == "Cargo.toml").unwrap().text;
    assert!(manifest.contains("exclude = [\"target\", \"docs\", \"xtask\"]"), "{manifest}");
}

#[test]
fn a_cargo_root_may_be_a_sub_folder() {
    let files = [
        ("backend/Cargo.toml", "[package]\nname = \"web\"\nversion = \"0.1.0\"\nedition = \"2024\"\n"),
        ("backend/Cargo.lock", "version = 4\n"),
        ("backend/src/main.rs", MAIN),
        (
            "Dockerfile",
            "FROM rust AS build\nFROM scratch\nCOPY --from=build /web /web\nCOPY backend/assets /assets\nCMD [\"/web\"]\n",
        ),
        ("backend/assets/a", ""),
        (".gitignore", "target\n"),
        (".github/workflows/main.yaml", "on: push\n"),
    ];
    let dir = repository(&files);
    let findings = findings(&dir);
    assert_eq!(findings.repository.inside, Path::new("backend"));
    assert!(findings.refusals[0].contains("outside the Cargo root"), "{:?}", findings.refusals);
    let plan = plan(&dir);
    assert_eq!((plan.root.clone(), plan.workflow.as_str()), (findings.repository.root(), "launchway.yaml"));
    let text = file(&plan, "Dockerfile.launchway");
    assert!(text.contains("\nCOPY assets /assets\n"), "{text}");
    assert!(tables(&plan).contains("workflow = \"launchway.yaml\""), "{plan}");
}

#[test]
fn what_is_there_already_is_not_overwritten() {
    let dir = repository(&[
        ("xtask/Cargo.toml", "[workspace]\n"),
        (".cargo/config.toml", "[alias]\n# mine\nxtask = \"run\"\n"),
    ]);
    let error = Plan::new(&findings(&dir), Origin::Version("0.1.0"), &Baseline::default()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("xtask/Cargo.toml already exists") && text.contains("already has an alias `xtask`"),
        "{text}"
    );
    let dir =
        repository(&[(".cargo/config.toml", "[alias]\n# mine\nb = \"build\"\n\n[net]\noffline = true\n")]);
    let plan = plan(&dir);
    let merged = &plan.changes.iter().find(|change| change.path == ".cargo/config.toml").unwrap().text;
    assert!(merged.starts_with("[alias]\n# mine\nb = \"build\"\nxtask = \"run --locked"), "{merged}");
    assert!(merged.ends_with("\n[net]\noffline = true\n"), "{merged}");
    let old = repository(&[("rust-toolchain.toml", "[toolchain]\nchannel = \"1.70.0\"\n")]);
    let error = Plan::new(&findings(&old), Origin::Version("0.1.0"), &Baseline::default()).unwrap_err();
    assert!(error.to_string().starts_with("rust-toolchain.toml:2 sets Rust 1.70.0"), "{error}");
    let adopted = repository(&[(
        "Cargo.toml",
        "[package]\nname = \"web\"\nversion = \"0.1.0\"\n[package.metadata.pipeline]\n",
    )]);
    let error = detect::detect(adopted.path(), None, None).unwrap_err().to_string();
    assert!(error.ends_with("already configures a pipeline: run `cargo xtask`"), "{error}");
}

#[test]
fn what_a_compose_file_mounts_comes_into_the_image() {
    let dockerfile = "FROM rust AS build\nFROM scratch\nWORKDIR /app\nCOPY --from=build /web /app/web\nUSER 1000\nCMD [\"/app/web\"]\n";
    let compose = "services:\n  web:\n    volumes:\n      - ./upload/:/app/upload\n      - ./config.toml:/app/config.toml:ro\n";
    let dir = repository(&[
        ("Dockerfile", dockerfile),
        ("compose.yaml", compose),
        ("config.toml", ""),
        (".dockerignore", "*\n!src"),
    ]);
    assert!(findings(&dir).refusals[0].starts_with("compose.yaml:5: a container has config.toml mounted"));
    let plan = plan(&dir);
    let text = file(&plan, "Dockerfile.launchway");
    assert!(text.contains("COPY config.toml /app/config.toml\n"), "{text}");
    let ignore = &plan.changes.iter().find(|change| change.path == ".dockerignore").unwrap().text;
    assert_eq!(ignore, "*\n!src\n!xtask/rootfs/\n!xtask/empty/\n");
    assert!(text.contains("COPY --chown=1000:1000 xtask/empty/ /app/upload/\n"), "{text}");
}

#[test]
fn the_report_names_places_and_what_is_not_known() {
    let lock = "version = 4\n\n[[package]]\nname = \"openssl-sys\"\nversion = \"0.9.0\"\n";
    let dir = repository(&[
        ("Cargo.lock", lock),
        (".env", "A=1\n"),
        ("rust-toolchain.toml", "[toolchain]\nchannel = \"1.90\"\n"),
    ]);
    insta::assert_snapshot!(report::text(&findings(&dir)), @r#"
    found
      Cargo root   Cargo.toml             the git root, a package
      ships        the only binary        package and binary `web`
      branch       the current branch     main
      image        origin                 docker.io/acme/web
      toolchain    rust-toolchain.toml:2  1.90
      build        Cargo.lock:4           OPENSSL_STATIC=1
      build needs  Cargo.lock:4           the package libssl-dev
                   Cargo.lock:4           the package pkg-config
      C library    Cargo.lock:4           openssl-sys: needs libssl-dev and
                                          `OPENSSL_STATIC=1`, or the feature
                                          `vendored` of `openssl`
      health       src/main.rs:7          /healthz
      or           src/main.rs:7          /
      port         src/main.rs:6          from `PORT`, which Render sets
      optional     src/main.rs            PORT:6
      tracked      .env                   .env, from which the pipeline would read
                                          its own variables

    unknown
      a version path that returns `{"commit": "…"}`: without one, digest and health
        are the only proof of a deploy
      a handler for SIGTERM: without one the service, as the first process of its
        container, ignores the signal and is killed
      which crates of `Cargo.lock` the build compiles: cargo cannot list them, so C
        libraries may be named that the service does not use
    "#);
}

/// A word that fits no line is left whole.
fn fits(text: &str) {
    for line in text.lines() {
        let is_one_word = line.trim().split(' ').any(|word| word.chars().count() > 60);
        assert!(line.chars().count() <= 80 || is_one_word, "{line}");
    }
}

#[test]
fn what_is_printed_fits_80_columns() {
    let dockerfile = "FROM rust AS build\nRUN apk add frobnicate-dev\nFROM debian:bookworm-slim\nRUN apt-get update && apt-get install -y ca-certificates libssl3 curl\nCOPY --from=build /src/target/release/web /usr/local/bin/web\nVOLUME /var/lib/web\nHEALTHCHECK CMD curl -f http://localhost/\nCMD web --quiet\n";
    let workflow = "on: push\njobs:\n  test:\n    services:\n      db:\n        image: postgres:${{ matrix.version }}\n    steps:\n      - run: ./scripts/init_db.sh --with-many-options-of-its-own and arguments\n      - run: cargo test\n";
    let names: Vec<String> = (0..30).map(|n| format!("let _ = std::env::var(\"NAME_{n}\").ok();")).collect();
    let main = format!("fn main() {{ listen(\"127.0.0.1:3000\"); {} }}", names.join("\n"));
    let dir = repository(&[
        ("Dockerfile", dockerfile),
        (".github/workflows/a-rather-long-name.yml", workflow),
        ("src/main.rs", &main),
    ]);
    let found = findings(&dir);
    let plan = Plan::new(&found, Origin::Path("/home/somebody/code/launchway".into()), &Baseline::default())
        .unwrap();
    let shown = report::text(&found);
    assert!(shown.contains("curl`: likewise\n"), "{shown}");
    fits(&shown);
    fits(&plan.to_string());
    fits(&report::measures(&Threshold::ToMeasure));
    let left = report::left(&found, &plan, &Threshold::Unmeasured("the tests fail".to_owned()));
    fits(&left);
    let words = left.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("The coverage is not measured, the tests fail: `cargo xtask ci` fails"), "{left}");
    assert!(words.contains("GitHub cannot build `xtask/`"), "{left}");
}
