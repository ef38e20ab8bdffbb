//! Ctrl-C: a run ends soon, says what it left undone, and leaves no process behind.

use serde_json::json;

use crate::support::{Fixture, Running};

/// A build script that says where it is and then takes for ever.
const SLEEPS: &str = "fn main() {\n    std::fs::write(\"building\", \"\").unwrap();\n    std::thread::sleep(std::time::Duration::from_secs(600));\n}\n";

/// Ends the run and looks at what it says and leaves. `step` is the one that was running.
fn interrupted(fixture: &Fixture, running: Running, step: &str) -> String {
    running.interrupt();
    let ran = running.finish().exits(130);
    fixture.is_left_alone();
    let record = fixture.record();
    assert_eq!((&record["exit"], &record["exit_code"]), (&json!("interrupted"), &json!(130)));
    let outcomes = fixture.outcomes();
    let place = outcomes.iter().position(|(name, _)| name == step).unwrap();
    assert_eq!(outcomes[place].1, "interrupted", "{outcomes:?}");
    for (name, outcome) in &outcomes[place + 1..] {
        assert_eq!(outcome, "skipped", "{name}");
        assert!(ran.out.lines().any(|line| line.contains(name) && line.contains("the run was interrupted")));
    }
    let parts: Vec<_> = fs_err::read_dir(fixture.path("target/xtask")).unwrap().flatten().collect();
    assert!(!parts.iter().any(|entry| entry.file_name().to_string_lossy().ends_with(".part")), "{parts:?}");
    ran.text()
}

#[test]
fn an_interrupt_while_cargo_compiles_ends_cargo_too() {
    let fixture = Fixture::new();
    fixture.write("app/build.rs", SLEEPS);
    fixture.commit();
    // Cargo starts a build script in the folder of the package, which is one of the commit.
    let building = fixture.path("target/xtask/source/app/building");
    let mut running = fixture.xtask(&["rehearse", "--job", "build", "--job", "deploy"]).start();
    running.wait_while(|| !building.exists());
    let text = interrupted(&fixture, running, "docker-build");
    assert!(text.contains("docker-build: interrupted"), "{text}");
    assert!(!fixture.exists("target/xtask/image/index.json"));
}

#[test]
fn an_interrupt_while_tests_run_ends_them() {
    let fixture = Fixture::new();
    if !fixture.has_coverage("an_interrupt_while_tests_run_ends_them") {
        return;
    }
    fixture.append(
        "app/src/lib.rs",
        "\n#[test]\nfn sleeps() {\n    std::fs::write(\"testing\", \"\").unwrap();\n    std::thread::sleep(std::time::Duration::from_secs(600));\n}\n",
    );
    fixture.commit();
    let testing = fixture.path("app/testing");
    let mut running = fixture.xtask(&["ci"]).start();
    running.wait_while(|| !testing.exists());
    running.interrupt();
    let ran = running.finish().exits(130);
    fixture.is_left_alone();
    let outcomes = fixture.outcomes();
    assert_eq!(outcomes[1], ("test-coverage".to_owned(), "interrupted".to_owned()));
    // Those jobs would not have run either way, and the record keeps the first reason.
    let reason = &fixture.record()["jobs"][1]["reason"];
    assert_eq!(reason, "runs on push to `main`; this is branch `feature`");
    ran.says(&["test-coverage: interrupted", "again  cargo xtask test-coverage"]);
}

#[test]
fn an_interrupt_while_render_starts_the_app_cancels_the_deploy() {
    let fixture = Fixture::new();
    // Once deployed it never listens, so that the deploy is under way until somebody ends it.
    fixture.replace(
        "app/src/main.rs",
        "    let port = ",
        "    if std::env::var(\"ERRORS_DSN\").is_ok() {\n        std::thread::sleep(std::time::Duration::from_secs(600));\n    }\n    let port = ",
    );
    fixture.commit();
    let mut running = fixture.xtask(&["rehearse", "--job", "build", "--job", "deploy"]).start();
    running.wait_for("update_in_progress");
    let text = interrupted(&fixture, running, "deploy");
    for part in [
        " is cancelled",
        "restored: SERVER_MODE, ALIAS",
        "deploy: interrupted",
        "nothing is live, as before; the variables were restored",
    ] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    assert!(fixture.read("target/xtask/rehearsal/render.jsonl").contains("/cancel"));
    assert_eq!(fixture.record()["deployment"], json!(null));
}
