use std::path::Path;

use serde_json::{Map as Object, Value};

use super::*;
use crate::config::OwnCheck;
use crate::context::Context;
use launchway_core::environment::Environment;

fn config() -> Config {
    Context::for_test(Path::new("/w"), Environment::default()).config
}

fn text() -> String {
    render(&config(), &Place::default(), &Pins::default()).unwrap()
}

/// The workflow as a YAML parser sees it.
fn parsed() -> Value {
    serde_saphyr::from_str(&text()).unwrap()
}

fn job(id: JobId) -> Value {
    parsed()["jobs"][id.name()].clone()
}

fn object(value: &Value) -> &Object<String, Value> {
    value.as_object().unwrap()
}

fn steps(job: &Value) -> &[Value] {
    job["steps"].as_array().unwrap()
}

/// Every step of every job, with its job.
fn all_steps() -> Vec<(JobId, Value)> {
    PIPELINE
        .iter()
        .flat_map(|row| steps(&job(row.id)).to_vec().into_iter().map(|step| (row.id, step)))
        .collect()
}

#[test]
fn what_was_rendered_is_what_a_parser_reads() {
    let workflow = workflow(&config(), &Place::default(), &Pins::default());
    assert_eq!(parsed(), uncommented(serde_json::to_value(workflow).unwrap()));
}

/// JSON has no comments: a commented value is a pair there, the comment first.
fn uncommented(value: Value) -> Value {
    match value {
        Value::Array(values) if matches!(values[..], [Value::String(_), Value::String(_)]) => {
            values[1].clone()
        }
        Value::Array(values) => values.into_iter().map(uncommented).collect(),
        Value::Object(values) => values.into_iter().map(|(key, value)| (key, uncommented(value))).collect(),
        value => value,
    }
}

#[test]
fn jobs_are_the_rows_of_the_table() {
    let parsed = parsed();
    let ids: Vec<_> = object(&parsed["jobs"]).keys().cloned().collect();
    let mut expected: Vec<_> = PIPELINE.iter().map(|row| row.id.to_string()).collect();
    // The parsed object is sorted; the text must be in order.
    let places: Vec<_> = expected.iter().map(|id| text().find(&format!("\n  {id}:\n")).unwrap()).collect();
    assert!(places.is_sorted());
    expected.sort();
    assert_eq!(ids, expected);
    for row in &PIPELINE {
        let job = job(row.id);
        assert_eq!(job["needs"].as_str(), row.needs.map(JobId::name));
        let rule = row.when.rule("main").map(|rule| format!("${{{{ {rule} }}}}"));
        assert_eq!(job["if"].as_str(), rule.as_deref());
        assert_eq!(job["timeout-minutes"], config().minutes(row));
        let run: Vec<_> = steps(&job).iter().filter_map(|step| step["run"].as_str()).collect();
        let expected: Vec<_> = row.steps.iter().map(|step| format!("cargo xtask {step}")).collect();
        assert_eq!(run, expected);
    }
}

/// GitHub: "A job that is skipped will report its status as Success. It will not prevent a pull request from merging, even
/// if it is a required check." So what a branch rule requires has no condition, its own or that of a job it needs, and no
/// other event reports under its name.
#[test]
fn the_check_that_a_branch_rule_requires_is_never_a_skipped_one() {
    let test = job(JobId::Test);
    assert!(test["if"].is_null() && test["needs"].is_null(), "{test}");
    assert_eq!(test["name"], "${{ github.event_name == 'push' && 'test (push)' || 'test' }}");
    // Once for each commit of a queue, under the name that is required.
    let on = &parsed()["on"];
    assert_eq!((&on["pull_request"], &on["merge_group"]), (&serde_json::json!({}), &serde_json::json!({})));
    assert_eq!(on["push"], serde_json::json!({ "branches-ignore": ["gh-readonly-queue/**"] }));
    // A step that may go wrong makes the job red.
    for step in steps(&test) {
        assert!(
            step["continue-on-error"].is_null() && (step["run"].is_null() || step["if"].is_null()),
            "{step}"
        );
    }
}

#[test]
fn a_run_is_exactly_a_step_and_holds_no_expression() {
    for (_, step) in all_steps() {
        if let Some(run) = step["run"].as_str() {
            assert_eq!(step["id"], step["name"]);
            assert_eq!(run, format!("cargo xtask {}", step["id"].as_str().unwrap()));
            assert!(!run.contains("${{"), "{run}");
        }
    }
}

