//! What a reviewer reads of a run beside its steps, gathered at its end.

mod junit;

use std::path::Path;

use crate::context::Context;
use crate::coverage::baseline;
use crate::history;
use crate::run_state::RunState;
use crate::table::{PIPELINE, StepId};
use launchway_core::events::review::{ImageSize, PageLink, Review};
use launchway_core::events::{Outcome, Row};
use launchway_report::{Step, StepOutcome, links};

use super::results::Results;

/// How many of the slowest tests are named.
const SLOWEST: usize = 5;

/// The facts of a run that went on from `earlier` with these steps. What cannot be read is noted and left out.
pub(super) fn of(
    ctx: &Context,
    earlier: &RunState,
    rows: &[Row],
    so_far: &RunState,
    results: &Results,
) -> Review {
    let tested = rows.iter().find(|row| row.step == StepId::TestCoverage.name());
    let has_run = tested.is_some_and(|row| matches!(row.outcome, Outcome::Passed | Outcome::Failed));
    // Of tests that failed a figure would be meaningless.
    let has_figure = has_run && results.tests.is_some_and(|tests| tests.failed == 0);
    let coverage = has_figure
        .then(|| baseline::compare(ctx.project(), &ctx.kept(), &ctx.reporter))
        .transpose()
        .unwrap_or_else(|error| {
            ctx.reporter.note(format!(
                "the coverage is not compared with that of `{}`: {error:#}",
                ctx.config.branch
            ));
            None
        });
    let slowest_tests = if has_run { slowest(&ctx.output().join("coverage/junit.xml")) } else { Vec::new() };
    let image = results.deployment_record.as_ref().and(so_far.image.as_ref());
    Review {
        earlier: earlier.steps.iter().map(|step| row(step, earlier.skipped.get(&step.name))).collect(),
        coverage: coverage.flatten(),
        slowest_tests,
        image: image.map(|image| ImageSize { bytes: image.bytes(), before: results.previous_bytes }),
        changes: results.deployment_record.as_ref().and_then(|record| record.changes.clone()),
        links: page_links(ctx, results),
    }
}

fn slowest(path: &Path) -> Vec<launchway_core::events::review::TestTime> {
    let mut times = junit::times(path);
    times.sort_by(|a, b| (b.milliseconds, &a.test).cmp(&(a.milliseconds, &b.test)));
    times.truncate(SLOWEST);
    times
}

/// A step of an earlier process of the run.
fn row(step: &Step, skipped: Option<&Vec<String>>) -> Row {
    let job = PIPELINE.iter().find(|job| job.steps.iter().any(|known| known.name() == step.name));
    Row {
        job: job.map_or_else(String::new, |job| job.id.to_string()),
        step: step.name.clone(),
        outcome: match step.outcome {
            StepOutcome::Passed => Outcome::Passed,
            StepOutcome::Failed => Outcome::Failed,
            StepOutcome::Reused => Outcome::Reused,
            // A word of another version is no pass.
            StepOutcome::Skipped | StepOutcome::Other(_) => Outcome::Skipped,
            StepOutcome::Interrupted => Outcome::Interrupted,
        },
        milliseconds: step.milliseconds,
        remark: skipped.map_or_else(String::new, |checks| format!("without {}", checks.join(", "))),
    }
}

fn page_links(ctx: &Context, results: &Results) -> Vec<PageLink> {
    let link = |what: &str, name: &str, url: Option<String>| PageLink {
        what: what.to_owned(),
        name: name.to_owned(),
        url,
    };
    let run = history::run_url(&ctx.environment);
    let mut found = Vec::new();
    if let Some(run) = &run {
        let tag = ctx.git.tag();
        found.push(link("commit", &launchway_core::short(&tag), links::commit(Some(run), &tag)));
        found.push(link("run", run.rsplit('/').next().unwrap_or_default(), Some(run.clone())));
    }
    if let Some(pushed) = &results.pushed {
        let image = launchway_report::Image {
            repository: pushed.repository.to_string(),
            digest: pushed.digest.to_string(),
            bytes: 0,
            attestations: Vec::new(),
        };
        let tag = pushed.commit_tag.to_string();
        found.push(link("image", &format!("{}:{tag}", image.repository), links::image(&image, Some(&tag))));
    }
    if let Some(deployment) = &results.deployment {
        found.push(link("service", &deployment.url, Some(deployment.url.clone())));
        if ctx.config.deploy.reports.is_some() {
            found.push(link("release board", &deployment.url, Some(deployment.url.clone())));
        }
    }
    found
}
