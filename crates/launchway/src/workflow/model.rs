//! The part of GitHub's workflow syntax that the pipeline needs, as types; fields are in the order of the file.
//!
//! Uses only keys that other runners accept too: `act` rejects a whole file for one unknown key.

use serde::{Serialize, Serializer};
use serde_saphyr::{Commented, LitString, SpaceAfter};

use crate::table::StepId;

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Workflow {
    pub(crate) name: &'static str,
    pub(crate) on: SpaceAfter<On>,
    /// Empty: each job requests the permissions that it needs.
    pub(crate) permissions: SpaceAfter<Map<&'static str, String>>,
    pub(crate) concurrency: SpaceAfter<Concurrency>,
    pub(crate) env: SpaceAfter<Map<&'static str, Commented<String>>>,
    pub(crate) defaults: SpaceAfter<Defaults>,
    pub(crate) jobs: Map<&'static str, SpaceAfter<Job>>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum On {
    #[serde(rename_all = "snake_case")]
    Change { push: Push, pull_request: Map<&'static str, String>, merge_group: Map<&'static str, String> },
    #[serde(rename_all = "snake_case")]
    Request { workflow_dispatch: Form },
}

/// What GitHub asks somebody who starts the workflow.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Form {
    pub(crate) inputs: Map<&'static str, Field>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Field {
    pub(crate) description: &'static str,
    pub(crate) required: bool,
    pub(crate) r#type: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Push {
    pub(crate) branches_ignore: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Concurrency {
    pub(crate) group: String,
    pub(crate) cancel_in_progress: Input,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Defaults {
    pub(crate) run: Run,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Run {
    pub(crate) shell: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) working_directory: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Job {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) needs: Option<Needs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) r#if: Option<String>,
    pub(crate) runs_on: &'static str,
    pub(crate) timeout_minutes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) strategy: Option<Strategy>,
    pub(crate) permissions: Map<&'static str, Commented<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) environment: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) concurrency: Option<Concurrency>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(crate) outputs: Map<&'static str, String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(crate) services: Map<String, Service>,
    pub(crate) steps: Vec<Step>,
}

/// An image, pinned or not.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Image {
    Digest(String),
    Tag(Commented<String>),
}

/// A container beside the job, which GitHub starts and waits for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Service {
    pub(crate) image: Image,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(crate) env: Map<String, String>,
    pub(crate) ports: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) options: Option<String>,
}

/// The jobs that a job waits for.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Needs {
    One(&'static str),
    All(Vec<&'static str>),
}

/// One job as several, each on a runner of its own.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Strategy {
    pub(crate) fail_fast: bool,
    pub(crate) matrix: Map<&'static str, Vec<u32>>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Step {
    Action(Action),
    Command(Command),
}

/// A step that uses an action.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Action {
    pub(crate) name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) r#if: Option<String>,
    pub(crate) uses: Commented<String>,
    pub(crate) with: Map<&'static str, Input>,
}

/// A step of the pipeline.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Command {
    pub(crate) name: StepId,
    pub(crate) id: StepId,
    pub(crate) run: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(crate) env: Map<String, String>,
}

/// The inputs of an action.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Input {
    Flag(bool),
    Number(u32),
    Text(String),
    Lines(LitString),
}

/// A mapping whose keys keep their order.
#[derive(Debug)]
pub(crate) struct Map<K, V>(pub(crate) Vec<(K, V)>);

impl<K, V> Map<K, V> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Serialize, V: Serialize> Serialize for Map<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}
