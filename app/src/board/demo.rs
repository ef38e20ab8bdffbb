//! A year of sample reports, always the same, for `app demo` and for tests.

use launchway_report::{
    Attestation, Commit, Coverage, Deployment, DeploymentKind, DeploymentOutcome, Image, Release, Report,
    SCHEMA, Step, StepOutcome, Tests, Time,
};

const ACTORS: [&str; 4] = ["ada", "barbara", "edsger", "grace"];
const AUTHORS: [&str; 4] = ["Ada Lovelace", "Barbara Liskov", "Edsger Dijkstra", "Grace Hopper"];
const STEPS: [&str; 5] = ["lint", "test-coverage", "docker-build", "push", "deploy"];
const REPOSITORY: &str = "docker.io/launchway/app";
const SUBJECTS: [&str; 24] = [
    "Serve health checks without a database",
    "Bound the drain at shutdown",
    "Cache the style sheet by its content",
    "Check the host before anything else",
    "Close idle connections sooner",
    "Compress layers once",
    "Delete an unused flag",
    "Describe every variable in the help",
    "Explain why a deploy was rejected",
    "Fix the rounding of percentages",
    "Add hints to errors",
    "Keep the order of environment variables",
    "Limit the size of request bodies",
    "Log why a signature was rejected",
    "Make the board readable on a phone",
    "Measure the cold start",
    "Name the missing tool",
    "Validate the settings as a whole",
    "Reject a commit tag that moved",
    "Retry uploads with jitter",
    "Show which lines are not covered",
    "Show the reason of a rollback",
    "Split the router from its layers",
    "Update dependencies",
];

/// Generates `count` runs over the year before `now`, oldest first. The last one deployed [`live`].
#[must_use]
pub fn reports(now: Time, count: u32) -> Vec<Report> {
    const YEAR: u64 = 365 * 86_400_000;
    let mut random = Random(42);
    let mut live = Vec::new();
    // Merged commits that are not live yet.
    let mut waiting = Vec::new();
    (1..=count)
        .map(|number| {
            let ago = YEAR / u64::from(count) * u64::from(count - number) + 600_000;
            // Some hours of jitter.
            let early = random.below((YEAR / u64::from(count) / 2).min(3 * 3_600_000) + 1);
            let finished = now.milliseconds().saturating_sub(ago + early);
            let sample = Sample { number, count, finished: Time::from_milliseconds(finished) };
            sample.run(&mut random, &mut waiting, &mut live)
        })
        .collect()
}

/// The release that the last of [`reports`] made live.
#[must_use]
pub fn live(reports: &[Report]) -> Option<&Release> {
    reports.last()?.deployment.as_ref()?.release.as_ref()
}

struct Sample {
    number: u32,
    count: u32,
    finished: Time,
}

impl Sample {
    fn run(&self, random: &mut Random, waiting: &mut Vec<Commit>, live: &mut Vec<Release>) -> Report {
        let last = self.number == self.count;
        let commit = self.commit(random);
        let coverage = self.coverage(random);
        // Two deployments fail before the last one, which so has several commits.
        let fails = !last && self.count > 10 && self.number + 2 >= self.count;
        let luck = if last { 4 } else { random.below(100) };
        // Two in a hundred fail lint, five fail tests; four in ten of the rest run on another branch.
        let reached = match luck {
            _ if fails => 4,
            0..2 => 0,
            2..7 if !last => 1,
            _ if last || random.below(10) < 6 => 4,
            _ => 5,
        };
        let on_branch = reached == 5;
        let mut steps = self.steps(random, if on_branch { 2 } else { reached + 1 }, reached < 2);
        let mut deployment = None;
        let mut commits = Vec::new();
        if reached == 4 {
            waiting.insert(0, commit.clone());
            waiting.truncate(12);
            let release =
                Release { digest: format!("sha256:{}", random.hex(64)), commit: Some(commit.sha.clone()) };
            let outcome = match (last, fails) {
                (true, _) => DeploymentOutcome::Live,
                (_, true) => DeploymentOutcome::Unchanged,
                _ => outcome(random),
            };
            let earlier = live.len().checked_sub(2).and_then(|index| live.get(index)).cloned();
            let earlier = earlier.filter(|_| random.below(30) == 0 && !last && !fails);
            let rollback = earlier.is_some();
            let target = earlier.unwrap_or(release);
            let attempt = self.deployment(random, outcome, rollback, target.clone(), live.last().cloned());
            if rollback {
                live.pop();
            } else {
                commits.clone_from(waiting);
                if attempt.outcome == DeploymentOutcome::Live {
                    live.push(target);
                    waiting.clear();
                } else if let Some(step) = steps.last_mut() {
                    step.outcome = StepOutcome::Failed;
                }
            }
            deployment = Some(attempt);
        }
        let took: u64 = steps.iter().map(|step| step.milliseconds).sum();
        let built = deployment.as_ref().filter(|deployment| deployment.kind == DeploymentKind::Deploy);
        let image = built.and_then(|deployment| deployment.release.as_ref()).map(|release| Image {
            repository: REPOSITORY.to_owned(),
            digest: release.digest.clone(),
            bytes: 3_100_000 + random.below(200_000),
            attestations: [Attestation::SBOM, Attestation::PROVENANCE]
                .map(|kind| Attestation {
                    artifact_type: kind.to_owned(),
                    digest: format!("sha256:{}", random.hex(64)),
                })
                .to_vec(),
        });
        let total = 180 + u64::from(self.number) / 4;
        let failed = if reached == 1 { 1 + random.below(3) } else { 0 };
        Report {
            schema: SCHEMA,
            id: format!("demo-{:05}", self.number),
            actor: random.one_of(&ACTORS).to_owned(),
            url: Some(format!("https://github.com/launchway/app/actions/runs/{}", self.number)),
            service: None,
            rehearsal: false,
            started: Time::from_milliseconds(self.finished.milliseconds().saturating_sub(took)),
            finished: self.finished,
            commit,
            commits,
            steps,
            tests: (reached > 0).then_some(Tests { passed: total - failed, failed, skipped: 2 }),
            coverage: (reached > 0).then_some(coverage),
            image,
            deployment,
            under_way: None,
        }
    }

