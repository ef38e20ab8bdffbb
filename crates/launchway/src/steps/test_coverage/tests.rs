use std::path::Path;

use super::*;
use crate::config::TestRunner;
use crate::project::ci_target;
use launchway_core::command::Call;
use launchway_core::environment::Environment;

fn lines(part: &Part, runner: TestRunner) -> String {
    let mut ctx = Context::for_test(Path::new("/w"), Environment::default());
    ctx.config.test.runner = runner;
    plan(&ctx, part).unwrap().to_string()
}

#[test]
fn the_lines_of_the_step() {
    insta::assert_snapshot!(lines(&Part::Whole, TestRunner::Cargo));
}

#[test]
fn the_lines_of_the_step_with_nextest() {
    insta::assert_snapshot!(lines(&Part::Whole, TestRunner::Nextest));
}

#[test]
fn tests_get_their_variables_and_their_services() {
    let mut ctx = Context::for_test(Path::new("/w"), Environment::default());
    let url = "postgres://postgres:x@localhost:5432/postgres";
    ctx.config.build.environment = [("DATABASE_URL", "of the build"), ("SQLX_OFFLINE", "true")]
        .map(|(k, v)| (k.into(), v.into()))
        .into();
    ctx.config.test.environment = [("DATABASE_URL".to_owned(), url.to_owned())].into();
    let text = "image = \"postgres:16\"\nports = [\"1:5432\"]";
    ctx.config.test.services = [("db".to_owned(), toml::from_str(text).unwrap())].into();
    let plan = plan(&ctx, &Part::Whole).unwrap().to_string();
    let lines: Vec<&str> = plan.lines().collect();
    assert!(lines[1].starts_with("docker run --detach") && lines[1].ends_with(" postgres:16"), "{plan}");
    assert!(lines[2].ends_with("responds at 127.0.0.1:1; remove it after the tests"), "{plan}");
    // Of two values the child gets the last.
    let variables = format!(" DATABASE_URL='of the build' SQLX_OFFLINE=true DATABASE_URL={url} ");
    assert!(lines[3].contains(&variables) && lines[3].contains(" --no-report "), "{plan}");
    assert!(lines[4].contains(&variables) && lines[4].contains(" --doc "), "{plan}");
}

fn step(root: &Path, threshold: f64, tests: &str) -> (Context, TestCoveragePlan) {
    let ctx = Context::for_test(root, Environment::default());
    let folder = folder(&ctx.root);
    let lcov = folder.join("lcov.info");
    let file = root.join("app/src/lib.rs");
    let path = file.display();
    fs_err::create_dir_all(file.parent().unwrap()).unwrap();
    fs_err::write(root.join("app/Cargo.toml"), "").unwrap();
    let shell = |script: &str| Call::new("sh").arg("-c").arg(script);
    let text = format!("SF:{path}\nDA:1,1\nDA:2,0\nDA:3,1\nDA:4,9\nend_of_record\n");
    let report = shell("printf %s \"$1\" > \"$2\"").args(["sh", &text]).arg(lcov.to_string_lossy());
    let measure = Measure {
        nextest: None,
        services: Vec::new(),
        clean: Call::new("true"),
        test: shell(tests),
        doctests: None,
        reports: vec![report],
        folder,
        target: ci_target(&ctx.root),
    };
    let plan = TestCoveragePlan::Whole(measure, Require { threshold, report: lcov });
    (ctx, plan)
}

#[test]
fn the_threshold_itself_passes() {
    let dir = tempfile::tempdir().unwrap();
    let (ctx, plan) = step(dir.path(), 75.0, "true");
    let record = CoverageRecord { lines: 4, covered: 3, threshold: 75.0 };
    assert_eq!(plan.run(&ctx.runner()).result.unwrap(), Some(record));
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
    assert!(dir.path().join("target/xtask/coverage/lcov.info").is_file());
}

#[test]
fn failed_tests_leave_reports_and_no_figure() {
    let dir = tempfile::tempdir().unwrap();
    let (ctx, plan) = step(dir.path(), 0.0, "exit 101");
    let error = plan.run(&ctx.runner()).result.unwrap_err();
    assert_eq!(Exit::of(&error), Exit::CheckFailed);
    assert!(error.to_string().contains("exited with 101"), "{error}");
    assert!(dir.path().join("target/xtask/coverage/lcov.info").is_file());
    assert!(format!("{:?}", ctx.reporter.events()).contains("the tests failed"));
}

#[test]
fn doctests_count_and_fail_like_other_tests() {
    let counted = |passed: u64, failed: u64, exit: u8| {
        let line = format!("test result: ok. {passed} passed; {failed} failed; 1 ignored; 0 measured; …");
        Call::new("sh").args(["-c", &format!("echo '{line}'; exit {exit}")])
    };
    let run = |test: Call, doctests: Call| {
        let dir = tempfile::tempdir().unwrap();
        let (ctx, plan) = step(dir.path(), 0.0, "");
        let TestCoveragePlan::Whole(measure, require) = plan else { panic!("{plan}") };
        let measure = Measure { test, doctests: Some(doctests), ..measure };
        TestCoveragePlan::Whole(measure, require).run(&ctx.runner())
    };
    let tested = run(counted(5, 0, 0), counted(2, 0, 0));
    assert_eq!(tested.tests, Some(Tests { passed: 7, failed: 0, skipped: 2 }));
    tested.result.unwrap();
    let tested = run(counted(5, 0, 0), counted(1, 1, 101));
    assert_eq!(tested.result.unwrap_err().to_string(), "1 test failed");
    // Both run, so that all that is wrong is known at once.
    let tested = run(counted(4, 1, 101), counted(1, 1, 101));
    assert_eq!(tested.result.unwrap_err().to_string(), "2 tests failed");
    let broken = Call::new("sh").args(["-c", "echo 'error: could not compile `app` (lib)'; exit 101"]);
    let tested = run(broken, counted(9, 0, 0));
    assert_eq!(
        (tested.tests, tested.result.unwrap_err().to_string()),
        (None, "the tests do not compile".to_owned())
    );
}
