//! No child inherits a secret that it does not need, and none outlives a run.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{Fixture, files, try_program};

/// What no child but those named may have in its environment or its arguments.
const SECRETS: [(&str, &str, &[&str]); 10] = [
    ("DOCKERHUB_TOKEN", "token-of-the-registry-4801", &[]),
    ("RENDER_API_KEY", "key-of-the-api-4802", &[]),
    ("CIPHER_KEY", "key-of-all-signing-4803-0123456789-0123456789-0123456789", &[]),
    ("ERRORS_DSN", "https://0123456789abcdef0123456789abc4804@sentry.example.com/1", &[]),
    ("SENTRY_AUTH_TOKEN", "token-of-sentry-4805", &[]),
    ("GITHUB_TOKEN", "token-of-the-repository-4806", &[]),
    ("ACTIONS_RUNTIME_TOKEN", "token-of-the-run-4807", &[]),
    ("CARGO_REGISTRY_TOKEN", "token-that-publishes-4808", &[]),
    ("DATABASE_URL", "postgres://user:password-4809@database/app", &[]),
    // Cargo fetches with it.
    ("CARGO_REGISTRIES_OURS_TOKEN", "token-that-fetches-4810", &["cargo", "rustc", "build-script", "cc"]),
];

/// A shell script that adds what it was given to the file of this name, and goes on as the program.
fn notes(into: &Path, name: &str, program: &str) -> String {
    let into = into.display();
    format!(
        "{{ tr '\\0' '\\n' < /proc/$$/environ; tr '\\0' '\\n' < /proc/$$/cmdline; }} >> '{into}/{name}'\nexec {program} \"$@\""
    )
}

/// Rust that does the same.
fn notes_in_rust(into: &Path, name: &str) -> String {
    let file = into.join(name).display().to_string();
    format!(
        "    let mut given = std::fs::read(\"/proc/self/environ\").unwrap();\n    \
         given.extend(std::fs::read(\"/proc/self/cmdline\").unwrap());\n    \
         std::io::Write::write_all(&mut std::fs::OpenOptions::new().create(true).append(true).open({file:?}).unwrap(), &given).unwrap();\n"
    )
}

/// Rust that ends the program if it was given what only others may have.
///
/// The image's program sees the image's files alone, so it can leave no note. The values are written backwards: an image
/// that contains a secret is not pushed.
fn refuses_in_rust(outputs: &str) -> String {
    let of_others =
        SECRETS.iter().filter(|(_, _, allowed)| !allowed.contains(&"app")).map(|(_, value, _)| *value);
    let backwards: Vec<String> =
        of_others.chain([outputs]).map(|value| value.chars().rev().collect()).collect();
    format!(
        "    let given: Vec<String> = std::env::vars().map(|(_, value)| value).chain(std::env::args()).collect();\n    \
         let given: String = given.join(\"\\n\").chars().rev().collect();\n    \
         for value in {backwards:?} {{\n        assert!(!given.contains(value), \"not meant for the image\");\n    }}\n"
    )
}

/// The address of a registry that lets nobody in.
fn wants_a_login() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            let answer = "HTTP/1.1 401 -\r\nwww-authenticate: Basic realm=\"here\"\r\n\
                docker-distribution-api-version: registry/2.0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

#[test]
fn no_child_inherits_a_secret() {
    let fixture = Fixture::new();
    let given = fixture.tools().join("given");
    fs_err::create_dir_all(&given).unwrap();
    let mut expected = vec!["build-script", "docker-credential-test"];
    for name in ["git", "cargo", "rustc", "cc", "docker"] {
        if let Ok(program) = try_program("sh", &["-c", &format!("command -v {name}")], &fixture.root()) {
            fixture.put(name, &notes(&given, name, &program));
            expected.push(name);
        }
    }
    fixture.put("docker-credential-test", &notes(&given, "docker-credential-test", "false"));
    fs_err::write(fixture.tools().join("config.json"), r#"{"credsStore":"test"}"#).unwrap();
    let script = format!("fn main() {{\n{}}}\n", notes_in_rust(&given, "build-script"));
    fixture.write("app/build.rs", &script);
    let outputs = fixture.tools().join("outputs").display().to_string();
    let refusal = refuses_in_rust(&outputs) + "    let port = ";
    fixture.replace("app/src/main.rs", "    let port = ", &refusal);
    fixture.write(".env", "DATABASE_URL=postgres://user:password-4809@database/app\n");
    fixture.commit();

    let variables: Vec<(&str, &str)> = SECRETS.iter().map(|(name, value, _)| (*name, *value)).collect();
    let run = |arguments: &[&str], without: &str| {
        let variables = variables.iter().filter(|(name, _)| *name != without).copied().collect::<Vec<_>>();
        let run = fixture.xtask(arguments).envs(&variables).env("ANOTHER", "of key-of-the-api-4802");
        run.env("GITHUB_ENV", &outputs).env("GITHUB_OUTPUT", &outputs).finish()
    };
    run(&[], "").exits(0);
    run(&["rehearse", "--job", "build", "--job", "deploy"], "").exits(0);
    run(&["doctor"], "");
    run(&["lint"], "");
    run(&["sbom"], "").exits(0);
    // The login of Docker's configuration counts where there is no other.
    fixture.replace("Cargo.toml", "docker.io/acme/app", &format!("{}/acme/app", wants_a_login()));
    run(&["history"], "DOCKERHUB_TOKEN");

    let given: BTreeMap<String, String> = files(&given)
        .into_iter()
        .map(|(path, bytes)| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                String::from_utf8_lossy(&bytes).into_owned(),
            )
        })
        .collect();
    for name in expected {
        assert!(given.contains_key(name), "nothing was noted of {name}: {:?}", given.keys());
    }
    for (child, given) in &given {
        for (name, value, allowed) in SECRETS {
            let is_given = given.contains(value);
            assert!(!is_given || allowed.contains(&child.as_str()), "{child} was given {name}");
        }
        assert!(!given.contains(&outputs), "{child} could write the outputs of a step");
    }
    assert!(given["cargo"].contains("token-that-fetches-4810"));
}

