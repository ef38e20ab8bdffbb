//! `cargo xtask test-coverage` on tests that fail and on code without tests, and what `ci` does after a failure.

use serde_json::{Value, json};

use crate::support::Fixture;

const FAILS: &str = "\n#[test]\nfn fails() {\n    assert_eq!(1 + 1, 3, \"arithmetic\");\n}\n";

/// A function of 64 lines that no test calls.
fn untested() -> String {
    let arms: Vec<String> = (0..60).map(|n| format!("        {n} => {},\n", n * 7)).collect();
    let arms = arms.concat();
    format!("\npub fn untested(n: u64) -> u64 {{\n    match n {{\n{arms}        n => n,\n    }}\n}}\n")
}

#[test]
fn what_fails_is_named_with_its_place_and_leaves_its_reports() {
    let fixture = Fixture::new();
    if !fixture.has_coverage("what_fails_is_named_with_its_place_and_leaves_its_reports") {
        return;
    }
    let good = fixture.read("app/src/lib.rs");
    let place = format!("  at app/src/lib.rs:{}\n", good.lines().count() + 4);
    fixture.append("app/src/lib.rs", FAILS);
    let ran = fixture.run(&["test-coverage"]).exits(1);
    ran.says(&[
        "test-coverage: 1 test failed\n\n  fails\n",
        &place,
        "arithmetic",
        "  alone  cargo test --lib -- --exact fails\n",
        "skipped coverage: the tests failed",
        "again  cargo xtask test-coverage",
    ])
    .says(&["target/xtask/logs/test-coverage.log"]);
    for left in ["coverage/lcov.info", "coverage/html/index.html"] {
        assert!(fixture.exists(&format!("target/xtask/{left}")), "{left}");
    }
    assert!(fixture.read("target/xtask/logs/test-coverage.log").contains("test fails ... FAILED"));
    let record = fixture.record();
    assert_eq!((&record["exit_code"], &record["coverage"]), (&json!(1), &Value::Null));

    // Every test passes, and a function has none.
    fixture.write("app/src/lib.rs", &(good.clone() + &untested()));
    let ran = fixture.run(&["test-coverage"]).exits(1);
    let first = good.lines().count() + 2;
    let ranges = format!("{}-{}", first, first + 62);
    ran.says(&["`app` is ", "lines short of 80 %: ", &ranges])
        .says(&["  at app/src/lib.rs:", " lines not covered: "]);
    assert_eq!(fixture.outcomes(), [("test-coverage".to_owned(), "failed".to_owned())]);

    // What does not compile has no figure, not even that of an earlier run.
    fixture.write("app/src/lib.rs", &(good + "\nfn broken() -> u8 { \"\" }\n"));
    let ran = fixture.run(&["test-coverage"]).exits(1);
    ran.says(&["test-coverage: the tests do not compile\n", "  at app/src/lib.rs:", "mismatched types"]);
    assert_eq!(fixture.record()["coverage"], Value::Null);
}

#[test]
fn a_profile_that_was_cut_short_is_left_out() {
    let fixture = Fixture::new();
    if !fixture.has_coverage("a_profile_that_was_cut_short_is_left_out") {
        return;
    }
    // As a process leaves it that is killed while it writes.
    let cuts = r#"
#[test]
fn cuts() {
    let profile = std::env::var("LLVM_PROFILE_FILE").unwrap().replace('%', "x");
    std::fs::write(profile, "cut").unwrap();
}
"#;
    fixture.append("app/src/lib.rs", cuts);
    fixture.run(&["test-coverage"]).exits(0).says(&["% of lines"]);
}

#[test]
fn what_an_earlier_run_measured_does_not_count() {
    let fixture = Fixture::new();
    if !fixture.has_coverage("what_an_earlier_run_measured_does_not_count") {
        return;
    }
    fixture.replace("Cargo.toml", "coverage = 80", "coverage = 0");
    fixture.run(&["test-coverage"]).exits(0);
    let code = fixture.read("app/src/lib.rs").split("#[cfg(test)]").next().unwrap().to_owned();
    fixture.write("app/src/lib.rs", &(code + "#[test]\nfn nothing() {}\n"));
    fixture.run(&["test-coverage"]).exits(0);
    let measured = fixture.record()["coverage"].clone();
    fs_err::remove_dir_all(fixture.path("target/ci")).unwrap();
    fixture.run(&["test-coverage"]).exits(0);
    assert_eq!(measured, fixture.record()["coverage"], "as in a folder that nothing was measured in");
}

#[test]
fn after_a_failure_a_run_goes_on_only_with_keep_going() {
    let fixture = Fixture::new();
    if !fixture.has_coverage("after_a_failure_a_run_goes_on_only_with_keep_going") {
        return;
    }
    fixture.replace("app/src/lib.rs", "let length = ", "let length   = ");
    fixture.run(&["ci"]).exits(1).says(&["skipped: `lint` did not pass; use `--keep-going` to continue"]);
    let outcomes = |fixture: &Fixture| -> Vec<String> {
        fixture.outcomes().into_iter().map(|(_, outcome)| outcome).collect()
    };
    assert_eq!(outcomes(&fixture)[..2], ["failed", "skipped"]);
    assert!(!fixture.exists("target/xtask/logs/test-coverage.log"));

    fixture.append("app/src/lib.rs", FAILS);
    let ran = fixture.run(&["ci", "--keep-going"]).exits(1);
    assert_eq!(outcomes(&fixture)[..2], ["failed", "failed"]);
    // Both stand at the end, each with the command that runs it again.
    ran.says(&[
        "lint: 1 of ",
        " checks failed",
        "again  cargo xtask lint",
        "again  cargo xtask test-coverage",
    ]);
    let record = fixture.record();
    assert_eq!(record["jobs"][1]["reason"], "runs on push to `main`; this is branch `feature`");

    // A release does not follow a test that failed, whatever goes on.
    let ran = fixture.run(&["rehearse"]).exits(1);
    ran.says(&[
        "skipped: needs test, and `lint` did not pass",
        "skipped: needs build, and `lint` did not pass",
    ]);
    fixture.is_left_alone();
    assert!(!fixture.exists("target/image"));
}