#[test]
fn each_secret_is_given_to_the_steps_that_read_it_and_to_no_other() {
    let mut count = 0;
    let config = config();
    for variable in config.variables() {
        let secret = format!("${{{{ {} }}}}", variable.on_github);
        let reads = |step: &&StepId| {
            [config.required_by(**step), config.optional_for(**step)].concat().contains(&variable.name)
        };
        let readers = PIPELINE.iter().flat_map(|row| row.steps).filter(reads).count();
        assert_eq!(text().matches(&secret).count(), readers, "{secret}");
        count += readers;
    }
    assert_eq!(text().matches("secrets.").count() + text().matches("vars.").count(), count);
    for row in &PIPELINE {
        for id in row.steps {
            let job = job(row.id);
            let step = steps(&job).iter().find(|step| step["id"] == id.name()).unwrap();
            for name in config.required_by(*id).into_iter().chain(config.optional_for(*id)) {
                // GitHub masks a secret in every log, so what is none comes from elsewhere.
                let store = if name == "SERVER_MODE" || name == "ALIAS" { "vars" } else { "secrets" };
                assert_eq!(step["env"][name], format!("${{{{ {store}.{name} }}}}"));
            }
        }
        assert_eq!(job(row.id)["environment"].is_string(), !row.variables.is_empty(), "{}", row.id);
    }
}

#[test]
fn what_a_job_did_is_handed_to_the_next() {
    assert_eq!(
        job(JobId::Test)["outputs"],
        serde_json::json!({ "run_state": "${{ steps.test-coverage.outputs.run_state }}" })
    );
    assert_eq!(
        job(JobId::Build)["outputs"],
        serde_json::json!({
            "digest": "${{ steps.push.outputs.digest }}",
            "run_state": "${{ steps.push.outputs.run_state }}",
        })
    );
    let build = job(JobId::Build);
    let given: Vec<_> = steps(&build).iter().map(|step| step["env"]["PIPELINE_RUN_STATE"].as_str()).collect();
    assert_eq!(given, [None, Some("${{ needs.test.outputs.run_state }}"), None, None]);
    assert!(job(JobId::Deploy)["outputs"].is_null());
    let deploy = job(JobId::Deploy);
    let step = steps(&deploy).iter().find(|step| step["id"] == "deploy").unwrap();
    assert_eq!(step["env"]["PIPELINE_DIGEST"], "${{ needs.build.outputs.digest }}");
    assert_eq!(step["env"]["PIPELINE_RUN_STATE"], "${{ needs.build.outputs.run_state }}");
}

#[test]
fn nothing_may_be_written_to_the_repository() {
    let parsed = parsed();
    assert_eq!(parsed["permissions"], serde_json::json!({}));
    for row in &PIPELINE {
        let mut read = serde_json::json!({ "contents": "read" });
        if row.id == JobId::Test {
            read["actions"] = "read".into();
        }
        assert_eq!(job(row.id)["permissions"], read);
    }
}

#[test]
fn the_token_of_a_run_is_the_login_at_the_registry_of_github() {
    let mut config = config();
    let mut jobs = |image: &str, login| {
        (config.image, config.login) = (image.to_owned(), login);
        let text = render(&config, &Place::default(), &Pins::default()).unwrap();
        serde_saphyr::from_str::<Value>(&text).unwrap()["jobs"].clone()
    };
    let env = |job: &Value| {
        let of_step = |step: &Value| {
            let login = |name: &str| step["env"][format!("REGISTRY_{name}")].as_str().map(str::to_owned);
            Some([login("USERNAME")?, login("TOKEN")?])
        };
        steps(job).iter().find_map(of_step)
    };
    let of_run = ["${{ github.actor }}", "${{ secrets.GITHUB_TOKEN }}"].map(str::to_owned);
    let on_github = jobs("ghcr.io/acme/app", true);
    for (id, login) in [("test", None), ("build", Some("write")), ("deploy", Some("write"))] {
        assert_eq!(on_github[id]["permissions"]["packages"].as_str(), login, "{id}");
        assert_eq!(env(&on_github[id]), login.map(|_| of_run.clone()), "{id}");
    }
    let elsewhere = jobs("quay.io/acme/app", true);
    let secrets = ["${{ secrets.REGISTRY_USERNAME }}", "${{ secrets.REGISTRY_TOKEN }}"].map(str::to_owned);
    assert_eq!(env(&elsewhere["build"]), Some(secrets));
    assert!(elsewhere["build"]["permissions"]["packages"].is_null());
    for (image, login) in [("ghcr.io/acme/app", false), ("docker.io/acme/app", false)] {
        let without = jobs(image, login);
        assert_eq!(without["build"]["permissions"], serde_json::json!({ "contents": "read" }));
        let text = without.to_string();
        assert!(!text.contains("REGISTRY_") && !text.contains("DOCKERHUB_"), "{text}");
    }
}

