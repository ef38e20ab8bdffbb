//! `/runs/{id}`: one run of the pipeline.

use askama::Template;
use launchway_report::{Deployment, Report, StepOutcome, links};

use super::{CommitRow, Pill, Row, milliseconds, outcome, release_path};
use crate::assets;
use crate::board::format::{self, minute};
use crate::board::page::Page;

#[derive(Template)]
#[template(path = "run.html")]
struct Run<'a> {
    style: &'a str,
    icon: &'a str,
    report: &'a Report,
    row: Row<'a>,
    finished: String,
    commit_link: Option<String>,
    image_link: Option<String>,
    image_size: String,
    deployment: Option<(&'a Deployment, Pill)>,
    steps: Vec<(&'a str, Pill, String)>,
    commits: Vec<CommitRow<'a>>,
}

/// Renders the page.
pub(in crate::board) fn page(report: &Report) -> askama::Result<Page> {
    let steps = report.steps.iter().map(|step| {
        let (class, words) = match &step.outcome {
            StepOutcome::Passed => ("good", "passed"),
            StepOutcome::Failed => ("bad", "failed"),
            StepOutcome::Reused => ("good", "reused"),
            StepOutcome::Skipped => ("quiet", "skipped"),
            StepOutcome::Interrupted => ("quiet", "interrupted"),
            StepOutcome::Other(word) => ("quiet", word.as_str()),
        };
        let ran = !matches!(step.outcome, StepOutcome::Skipped | StepOutcome::Reused);
        let took = if ran { milliseconds(step.milliseconds) } else { String::new() };
        (step.name.as_str(), (class, words.to_owned()), took)
    });
    let image = report.image.as_ref();
    Page::html(&Run {
        style: assets::style_path(),
        icon: assets::icon_path(),
        report,
        row: Row::run(report),
        finished: minute(report.finished),
        commit_link: links::commit(report.url.as_deref(), &report.commit.sha),
        image_link: image.and_then(|image| links::image(image, Some(&report.commit.sha))),
        image_size: image.map_or_else(String::new, |image| format::bytes(image.bytes)),
        deployment: report.deployment.as_ref().map(|deployment| (deployment, outcome(deployment))),
        steps: steps.collect(),
        commits: report.commits.iter().map(|commit| CommitRow::new(report, commit)).collect(),
    })
}
