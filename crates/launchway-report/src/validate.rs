//! Validation beyond the types.

use std::fmt;
use std::time::Duration;

use crate::{
    Commit, Deployment, DeploymentKind, DeploymentOutcome, MAX_COMMITS, Release, Report, SCHEMA, SKEW,
    StepOutcome, Time, UnderWay,
};

/// An invalid field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its path: `commit.sha`, `steps[2].name`.
    pub field: String,
    /// What it must be.
    pub must: &'static str,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` must be {}", self.field, self.must)
    }
}

impl Report {
    /// All invalid fields, by a clock that shows `now`; empty for a valid report.
    #[must_use]
    pub fn problems(&self, now: Time) -> Vec<Problem> {
        let mut found = Problems(Vec::new());
        found.unless(
            self.schema == SCHEMA,
            "schema",
            "1; a newer schema needs a newer version of this program",
        );
        found.unless(is_id(&self.id), "id", ID);
        found.unless(is_line(&self.actor, 1..=100), "actor", "one line of 1 to 100 characters");
        let is_page = |url: &String| url.starts_with("https://") && is_line(url, 9..=500);
        found.unless(self.url.as_ref().is_none_or(is_page), "url", "an https URL of at most 500 characters");
        if let Some(service) = &self.service {
            found.unless(is_hex(&service.key, 16), "service.key", "16 lower-case hexadecimal digits");
            let name = service.name.as_ref().is_none_or(|name| is_line(name, 1..=100));
            found.unless(name, "service.name", "one line of 1 to 100 characters");
        }
        for (field, time) in self.times() {
            found.unless(is_timely(time, now), field, TIMELY);
        }
        found.unless(self.finished >= self.started, "finished", "not before `started`");
        found.commit("commit", &self.commit);
        found.unless(self.commits.len() <= MAX_COMMITS, "commits", "at most 100");
        for (index, commit) in self.commits.iter().take(MAX_COMMITS).enumerate() {
            found.commit(&format!("commits[{index}]"), commit);
        }
        found.unless(self.steps.len() <= 20, "steps", "at most 20");
        for (index, step) in self.steps.iter().take(20).enumerate() {
            found.word(&format!("steps[{index}].name"), &step.name);
            if let StepOutcome::Other(word) = &step.outcome {
                found.word(&format!("steps[{index}].outcome"), word);
            }
            let took = format!("steps[{index}].milliseconds");
            found.unless(step.milliseconds <= DAY, &took, "at most a day");
        }
        if let Some(tests) = &self.tests {
            found.number("tests.passed", tests.passed);
            found.number("tests.failed", tests.failed);
            found.number("tests.skipped", tests.skipped);
        }
        if let Some(coverage) = &self.coverage {
            found.number("coverage.lines", coverage.lines);
            found.unless(coverage.covered <= coverage.lines, "coverage.covered", "at most `coverage.lines`");
            found.unless(coverage.threshold <= 100, "coverage.threshold", "0 to 100");
        }
        if let Some(image) = &self.image {
            found.unless(is_line(&image.repository, 1..=255), "image.repository", "1 to 255 characters");
            found.unless(is_digest(&image.digest), "image.digest", DIGEST);
            found.number("image.bytes", image.bytes);
            found.unless(image.attestations.len() <= 10, "image.attestations", "at most 10");
            for (index, attestation) in image.attestations.iter().take(10).enumerate() {
                let field = |name: &str| format!("image.attestations[{index}].{name}");
                let named = is_line(&attestation.artifact_type, 1..=255);
                found.unless(named, &field("artifact_type"), "1 to 255 characters");
                found.unless(is_digest(&attestation.digest), &field("digest"), DIGEST);
            }
        }
        if let Some(deployment) = &self.deployment {
            found.deployment(deployment);
        }
        if let Some(under_way) = &self.under_way {
            found.unless(self.deployment.is_none(), "under_way", "absent from the report of a deployment");
            found.under_way(under_way);
        }
        found.0
    }

    /// Whether its times are possible, by a clock that shows `now`.
    #[must_use]
    pub fn is_timely(&self, now: Time) -> bool {
        self.times().iter().all(|(_, time)| is_timely(*time, now))
    }

