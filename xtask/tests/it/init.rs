//! `cargo xtask init`: a service that has never heard of the pipeline ends with its own rehearsal passing.

use crate::support::Fixture;

/// A server of the standard library alone, which compiles in a second.
const MAIN: &str = r#"
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

fn main() {
    let greeting = std::env::var("GREETING").expect("GREETING must be set");
    let motd = std::fs::read_to_string("motd").unwrap_or_default();
    let port = std::env::var("HTTP_PORT").unwrap_or_else(|_| "8080".to_owned());
    let listener = TcpListener::bind(format!("0.0.0.0:{port}")).expect("the port is free");
    for mut stream in listener.incoming().flatten() {
        let mut line = String::new();
        if BufReader::new(&stream).read_line(&mut line).is_err() {
            continue;
        }
        let (status, body) = match line.split(' ').nth(1) {
            Some("/health") if !motd.is_empty() => ("200 OK", "well"),
            Some("/") => ("200 OK", greeting.as_str()),
            _ => ("404 Not Found", "nothing here"),
        };
        let length = body.len();
        let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    }
}
"#;

/// The binary has another name than the package, and the final stage runs commands.
const DOCKERFILE: &str = "\
FROM rust:1 AS build
WORKDIR /src
COPY . .
RUN cargo build --release
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y ca-certificates
RUN useradd --uid 4000 greeter && mkdir /data && chown greeter /data
WORKDIR /srv
COPY --from=build /src/target/release/greet /usr/local/bin/greet
COPY motd motd
USER greeter
CMD greet
";

const MANIFEST: &str = "\
[package]
name = \"greeter\"
version = \"0.3.0\"
edition = \"2024\"

[[bin]]
name = \"greet\"
path = \"src/main.rs\"
";

const LOCK: &str = "version = 4\n\n[[package]]\nname = \"greeter\"\nversion = \"0.3.0\"\n";

/// The service in a folder of a repository, which may be the top.
fn service(folder: &str) -> Fixture {
    let files = [
        ("Cargo.toml", MANIFEST),
        ("Cargo.lock", LOCK),
        ("src/main.rs", MAIN),
        ("motd", "hello\n"),
        ("Dockerfile", DOCKERFILE),
        (".gitignore", "target/\n"),
    ];
    let files = files.map(|(path, text)| (format!("{folder}{path}"), text));
    let fixture = Fixture::of(&files);
    // What the alias would compile for minutes is this program.
    let toolchain = std::env::var("RUSTUP_TOOLCHAIN")
        .map_or_else(|_| String::new(), |name| format!("export RUSTUP_TOOLCHAIN={name}\n"));
    let xtask = env!("CARGO_BIN_EXE_xtask");
    fixture.put(
        "cargo",
        &format!("{toolchain}if [ \"$1\" = xtask ]; then shift; exec {xtask} \"$@\"; fi\nPATH=\"${{PATH#*:}}\" exec cargo \"$@\""),
    );
    fixture.git(&["remote", "add", "origin", "git@github.com:Acme/Greeter.git"]);
    fixture
}

const PROOF: &str = "The image that was built is the one that runs.";

#[test]
fn a_service_is_adopted_and_rehearsed_without_an_edit() {
    let fixture = service("");
    let plan = fixture.run(&["init", "--explain"]).exits(0);
    let plan = plan.says(&[
        "package `greeter`, binary `greet`",
        "Dockerfile:6: `RUN apt-get update`: of the commands",
        "[package.metadata.pipeline]",
    ]);
    plan.says_nothing_of(&[PROOF]);
    fixture.is_left_alone();

    let ran = fixture.run(&["init"]).exits(0);
    ran.says(&["the package ca-certificates (line 6)", PROOF, "Set `HTTP_PORT` to `10000` on Render"]);
    assert_eq!(fixture.read("Cargo.lock"), LOCK);
    assert_eq!(fixture.read("Dockerfile"), DOCKERFILE);
    assert!(fixture.read("Cargo.toml").starts_with(MANIFEST));
    let changed = fixture.git(&["status", "--porcelain"]);
    assert_eq!(changed, " M Cargo.toml\n?? .cargo/\n?? .github/\n?? Dockerfile.launchway\n?? xtask/");
    // The service's own checks do not see the `xtask`.
    assert!(!fixture.read("xtask/Cargo.lock").contains("greeter"));

    // Committed, it is a service like any other.
    fixture.commit();
    fixture.run(&["lint"]).exits(0);
    let again = fixture.run(&["init"]).exits(2);
    again.says(&["already configures a pipeline"]);
}

#[test]
fn a_service_in_a_sub_folder_is_adopted() {
    let fixture = service("backend/");
    fixture.xtask(&["init", "backend"]).finish().exits(0).says(&[PROOF, "the root of `backend`"]);
    assert_eq!(fixture.read("backend/Cargo.lock"), LOCK);
    let workflow = fixture.read(".github/workflows/main.yaml");
    assert!(
        workflow.contains("working-directory: backend") && workflow.contains("backend/target/xtask/logs")
    );
    assert!(
        workflow.contains("backend -> target") && workflow.contains("backend/xtask -> ../target/xtask-build")
    );
    fixture.commit();
    fixture.xtask(&["lint"]).within(&fixture.path("backend")).finish().exits(0);
}

#[test]
fn a_tree_with_changes_is_refused_before_anything_is_written() {
    let fixture = service("");
    fs_err::write(fixture.path("motd"), "changed\n").unwrap();
    fixture.run(&["init"]).exits(2).says(&["the tree has uncommitted changes"]);
    assert!(!fixture.exists("xtask") && !fixture.exists(".cargo"));
}