#[test]
fn a_second_interrupt_ends_a_credential_helper_too() {
    let fixture = Fixture::new();
    let started = fixture.tools().join("started");
    let script = format!(
        "trap '' TERM INT\nsleep 600 &\necho $$ $! > '{0}.part'; mv '{0}.part' '{0}'\nwait",
        started.display()
    );
    fixture.put("docker-credential-test", &script);
    fs_err::write(fixture.tools().join("config.json"), r#"{"credsStore":"test"}"#).unwrap();
    fixture.replace("Cargo.toml", "docker.io/acme/app", &format!("{}/acme/app", wants_a_login()));
    let mut running = fixture.xtask(&["history"]).start();
    running.wait_while(|| !started.exists());
    running.interrupt();
    // It is asked to end first, and has some seconds for that.
    std::thread::sleep(Duration::from_millis(200));
    running.interrupt();
    running.finish().exits(130).says(&["stopped at once"]);
    let end = Instant::now() + Duration::from_secs(5);
    for id in fs_err::read_to_string(&started).unwrap().split_whitespace() {
        let runs = || {
            let stat = fs_err::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        while runs() {
            assert!(Instant::now() < end, "process {id} is left");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The processes in `root` that have a `CIPHER_KEY`.
fn with_a_key(root: &Path) -> Vec<String> {
    let processes = fs_err::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let has_a_key = |process: &std::path::PathBuf| {
        let is_here = |link| fs_err::read_link(process.join(link)).is_ok_and(|path| path.starts_with(root));
        let environment = fs_err::read(process.join("environ")).unwrap_or_default();
        (is_here("cwd") || is_here("exe"))
            && environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(b"CIPHER_KEY="))
    };
    processes.filter(has_a_key).map(|process| process.display().to_string()).collect()
}

#[test]
fn no_app_outlives_a_rehearsal_that_is_killed() {
    let fixture = Fixture::new();
    let rehearse = ["rehearse", "--job", "build", "--job", "deploy"];
    let start = Instant::now();
    fixture.run(&rehearse).exits(0);
    fixture.run(&rehearse).exits(0);
    let elapsed = start.elapsed() / 2;
    let kills = std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(6);
    let mut seen = 0;
    for kill in 0..kills {
        let mut running = fixture.xtask(&rehearse).start();
        if kill % 2 == 0 {
            // While it runs.
            running.wait_for("requesting a deploy of `");
            running.wait_while(|| with_a_key(&fixture.root()).is_empty());
            seen += 1;
        } else {
            std::thread::sleep(elapsed * kill / kills);
        }
        running.kill();
        let end = Instant::now() + Duration::from_secs(5);
        while !with_a_key(&fixture.root()).is_empty() {
            assert!(Instant::now() < end, "left after kill {kill}: {:?}", with_a_key(&fixture.root()));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert!(seen > 0);
    fixture.run(&rehearse).exits(0);
    fixture.is_left_alone();
}

#[test]
fn the_next_run_ends_what_a_killed_one_left() {
    let fixture = Fixture::new();
    let building = fixture.tools().join("building");
    let script = format!("std::fs::write({building:?}, \"\").unwrap();");
    let script = format!(
        "fn main() {{\n    {script}\n    std::thread::sleep(std::time::Duration::from_secs(600));\n}}\n"
    );
    fixture.write("app/build.rs", &script);
    fixture.commit();
    let mut running = fixture.xtask(&["docker-build"]).start();
    running.wait_while(|| !building.exists());
    running.kill();
    fixture.write("app/build.rs", "fn main() {}\n");
    fixture.commit();
    // Not its own, and not of a run that goes on.
    let ran = fixture.run(&["docker-build"]).exits(0);
    assert!(
        ran.line("ended processes that a killed run had left").contains("build-script"),
        "{}",
        ran.text()
    );
    fixture.is_left_alone();
    fixture.run(&["docker-build"]).exits(0).says_nothing_of(&["a killed run"]);
    let left = fs_err::read_dir(fixture.path("target/xtask/children")).unwrap().count();
    assert_eq!(left, 0, "no record stays");
}
