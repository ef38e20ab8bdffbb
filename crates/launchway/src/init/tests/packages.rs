//! The packages that compiling needs, from what a Dockerfile installs.

use super::*;

#[test]
fn what_the_compiling_stages_install_is_configured_by_its_names_on_debian() {
    let dockerfile = "\
FROM node:22-alpine AS frontend
RUN apk add python3
FROM rust:1-alpine AS chef
RUN apk add --no-cache musl-dev openssl-dev openssl-libs-static pkgconfig
FROM chef AS build
RUN apk add protobuf-dev frobnicate-dev && cargo build --release
FROM scratch
COPY --from=build /src/target/release/web /web
CMD [\"/web\"]
";
    let lock = "version = 4\n\n[[package]]\nname = \"aws-lc-sys\"\nversion = \"0.1.0\"\n";
    let dir = repository(&[("Dockerfile", dockerfile), ("Cargo.lock", lock)]);
    let plan = plan(&dir);
    let (_, build) = tables(&plan).split_once("[package.metadata.pipeline.build]\n").unwrap();
    let (build, _) = build.split_once("\n\n").unwrap();
    insta::assert_snapshot!(build, @r#"
    packages = [
        "cmake",  # Cargo.lock:4
        "libssl-dev",  # Dockerfile:4
        "pkg-config",  # Dockerfile:4
        "protobuf-compiler",  # Dockerfile:6
        "libprotobuf-dev",  # Dockerfile:6
    ]
    "#);
    let found = report::text(&findings(&dir));
    assert!(found.contains("the package musl-dev, to compile") && !found.contains("python3"), "{found}");
    let (_, unknown) = found.split_once("\nunknown\n").unwrap();
    assert!(unknown.contains("frobnicate-dev (apk) in Dockerfile:6"), "{found}");
}

#[test]
fn a_generated_dockerfile_installs_them() {
    let dockerfile = "FROM rust:1\nRUN apt-get update && apt-get install -y git build-essential libssl-dev=3.0.1\nCOPY . .\nRUN cargo build --release\nCMD [\"./target/release/web\"]\n";
    let plan = plan(&repository(&[("Dockerfile", dockerfile)]));
    let text = file(&plan, "Dockerfile.launchway");
    assert!(text.contains("--no-install-recommends build-essential libssl-dev &&"), "{text}");
}
