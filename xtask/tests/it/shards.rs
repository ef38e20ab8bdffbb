//! Tests by cargo-nextest, and tests that several machines share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::support::{Fixture, files};

/// A documented function with a test that its documentation holds.
const DOCUMENTED: &str = "\
/// Doubles.
///
/// ```
/// assert_eq!(app::double(2), 4);
/// ```
pub fn double(number: u32) -> u32 {
    number * 2
}
";

/// A fixture whose tests cargo-nextest runs; nothing where it is not installed, after the test is named as skipped.
fn fixture(test: &str, shards: u32) -> Option<Fixture> {
    let fixture = Fixture::new();
    let settings = format!("coverage = 80\ntest = {{ runner = \"nextest\", shards = {shards} }}");
    fixture.replace("Cargo.toml", "coverage = 80", &settings);
    let module = "#[cfg(test)]\nmod tests {";
    fixture.replace("app/src/lib.rs", module, &format!("{DOCUMENTED}\n{module}"));
    fixture.run(&["workflow"]).exits(0);
    fixture.commit();
    fixture.has_coverage(test).then_some(fixture)
}

/// The lines of an lcov file with whether they ran, by the path in the workspace.
fn lines(fixture: &Fixture, path: &str) -> BTreeMap<(String, u32), bool> {
    let root = format!("{}/", fixture.root().display());
    let (mut lines, mut file) = (BTreeMap::new(), String::new());
    for line in fixture.read(path).lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            path.strip_prefix(&root).unwrap_or(path).clone_into(&mut file);
        } else if let Some((number, count)) = line.strip_prefix("DA:").and_then(|line| line.split_once(',')) {
            lines.insert((file.clone(), number.parse().unwrap()), count != "0");
        }
    }
    lines
}

/// What runs the jobs of a workflow that test: each in a checkout of its own, one after another.
struct Executor {
    artifacts: tempfile::TempDir,
    /// `needs.<job>.result` and the like.
    values: BTreeMap<String, String>,
}

impl Executor {
    fn new() -> Self {
        // Only a push to the release branch asks GitHub what has been tested.
        let token = "github.event_name == 'push' && github.ref == 'refs/heads/main' && github.token || ''";
        let values = BTreeMap::from([(token.to_owned(), String::new())]);
        Self { artifacts: tempfile::tempdir().unwrap(), values }
    }

    /// A value of the workflow with its expressions replaced.
    fn evaluated(&self, text: &Value) -> String {
        let mut text = text.as_str().unwrap().to_owned();
        while let Some((before, rest)) = text.split_once("${{ ") {
            let (name, after) = rest.split_once(" }}").unwrap();
            let value = self.values.get(name).unwrap_or_else(|| panic!("{name} has no value"));
            text = format!("{before}{value}{after}");
        }
        text
    }

    /// Runs the steps of a job in order, up to one that fails, and returns where it ran and the code of that one.
    fn job(&mut self, fixture: &Fixture, name: &str, job: &Value) -> (Fixture, i32) {
        let machine = fixture.cloned();
        let output = self.artifacts.path().join("output");
        fs_err::write(&output, "").unwrap();
        let mut code = 0;
        for step in job["steps"].as_array().unwrap() {
            let with = |key: &str| self.evaluated(&step["with"][key]);
            match step["name"].as_str().unwrap() {
                "hand over the shard" => {
                    copy(&machine.path(&with("path")), &self.artifacts.path().join(with("name")));
                }
                "get the shards" => {
                    let start = with("pattern").trim_end_matches('*').to_owned();
                    for entry in fs_err::read_dir(self.artifacts.path()).unwrap() {
                        let entry = entry.unwrap();
                        if entry.file_name().to_string_lossy().starts_with(&start) {
                            copy(&entry.path(), &machine.path(&with("path")));
                        }
                    }
                }
                _ if step["run"].is_null() => {}
                _ => {
                    let step_name = step["run"].as_str().unwrap().strip_prefix("cargo xtask ").unwrap();
                    let mut run = machine.xtask(&[step_name]);
                    for (name, value) in step["env"].as_object().into_iter().flatten() {
                        run = run.env(name, &self.evaluated(value));
                    }
                    let of_github = [
                        ("GITHUB_ACTIONS", "true"),
                        ("GITHUB_RUN_ID", "7"),
                        ("GITHUB_OUTPUT", output.to_str().unwrap()),
                    ];
                    let ran = run.envs(&of_github).finish();
                    code = ran.code().unwrap();
                }
            }
            if code != 0 {
                break;
            }
        }
        for line in fs_err::read_to_string(&output).unwrap().lines() {
            if let Some(state) = line.strip_prefix("run_state=") {
                self.values.insert(format!("needs.{name}.outputs.run_state"), state.to_owned());
            }
        }
        let result = if code == 0 { "success" } else { "failure" };
        self.values.insert(format!("needs.{name}.result"), result.to_owned());
        (machine, code)
    }
}

