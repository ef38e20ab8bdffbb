//! GitHub's Actions API on loopback, as far as it tells what the runs of a workflow did.
//!
//! Written from <https://docs.github.com/en/rest/actions/workflow-runs>, `…/workflow-jobs` and `…/artifacts`. Simplified:
//! there is one repository with one workflow; a run, a job and an artifact have the fields that say what they are, and
//! not the addresses of everything around them; `created` knows `>=` alone; pages have no `Link`, and no rate is limited.
//!
//! As on GitHub, the bytes of an artifact lie on another server, which refuses a request that carries the API's token.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::http::header::{AUTHORIZATION, LOCATION, USER_AGENT};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::script::{Reply, Request, Script};
use crate::server::{Fake, Incoming, Server, hex};

/// The path of the repository's Actions.
const ACTIONS: [&str; 4] = ["repos", "acme", "app", "actions"];

/// A run of the workflow.
#[derive(Clone, Debug)]
pub struct Run {
    /// Names it; a later one has a higher number.
    pub id: u64,
    /// 1, and more where it was run again.
    pub attempt: u64,
    /// The workflow's file from the git root.
    pub path: String,
    /// `push`, `pull_request`, …
    pub event: String,
    /// `queued`, `in_progress`, `completed`, …
    pub status: String,
    /// `success`, `failure`, …; none before it is completed.
    pub conclusion: Option<String>,
    /// The commit that it was of.
    pub commit: String,
    /// The tree of that commit.
    pub tree: String,
    /// When it was created.
    pub created: SystemTime,
    /// The number of the repository that the commit came from: the workflow's own, a fork's, or that of none that is left.
    pub head_repository: Option<u64>,
    /// What ran.
    pub jobs: Vec<Job>,
    /// What it left.
    pub artifacts: Vec<Artifact>,
}

/// A job of a run, and its conclusion.
#[derive(Clone, Debug)]
pub struct Job {
    /// `test`, …
    pub name: String,
    /// `success`, `failure`, …; none before it is completed.
    pub conclusion: Option<String>,
    /// Name and conclusion of each of its steps.
    pub steps: Vec<(String, Option<String>)>,
}

/// A file that a run left, uploaded as it is.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The name of the file.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Whether its time is over.
    pub expired: bool,
    /// What the API says its digest is, where that is not the file's own.
    pub digest: Option<String>,
}

impl Run {
    /// A push that passed: a job `test` whose `steps` all succeeded, and no artifact.
    pub fn passed(id: u64, tree: &str, created: SystemTime, steps: &[&str]) -> Self {
        let success = Some("success".to_owned());
        let steps = steps.iter().map(|step| ((*step).to_owned(), success.clone())).collect();
        Self {
            id,
            attempt: 1,
            path: GitHub::WORKFLOW.to_owned(),
            event: "push".to_owned(),
            status: "completed".to_owned(),
            conclusion: success.clone(),
            commit: format!("{id:040x}"),
            tree: tree.to_owned(),
            created,
            head_repository: Some(GitHub::REPOSITORY_ID),
            jobs: vec![Job { name: "test (push)".to_owned(), conclusion: success, steps }],
            artifacts: Vec::new(),
        }
    }

    /// The same run with this artifact.
    #[must_use]
    pub fn with_artifact(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let artifact = Artifact { name: name.to_owned(), bytes: bytes.into(), expired: false, digest: None };
        self.artifacts.push(artifact);
        self
    }

    fn to_json(&self) -> Value {
        let repository = |id: u64| json!({ "id": id, "full_name": GitHub::REPOSITORY, "private": false });
        let created = humantime::format_rfc3339_seconds(self.created).to_string();
        json!({
            "id": self.id,
            "name": "pipeline",
            "head_branch": "feature",
            "head_sha": self.commit,
            "path": self.path,
            "run_number": self.id,
            "event": self.event,
            "status": self.status,
            "conclusion": self.conclusion,
            "workflow_id": 1,
            "html_url": self.address(),
            "pull_requests": [],
            "created_at": created,
            "updated_at": created,
            "run_started_at": created,
            "run_attempt": self.attempt,
            "referenced_workflows": [],
            "head_commit": {
                "id": self.commit,
                "tree_id": self.tree,
                "message": "Change",
                "timestamp": created,
                "author": { "name": "Test", "email": "test@example.com" },
                "committer": { "name": "Test", "email": "test@example.com" },
            },
            "repository": repository(GitHub::REPOSITORY_ID),
            "head_repository": self.head_repository.map(repository),
        })
    }