    /// The times by the pipeline's clock. The times of commits come from other clocks and are not checked.
    fn times(&self) -> Vec<(&'static str, Time)> {
        let mut times = vec![("started", self.started), ("finished", self.finished)];
        if let Some(Deployment { started, finished, .. }) = self.deployment {
            times.extend([("deployment.started", started), ("deployment.finished", finished)]);
        }
        if let Some(UnderWay { since, .. }) = self.under_way {
            times.push(("under_way.since", since));
        }
        times
    }
}

fn is_timely(time: Time, now: Time) -> bool {
    Time::EARLIEST <= time && time <= now.after(SKEW)
}

const TIMELY: &str = "between 2015 and now, by the reader's clock";
const WORD: &str = "1 to 40 of `[a-z-]`";
/// In milliseconds.
const DAY: u64 = 86_400_000;
const ID: &str = "1 to 64 of `[A-Za-z0-9._-]`";
const DIGEST: &str = "`sha256:` and 64 lower-case hexadecimal digits";
const COMMIT: &str = "40 lower-case hexadecimal digits";
/// The largest integer that every JSON reader represents exactly.
const LARGEST: u64 = (1 << 53) - 1;

struct Problems(Vec<Problem>);

impl Problems {
    fn unless(&mut self, valid: bool, field: &str, must: &'static str) {
        if !valid {
            self.0.push(Problem { field: field.to_owned(), must });
        }
    }

    fn number(&mut self, field: &str, number: u64) {
        self.unless(number <= LARGEST, field, "at most 2^53 - 1");
    }

    fn word(&mut self, field: &str, word: &str) {
        let plain = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        self.unless(plain && (1..=40).contains(&word.len()), field, WORD);
    }

    fn commit(&mut self, field: &str, commit: &Commit) {
        self.unless(is_hex(&commit.sha, 40), &format!("{field}.sha"), COMMIT);
        let subject = is_line(&commit.subject, 0..=200);
        self.unless(subject, &format!("{field}.subject"), "one line of at most 200 characters");
        let author = commit.author.as_ref().is_none_or(|author| is_line(author, 1..=100));
        self.unless(author, &format!("{field}.author"), "one line of 1 to 100 characters");
    }

    fn deployment(&mut self, deployment: &Deployment) {
        if let DeploymentKind::Other(word) = &deployment.kind {
            self.word("deployment.kind", word);
        }
        if let DeploymentOutcome::Other(word) = &deployment.outcome {
            self.word("deployment.outcome", word);
        }
        self.unless(is_id(&deployment.environment), "deployment.environment", ID);
        self.unless(deployment.id.as_deref().is_none_or(is_id), "deployment.id", ID);
        let plan = deployment.plan.as_deref().is_none_or(|plan| is_hex(plan, 64));
        self.unless(plan, "deployment.plan", "64 lower-case hexadecimal digits");
        let order = deployment.finished >= deployment.started;
        self.unless(order, "deployment.finished", "not before `deployment.started`");
        let reason =
            deployment.reason.as_ref().is_none_or(|reason| (1..=2000).contains(&reason.chars().count()));
        self.unless(reason, "deployment.reason", "1 to 2000 characters");
        self.release("deployment.release", deployment.release.as_ref());
        self.release("deployment.previous", deployment.previous.as_ref());
    }

    fn under_way(&mut self, under_way: &UnderWay) {
        let UnderWay { run, kind, environment, since, until, release } = under_way;
        self.unless(is_id(run), "under_way.run", ID);
        if let DeploymentKind::Other(word) = kind {
            self.word("under_way.kind", word);
        }
        self.unless(is_id(environment), "under_way.environment", ID);
        let longest = since.after(Duration::from_millis(DAY));
        let within = (*since..=longest).contains(until);
        self.unless(within, "under_way.until", "at most a day after `under_way.since`, and not before it");
        self.release("under_way.release", release.as_ref());
    }

    fn release(&mut self, field: &str, release: Option<&Release>) {
        let Some(Release { digest, commit }) = release else { return };
        self.unless(is_digest(digest), &format!("{field}.digest"), DIGEST);
        let commit = commit.as_deref().map(|commit| commit.strip_suffix("-dirty").unwrap_or(commit));
        let known = commit.is_none_or(|commit| is_hex(commit, 40));
        self.unless(known, &format!("{field}.commit"), COMMIT);
    }
}

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| is_hex(hex, 64))
}

/// Whether the text has that many characters and no control characters.
fn is_line(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.chars().count()) && !text.chars().any(char::is_control)
}
