//! What a reviewer reads of a run beside its steps, as fields: on GitHub the page of the job shows it.

use serde::{Deserialize, Serialize};

use super::{Release, Row};

/// What a reviewer reads of a run beside its steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// The steps of the same run that other processes ran before, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Row>,
    /// What the tests covered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<CoverageChange>,
    /// The tests that took longest, the slowest first; none where their times are unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slowest_tests: Vec<TestTime>,
    /// How large the image is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSize>,
    /// What the plan of the deploy changes of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<ServiceChanges>,
    /// Where to read on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<PageLink>,
}

/// What the tests covered, compared with the release branch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoverageChange {
    /// The release branch.
    pub branch: String,
    /// Of all files.
    pub now: CoveredLines,
    /// What the release branch had; absent where nothing was measured there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<CoverageBefore>,
    /// The files that lost, the most lines first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<FileCoverage>,
}

/// What the release branch had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoverageBefore {
    /// The commit that was measured.
    pub commit: String,
    /// Of all files.
    pub lines: CoveredLines,
}

/// Lines that tests can run, and those that they ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoveredLines {
    /// All of them.
    pub lines: u64,
    /// Those that ran.
    pub covered: u64,
}

/// A file whose coverage changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCoverage {
    /// Relative to the workspace root.
    pub file: String,
    /// On the release branch.
    pub before: CoveredLines,
    /// In this run.
    pub now: CoveredLines,
}

/// A test and how long it took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestTime {
    /// Its program and its name.
    pub test: String,
    /// How long it took.
    pub milliseconds: u64,
}

/// How large an image is, by its compressed layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSize {
    /// In bytes.
    pub bytes: u64,
    /// The image that was live before, in bytes; absent where none was, or the history does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
}

/// What a plan changes of a service. Variables are named; their values are in no event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceChanges {
    /// What is live before; absent where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Release>,
    /// What is to go live.
    pub to: Release,
    /// The variables that change, by name.
    pub variables: Vec<VariableChange>,
    /// How many of the managed variables stay as they are.
    pub kept: usize,
    /// The hash of the plan.
    pub plan: String,
}

/// A variable of the service that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariableChange {
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub change: ChangeKind,
}

/// What becomes of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// The service does not have it yet.
    Add,
    /// It gets another value.
    Change,
    /// The service will not have it any more.
    Remove,
}

/// A page about something that the run names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageLink {
    /// What it is about: `commit`, `run`, `image`, `service`.
    pub what: String,
    /// Its name.
    pub name: String,
    /// Its address, where it has a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl CoveredLines {
    /// The share that ran in tenths of a percent, rounded down: 79.96 % is not 80.0 %.
    pub fn tenths(self) -> u64 {
        self.covered.saturating_mul(1000).checked_div(self.lines).unwrap_or(1000)
    }

    /// The lines that did not run.
    pub fn missed(self) -> u64 {
        self.lines.saturating_sub(self.covered)
    }
}
