//! The commands that change nothing: the overview, the help, the doctor, `--explain`, and what is wrong with a call.

use serde_json::Value;

use crate::schema;
use crate::support::{Fixture, Ran};

/// Every event of a run with `--format json`.
fn events(ran: &Ran) -> Vec<Value> {
    let events: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    events.iter().for_each(schema::is_event);
    events
}

#[test]
fn a_call_that_is_wrong_says_so_and_what_is_right() {
    let fixture = Fixture::new();
    fixture.run(&[]).exits(0).says(&[
        "build   test   push to `main`",
        "\n  rehearse ",
        "`cargo xtask doctor` lists the variables",
    ]);
    fixture.run(&["--help"]).exits(0).says(&[
        "Usage: cargo xtask",
        "  6  the deploy failed",
        "130  interrupted",
    ]);
    fixture.run(&["depoly"]).exits(2).says(&["unrecognized subcommand 'depoly'", "'deploy'"]);
    fixture.run(&["lint", "--fast"]).exits(2).says(&["--fast"]);
    // Below the root the root is found.
    fixture.xtask(&[]).within(&fixture.path("app/src")).finish().exits(0).says(&["docker-build, push"]);
    let outside = tempfile::tempdir().unwrap();
    let ran = fixture.xtask(&["lint"]).within(outside.path()).finish().exits(2);
    ran.says(&["[workspace.metadata.pipeline]", "go to the folder of a service, or set one up with `init`"]);
    fixture.replace("Cargo.toml", "coverage = 80", "covfefe = 80");
    fixture.run(&["lint"]).exits(2).says(&["covfefe", "Cargo.toml"]);
    assert!(!fixture.exists("target"), "nothing was run");
}

#[test]
fn the_doctor_says_what_is_missing_and_how_to_get_it() {
    let fixture = Fixture::new();
    if !fixture.has_coverage("the_doctor_says_what_is_missing_and_how_to_get_it") {
        return;
    }
    let ran = fixture.xtask(&["doctor"]).env("ALIAS", "not-to-be-shown").finish().exits(0);
    ran.says(&["build: DOCKERHUB_TOKEN", "Docker Hub →", "cargo-llvm-cov", "`feature`", "clean"])
        .says_nothing_of(&["MISSING", "not-to-be-shown"]);
    // Without its folder on `PATH`, and with nothing to be installed, coverage cannot be had.
    let system = std::env::var("PATH").unwrap();
    let cargo = std::env::split_paths(&system).find(|folder| folder.join("cargo").is_file()).unwrap();
    let only = tempfile::tempdir().unwrap();
    for program in ["cargo", "rustc", "rustfmt", "cargo-clippy", "cargo-fmt"] {
        std::os::unix::fs::symlink(cargo.join(program), only.path().join(program)).unwrap();
    }
    let path = format!("{}:/usr/bin:/bin", only.path().display());
    fixture.xtask(&["doctor"]).env("PATH", &path).finish().exits(3).says(&[
        "MISSING",
        "cargo install --locked cargo-llvm-cov@",
        "missing prerequisites: 1",
    ]);
    let ran = fixture.xtask(&["test-coverage"]).env("PATH", &path).finish().exits(3);
    ran.says(&["nothing was run: 1 problem\n", "cargo install --locked cargo-llvm-cov@"]);
    assert!(!fixture.exists("target/xtask/logs"), "nothing was run");
}

#[test]
fn what_cannot_be_planned_is_found_at_once() {
    let fixture = Fixture::new();
    let run = |arguments: &[&str]| fixture.xtask(arguments).env("XTASK_INSTALL", "").finish();
    let good = fixture.read("Cargo.toml");
    for (from, to, says) in [
        (
            "package = \"app\"",
            "package = \"nope\"",
            "`package` is `nope`, which is not a package of this workspace: it has `app`",
        ),
        (
            "x86_64-unknown-linux-gnu",
            "x86_64-none-linux-gnu",
            "`x86_64-none-linux-gnu`, which this Rust toolchain does not know",
        ),
    ] {
        fixture.replace("Cargo.toml", from, to);
        for arguments in [&["doctor"][..], &["rehearse", "--job", "build"], &["docker-build"]] {
            let code = if says.contains("Rust") { 3 } else { 2 };
            run(arguments).exits(code).says(&[says]).says_nothing_of(&["can run here"]);
        }
        fixture.write("Cargo.toml", &good);
    }
    fixture.replace("Cargo.toml", "docker.io/acme/app", "docker.io/Acme/App:latest");
    let says = "`image` must be a repository such as `docker.io/acme/app`: ";
    fixture.run(&["doctor"]).exits(2).says(&[says, "Cargo.toml"]);
    fixture.write("Cargo.toml", &good);
    let says = "`PIPELINE_IMAGE` must be a repository";
    for arguments in [&["doctor"][..], &["docker-build"]] {
        fixture
            .xtask(arguments)
            .envs(&[("PIPELINE_IMAGE", "acme/app:1"), ("XTASK_INSTALL", "")])
            .finish()
            .exits(2)
            .says(&[says]);
    }
    // The package has another binary than the one that is shipped.
    fixture.append("app/Cargo.toml", "\n[[bin]]\nname = \"server\"\npath = \"src/main.rs\"\n");
    run(&["doctor"]).exits(2).says(&["has no binary `app`: it has `server`"]);
    fixture.run(&["docker-build"]).exits(2).says(&["nothing was run: 1 problem\n", "it has `server`"]);
    fixture.git(&["checkout", "--quiet", "."]);
    fixture.replace("Dockerfile", "COPY motd", "COPY mode");
    run(&["doctor"]).exits(2).says(&["WRONG", "Dockerfile:8", "invalid settings: 1"]);
    assert!(!fixture.exists("target/image"), "nothing was run");
}

