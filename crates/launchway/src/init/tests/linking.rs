//! A program that must be dynamic, and ports that no variable names.

use super::*;

/// A lock file with a library of the machine.
const LOCK: &str = "version = 4\n\n[[package]]\nname = \"pq-sys\"\nversion = \"0.7.0\"\n";

#[test]
fn a_program_that_cannot_be_static_gets_a_distroless_base() {
    let dir = repository(&[("Cargo.lock", LOCK)]);
    let plan = plan(&dir);
    insta::assert_snapshot!(file(&plan, "Dockerfile"), @r#"
    # Describes the image of `cargo xtask docker-build` and `docker build -f Dockerfile .`.

    FROM docker.io/library/rust:1-slim-bookworm AS build
    RUN apt-get update && apt-get install -y --no-install-recommends libpq-dev && rm -rf /var/lib/apt/lists/*
    WORKDIR /workspace
    COPY . .
    RUN cargo build --release --locked --package web --bin web --target x86_64-unknown-linux-gnu
    # The libraries that it loads, except those of the base.
    RUN mkdir /libraries && ldd target/x86_64-unknown-linux-gnu/release/web | awk '$2 == "=>" { print $3 }' \
        | grep -vE '/lib(c|m|dl|rt|pthread|resolv|gcc_s|stdc\+\+|gomp|ssl|crypto)[.]so' | xargs -r cp -L -t /libraries

    # It has the C library, CA certificates, user accounts and zone data, and no shell.
    FROM gcr.io/distroless/cc-debian12
    COPY --from=build /libraries/ /usr/lib/x86_64-linux-gnu/
    COPY --chown=65532:65532 xtask/empty/ /tmp/
    COPY --from=build /workspace/target/x86_64-unknown-linux-gnu/release/web /app/web
    WORKDIR /app
    USER 65532:65532
    ENTRYPOINT ["/app/web"]
    "#);
    assert!(!plan.certificates && plan.files.iter().all(|(path, _)| !path.contains("rootfs")), "{plan}");
    let engine = "engine = \"docker\"  # Cargo.lock:4: pq-sys cannot be linked statically\n";
    assert!(tables(&plan).contains(engine), "{plan}");
    let mut found = findings(&dir);
    found.image = None;
    let left = report::left(&found, &plan, &Threshold::ToMeasure);
    assert!(left.contains("  Docker builds the image, here and on GitHub, because"), "{left}");
    assert!(left.contains("  Replace the image `docker.io/acme/service` in Cargo.toml"), "{left}");
}

#[test]
fn a_library_counts_only_if_the_build_compiles_it() {
    let package = |name: &str, rest: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.7.0\"\nedition = \"2024\"\n{rest}")
    };
    let optional = "[dependencies]\npq-sys = { path = \"pq\", optional = true }\n";
    let for_tests = "[dev-dependencies]\nnative-tls = { path = \"tls\" }\nopenssl-sys = { path = \"ssl\" }\n";
    let web = package("web", &format!("{optional}{for_tests}"));
    let [pq, tls, ssl] = ["pq-sys", "native-tls", "openssl-sys"].map(|name| package(name, ""));
    let locked =
        |name: &str, rest: &str| format!("\n[[package]]\nname = \"{name}\"\nversion = \"0.7.0\"\n{rest}");
    let needs = "dependencies = [\n \"native-tls\",\n \"openssl-sys\",\n \"pq-sys\",\n]\n";
    let names = ["native-tls", "openssl-sys", "pq-sys"].map(|name| locked(name, "")).concat();
    let lock = format!("version = 4\n{names}{}", locked("web", needs));
    let of = |dockerfile: &str| {
        repository(&[
            ("Cargo.toml", &web),
            ("Cargo.lock", &lock),
            ("pq/Cargo.toml", &pq),
            ("pq/src/lib.rs", ""),
            ("tls/Cargo.toml", &tls),
            ("tls/src/lib.rs", ""),
            ("ssl/Cargo.toml", &ssl),
            ("ssl/src/lib.rs", ""),
            ("Dockerfile", dockerfile),
        ])
    };
    let dir =
        of("FROM rust AS build\nRUN cargo build\nFROM debian\nRUN ldconfig\nCOPY --from=build /web /web\n");
    let found = findings(&dir);
    assert!(found.compiled.is_certain && found.libraries.is_empty(), "{:?}", found.libraries);
    // The tests need a package, but the image needs nothing.
    let packages: Vec<&str> = found.build.packages.needed.iter().map(|found| found.value.as_str()).collect();
    assert_eq!(packages, ["libssl-dev", "pkg-config"]);
    let plan = plan(&dir);
    assert!(!plan.certificates && !tables(&plan).contains("engine"), "{plan}");
    let dir = of(
        "FROM rust AS build\nRUN cargo build --features pq-sys\nFROM debian\nCOPY --from=build /web /web\n",
    );
    assert_eq!(findings(&dir).dynamic().unwrap().value.krate, "pq-sys");
    // A lock file that cargo does not accept.
    let dir = repository(&[("Cargo.lock", LOCK)]);
    assert!(report::text(&findings(&dir)).contains("which crates of `Cargo.lock` the build compiles"));
}

#[test]
fn docker_follows_the_dockerfile_of_a_program_that_cannot_be_static() {
    let dockerfile = "FROM rust AS build\nRUN --mount=type=cache,target=/x make\nFROM debian\nRUN apt-get install -y libpq5\nCOPY --from=build /web /web\nCMD web\n";
    let dir = repository(&[("Cargo.lock", LOCK), ("Dockerfile", dockerfile)]);
    assert!(findings(&dir).refusals.is_empty());
    let plan = plan(&dir);
    assert!(plan.files.iter().all(|(path, _)| path.starts_with("xtask/")), "{plan}");
    assert!(tables(&plan).contains("engine = \"docker\""), "{plan}");
}

#[test]
fn a_port_may_be_an_argument_or_stand_in_a_file() {
    let main = "#[derive(clap::Parser)]\nstruct Args {\n    #[arg(short, long, default_value_t = 8080)]\n    port: u16,\n}\n";
    let dockerfile =
        |cmd: &str| format!("FROM rust AS build\nFROM scratch\nCOPY --from=build /web /web\n{cmd}\n");
    for (cmd, expected) in [
        ("ENTRYPOINT [\"/web\"]\nCMD [\"--quiet\"]", "[\"--quiet\", \"--port\", \"$PORT\"]"),
        ("CMD [\"/web\", \"--port\", \"80\", \"serve\"]", "[\"serve\", \"--port\", \"$PORT\"]"),
    ] {
        let dir = repository(&[("src/main.rs", main), ("Dockerfile", &dockerfile(cmd))]);
        let plan = plan(&dir);
        assert!(
            tables(&plan).contains(&format!("port = {{ arguments = {expected} }}  # src/main.rs:3\n")),
            "{plan}"
        );
        assert!(
            report::left(&findings(&dir), &plan, &Threshold::ToMeasure)
                .contains("Let the Docker Command on Render end with `")
        );
    }
    let settings = "database:\n  port: 5432\napplication:\n  port: 8000\n";
    let plan = plan(&repository(&[("src/main.rs", "fn main() {}\n"), ("configuration/base.yaml", settings)]));
    assert!(tables(&plan).contains("port = 8000  # configuration/base.yaml:4\n"), "{plan}");
}

#[test]
fn what_differs_from_the_repositorys_own_image_is_said() {
    let of = |files: &[(&str, &str)]| {
        let text = report::text(&findings(&repository(files)));
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let dockerfile = |base: &str, command: &str| {
        format!(
            "FROM {base} AS build\nRUN {command}\nFROM scratch\nSTOPSIGNAL SIGINT\nCOPY --from=build /web /web\nCMD [\"/web\"]\n"
        )
    };
    let words =
        |line: usize| format!("target Dockerfile:{line} x86_64-unknown-linux-gnu, also linked statically");
    for (base, command, line) in [
        ("rust:1-alpine", "cargo build", 1),
        ("messense/rust-musl-cross:x86_64-musl", "cargo build", 1),
        ("rust:1", "cargo build --target x86_64-unknown-linux-musl", 2),
    ] {
        let found = of(&[("Dockerfile", &dockerfile(base, command))]);
        assert!(found.contains(&words(line)), "{found}");
        assert!(found.contains("stop signal Dockerfile:4 SIGINT, but the smoke run"), "{found}");
    }
    let found = of(&[(".cargo/config.toml", "[build]\ntarget = \"x86_64-unknown-linux-musl\"\n")]);
    assert!(found.contains("target .cargo/config.toml:2"), "{found}");
    let found = of(&[(".cargo/config.toml", "[target.x86_64-unknown-linux-musl]\nlinker = \"x\"\n")]);
    assert!(!found.contains("musl"), "{found}");
}

#[test]
fn libraries_that_need_the_same_share_a_row() {
    let names = ["ring", "zstd-sys", "aws-lc-sys"].map(|name| format!("\n[[package]]\nname = \"{name}\"\n"));
    let lock = format!("version = 4\n{}", names.concat());
    let dir =
        repository(&[("Cargo.lock", &lock), ("src/main.rs", "fn main() { on(SignalKind::terminate()) }")]);
    let text = report::text(&findings(&dir));
    assert!(text.contains("Cargo.lock:4        ring, zstd-sys: compiled from source"), "{text}");
    assert!(text.contains("SIGTERM") && !text.contains("a handler for SIGTERM"), "{text}");
}
