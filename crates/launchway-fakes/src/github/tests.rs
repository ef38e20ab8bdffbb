use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::loopback_client;

const STEPS: [&str; 2] = ["lint", "test-coverage"];

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_767_225_600 + seconds)
}

/// GitHub, and a client that has the token or another one.
struct Case {
    github: GitHub,
    runtime: Runtime,
}

impl Case {
    fn new(runs: Vec<Run>) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { github: GitHub::start(runs).unwrap(), runtime }
    }

    fn get(&self, path: &str, token: Option<&str>) -> reqwest::Response {
        let url = if path.starts_with("http") { path.to_owned() } else { self.github.url() + path };
        let request = loopback_client().unwrap().get(url).header("user-agent", "test");
        let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        self.runtime.block_on(request.send()).unwrap()
    }

    fn json(&self, path: &str) -> Value {
        let response = self.get(path, Some(GitHub::TOKEN));
        assert_eq!(response.status(), 200, "{path}");
        self.runtime.block_on(response.json()).unwrap()
    }

    fn ids(&self, query: &str) -> Vec<u64> {
        let list = self.json(&format!("/repos/acme/app/actions/workflows/main.yaml/runs?{query}"));
        list["workflow_runs"].as_array().unwrap().iter().map(|run| run["id"].as_u64().unwrap()).collect()
    }
}

#[test]
fn runs_are_listed_newest_first_and_as_the_query_wants_them() {
    let mut runs: Vec<Run> = (1..=5).map(|id| Run::passed(id, "c0ffee", at(id), &STEPS)).collect();
    runs[1].event = "pull_request".to_owned();
    runs[2].conclusion = Some("failure".to_owned());
    let case = Case::new(runs);
    assert_eq!(case.ids(""), [5, 4, 3, 2, 1]);
    assert_eq!(case.ids("event=push&status=success"), [5, 4, 1]);
    assert_eq!(case.ids("created=%3E%3D2026-01-01T00:00:04Z"), [5, 4]);
    assert_eq!(case.ids("per_page=2&page=2"), [3, 2]);
    assert_eq!(case.ids("per_page=2&page=4"), [0_u64; 0]);
    let run = &case.json("/repos/acme/app/actions/workflows/main.yaml/runs")["workflow_runs"][0];
    assert_eq!(
        (&run["head_commit"]["tree_id"], &run["created_at"]),
        (&json!("c0ffee"), &json!("2026-01-01T00:00:05Z"))
    );
}

#[test]
fn jobs_are_those_of_an_attempt() {
    let case = Case::new(vec![Run::passed(7, "c0ffee", at(0), &STEPS)]);
    let jobs = case.json("/repos/acme/app/actions/runs/7/attempts/1/jobs");
    assert_eq!((&jobs["total_count"], &jobs["jobs"][0]["run_attempt"]), (&json!(1), &json!(1)));
    let step = json!({ "name": "lint", "status": "completed", "conclusion": "success", "number": 1 });
    assert_eq!(jobs["jobs"][0]["steps"][0], step);
    for other in ["7/attempts/2", "8/attempts/1"] {
        let path = format!("/repos/acme/app/actions/runs/{other}/jobs");
        assert_eq!(case.get(&path, Some(GitHub::TOKEN)).status(), 404, "{path}");
    }
}

#[test]
fn an_artifact_lies_where_the_token_is_not_wanted() {
    let case = Case::new(vec![Run::passed(7, "c0ffee", at(0), &STEPS).with_artifact("passed.json", "{}")]);
    let list = case.json("/repos/acme/app/actions/runs/7/artifacts?name=passed.json");
    let artifact = &list["artifacts"][0];
    assert_eq!(artifact["digest"], "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    assert_eq!(case.json("/repos/acme/app/actions/runs/7/artifacts?name=other")["total_count"], 0);
    let path = format!("/repos/acme/app/actions/artifacts/{}/zip", artifact["id"]);
    let found = case.get(&path, Some(GitHub::TOKEN));
    assert_eq!(found.status(), 302);
    let location = found.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(case.get(&location, Some(GitHub::TOKEN)).status(), 401);
    let bytes = case.get(&location, None);
    assert_eq!(
        (bytes.status().as_u16(), case.runtime.block_on(bytes.text()).unwrap()),
        (200, "{}".to_owned())
    );
}

#[test]
fn a_token_is_required_and_a_script_goes_first() {
    let case = Case::new(Vec::new());
    for token in [None, Some("another")] {
        assert_eq!(case.get("/repos/acme/app/actions/workflows/main.yaml/runs", token).status(), 401);
    }
    for path in
        ["/repos/acme/app/actions/workflows/other.yaml/runs", "/repos/acme/other/actions/runs/1/artifacts"]
    {
        assert_eq!(case.get(path, Some(GitHub::TOKEN)).status(), 404, "{path}");
    }
    let rule = |_: &Request, before| (before == 0).then(|| Reply::new(503).after(Duration::from_millis(1)));
    let github = GitHub::scripted(Vec::new(), rule).unwrap();
    let case = Case { github, ..case };
    let statuses = [(); 2].map(|()| case.get("/", Some(GitHub::TOKEN)).status().as_u16());
    assert_eq!((statuses, case.github.requests().len()), ([503, 404], 2));
}
