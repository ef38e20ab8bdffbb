//! GitHub's Actions API, as far as a run asks it about the others of its workflow.
//!
//! <https://docs.github.com/en/rest/actions/workflow-runs>, `…/workflow-jobs` and `…/artifacts`. Everything that is read is
//! bounded, all of it together must be over in [`Api::TIME`], and nothing is tried twice: the way out is to test.

use std::io::Read as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use launchway_core::encode::hex;
use launchway_core::environment::Environment;
use launchway_core::http::{Http, base_url, first_words, text};
use launchway_core::secret::{Redactor, Secret};
use launchway_report::Time;
use reqwest::blocking::Response;
use reqwest::header::{ACCEPT, LOCATION};
use reqwest::{Method, StatusCode, Url};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The Actions of one repository.
pub(super) struct Api {
    http: Http,
    /// `…/repos/{owner}/{name}/actions`.
    actions: Url,
    token: Secret,
    end: Instant,
}

/// A page of the runs of a workflow.
#[derive(Deserialize)]
struct Runs {
    workflow_runs: Vec<Run>,
}

/// A run of a workflow.
#[derive(Debug, Deserialize)]
pub(super) struct Run {
    pub(super) id: u64,
    #[serde(rename = "run_attempt")]
    pub(super) attempt: u64,
    pub(super) path: String,
    pub(super) event: String,
    pub(super) status: Option<String>,
    pub(super) conclusion: Option<String>,
    pub(super) head_sha: String,
    pub(super) head_commit: Option<Commit>,
    pub(super) repository: Repository,
    /// Where the commit came from; none where that repository is gone.
    pub(super) head_repository: Option<Repository>,
    pub(super) created_at: Time,
    pub(super) html_url: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Commit {
    pub(super) id: String,
    pub(super) tree_id: String,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Repository {
    id: u64,
}

/// The jobs of an attempt.
#[derive(Deserialize)]
struct Jobs {
    total_count: usize,
    jobs: Vec<Job>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Job {
    pub(super) run_id: u64,
    pub(super) run_attempt: u64,
    pub(super) head_sha: String,
    pub(super) conclusion: Option<String>,
    #[serde(default)]
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) conclusion: Option<String>,
}

/// The artifacts of a run.
#[derive(Deserialize)]
struct Artifacts {
    total_count: usize,
    artifacts: Vec<Artifact>,
}

#[derive(Deserialize)]
struct Artifact {
    id: u64,
    size_in_bytes: u64,
    expired: bool,
    /// `sha256:…`.
    digest: Option<String>,
    workflow_run: ArtifactRun,
}

#[derive(Deserialize)]
struct ArtifactRun {
    id: u64,
}

impl Api {
    /// For all requests together: testing again takes minutes, so no more than this is risked for it.
    pub(super) const TIME: Duration = Duration::from_secs(15);
    /// How many runs a page has, and how many pages are read: more runs in a few days say nothing about this tree.
    pub(super) const PAGE: usize = 50;
    pub(super) const PAGES: usize = 4;
    /// How many jobs a run may have.
    const JOBS: usize = 100;
    /// The longest artifact in bytes: it holds a few numbers.
    const LONGEST: u64 = 1 << 20;

    pub(super) fn new(http: Http, environment: &Environment, token: Secret, time: Duration) -> Result<Self> {
        let root = environment.get("GITHUB_API_URL").unwrap_or("https://api.github.com");
        let mut actions = base_url("GITHUB_API_URL", root)?;
        let repository = environment.get("GITHUB_REPOSITORY").unwrap_or_default();
        let (owner, name) = repository
            .split_once('/')
            .with_context(|| format!("`GITHUB_REPOSITORY` is `{repository}`, and not `owner/name`"))?;
        actions
            .path_segments_mut()
            .map_err(|()| anyhow!("`GITHUB_API_URL` cannot have a path"))?
            .pop_if_empty()
            .extend(["repos", owner, name, "actions"]);
        Ok(Self { http, actions, token, end: Instant::now() + time })
    }

    /// A page of the workflow's pushes since then that succeeded, newest first, as far as GitHub says so: what counts
    /// is decided by what is in them.
    pub(super) fn pushes(&self, workflow: &str, since: Time, page: usize) -> Result<Vec<Run>> {
        let (since, size, page) = (format!(">={since}"), Self::PAGE.to_string(), page.to_string());
        let query = [
            ("event", "push"),
            ("status", "success"),
            ("created", &since),
            ("exclude_pull_requests", "true"),
            ("per_page", &size),
            ("page", &page),
        ];
        let runs: Runs = self.json(&["workflows", workflow, "runs"], &query)?;
        Ok(runs.workflow_runs)
    }

    /// Every job of a run's last attempt.
    pub(super) fn jobs(&self, run: &Run) -> Result<Vec<Job>> {
        let (id, attempt, size) = (run.id.to_string(), run.attempt.to_string(), Self::JOBS.to_string());
        let path = ["runs", &id, "attempts", &attempt, "jobs"];
        let Jobs { total_count, jobs } = self.json(&path, &[("per_page", &size)])?;
        if total_count != jobs.len() {
            bail!("GitHub lists {} of the {total_count} jobs of run {id}", jobs.len());
        }
        Ok(jobs)
    }

    /// The one file of this name that a run left, if it has just one.
    pub(super) fn file(&self, run: &Run, name: &str) -> Result<Option<Vec<u8>>> {
        let list: Artifacts = self.json(&["runs", &run.id.to_string(), "artifacts"], &[("name", name)])?;
        let [artifact] = &list.artifacts[..] else { return Ok(None) };
        if list.total_count != 1 || artifact.expired || artifact.workflow_run.id != run.id {
            return Ok(None);
        }
        if artifact.size_in_bytes > Self::LONGEST {
            bail!("the artifact `{name}` of run {} has {} bytes", run.id, artifact.size_in_bytes);
        }
        let bytes = self.bytes(artifact.id)?;
        let digest = format!("sha256:{}", hex(digest(&SHA256, &bytes).as_ref()));
        if artifact.digest.as_deref() != Some(digest.as_str()) {
            bail!("the artifact `{name}` of run {} is not what was uploaded", run.id);
        }
        Ok(Some(bytes))
    }

    /// What an artifact holds. It lies on another server, which is not shown the token.
    fn bytes(&self, artifact: u64) -> Result<Vec<u8>> {
        let response = self.get(&["artifacts", &artifact.to_string(), "zip"], &[])?;
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let (StatusCode::FOUND, Some(location)) = (response.status(), location) else {
            return Err(self.refusal(response));
        };
        let url = response
            .url()
            .join(location)
            .context("GitHub redirects to an invalid address for the artifact")?;
        let response = self.http.request(Method::GET, &url)?.timeout(self.left()?).send();
        let response = response.map_err(|error| self.http.transport_error(error))?;
        if response.status() != StatusCode::OK {
            bail!("the server of the artifact responded {}", response.status());
        }
        let mut bytes = Vec::new();
        response.take(Self::LONGEST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > Self::LONGEST {
            bail!("the artifact has more than {} bytes", Self::LONGEST);
        }
        Ok(bytes)
    }

    fn json<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<T> {
        let response = self.get(path, query)?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response));
        }
        // serde's own words would quote what it did not expect.
        serde_json::from_str(&text(response)?).map_err(|_| anyhow!("GitHub's response cannot be read"))
    }

    fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Response> {
        let mut url = self.actions.clone();
        url.path_segments_mut().map_err(|()| anyhow!("`GITHUB_API_URL` cannot have a path"))?.extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(Method::GET, &url)?.bearer_auth(self.token.expose());
        let request = request.header(ACCEPT, "application/vnd.github+json");
        let request = request.header("x-github-api-version", "2022-11-28").timeout(self.left()?);
        Ok(request.send().map_err(|error| self.http.transport_error(error))?)
    }

    fn left(&self) -> Result<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("GitHub takes longer than {} s", Self::TIME.as_secs());
        }
        Ok(left)
    }

    fn refusal(&self, response: Response) -> anyhow::Error {
        let status = response.status();
        let hint = match status {
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => ": the job needs the permission `actions: read`",
            _ => "",
        };
        let words = first_words(response, &Redactor::new([self.token.clone()]));
        anyhow!("GitHub responded {status}{words}{hint}")
    }
}