#[test]
fn what_tests_talk_to_is_a_service_of_their_job_alone() {
    let mut config = config();
    let text = "db = { image = \"postgres:16\", environment = { POSTGRES_PASSWORD = \"x\" }, ports = [\"5432:5432\"], \
        health = \"pg_isready -U x\" }\nmail = { image = \"a/b@sha256:c\", ports = [\"25:1025\", \"80:8025\"] }";
    config.test.services = toml::from_str(text).unwrap();
    let text = render(&config, &Place::default(), &Pins::default()).unwrap();
    let (_, section) = text.split_once("    services:\n").unwrap();
    let (section, _) = section.split_once("    steps:\n").unwrap();
    insta::assert_snapshot!(section, @r#"
          db:
            image: postgres:16 # zizmor: ignore[unpinned-images]
            env:
              POSTGRES_PASSWORD: x
            ports:
              - 5432:5432
            options: --health-cmd "pg_isready -U x" --health-interval "2s" --health-timeout "5s" --health-retries "30"
          mail:
            image: a/b@sha256:c
            ports:
              - 25:1025
              - 80:8025
    "#);
    let parsed: Value = serde_saphyr::from_str(&text).unwrap();
    let of = |id: &str| parsed["jobs"][id]["services"].as_object().map_or(0, Object::len);
    assert_eq!((of("test"), of("build"), of("deploy")), (2, 0, 0));
    // Numbers with a colon are of base 60 to a YAML 1.1 parser.
    assert_eq!(parsed["jobs"]["test"]["services"]["mail"]["ports"][0], "25:1025");
}

#[test]
fn the_tools_of_own_checks_are_installed_with_the_others() {
    let mut config = config();
    config.lint.checks = vec![
        OwnCheck::of("cargo sqlx prepare --check", Some("sqlx-cli@0.8.2")),
        OwnCheck::of("cargo machete", None),
    ];
    let text = render(&config, &Place::default(), &Pins::default()).unwrap();
    let parsed: Value = serde_saphyr::from_str(&text).unwrap();
    let tools = |id: &str| -> Vec<Value> {
        let of_job = steps(&parsed["jobs"][id]).iter().filter(|step| step["with"]["tool"].is_string());
        of_job.map(|step| serde_json::json!([step["with"]["tool"], step["with"]["fallback"]])).collect()
    };
    assert_eq!(tools("test").last().unwrap(), &serde_json::json!(["sqlx-cli@0.8.2", "cargo-binstall"]));
    assert_eq!((tools("test").len(), tools("build").len(), tools("deploy").len()), (2, 0, 0));
}

#[test]
fn a_deploy_is_never_cancelled() {
    assert_eq!(
        parsed()["concurrency"],
        serde_json::json!({
            "group": "${{ github.workflow }}-${{ github.ref }}",
            "cancel-in-progress": "${{ !(github.ref == 'refs/heads/main') }}",
        })
    );
}

#[test]
fn every_action_is_pinned() {
    let text = text();
    let uses = all_steps().iter().filter(|(_, step)| step["uses"].is_string()).count();
    assert_eq!(text.matches("uses: ").count(), uses);
    // Reading them back refuses a line that is not a commit with its version.
    Pins::read(&text).unwrap();
    for (_, step) in all_steps() {
        if step["uses"].as_str().is_some_and(|uses| uses.starts_with("actions/checkout@")) {
            assert_eq!(step["with"]["persist-credentials"], false);
        }
    }
}

#[test]
fn every_job_keeps_its_logs_and_its_record_and_nothing_secret() {
    for row in &PIPELINE {
        let job = job(row.id);
        let last = steps(&job).last().unwrap();
        assert!(last["uses"].as_str().unwrap().starts_with("actions/upload-artifact@"), "{last}");
        let with = &last["with"];
        assert_eq!(with["name"], format!("launchway-{}", row.id));
        // A second attempt of the job has the same name.
        assert_eq!(with["overwrite"], true);
        let paths: Vec<&str> = with["path"].as_str().unwrap().lines().collect();
        assert!(paths.starts_with(&["target/xtask/run.json", "target/xtask/logs"]), "{paths:?}");
        assert!(
            paths[2..].iter().all(|path| row.id == JobId::Test && *path == "target/xtask/coverage"),
            "{paths:?}"
        );
        let when = if row.id == JobId::Deploy { "always()" } else { "!cancelled()" };
        assert_eq!(last["if"], format!("${{{{ {when} }}}}"));
    }
}

#[test]
fn only_the_release_branch_keeps_the_coverage_that_others_compare_with() {
    let test = job(JobId::Test);
    let find = |action: &str| {
        let used = |step: &&Value| step["uses"].as_str().is_some_and(|uses| uses.starts_with(action));
        steps(&test).iter().position(|step| used(&step)).unwrap()
    };
    let (restore, save) = (find("actions/cache/restore@"), find("actions/cache/save@"));
    let measured = steps(&test).iter().position(|step| step["id"] == "test-coverage").unwrap();
    assert!(restore < measured && measured < save);
    let [restore, save] = [restore, save].map(|place| &steps(&test)[place]);
    assert_eq!(save["if"], "${{ github.ref == 'refs/heads/main' }}");
    assert_eq!(
        (&restore["with"]["key"], &restore["with"]["path"]),
        (&save["with"]["key"], &save["with"]["path"])
    );
    assert_eq!(save["with"]["path"], "target/xtask/baseline");
}

#[test]
fn a_release_is_made_without_a_cache() {
    for (job, step) in all_steps() {
        let caches = step["uses"].as_str().is_some_and(|uses| uses.to_lowercase().contains("cache"));
        assert!(!caches || job == JobId::Test, "{job}");
    }
}

/// A push to the release branch may rely on the run of any other push, which therefore must not depend on what lies in a
/// cache that others can write; and only that push gets the token with which it asks.
#[test]
fn what_a_release_may_rely_on_is_tested_without_the_cache_of_its_branch() {
    let test = job(JobId::Test);
    let named = |name: &str| steps(&test).iter().find(|step| step["name"] == name).unwrap().clone();
    let condition = "${{ !(github.event_name == 'push' && !(github.ref == 'refs/heads/main')) }}";
    let saves = "${{ github.ref == 'refs/heads/main' }}";
    let caches =
        steps(&test).iter().filter(|step| step["uses"].as_str().is_some_and(|uses| uses.contains("cache")));
    let conditions: Vec<&Value> = caches.map(|step| &step["if"]).collect();
    assert_eq!(conditions, [condition, condition, saves]);
    assert_eq!(named("restore cache")["with"]["save-if"], saves);
    let token = "${{ github.event_name == 'push' && github.ref == 'refs/heads/main' && github.token || '' }}";
    for step in ["lint", "test-coverage"] {
        assert_eq!(named(step)["env"], serde_json::json!({ "GITHUB_TOKEN": token }));
    }
    assert_eq!(text().matches("github.token").count(), 2);
    let kept = named("keep what passed");
    assert_eq!(kept["if"], "${{ github.event_name == 'push' }}", "and the steps before it succeeded");
    assert_eq!(
        (&kept["with"]["path"], &kept["with"]["archive"]),
        (&"target/xtask/passed.json".into(), &false.into())
    );
}

#[test]
fn every_pinned_tool_is_installed_in_the_job_that_uses_it() {
    for tool in tools::of_steps(&config()) {
        let pin = format!("{}@{}", tool.name, tool.version);
        for row in &PIPELINE {
            let installed = steps(&job(row.id)).iter().any(|step| {
                step["with"]["tool"].as_str().is_some_and(|tools| tools.split(',').any(|tool| tool == pin))
            });
            assert_eq!(installed, tool.step.job() == row.id, "{pin} in {}", row.id);
        }
    }
}

/// `act` refuses a whole file for one key that it does not know, and so may other runners.
#[test]
fn only_common_keys_are_used() {
    let parsed = parsed();
    within(&parsed, &["name", "on", "permissions", "concurrency", "env", "defaults", "jobs"]);
    within(&parsed["on"], &["push", "pull_request", "merge_group"]);
    within(&parsed["on"]["merge_group"], &[]);
    within(&parsed["on"]["push"], &["branches-ignore"]);
    within(&parsed["on"]["pull_request"], &[]);
    within(&parsed["concurrency"], &["group", "cancel-in-progress"]);
    within(&parsed["defaults"], &["run"]);
    within(&parsed["defaults"]["run"], &["shell"]);
    for job in object(&parsed["jobs"]).values() {
        within(
            job,
            &[
                "name",
                "needs",
                "if",
                "runs-on",
                "timeout-minutes",
                "permissions",
                "environment",
                "concurrency",
                "outputs",
                "steps",
            ],
        );
        assert_eq!(job["runs-on"], "ubuntu-24.04");
        for step in steps(job) {
            within(step, &["name", "id", "if", "uses", "with", "run", "env"]);
        }
    }
}

fn within(value: &Value, allowed: &[&str]) {
    for key in object(value).keys() {
        assert!(allowed.contains(&key.as_str()), "`{key}` is none of {allowed:?}");
    }
}