    /// A page of the list of runs that has this one alone.
    pub fn page(&self) -> Value {
        json!({ "total_count": 1, "workflow_runs": [self.to_json()] })
    }

    /// Where people find it.
    pub fn address(&self) -> String {
        format!("https://github.com/{}/actions/runs/{}", GitHub::REPOSITORY, self.id)
    }

    /// The list of its jobs.
    pub fn jobs_page(&self) -> Value {
        let status = |conclusion: &Option<String>| {
            if conclusion.is_some() { "completed" } else { "in_progress" }
        };
        let jobs = self.jobs.iter().enumerate().map(|(number, job)| {
            let steps = job.steps.iter().enumerate().map(|(number, (name, conclusion))| {
                json!({ "name": name, "status": status(conclusion), "conclusion": conclusion, "number": number + 1 })
            });
            json!({
                "id": self.id * 100 + number as u64,
                "run_id": self.id,
                "run_attempt": self.attempt,
                "head_sha": self.commit,
                "status": status(&job.conclusion),
                "conclusion": job.conclusion,
                "name": job.name,
                "workflow_name": "pipeline",
                "head_branch": "feature",
                "steps": steps.collect::<Vec<_>>(),
            })
        });
        json!({ "total_count": self.jobs.len(), "jobs": jobs.collect::<Vec<_>>() })
    }

    fn artifacts_to_json(&self, name: Option<&str>) -> Value {
        let named = self.artifacts.iter().enumerate();
        let named = named.filter(|(_, artifact)| name.is_none_or(|name| artifact.name == name));
        let artifacts: Vec<Value> = named
            .map(|(number, artifact)| {
                let own = || format!("sha256:{}", hex(digest(&SHA256, &artifact.bytes).as_ref()));
                json!({
                    "id": self.id * 100 + number as u64,
                    "name": artifact.name,
                    "size_in_bytes": artifact.bytes.len(),
                    "expired": artifact.expired,
                    "digest": artifact.digest.clone().unwrap_or_else(own),
                    "workflow_run": {
                        "id": self.id,
                        "repository_id": GitHub::REPOSITORY_ID,
                        "head_repository_id": self.head_repository,
                        "head_branch": "feature",
                        "head_sha": self.commit,
                    },
                })
            })
            .collect();
        json!({ "total_count": artifacts.len(), "artifacts": artifacts })
    }
}

/// GitHub, with a runtime of its own for tests that block.
pub struct GitHub {
    script: Arc<Script>,
    server: Server,
    _runtime: Runtime,
}

impl GitHub {
    /// The repository.
    pub const REPOSITORY: &str = "acme/app";
    /// Its number.
    pub const REPOSITORY_ID: u64 = 4711;
    /// Its workflow's file.
    pub const WORKFLOW: &str = ".github/workflows/main.yaml";
    /// The token that it accepts.
    pub const TOKEN: &str = "ghs_token-of-the-job-4720";

    /// GitHub with these runs.
    pub fn start(runs: Vec<Run>) -> anyhow::Result<Self> {
        Self::scripted(runs, |_, _| None)
    }

    /// The same, where `rule` responds first: it gets the request, and how many with the same method and path came
    /// before. `None` leaves the request to GitHub.
    pub fn scripted(
        mut runs: Vec<Run>,
        rule: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        runs.sort_by_key(|run| std::cmp::Reverse(run.id));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let script = Arc::new(Script::new(Box::new(rule)));
        let start = Server::start_with(|address| Runs { runs, address }, Some(Arc::clone(&script)));
        let (server, _) = runtime.block_on(start)?;
        Ok(Self { script, server, _runtime: runtime })
    }

    /// The address of the API.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.script.requests()
    }
}

