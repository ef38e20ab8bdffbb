use std::path::Path;

use super::*;
use launchway_core::environment::Environment;

#[test]
fn the_checks_and_their_lines() {
    let ctx = Context::for_test(Path::new("/w"), Environment::default());
    insta::assert_snapshot!(plan(&ctx).to_string(), @r"
    cargo fmt --all --check
    compare .github/workflows/main.yaml with the pipeline table
    check that the builtin engine can follow the Dockerfile's final stage
    CARGO_TARGET_DIR=/w/target/ci cargo clippy --workspace --all-targets --locked -- -D warnings
    CARGO_TARGET_DIR=/w/target/ci RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
    skip cargo-deny: there is no deny.toml
    skip zizmor: zizmor 1.29.0 is not installed: `pipx install zizmor==1.29.0`
    ");
}

#[test]
fn every_check_runs_and_every_failure_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::for_test(dir.path(), Environment::default());
    let checks = vec![
        Check::Run(Call::new("false")),
        Check::Skip { check: "zizmor", reason: "not here".to_owned() },
        Check::Run(Call::new("sh").arg("-c").arg("echo 'Diff in src/a.rs:1:'; exit 1")),
        Check::Run(Call::new("touch").arg("ran")),
    ];
    let error = LintPlan { checks }.run(&ctx).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::CheckFailed);
    assert!(error.to_string().starts_with("2 of 4 checks failed:\n  false\n  sh -c"), "{error}");
    assert!(dir.path().join("ran").is_file());
    let reported = format!("{:?}", ctx.reporter.events());
    assert!(reported.contains("CheckSkipped") && reported.contains("src/a.rs"), "{reported}");
}