    /// How much of the year has passed, from 0 to 99.
    fn progress(&self) -> u64 {
        u64::from(self.number) * 99 / u64::from(self.count)
    }

    fn commit(&self, random: &mut Random) -> Commit {
        let before = 1_500_000 + random.below(6 * 3_600_000);
        Commit {
            sha: random.hex(40),
            time: Time::from_milliseconds(self.finished.milliseconds().saturating_sub(before)),
            subject: random.one_of(&SUBJECTS).to_owned(),
            author: Some(random.one_of(&AUTHORS).to_owned()),
        }
    }

    /// Grows with setbacks; the threshold rises once.
    fn coverage(&self, random: &mut Random) -> Coverage {
        let lines = 6000 + self.progress() * 60;
        let wave = [0, 3, 6, 8, 6, 2, 0, 1, 4, 5];
        let setback = wave[usize::try_from(self.progress() / 2 % 10).unwrap_or_default()];
        let promille = 832 + self.progress() * 11 / 10 - setback * 2 + random.below(4);
        let threshold = if self.progress() < 88 { 80 } else { 85 };
        Coverage { covered: lines * promille / 1000, lines, threshold }
    }

    /// `ran` steps, the last of which may have failed; the rest are skipped.
    fn steps(&self, random: &mut Random, ran: usize, failed: bool) -> Vec<Step> {
        // A cache halves compile times in spring.
        let compiling = if self.progress() < 40 { 2 } else { 1 };
        let usual = [14_000 * compiling, 70_000 * compiling + self.progress() * 150, 24_000, 5_000, 38_000];
        let step = |(index, name): (usize, &&str)| {
            let took = usual[index] * (85 + random.below(40)) / 100;
            let (outcome, milliseconds) = match index + 1 {
                place if place > ran => (StepOutcome::Skipped, 0),
                place if place == ran && failed => (StepOutcome::Failed, took / 2),
                _ => (StepOutcome::Passed, took),
            };
            Step { name: (*name).to_owned(), outcome, milliseconds }
        };
        STEPS.iter().enumerate().map(step).collect()
    }

    fn deployment(
        &self,
        random: &mut Random,
        outcome: DeploymentOutcome,
        rollback: bool,
        release: Release,
        previous: Option<Release>,
    ) -> Deployment {
        const ROLLED_BACK: [&str; 3] = [
            "the app did not become healthy: `/healthz` returned 503 for 10 min",
            "the app reports commit `0f3c2ab`, not the one that was deployed",
            "the platform ended the deploy with `update_failed`; last line of its log: out of memory",
        ];
        const UNCHANGED: [&str; 2] = [
            "the platform did not respond for 60 s",
            "`SENTRY_DSN` is not a DSN, so the app would not start",
        ];
        let kind = if rollback { DeploymentKind::Rollback } else { DeploymentKind::Deploy };
        let outcome = if rollback { DeploymentOutcome::Live } else { outcome };
        let reason = match &outcome {
            DeploymentOutcome::Live | DeploymentOutcome::Other(_) => None,
            DeploymentOutcome::Unchanged => Some(random.one_of(&UNCHANGED)),
            DeploymentOutcome::Superseded => Some("a newer deployment was started by hand"),
            DeploymentOutcome::RolledBack | DeploymentOutcome::NotRolledBack => {
                Some(random.one_of(&ROLLED_BACK))
            }
        };
        let took = 30_000 + random.below(30_000);
        Deployment {
            kind,
            environment: "test".to_owned(),
            id: Some(format!("dep-{}", random.hex(20))),
            plan: Some(random.hex(64)),
            started: Time::from_milliseconds(self.finished.milliseconds().saturating_sub(took)),
            finished: self.finished,
            outcome,
            reason: reason.map(str::to_owned),
            release: Some(release),
            previous,
        }
    }
}

fn outcome(random: &mut Random) -> DeploymentOutcome {
    match random.below(100) {
        0..88 => DeploymentOutcome::Live,
        88..93 => DeploymentOutcome::Unchanged,
        93..98 => DeploymentOutcome::RolledBack,
        98 => DeploymentOutcome::NotRolledBack,
        _ => DeploymentOutcome::Superseded,
    }
}

/// A pseudorandom generator with a fixed sequence: Vigna's `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let index = self.below(u64::try_from(choices.len()).unwrap_or(1));
        usize::try_from(index).ok().and_then(|index| choices.get(index)).copied().unwrap_or_default()
    }

    fn hex(&mut self, digits: usize) -> String {
        let parts: Vec<_> = (0..digits.div_ceil(16)).map(|_| format!("{:016x}", self.next())).collect();
        let mut text = parts.concat();
        text.truncate(digits);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_is_valid_and_always_the_same() {
        let now = Time::from_milliseconds(1_767_225_600_000);
        let year = reports(now, 1000);
        assert_eq!(year.iter().flat_map(|report| report.problems(now)).collect::<Vec<_>>(), []);
        assert_eq!(year, reports(now, 1000));
        assert!(year.iter().all(|report| report.finished <= now));
        let last = year.last().unwrap().deployment.as_ref().unwrap();
        assert_eq!(last.outcome, DeploymentOutcome::Live);
        assert_eq!(live(&year), last.release.as_ref());
        assert_eq!((reports(now, 0).len(), reports(now, 1).len()), (0, 1));
    }
}
