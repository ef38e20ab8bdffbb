use std::path::Path;

use serde_json::{Value, json};

use super::super::{render, render_rollback};
use super::*;
use crate::context::Context;
use crate::table::JobId;
use launchway_core::environment::Environment;

fn config() -> Config {
    Context::for_test(Path::new("/w"), Environment::default()).config
}

/// The two workflows as a YAML parser sees them, and the job that each of them releases with.
fn parsed(config: &Config) -> [Value; 2] {
    [render, render_rollback]
        .map(|render| render(config, &Place::default(), &Pins::default()).unwrap())
        .map(|text| serde_saphyr::from_str(&text).unwrap())
}

fn jobs(config: &Config) -> [Value; 2] {
    let [pipeline, rollback] = parsed(config);
    [pipeline["jobs"]["deploy"].clone(), rollback["jobs"]["rollback"].clone()]
}

#[test]
fn the_whole_file() {
    let text = render_rollback(&config(), &Place::default(), &Pins::default()).unwrap();
    insta::assert_snapshot!(text);
}

#[test]
fn the_release_reaches_the_command_through_its_environment_alone() {
    let [_, workflow] = parsed(&config());
    let text = render_rollback(&config(), &Place::default(), &Pins::default()).unwrap();
    assert_eq!(text.matches("inputs.").count(), 1, "{text}");
    let input = &workflow["on"]["workflow_dispatch"]["inputs"]["release"];
    assert_eq!((&input["required"], &input["type"]), (&json!(false), &json!("string")));
    let [_, job] = jobs(&config());
    let runs: Vec<&Value> =
        job["steps"].as_array().unwrap().iter().filter(|step| !step["run"].is_null()).collect();
    let [step] = runs[..] else { panic!("{job}") };
    assert_eq!(step["run"], "cargo xtask rollback");
    assert_eq!(step["env"]["XTASK_RELEASE"], "${{ inputs.release }}");
}

#[test]
fn a_rollback_may_do_what_a_deploy_may_and_no_more() {
    let mut config = config();
    for image in ["docker.io/acme/app", "ghcr.io/acme/app", "quay.io/acme/app"] {
        config.image = image.to_owned();
        let [_, workflow] = parsed(&config);
        assert_eq!(workflow["permissions"], json!({}));
        let [deploy, rollback] = jobs(&config);
        for key in ["environment", "permissions", "timeout-minutes", "runs-on"] {
            assert_eq!(rollback[key], deploy[key], "{key}");
        }
        let variables = |job: &Value, step: &str| {
            let step = job["steps"].as_array().unwrap().iter().find(|found| found["id"] == step).unwrap();
            let mut variables = step["env"].as_object().unwrap().clone();
            variables.retain(|name, _| !name.starts_with("PIPELINE_") && name != "XTASK_RELEASE");
            variables
        };
        assert_eq!(variables(&rollback, "rollback"), variables(&deploy, "deploy"), "{image}");
        let others = |job: &Value| {
            let mut steps = job["steps"].as_array().unwrap().clone();
            steps.retain(|step| step["run"].is_null() && step["name"] != "keep logs");
            steps
        };
        // The same checkout, without credentials; no cache, no artifact of another run.
        assert_eq!(others(&rollback), others(&deploy));
    }
}

#[test]
fn only_the_release_branch_rolls_back() {
    let mut config = config();
    config.branch = "trunk".to_owned();
    let [deploy, rollback] = jobs(&config);
    let on_branch = |event: &str| {
        format!("${{{{ github.event_name == '{event}' && github.ref == 'refs/heads/trunk' }}}}")
    };
    assert_eq!(
        (&deploy["if"], &rollback["if"]),
        (&json!(on_branch("push")), &json!(on_branch("workflow_dispatch")))
    );
    let rule = ROLLBACK.when.rule("trunk").unwrap();
    assert_eq!(rollback["if"], format!("${{{{ {rule} }}}}"));
    assert!(rollback["needs"].is_null());
}

/// Of three jobs that want a group, GitHub runs one, keeps one waiting and cancels the other.
#[test]
fn a_rollback_and_a_deploy_wait_for_each_other_and_none_is_lost() {
    let group = json!({ "group": "launchway-deploy-${{ github.ref }}", "cancel-in-progress": false });
    let [pipeline, rollback] = parsed(&config());
    for job in jobs(&config()) {
        assert_eq!(job["concurrency"], group);
    }
    for id in [JobId::Test, JobId::Build] {
        assert!(pipeline["jobs"][id.name()]["concurrency"].is_null());
    }
    // One run of each workflow at a time, so that two jobs at most want the group.
    let of_run = "${{ github.workflow }}-${{ github.ref }}";
    assert_eq!(
        (&pipeline["concurrency"]["group"], &rollback["concurrency"]["group"]),
        (&json!(of_run), &json!(of_run))
    );
    assert_ne!(pipeline["name"], rollback["name"]);
    assert_eq!(rollback["concurrency"]["cancel-in-progress"], false);
}

#[test]
fn a_rollback_keeps_its_logs_whatever_its_end() {
    let [_, job] = jobs(&config());
    let last = job["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["if"], &last["with"]["name"]),
        (&json!("${{ always() }}"), &json!("launchway-rollback"))
    );
    assert_eq!(last["with"]["path"], "target/xtask/run.json\ntarget/xtask/logs\n");
}