fn copy(from: &Path, to: &Path) {
    for (path, content) in files(from) {
        let place = to.join(path.strip_prefix(from).unwrap());
        fs_err::create_dir_all(place.parent().unwrap()).unwrap();
        fs_err::write(place, content).unwrap();
    }
}

#[test]
fn the_shards_of_the_workflow_are_one_run() {
    let Some(fixture) = fixture("the_shards_of_the_workflow_are_one_run", 3) else { return };
    fixture.run(&["test-coverage"]).exits(0).says(&["4 tests passed, 0 failed, 0 skipped"]);
    let (whole, figure) = (lines(&fixture, "target/xtask/coverage/lcov.info"), fixture.record());
    assert!(whole.len() > 50 && whole.values().any(|ran| *ran) && whole.values().any(|ran| !ran));

    let workflow: Value = serde_saphyr::from_str(&fixture.read(".github/workflows/main.yaml")).unwrap();
    let jobs = &workflow["jobs"];
    let mut executor = Executor::new();
    let (_, code) = executor.job(&fixture, "lint", &jobs["lint"]);
    assert_eq!(code, 0);
    for shard in jobs["shards"]["strategy"]["matrix"]["shard"].as_array().unwrap() {
        executor.values.insert("matrix.shard".to_owned(), shard.to_string());
        let (machine, code) = executor.job(&fixture, "shards", &jobs["shards"]);
        assert_eq!((code, machine.record()["coverage"].is_null()), (0, true), "a part has no figure");
    }
    let (merge, code) = executor.job(&fixture, "test", &jobs["test"]);
    assert_eq!(code, 0);
    assert_eq!(lines(&merge, "target/xtask/coverage/lcov.info"), whole);
    let record = merge.record();
    assert_eq!((&record["tests"], &record["coverage"]), (&figure["tests"], &figure["coverage"]));
    // The build goes on with what all of them did.
    let state = &executor.values["needs.test.outputs.run_state"];
    assert!(state.contains(r#""name":"lint","outcome":"passed""#), "{state}");
    assert!(state.contains(r#""name":"test-coverage","outcome":"passed""#), "{state}");

    // An earlier attempt's shards are there, and one of this attempt has failed.
    executor.values.insert("needs.shards.result".to_owned(), "failure".to_owned());
    let (_, code) = executor.job(&fixture, "test", &jobs["test"]);
    assert_eq!(code, 1);
    executor.values.insert("needs.shards.result".to_owned(), "success".to_owned());
    fs_err::remove_dir_all(executor.artifacts.path().join("shard-2")).unwrap();
    let (machine, code) = executor.job(&fixture, "test", &jobs["test"]);
    assert_eq!(code, 1);
    let reason = machine.record()["jobs"][0]["steps"][0]["reason"].to_string();
    assert!(reason.contains("shard 2/3 is missing"), "{reason}");
}

#[test]
fn shards_on_one_machine_are_folders() {
    let Some(fixture) = fixture("shards_on_one_machine_are_folders", 1) else { return };
    let folder = |number: u32| format!("target/xtask/shards/{number}-of-2");
    let mut tests = BTreeSet::new();
    for number in 1..=2 {
        let shard = format!("{number}/2");
        let ran = fixture.run(&["test-coverage", "--shard", &shard]).exits(0);
        let doctests = ran.out.contains("cargo test --doc");
        assert_eq!(doctests, number == 1, "{}", ran.text());
        assert!(!fixture.exists("target/xtask/coverage/html"), "a page of a part");
        let junit = fixture.read("target/xtask/coverage/junit.xml");
        let names = junit.lines().filter_map(|line| line.trim().strip_prefix("<testcase name=\""));
        for name in names.map(|rest| rest.split('"').next().unwrap().to_owned()) {
            assert!(tests.insert(name.clone()), "{name} ran twice");
        }
    }
    assert_eq!(tests.len(), 3, "{tests:?}");
    // A part of the tests is not all of them.
    fixture.run(&["ci", "--explain"]).exits(0).says_nothing_of(&["reused: "]);
    let one = fixture.run(&["test-coverage", "--merge", "target/xtask/shards"]).exits(0);
    let two = fixture.run(&["test-coverage", "--merge", &folder(2), &folder(1)]).exits(0);
    assert_eq!(one.line("total:"), two.line("total:"));
    // From below the workspace root a folder is one of where the command was started.
    let below = fixture.xtask(&["test-coverage", "--merge", "../target/xtask/shards"]);
    below.within(&fixture.path("app")).finish().exits(0);

    fixture.run(&["test-coverage", "--merge", &folder(1)]).exits(1).says(&["shard 2/2 is missing"]);
    fixture.append("app/src/lib.rs", "// Another commit.\n");
    let dirty = fixture.run(&["test-coverage", "--merge", "target/xtask/shards"]).exits(1);
    dirty.says(&[&format!("is of commit {}, and this is {}-dirty", fixture.head(), fixture.head())]);
    fixture.run(&["test-coverage", "--shard", "3/2"]).exits(2);
    fixture.replace("Cargo.toml", "runner = \"nextest\"", "runner = \"cargo\"");
    let ran = fixture.run(&["test-coverage", "--shard", "1/2"]).exits(2);
    ran.says(&["`cargo test` cannot run a shard of the tests: set `test.runner = \"nextest\"`"]);
}

/// cargo-nextest starts each test in a process group of its own, which no signal to its own group reaches.
#[test]
fn no_test_outlives_a_run_that_is_interrupted_or_killed() {
    const TEST: &str = "no_test_outlives_a_run_that_is_interrupted_or_killed";
    let Some(fixture) = fixture(TEST, 1) else { return };
    let library = fixture.read("app/src/lib.rs");
    let testing = fixture.path("target/testing");
    let sleeps = format!(
        "\n#[test]\nfn sleeps() {{\n    std::fs::write({testing:?}, \"\").unwrap();\n    \
         std::thread::sleep(std::time::Duration::from_secs(600));\n}}\n"
    );
    fixture.append("app/src/lib.rs", &sleeps);
    let start = || {
        if testing.exists() {
            fs_err::remove_file(&testing).unwrap();
        }
        let mut running = fixture.xtask(&["test-coverage"]).start();
        running.wait_while(|| !testing.exists());
        running
    };
    let running = start();
    running.interrupt();
    running.finish().exits(130).says(&["test-coverage: interrupted"]);
    fixture.is_left_alone();
    start().kill();
    fixture.write("app/src/lib.rs", &library);
    let ran = fixture.run(&["test-coverage"]).exits(0);
    let ended = ran.line("ended processes that a killed run had left");
    assert!(ended.contains("nextest") && ended.contains("app-"), "{}", ran.text());
    fixture.is_left_alone();
}

#[test]
fn nextest_names_what_fails_what_is_flaky_and_what_was_skipped() {
    const TEST: &str = "nextest_names_what_fails_what_is_flaky_and_what_was_skipped";
    let Some(fixture) = fixture(TEST, 1) else { return };
    let mark = fixture.path("target/tried");
    let tests = format!(
        r#"
#[test]
fn fails() {{
    println!("the value is {{}}", ["key-of-the", "database"].join("-"));
    assert_eq!(1 + 1, 3, "arithmetic");
}}
#[test]
fn flaky() {{
    let tried = std::path::Path::new("{}").exists();
    std::fs::write("{}", "").unwrap();
    assert!(tried, "the first try");
}}
#[test]
fn lacks_a_part() {{
    use std::io::Write;
    writeln!(std::io::stderr(), "SKIPPED: lacks_a_part: no moon").unwrap();
}}
#[test]
#[ignore]
fn ignored() {{}}
"#,
        mark.display(),
        mark.display()
    );
    let line = fixture.read("app/src/lib.rs").lines().count() + 5;
    fixture.append("app/src/lib.rs", &tests);
    fixture.write(".config/nextest.toml", "[profile.default]\nretries = 1\n");
    fixture.write(".env", "DATABASE_KEY=key-of-the-database\n");
    let ran = fixture.run(&["test-coverage"]).exits(1);
    ran.says(&[
        "test-coverage: 1 test failed\n\n  fails\n",
        &format!("  at app/src/lib.rs:{line}\n"),
        "arithmetic",
        "  alone  cargo nextest run -E 'binary_id(=app) & test(=fails)'\n",
        "flaky: app flaky (try 2/2)",
        "skipped lacks_a_part: no moon",
        "5 tests passed, 1 failed, 2 skipped",
    ]);
    let junit = fixture.read("target/xtask/coverage/junit.xml");
    for part in [r#"<testcase name="flaky""#, "<flakyFailure", r#"<testcase name="fails""#, "<redacted>"] {
        assert!(junit.contains(part), "{part} in {junit}");
    }
    assert!(!junit.contains("key-of-the-database"), "{junit}");

    // A documentation that is wrong is a test that fails.
    let library = fixture.read("app/src/lib.rs").replace(&tests, "").replace("double(2), 4", "double(2), 5");
    fixture.write("app/src/lib.rs", &library);
    let ran = fixture.run(&["test-coverage"]).exits(1);
    let line = library.lines().position(|line| line == "/// Doubles.").unwrap() + 3;
    ran.says(&["test-coverage: 1 test failed\n", &format!("  at app/src/lib.rs:{line}\n")]);
}