/// Newest first.
struct Runs {
    runs: Vec<Run>,
    address: SocketAddr,
}

impl Fake for Runs {
    async fn respond(&self, request: &mut Incoming) -> Response {
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        if let ["artifact-bytes", id] = segments[..] {
            return self.bytes(request, id);
        }
        if request.header(&USER_AGENT).unwrap_or_default().is_empty() {
            return refusal(StatusCode::FORBIDDEN, "Request forbidden by administrative rules.");
        }
        let token = format!("Bearer {}", GitHub::TOKEN);
        if request.header(&AUTHORIZATION) != Some(token.as_str()) {
            return refusal(StatusCode::UNAUTHORIZED, "Bad credentials");
        }
        let (Some(rest), true) = (segments.strip_prefix(&ACTIONS[..]), request.method == Method::GET) else {
            return not_found();
        };
        match rest {
            ["workflows", file, "runs"] if GitHub::WORKFLOW.ends_with(&format!("/{file}")) => {
                Json(self.list(request)).into_response()
            }
            ["runs", id, "attempts", attempt, "jobs"] => match self.run(id) {
                Some(run) if run.attempt.to_string() == *attempt => Json(run.jobs_page()).into_response(),
                _ => not_found(),
            },
            ["runs", id, "artifacts"] => match self.run(id) {
                Some(run) => {
                    Json(run.artifacts_to_json(request.parameter("name").as_deref())).into_response()
                }
                None => not_found(),
            },
            ["artifacts", id, "zip"] => match self.artifact(id) {
                Some(artifact) if artifact.expired => refusal(StatusCode::GONE, "Artifact has expired"),
                Some(_) => {
                    let location = format!("http://{}/artifact-bytes/{id}?sig=4721", self.address);
                    (StatusCode::FOUND, [(LOCATION, location)]).into_response()
                }
                None => not_found(),
            },
            _ => not_found(),
        }
    }
}

impl Runs {
    /// Those that the query wants, a page of them.
    fn list(&self, request: &Incoming) -> Value {
        let number = |name: &str, default: usize| {
            request.parameter(name).and_then(|text| text.parse().ok()).unwrap_or(default).max(1)
        };
        let wanted = |run: &&Run| {
            request.query().iter().all(|(name, value)| match name.as_str() {
                "event" => run.event == *value,
                // One parameter for both.
                "status" => run.status == *value || run.conclusion.as_ref() == Some(value),
                "head_sha" => run.commit == *value,
                "created" => {
                    let since = value.strip_prefix(">=").map(humantime::parse_rfc3339);
                    since.and_then(Result::ok).is_some_and(|since| run.created >= since)
                }
                _ => true,
            })
        };
        let wanted: Vec<&Run> = self.runs.iter().filter(wanted).collect();
        let size = number("per_page", 30).min(100);
        let page = wanted.iter().skip((number("page", 1) - 1) * size).take(size);
        json!({
            "total_count": wanted.len(),
            "workflow_runs": page.map(|run| run.to_json()).collect::<Vec<_>>(),
        })
    }

    fn run(&self, id: &str) -> Option<&Run> {
        self.runs.iter().find(|run| run.id.to_string() == id)
    }

    fn artifact(&self, id: &str) -> Option<&Artifact> {
        let id: u64 = id.parse().ok()?;
        self.run(&(id / 100).to_string())?.artifacts.get(usize::try_from(id % 100).ok()?)
    }

    fn bytes(&self, request: &Incoming, id: &str) -> Response {
        if request.header(&AUTHORIZATION).is_some() {
            return refusal(StatusCode::UNAUTHORIZED, "InvalidAuthenticationInfo");
        }
        match self.artifact(id).filter(|_| request.parameter("sig").is_some()) {
            Some(artifact) => artifact.bytes.clone().into_response(),
            None => not_found(),
        }
    }
}

fn not_found() -> Response {
    refusal(StatusCode::NOT_FOUND, "Not Found")
}

fn refusal(status: StatusCode, message: &str) -> Response {
    let body = json!({ "message": message, "documentation_url": "https://docs.github.com/rest" });
    (status, Json(body)).into_response()
}

#[cfg(test)]
mod tests;
