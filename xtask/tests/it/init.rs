//! `cargo xtask init`: a service that has never heard of the pipeline ends with its own rehearsal passing.

use crate::support::Fixture;

/// A server of the standard library alone, which compiles in a second.
const MAIN: &str = r#"
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

fn main() {
    let greeting = std::env::var("GREETING").expect("GREETING must be set");
    let key = std::env::var("SESSION_KEY").expect("SESSION_KEY must be set");
    assert!(key.len() >= 64, "the key is too short");
    assert!(std::env::var("OTEL_SDK_DISABLED").is_ok_and(|off| off == "true"), "nothing collects telemetry");
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

#[cfg(test)]
#[test]
fn an_address_is_read() {
    assert!("0.0.0.0:1".parse::<std::net::SocketAddr>().is_ok());
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
    repository(&files.map(|(path, text)| (format!("{folder}{path}"), text)))
}

/// A repository of these files, with an origin.
fn repository(files: &[(String, &str)]) -> Fixture {
    let fixture = Fixture::of(files);
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
        "Dockerfile:6        `RUN apt-get update`: in the final stage,",
        "[package.metadata.pipeline]",
        "coverage = 0  # until `init` has measured what the tests cover",
        "the tests under coverage, afterwards",
    ]);
    plan.says_nothing_of(&[PROOF]);
    fixture.is_left_alone();

    let ran = fixture.run(&["init"]).exits(0);
    ran.says(&["the package ca-certificates (line 6)", PROOF, "Set `HTTP_PORT` to `10000` on Render"]);
    assert_eq!(fixture.read("Cargo.lock"), LOCK);
    // What the alias turns on is locked too: no run asks the index, or compiles what nobody has tested.
    let lock = fixture.read("xtask/Cargo.lock");
    for name in ["launchway-fakes", "toml_edit"] {
        assert!(lock.contains(&format!("name = \"{name}\"")), "{lock}");
    }
    assert_eq!(fixture.read("Dockerfile"), DOCKERFILE);
    assert!(fixture.read("Cargo.toml").starts_with(MANIFEST));
    measured(&fixture);
    let changed = fixture.git(&["status", "--porcelain"]);
    assert_eq!(changed, " M Cargo.toml\n?? .cargo/\n?? .github/\n?? Dockerfile.launchway\n?? xtask/");
    // The service's own checks do not see the `xtask`.
    assert!(!fixture.read("xtask/Cargo.lock").contains("greeter"));

    // Committed, it is a service like any other.
    fixture.commit();
    fixture.run(&["lint"]).exits(0);
    fixture.replace("Cargo.toml", "GREETING = ", "GREETINGS = ");
    fixture.run(&["docker-build"]).exits(1).says(&[
        "GREETING must be set",
        "If it lacks a setting, set it in `[package.metadata.pipeline.rehearse.environment]` in Cargo.toml.",
    ]);
    let again = fixture.run(&["init"]).exits(2);
    again.says(&["already configures a pipeline"]);
}

