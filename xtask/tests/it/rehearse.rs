//! `cargo xtask rehearse`: what a whole rehearsal proves and leaves, and how a deploy that fails in one ends.

use serde_json::{Value, json};

use crate::schema;
use crate::support::{Fixture, skipped};

/// What ends the app before it listens.
const LISTENS: &str = "    let port = std::env::var(\"PORT\")";

#[test]
fn a_rehearsal_proves_that_what_was_built_is_what_runs() {
    let fixture = Fixture::new();
    if !fixture.has_coverage("a_rehearsal_proves_that_what_was_built_is_what_runs") {
        return;
    }
    let ran = fixture.run(&["rehearse"]).exits(0);
    fixture.is_left_alone();
    let head = fixture.head();
    let record = fixture.record();
    let digest = record["image"]["digest"].as_str().unwrap();
    let (short_digest, short) = (format!("{}…", &digest[..19]), &head[..12]);
    for link in ["built", "in the registry", "on Render"] {
        assert!(ran.line(link).contains(&short_digest), "{}", ran.text());
    }
    for (place, link) in ["its SBOM", "its provenance"].into_iter().enumerate() {
        let attached = record["pushed"]["referrers"][place]["digest"].as_str().unwrap();
        assert!(ran.line(link).contains(&format!("{}…", &attached[..19])), "{}", ran.text());
    }
    assert!(ran.line("running commit").contains(short), "{}", ran.text());
    assert!(ran.line("error's release").contains(&format!("app@0.1.0+{short}")), "{}", ran.text());
    assert!(ran.line("its environment").contains("production"), "{}", ran.text());
    assert_eq!(ran.err, "", "{}", ran.out);
    let ran = ran.says(&[
        &format!("rehearse: commit {short}\n"),
        "nothing leaves this machine",
        "skipped cargo-deny: no deny.toml",
        "skipped zizmor: zizmor is 0.0.0, but the pipeline needs",
        "The image that was built is the one that runs.",
        "To look at it: cargo xtask rehearse --job build --job deploy --stay",
    ]);
    // The service has ended.
    ran.says_nothing_of(&["uncommitted", "-dirty", "\n  url "]);

    schema::is_record(&record);
    let links = record["proof"]["links"].as_array().unwrap();
    assert!(links.iter().any(|link| link["what"] == "on Render" && link["found"] == digest), "{links:?}");
    assert_eq!(
        (&record["deployed"]["outcome"], &record["deployed"]["is_up"]),
        (&json!("live"), &json!(true))
    );
    assert_eq!(record["schema"], 1);
    assert_eq!((&record["rehearsal"], &record["dirty"]), (&json!(true), &json!(false)));
    assert_eq!((&record["commit"], &record["branch"]), (&json!(head), &json!(Fixture::BRANCH)));
    assert_eq!((&record["exit"], &record["exit_code"]), (&json!("done"), &json!(0)));
    assert!(
        record["started"].as_str().unwrap().ends_with('Z') && record["milliseconds"].as_u64().unwrap() > 0
    );
    for (step, outcome) in fixture.outcomes() {
        assert_eq!(outcome, "passed", "{step}");
    }
    assert_eq!(fixture.outcomes().len(), 5);
    assert_eq!(record["jobs"][0]["steps"][0]["skipped"], json!(["cargo-deny", "zizmor"]));
    assert_eq!(record["image"]["tags"], json!([head, "latest"]));
    assert_eq!(record["pushed"]["digest"], digest);
    assert_eq!(
        (&record["deployment"]["digest"], &record["deployment"]["commit"]),
        (&json!(digest), &json!(head))
    );
    let written = ["SERVER_MODE", "ALIAS", "CIPHER_KEY", "ERRORS_DSN"];
    assert_eq!(record["deployment"]["variables_written"], json!(written));
    assert!(record["coverage"]["covered"].as_u64() > Some(0), "{record}");

    for report in ["lcov.info", "html/index.html"] {
        assert!(fixture.exists(&format!("target/xtask/coverage/{report}")), "{report}");
    }
    for step in ["lint", "test-coverage", "docker-build", "push", "deploy"] {
        assert!(fixture.exists(&format!("target/xtask/logs/{step}.log")), "{step}");
    }
    for name in ["registry", "render", "sentry"] {
        let transcript = fixture.read(&format!("target/xtask/rehearsal/{name}.jsonl"));
        assert!(transcript.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{transcript}");
    }
    assert_eq!(fixture.git(&["status", "--porcelain"]), "", "a rehearsal leaves nothing that git sees");

    // The second one begins with an empty registry too, and makes the same image.
    let again = fixture.run(&["rehearse", "--quiet"]).exits(0);
    fixture.is_left_alone();
    assert!(again.out.trim_start().starts_with("proof\n"), "{}", again.text());
    assert_eq!(fixture.record()["image"]["digest"], digest);
    assert!(fixture.record()["pushed"]["bytes_sent"].as_u64() > Some(0));

    fixture.write("motd", "Not committed.\n");
    let dirty = fixture.run(&["rehearse", "--job", "build", "--job", "deploy"]).exits(0);
    fixture.is_left_alone();
    let dirty =
        dirty.says(&["with uncommitted changes", "image is tagged `-dirty`, and `latest` does not move"]);
    assert!(dirty.line("running commit").contains(&format!("{short}-dirty")), "{}", dirty.text());
    assert!(dirty.line("test: ").contains("test"), "{}", dirty.text());
    let record = fixture.record();
    assert_eq!(record["dirty"], true);
    assert_eq!(record["image"]["tags"], json!([format!("{head}-dirty")]));
    assert_eq!(record["pushed"]["latest"], false);
    assert_eq!(record["jobs"][0]["outcome"], "skipped");
    assert_ne!(record["image"]["digest"], digest);
    let reason = record["jobs"][0]["reason"].as_str().unwrap();
    assert_eq!(reason, "not selected by `--job`");
}

#[test]
fn a_deploy_that_fails_in_a_rehearsal_is_undone_or_says_what_it_left() {
    let release = ["rehearse", "--job", "build", "--job", "deploy"];
    let fixture = Fixture::new();

    // An app that ends at once, yet not in the smoke run, which would stop it before the deploy.
    let main = fixture.read("app/src/main.rs");
    fixture.replace(
        "app/src/main.rs",
        LISTENS,
        &format!(
            "    if std::env::var(\"ERRORS_DSN\").is_ok() {{\n        eprintln!(\"no luck\");\n        std::process::exit(3);\n    }}\n{LISTENS}"
        ),
    );
    let ran = fixture.run(&release).exits(5);
    fixture.is_left_alone();
    ran.says(&[
        "update_failed",
        "the service exited with code 3",
        "restored: SERVER_MODE, ALIAS, CIPHER_KEY, ERRORS_DSN",
        "nothing is live, as before; the variables were restored",
        "again  cargo xtask rehearse --job build --job deploy",
    ])
    .says_nothing_of(&["The image that was built is the one that runs."]);
    let record = fixture.record();
    schema::is_record(&record);
    assert_eq!((&record["exit_code"], &record["deployment"]), (&json!(5), &Value::Null));
    assert_eq!(record["deployment_report"]["outcome"], "rolled-back");
    assert_eq!(fixture.outcomes()[4], ("deploy".to_owned(), "failed".to_owned()));

    // An app that is somebody else.
    fixture.write("app/src/main.rs", &main);
    fixture.replace(
        "app/src/lib.rs",
        "let commit = environment(\"APP_COMMIT\");\n            (200",
        "let commit = if !environment(\"ERRORS_DSN\").is_empty() { \"c0ffee\".to_owned() } else { environment(\"APP_COMMIT\") };\n            (200",
    );
    let ran = fixture.run(&release).exits(6);
    fixture.is_left_alone();
    ran.says(&["c0ffee", "no earlier release to roll back to: deploy dep-", "nothing to do by hand"]);
}

/// Like Render, and unlike the user who rehearses, the image's user may not write wherever it likes. The smoke run, in
/// which there is no DSN, does not notice.
#[test]
fn a_folder_that_the_images_user_may_not_make_fails_the_check_and_the_deploy() {
    const TEST: &str = "a_folder_that_the_images_user_may_not_make_fails_the_check_and_the_deploy";
    const MAKES: &str = "    if std::env::var(\"ERRORS_DSN\").is_ok() {
        std::fs::create_dir_all(\"PLACE\").expect(\"no state\");
        assert_eq!(std::env::var(\"HOME\").as_deref(), Ok(\"/\"));
    }
    if std::env::args().nth(1).as_deref() == Some(\"check\") {
        println!(\"[]\");
        return;
    }
";
    let release = ["rehearse", "--job", "build", "--job", "deploy"];
    let fixture = Fixture::new();
    let state = fixture.path("target/xtask/state");
    let makes = MAKES.replace("PLACE", state.to_str().unwrap());
    fixture.replace("app/src/main.rs", LISTENS, &format!("{makes}{LISTENS}"));
    fixture.commit();
    let ran = fixture.run(&release);
    fixture.is_left_alone();
    if ran.err.contains("with the files and rights of this machine") {
        return skipped(TEST, "no user namespaces");
    }
    let refused = "no state: Os { code: 13, kind: PermissionDenied";
    ran.exits(5).says(&[
        refused,
        "the service exited with code 101",
        "nothing is live, as before; the variables were restored",
    ]);
    assert!(!state.exists());

    // The pre-deploy check finds it before anything is written.
    fixture.replace("Cargo.toml", "bake = \"60s\"", "bake = \"60s\"\ncheck = [\"check\"]");
    fixture.run(&release).exits(5).says(&[refused, "the service's own check exited with 101"]);
    assert!(!state.exists() && !fixture.exists("target/xtask/check"));

    // The folder is there, and the user's own.
    fixture.write("empty/.keep", "");
    fixture.replace("app/src/main.rs", state.to_str().unwrap(), "/state/files");
    fixture.replace("Dockerfile", "COPY motd", "COPY --chown=65532:65532 empty /state\nCOPY motd");
    fixture.commit();
    let ran = fixture.run(&release).exits(0);
    fixture.is_left_alone();
    ran.says(&["the service's own check found no errors", "The image that was built is the one that runs."]);
}

#[test]
fn a_drill_breaks_something_and_looks_at_what_is_left() {
    let fixture = Fixture::new();
    let list = fixture.run(&["rehearse", "--drill", "list"]).exits(0);
    let ends = list.line("response-lost").contains("exit 0: image, variables and latest new");
    assert!(ends, "{}", list.out);
    assert!(list.out.lines().count() > 30 && !fixture.exists("target/xtask"), "{}", list.out);
    fixture.run(&["rehearse", "--drill", "earthquake"]).exits(2).says(&["unknown drill `earthquake`"]);

    let ran = fixture.run(&["rehearse", "--drill", "response-lost", "--format", "json"]).exits(0);
    fixture.is_left_alone();
    let events: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    events.iter().for_each(schema::is_event);
    let mut events = events.into_iter();
    let drill = events.find(|event| event["event"] == "drill").unwrap();
    assert_eq!((&drill["drill"], &drill["passed"]), (&json!("response-lost"), &json!(true)), "{}", ran.out);
    assert_eq!(drill["observed"], drill["expected"]);
    assert_eq!(drill["remarks"], json!([]));
    let shown =
        |name: &str| drill[name].as_str().unwrap().split(" · ").map(str::to_owned).collect::<Vec<_>>();
    let (before, after) = (shown("before"), shown("after"));
    assert!(before[0] != after[0] && before[1] != after[1], "{drill}");
    assert_eq!((&before[2], &after[0]), (&after[2], &after[2]));
    let log = fixture.read("target/xtask/rehearsal/drills/response-lost.log");
    assert!(log.contains("dep-"), "{log}");
    assert!(drill["page"].as_str().unwrap().ends_with("drills/response-lost.log"), "{drill}");

    // On a screen it shows what it teaches.
    let ran = fixture.xtask(&["rehearse", "--drill", "crash"]).env("COLUMNS", "80").finish().exits(0);
    fixture.is_left_alone();
    let shown = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
    let printed = fixture.read("target/xtask/rehearsal/drills/crash.log");
    let printed = printed.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        shown.contains(&format!("The run prints: {printed} expected exit 5: image and variables")),
        "{}",
        ran.out
    );
    assert!(printed.contains(" next it can wait: fix the cause, then run it again "), "{printed}");
    assert!(printed.contains(" site up on commit "), "{printed}");
    assert!(printed.ends_with("exit 5: the deploy failed and was rolled back"), "{printed}");
    // What the ledger takes to be written is in every failure and explains none.
    assert!(!printed.contains("uploaded"), "{printed}");
    assert!(printed.contains(" again cargo xtask rehearse --drill crash "), "{printed}");
    ran.says(&["observed  exit 5: image and variables as before, latest new", "passed  crash"]);

    // The manual steps are those of a real run.
    let ran = fixture.run(&["rehearse", "--drill", "rollback-fails"]).exits(0);
    fixture.is_left_alone();
    ran.says(&[
        "the service was NOT fully rolled back:",
        "- https://dashboard.render.com/web/srv-rehearsal → Environment: restore ",
        "- `cargo xtask rollback --to dep-",
        "next   finish what is listed above",
        "(a drill: nothing is left to do here",
        "passed  rollback-fails",
    ]);
}

#[test]
fn a_rehearsal_that_stays_can_be_looked_at() {
    let fixture = Fixture::new();
    let mut running = fixture.xtask(&["rehearse", "--job", "build", "--job", "deploy", "--stay"]).start();
    running.wait_for("until Ctrl-C");
    running.interrupt();
    let ran = running.finish().exits(0);
    fixture.is_left_alone();
    ran.says(&["the service is at http://127.0.0.1:"]).says_nothing_of(&["To look at it"]);
}

#[test]
fn without_a_test_error_the_proof_says_what_it_does_not_prove() {
    let fixture = Fixture::new();
    fixture.replace("Cargo.toml", "test-error = { path = \"/test-error\", key = \"CIPHER_KEY\" }\n", "");
    let ran = fixture.run(&["rehearse", "--job", "build", "--job", "deploy"]).exits(0);
    fixture.is_left_alone();
    ran.says(&["skipped errors in Sentry: not proved, because `deploy.test-error` is not configured"])
        .says(&["The image that was built is the one that runs."])
        .says_nothing_of(&["error's release"]);
}

/// The smoke run and the fake Render start the service with the arguments that name a port, and the rehearsal notices
/// that nothing keeps it to loopback.
#[test]
fn a_service_may_learn_its_port_by_an_argument() {
    let fixture = Fixture::new();
    fixture.replace(
        "app/src/main.rs",
        "std::env::var(\"PORT\").unwrap_or_else(|_| \"8000\".to_owned())",
        "std::env::args().nth(2).expect(\"usage: app --port PORT\")",
    );
    fixture.replace(
        "app/src/main.rs",
        "std::env::var(\"LISTEN\").unwrap_or_else(|_| \"0.0.0.0\".to_owned())",
        "\"0.0.0.0\"",
    );
    fixture.replace(
        "Cargo.toml",
        "bake = \"60s\"",
        "bake = \"60s\"\nport = { arguments = [\"--port\", \"$PORT\"] }",
    );
    let ran = fixture.run(&["rehearse", "--job", "build", "--job", "deploy"]).exits(0);
    let made_up = "variables generated, because `rehearse.environment` does not set them: CIPHER_KEY, ERRORS_DSN (the fake Sentry's)";
    let ran = ran.says(&["smoke run: up in ", made_up]);
    assert_eq!(
        ran.text().matches("the service listens on all interfaces, at port ").count(),
        1,
        "{}",
        ran.text()
    );
}
