use super::*;
use launchway_core::environment::Environment;

#[test]
fn the_lines_of_the_step() {
    let ctx = Context::for_test(Path::new("/w"), Environment::default());
    insta::assert_snapshot!(plan(&ctx).to_string(), @r"
    CARGO_LLVM_COV_TARGET_DIR=/w/target/ci /w/target/xtask/tools/bin/cargo-llvm-cov llvm-cov clean --profraw-only --workspace
    CARGO_LLVM_COV_TARGET_DIR=/w/target/ci /w/target/xtask/tools/bin/cargo-llvm-cov llvm-cov --no-report --no-fail-fast --locked --workspace
    CARGO_LLVM_COV_TARGET_DIR=/w/target/ci /w/target/xtask/tools/bin/cargo-llvm-cov llvm-cov report --failure-mode all --json --skip-functions --output-path /w/target/xtask/coverage/coverage.json
    CARGO_LLVM_COV_TARGET_DIR=/w/target/ci /w/target/xtask/tools/bin/cargo-llvm-cov llvm-cov report --failure-mode all --lcov --output-path /w/target/xtask/coverage/lcov.info
    CARGO_LLVM_COV_TARGET_DIR=/w/target/ci /w/target/xtask/tools/bin/cargo-llvm-cov llvm-cov report --failure-mode all --html --output-dir /w/target/xtask/coverage
    require at least 80 % of every crate's lines in /w/target/xtask/coverage/coverage.json
    ");
}

#[test]
fn tests_get_their_variables_and_their_services() {
    let mut ctx = Context::for_test(Path::new("/w"), Environment::default());
    let url = "postgres://postgres:x@localhost:5432/postgres";
    ctx.config.test.environment = [("DATABASE_URL".to_owned(), url.to_owned())].into();
    let text = "image = \"postgres:16\"\nports = [\"1:5432\"]";
    ctx.config.test.services = [("db".to_owned(), toml::from_str(text).unwrap())].into();
    let plan = plan(&ctx).to_string();
    let lines: Vec<&str> = plan.lines().collect();
    assert!(lines[1].starts_with("docker run --detach") && lines[1].ends_with(" postgres:16"), "{plan}");
    assert!(lines[2].ends_with("responds at 127.0.0.1:1; remove it after the tests"), "{plan}");
    assert!(
        lines[3].contains(&format!(" DATABASE_URL={url} ")) && lines[3].contains(" --no-report "),
        "{plan}"
    );
}

fn step(root: &Path, threshold: f64, tests: &str) -> (Context, TestCoveragePlan) {
    let ctx = Context::for_test(root, Environment::default());
    let folder = ctx.output().join("coverage");
    let (json, lcov) = (folder.join("coverage.json"), folder.join("lcov.info"));
    let file = root.join("app/src/lib.rs");
    let path = file.display();
    fs_err::create_dir_all(file.parent().unwrap()).unwrap();
    fs_err::write(root.join("app/Cargo.toml"), "").unwrap();
    let write = |to: &Path, text: String| {
        Call::new("sh")
            .arg("-c")
            .arg("printf %s \"$1\" > \"$2\"")
            .arg("sh")
            .arg(text)
            .arg(to.to_string_lossy())
    };
    let reports = [
        write(
            &json,
            format!(
                r#"{{"data":[{{"files":[{{"filename":"{path}","summary":{{"lines":{{"count":4,"covered":3}}}}}}]}}]}}"#
            ),
        ),
        write(&lcov, format!("SF:{path}\nDA:1,1\nDA:2,0\nDA:3,1\nDA:4,9\nend_of_record\n")),
        Call::new("true"),
    ];
    let plan = TestCoveragePlan {
        clean: Call::new("true"),
        services: Vec::new(),
        test: Call::new("sh").arg("-c").arg(tests),
        reports,
        folder,
        target: ci_target(&ctx.root),
        threshold,
    };
    (ctx, plan)
}

#[test]
fn the_threshold_itself_passes() {
    let dir = tempfile::tempdir().unwrap();
    let (ctx, plan) = step(dir.path(), 75.0, "true");
    assert_eq!(
        plan.run(&ctx.runner()).result.unwrap(),
        CoverageRecord { lines: 4, covered: 3, threshold: 75.0 }
    );
}

#[test]
fn below_the_threshold_the_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (ctx, plan) = step(dir.path(), 80.0, "true");
    let error = plan.run(&ctx.runner()).result.unwrap_err();
    assert_eq!(Exit::of(&error), Exit::CheckFailed);
    assert_eq!(
        error.to_string(),
        "coverage is below the threshold\n  `app` is 1 line short of 80 %: 75.0 % of lines (3 of 4)"
    );
    let events = format!("{:?}", ctx.reporter.events());
    let finding = r#"file: "app/src/lib.rs", line: 2, message: "1 of 4 lines not covered: 2""#;
    assert_eq!(events.matches(finding).count(), 1, "{events}");
    assert!(dir.path().join("target/xtask/coverage/coverage.json").is_file());
}

#[test]
fn failed_tests_leave_reports_and_no_figure() {
    let dir = tempfile::tempdir().unwrap();
    let (ctx, plan) = step(dir.path(), 0.0, "exit 101");
    let error = plan.run(&ctx.runner()).result.unwrap_err();
    assert_eq!(Exit::of(&error), Exit::CheckFailed);
    assert!(error.to_string().contains("exit status: 101"), "{error}");
    assert!(dir.path().join("target/xtask/coverage/lcov.info").is_file());
    assert!(format!("{:?}", ctx.reporter.events()).contains("the tests failed"));
}