#[test]
fn the_bill_of_materials_is_all_that_is_printed() {
    let fixture = Fixture::new();
    let ran = fixture.run(&["sbom"]).exits(0);
    let bom: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&bom["bomFormat"], &bom["metadata"]["component"]["name"]),
        (&"CycloneDX".into(), &"app".into())
    );
    assert_eq!(ran.err, "");
    assert_eq!(fixture.run(&["sbom", "--quiet"]).exits(0).out, ran.out);
    let reported = events(&fixture.run(&["sbom", "--format", "json"]).exits(0));
    assert_eq!(reported[0]["text"], ran.out.trim_end());
    assert_eq!(fixture.git(&["status", "--porcelain", "--ignored"]), "", "it wrote something");
}

#[test]
fn a_new_key_is_all_that_is_printed() {
    let fixture = Fixture::new();
    let ran = fixture.run(&["secrets", "generate"]).exits(0);
    assert_eq!((ran.out.trim_end().len(), ran.err.as_str()), (50, ""), "{}", ran.out);
    assert_ne!(fixture.run(&["secrets", "generate", "--quiet"]).exits(0).out, ran.out);
    let explained = fixture.run(&["secrets", "generate", "--explain"]).exits(0).out;
    assert_eq!(explained, "print 50 random characters\n");
    assert_eq!(fixture.git(&["status", "--porcelain", "--ignored"]), "", "it wrote something");
}

#[test]
fn explaining_runs_nothing_and_writes_nothing() {
    let fixture = Fixture::new();
    // So that there would be something to write.
    fixture.append(".github/workflows/main.yaml", "# Edited by hand.\n");
    fixture.commit();
    for command in [
        "ci",
        "lint",
        "test-coverage",
        "docker-build",
        "push",
        "deploy",
        "rollback",
        "rehearse",
        "sbom",
        "workflow",
        "doctor",
    ] {
        let ran = fixture.run(&[command, "--explain"]).exits(0);
        assert!(!ran.out.trim().is_empty(), "{command} says nothing");
        assert_eq!(fixture.git(&["status", "--porcelain", "--ignored"]), "", "{command} wrote something");
        fixture.is_left_alone();
    }
    fixture.run(&["lint", "--explain"]).says(&["cargo fmt --all --check", "skip cargo-deny: "]);
    fixture
        .run(&["docker-build", "--explain"])
        .says(&["cargo build --profile release --locked", "pack a layer of /app/app"]);
    fixture
        .run(&["push", "--explain"])
        .says(&[
            "needs the image of commit",
            "which `docker-build` writes",
            "upload to docker.io/acme/app the blobs",
        ])
        .says_nothing_of(&["No such file"]);
    fixture.run(&["deploy", "--explain"]).says(&[
        "SERVER_MODE, ALIAS, CIPHER_KEY, ERRORS_DSN",
        "poll the service at `/version`",
        "the changes cannot be computed: `RENDER_API_KEY` is not set",
    ]);
    fixture.run(&["ci", "--explain", "--branch", "main"]).says(&["docker-build", "request a deploy of"]);
}

#[test]
fn a_rollback_needs_a_key_and_a_service_and_no_more() {
    let fixture = Fixture::new();
    fixture.run(&["rollback", "--explain", "--to", "dep-1"]).says(&["roll back to what deploy dep-1 ran"]);
    fixture.run(&["rollback", "--to", "latest"]).exits(2).says(&["`latest` is not a release"]);
    fixture
        .run(&["rollback"])
        .exits(3)
        .says(&["`RENDER_API_KEY` is not set", "`RENDER_SERVICE_ID` is not set"]);
}

#[test]
fn a_program_reads_one_event_a_line() {
    let fixture = Fixture::new();
    let planned = fixture.run(&["ci", "--explain", "--format", "json"]).exits(0);
    let skipped: Vec<Value> =
        events(&planned).into_iter().filter(|event| event["event"] == "job-skipped").collect();
    assert_eq!(skipped.len(), 2, "{}", planned.out);
    let built = fixture.run(&["docker-build", "--format", "json"]).exits(0);
    let names: Vec<String> =
        events(&built).iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names.first().unwrap(), "job-started");
    assert_eq!(names.last().unwrap(), "summary");
    assert!(names.iter().any(|name| name == "command"), "{names:?}");
    assert_eq!(built.err, "");
    events(&fixture.run(&["deploy", "--format", "json"]).exits(3));
    let failed = fixture.run(&["push", "--format", "json"]).exits(3);
    let events = events(&failed);
    let last = events.last().unwrap();
    assert_eq!((last["event"].as_str(), last["exit"].as_str()), (Some("failed"), Some("missing")));

    // Quiet: nothing but failures.
    let quiet = fixture.run(&["docker-build", "--quiet"]).exits(0);
    assert_eq!(quiet.text(), "");
    fixture.write(".github/workflows/main.yaml", "");
    let quiet = fixture.run(&["workflow", "--check", "--quiet"]).exits(1);
    assert!(quiet.out.is_empty() && quiet.err.contains("main.yaml"), "{}", quiet.text());
}