/// The threshold is what the test of the service covers, where this machine can measure it.
fn measured(fixture: &Fixture) {
    let text = fixture.read("Cargo.toml");
    if !fixture.has_coverage("a_service_is_adopted_and_rehearsed_without_an_edit: its threshold") {
        assert!(
            text.contains("coverage = 0  # not measured, a tool or service that the tests need"),
            "{text}"
        );
        return;
    }
    let (percent, rest) = text.split_once("\ncoverage = ").unwrap().1.split_once("  # ").unwrap();
    assert!(rest.starts_with("what the tests cover today of `greeter`, rounded down"), "{text}");
    let percent: u8 = percent.parse().unwrap();
    assert!((1..100).contains(&percent), "{text}");
    fixture.run(&["test-coverage"]).exits(0);
    let next = text.replace(&format!("coverage = {percent} "), &format!("coverage = {} ", percent + 1));
    fixture.write("Cargo.toml", &next);
    fixture.run(&["test-coverage"]).exits(1).says(&["`greeter` is ", " short of "]);
    fixture.write("Cargo.toml", &text);
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

/// It learns its port by an option, and answers at one path.
const BY_OPTION: &str = r#"
use std::io::Write as _;
use std::net::TcpListener;

struct Options(&'static str);

impl Options {
    fn long(self, name: &'static str) -> Self {
        Self(name)
    }

    fn value(&self) -> Option<String> {
        let option = format!("--{}", self.0);
        std::env::args().skip_while(|word| *word != option).nth(1)
    }
}

fn main() {
    let port = Options("").long("port").value().unwrap_or_else(|| "8080".to_owned());
    let listener = TcpListener::bind(("0.0.0.0", port.parse().unwrap())).unwrap();
    for mut stream in listener.incoming().flatten() {
        let mut request = [0; 1024];
        let _ = std::io::Read::read(&mut stream, &mut request);
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
}
"#;

const WORKSPACE_LOCK: &str = "version = 4\n\n[[package]]\nname = \"admin\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"web\"\nversion = \"0.1.0\"\n";

/// A workspace of two programs, with this Dockerfile.
fn workspace(dockerfile: Option<&str>) -> Fixture {
    let member =
        |name: &str| format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    let (web, admin) = (member("web"), member("admin"));
    let files = [
        ("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"web\", \"admin\"]\n"),
        ("Cargo.lock", WORKSPACE_LOCK),
        ("web/Cargo.toml", web.as_str()),
        ("web/src/main.rs", BY_OPTION),
        ("admin/Cargo.toml", admin.as_str()),
        ("admin/src/main.rs", "fn main() {}\n"),
        (".gitignore", "target/\n"),
    ];
    let files = files.into_iter().chain(dockerfile.map(|text| ("Dockerfile", text)));
    repository(&files.map(|(path, text)| (path.to_owned(), text)).collect::<Vec<_>>())
}

#[test]
fn a_workspace_of_several_programs_keeps_its_dockerfile() {
    let dockerfile = "FROM rust AS build\nRUN --mount=type=cache,target=/x cargo build --release\nFROM scratch\nCOPY --from=build /src/target/release/web /src/target/release/admin /bin/\nENTRYPOINT [\"/bin/web\"]\n";
    let fixture = workspace(Some(dockerfile));
    let ran = fixture.run(&["init"]).exits(0);
    ran.says(&[
        PROOF,
        "from the arguments `--port $PORT`",
        "Let the Docker Command on Render end with `--port 10000`",
    ]);
    assert!(!fixture.exists("Dockerfile.launchway"));
    assert_eq!(fixture.read("Cargo.lock"), WORKSPACE_LOCK);
    fixture.run(&["docker-build", "--explain"]).exits(0).says(&[
        "--package admin --package web --bin admin --bin web",
        "pack a layer of 0 folders and 2 files: COPY --from=build /src/target/release/web /src/target/release/admin /bin/",
    ]);
    fixture.run(&["sbom"]).exits(0).says(&["\"bom-ref\": \"admin@0.1.0\"", "\"bom-ref\": \"web@0.1.0\""]);
}

#[test]
fn a_service_without_a_dockerfile_gets_one() {
    let fixture = workspace(None);
    fixture.run(&["init"]).exits(2).says(&["several binaries could be the service"]);
    let ran = fixture.run(&["init", "--binary", "web"]).exits(0);
    ran.says(&[PROOF, "a version path that returns `{\"commit\": \"…\"}`"]);
    assert!(fixture.read("Dockerfile").contains("FROM scratch\n"));
}

#[test]
fn a_service_with_a_single_stage_is_adopted() {
    let dockerfile = "FROM rust:1\nWORKDIR /app\nCOPY . .\nRUN cargo build --release --bin web\nEXPOSE 8080\nCMD [\"./target/release/web\", \"--port\", \"8080\"]\n";
    let fixture = workspace(Some(dockerfile));
    fixture.run(&["init", "--no-rehearsal"]).exits(0).says(&["`COPY . .` (line 3)"]);
    assert_eq!(fixture.read("Dockerfile"), dockerfile);
    let own = fixture.read("Dockerfile.launchway");
    assert!(own.ends_with("EXPOSE 8080\nCMD [\"/app/web\", \"--port\", \"8080\"]\n"), "{own}");
    fixture.run(&["docker-build"]).exits(0).says(&["smoke run: up in "]);
}

#[test]
fn a_check_of_a_workflow_that_fails_today_is_off() {
    let workflow = "on: push\njobs:\n  lint:\n    steps:\n      - uses: crate-ci/typos@v1.29.4\n      - run: cargo machete\n";
    let files = [
        ("Cargo.toml", MANIFEST),
        ("Cargo.lock", LOCK),
        ("src/main.rs", MAIN),
        ("motd", "teh\n"),
        (".gitignore", "target/\n"),
        (".github/workflows/ci.yml", workflow),
    ];
    let fixture = repository(&files.map(|(path, text)| (path.to_owned(), text)));
    let program = |prints: &str, checks: &str| {
        format!("case \"$*\" in *--version) echo '{prints}' ;; *) {checks} ;; esac")
    };
    fixture.put("typos", &program("typos-cli 1.29.4", "echo 'motd:1: teh'; exit 2"));
    fixture.put("cargo-machete", &program("cargo-machete 0.9.2", "exit 0"));
    fixture.run(&["init", "--no-rehearsal"]).exits(0).says(&["`typos` exited with 2 today: motd:1: teh"]);
    let text = fixture.read("Cargo.toml");
    let off = "checks = [\n    # Off, it exited with 2 today: motd:1: teh\n    # { run = \"typos\", ";
    assert!(text.contains(off) && text.contains("    { run = \"cargo machete\", "), "{text}");
    fixture.commit();
    fixture.run(&["lint"]).exits(0).says(&["    cargo machete\n"]).says_nothing_of(&["typos"]);
}
