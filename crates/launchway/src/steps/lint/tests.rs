use std::path::Path;

use super::*;
use launchway_core::environment::Environment;

#[test]
fn the_checks_and_their_lines() {
    let ctx = Context::for_test(Path::new("/w"), Environment::default());
    insta::assert_snapshot!(plan(&ctx).to_string(), @r"
    cargo fmt --all --check
    compare .github/workflows/main.yaml and .github/workflows/main-rollback.yaml with the pipeline table
    check that the builtin engine can follow the Dockerfile's final stage
    CARGO_TARGET_DIR=/w/target/ci cargo clippy --workspace --all-targets --locked -- -D warnings
    CARGO_TARGET_DIR=/w/target/ci RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
    skip cargo-deny: no deny.toml
    skip zizmor: zizmor 1.29.0 is not installed: `pipx install zizmor==1.29.0`
    ");
}

#[test]
fn what_compiles_gets_the_variables_of_the_build() {
    let mut ctx = Context::for_test(Path::new("/w"), Environment::default());
    ctx.config.build.environment = [("SQLX_OFFLINE".to_owned(), "true".to_owned())].into();
    let plan = plan(&ctx).to_string();
    let with: Vec<&str> = plan.lines().filter(|line| line.contains("SQLX_OFFLINE=true")).collect();
    assert!(with.len() == 2 && with[0].contains("clippy") && with[1].contains("cargo doc"), "{plan}");
}

#[test]
fn a_workspace_adds_its_own_checks() {
    let dir = tempfile::tempdir().unwrap();
    let [path, scripts] = ["path", "scripts"].map(|name| dir.path().join(name));
    for (folder, name) in [(&path, "cargo-found-by-path"), (&scripts, "check")] {
        fs_err::create_dir_all(folder).unwrap();
        fs_err::write(folder.join(name), "").unwrap();
    }
    let mut ctx = Context::for_test(dir.path(), Environment::of([("PATH", path.to_str().unwrap())]));
    let built_in = plan(&ctx).checks.len();
    ctx.config.lint.checks = [
        ("cargo found-by-path --quiet", None),
        ("cargo tree --locked", None),
        ("cargo sqlx prepare --check", Some("sqlx-cli@0.8.2")),
        ("scripts/check all", None),
        ("cargo of-nobody", None),
        ("of-nobody", None),
    ]
    .map(|(run, tool)| OwnCheck::of(run, tool))
    .into();
    let planned = plan(&ctx).to_string().replace(dir.path().to_str().unwrap(), "/w");
    let own: Vec<&str> = planned.lines().skip(built_in).collect();
    insta::assert_snapshot!(own.join("\n"), @r"
    CARGO_TARGET_DIR=/w/target/ci cargo found-by-path --quiet
    CARGO_TARGET_DIR=/w/target/ci cargo tree --locked
    CARGO_TARGET_DIR=/w/target/ci /w/target/xtask/tools/bin/cargo-sqlx sqlx prepare --check
    scripts/check all
    skip cargo of-nobody: `cargo-of-nobody` is not on this machine: install it, or name its package and version as `tool` in `lint.checks`
    skip of-nobody: `of-nobody` is not on this machine: install it, or name its package and version as `tool` in `lint.checks`
    ");
    let program = |run| program(ctx.machine(), &OwnCheck::of(run, None));
    assert_eq!(program("cargo found-by-path"), Some(path.join("cargo-found-by-path")));
    assert_eq!(program("scripts/check"), Some(scripts.join("check")));
    assert_eq!(program("cargo tree"), None);
}

#[test]
fn every_check_runs_and_every_failure_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::for_test(dir.path(), Environment::default());
    let checks = vec![
        Check::Run(Call::new("false")),
        Check::Skip { check: "zizmor".to_owned(), reason: "not here".to_owned() },
        Check::Run(Call::new("sh").arg("-c").arg("echo 'Diff in src/a.rs:1:'; exit 1")),
        Check::Run(Call::new("touch").arg("ran")),
    ];
    let error = LintPlan { checks }.run(&ctx.runner(), ctx.project()).unwrap_err();
    assert_eq!(Exit::of(&error), Exit::CheckFailed);
    assert!(error.to_string().starts_with("2 of 3 checks failed:\n  false\n  sh -c"), "{error}");
    assert!(dir.path().join("ran").is_file());
    let reported = format!("{:?}", ctx.reporter.events());
    assert!(reported.contains("CheckSkipped") && reported.contains("src/a.rs"), "{reported}");
}
