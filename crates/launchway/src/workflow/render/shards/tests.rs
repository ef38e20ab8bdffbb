use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::config::TestRunner;
use crate::context::Context;
use launchway_core::environment::Environment;

fn text() -> String {
    let mut config = Context::for_test(Path::new("/w"), Environment::default()).config;
    config.test.runner = TestRunner::Nextest;
    config.test.shards = 3;
    super::super::render(&config, &Place::default(), &Pins::default()).unwrap()
}

fn jobs() -> Value {
    serde_saphyr::from_str::<Value>(&text()).unwrap()["jobs"].take()
}

fn steps(job: &Value) -> &[Value] {
    job["steps"].as_array().unwrap()
}

#[test]
fn the_jobs_of_three_shards() {
    let text = text();
    let (_, jobs) = text.split_once("\njobs:\n").unwrap();
    let (jobs, _) = jobs.split_once("\n  build:\n").unwrap();
    insta::assert_snapshot!(jobs);
}

/// GitHub skips a job whose needs failed, and "a job that is skipped will report its status as Success".
#[test]
fn the_required_check_always_runs_and_sees_how_the_others_ended() {
    let jobs = jobs();
    let test = &jobs["test"];
    assert_eq!(test["name"], "${{ github.event_name == 'push' && 'test (push)' || 'test' }}");
    assert_eq!((&test["if"], &test["needs"]), (&json!("${{ always() }}"), &json!(["lint", "shards"])));
    let merge = steps(test).iter().find(|step| step["id"] == "test-coverage").unwrap();
    assert_eq!(
        merge["env"]["PIPELINE_NEEDS"],
        "lint=${{ needs.lint.result }} shards=${{ needs.shards.result }}"
    );
    // A step that fails makes its job fail.
    for job in ["lint", "shards", "test"] {
        for step in steps(&jobs[job]) {
            assert!(step["continue-on-error"].is_null(), "{step}");
            assert!(step["if"].is_null() || step["run"].is_null(), "{step}");
        }
    }
    for job in ["lint", "shards"] {
        assert!(jobs[job]["if"].is_null() && jobs[job]["needs"].is_null(), "{job}");
        // No name of theirs can be taken for the required one.
        assert!(!jobs[job]["name"].as_str().unwrap().starts_with("test"));
    }
    assert_eq!(jobs["build"]["needs"], "test");
}

#[test]
fn every_run_is_a_step_and_its_shard_comes_from_the_environment() {
    for (_, job) in jobs().as_object().unwrap() {
        for step in steps(job).iter().filter(|step| step["run"].is_string()) {
            assert_eq!(step["run"], format!("cargo xtask {}", step["id"].as_str().unwrap()));
        }
    }
    assert_eq!(text().matches("PIPELINE_SHARD: ${{ matrix.shard }}/3\n").count(), 1);
    assert_eq!(jobs()["shards"]["strategy"], json!({ "fail-fast": false, "matrix": { "shard": [1, 2, 3] } }));
}

#[test]
fn a_shard_is_handed_over_in_the_folder_that_the_merge_reads() {
    let jobs = jobs();
    let with = |job: &str, name: &str| {
        let step = steps(&jobs[job]).iter().find(|step| step["name"] == name).unwrap();
        step["with"].clone()
    };
    let (given, taken) = (with("shards", "hand over the shard"), with("test", "get the shards"));
    assert_eq!(given["path"], taken["path"]);
    let name = given["name"].as_str().unwrap().replace("${{ matrix.shard }}", "1");
    assert!(name.starts_with(taken["pattern"].as_str().unwrap().trim_end_matches('*')), "{name}");
    // What is kept for people is not taken for a shard.
    let kept = with("shards", "keep logs")["name"].as_str().unwrap().to_owned();
    assert!(!kept.starts_with("shard-"), "{kept}");
    let merge = steps(&jobs["test"]).iter().find(|step| step["id"] == "test-coverage").unwrap();
    assert_eq!(merge["env"]["PIPELINE_MERGE"], taken["path"]);
}

#[test]
fn each_job_installs_the_tools_of_its_steps() {
    let jobs = jobs();
    let tools = |job: &str| {
        let step = steps(&jobs[job]).iter().find(|step| step["name"] == "install tools")?;
        Some(step["with"]["tool"].as_str().unwrap().to_owned())
    };
    assert_eq!(tools("shards").unwrap(), "cargo-llvm-cov@0.9.0,cargo-nextest@0.9.143");
    assert!(tools("lint").unwrap().starts_with("cargo-deny@"));
    assert_eq!(tools("test"), None);
    for job in ["shards", "test"] {
        assert_eq!(jobs[job]["permissions"], json!({ "contents": "read" }));
    }
    Pins::read(&text()).unwrap();
}
