//! `/releases/{digest}`: what is in a release, and every deployment of it.

use askama::Template;
use launchway_report::{Attestation, Commit, Image, Release, Report, links};

use super::{CommitRow, Row, rollback};
use crate::assets;
use crate::board::drift::{is_running, origin};
use crate::board::format;
use crate::board::history::{History, Run};
use crate::board::page::Page;
use crate::identity::Identity;

#[derive(Template)]
#[template(path = "release.html")]
struct ReleasePage<'a> {
    style: &'a str,
    icon: &'a str,
    release: &'a Release,
    title: &'a str,
    is_live: bool,
    commit_link: Option<String>,
    image: Option<&'a Image>,
    image_link: Option<String>,
    image_size: String,
    /// Name and digest.
    attestations: Vec<(&'a str, &'a str)>,
    built: Option<&'a Report>,
    /// The command that makes it live again; `None` while it is live.
    rollback: Option<String>,
    commits: Vec<CommitRow<'a>>,
    deployments: Vec<Row<'a>>,
}

/// Renders the page of the release with that digest, given without `sha256:`.
pub(in crate::board) fn page(
    history: &History,
    identity: &Identity,
    digest: &str,
) -> Option<askama::Result<Page>> {
    let has_digest = |release: &&Release| release.digest.strip_prefix("sha256:") == Some(digest);
    let deployments =
        || history.runs.iter().filter_map(|run| Some((&**run, run.report.deployment.as_ref()?)));
    let release = deployments()
        .flat_map(|(_, deployment)| deployment.release.iter().chain(&deployment.previous))
        .find(has_digest)?;
    let runs: Vec<&Run> = deployments()
        .filter(|(_, deployment)| deployment.release.as_ref().is_some_and(|release| has_digest(&release)))
        .map(|(run, _)| run)
        .collect();
    let deploy = history.deploy_of(&release.digest);
    let image = deploy.and_then(|run| run.report.image.as_ref()).filter(|it| it.digest == release.digest);
    let url = deploy.and_then(|run| run.report.url.as_deref());
    let commit = release.commit.as_deref();
    let commits: &[Commit] = match deploy {
        Some(run) if run.commits().is_empty() => std::slice::from_ref(&run.report.commit),
        Some(run) => run.commits(),
        None => &[],
    };
    let is_live = is_running(identity, release) == Some(true)
        || origin(history, identity).is_some_and(|(_, live)| live.digest == release.digest);
    Some(Page::html(&ReleasePage {
        style: assets::style_path(),
        icon: assets::icon_path(),
        release,
        title: deploy
            .map(|run| run.report.commit.subject.as_str())
            .filter(|subject| !subject.is_empty())
            .unwrap_or_else(|| format::short(commit.unwrap_or(digest))),
        is_live,
        commit_link: commit.and_then(|commit| links::commit(url, commit)),
        image,
        image_link: image.and_then(|image| links::image(image, commit)),
        image_size: image.map_or_else(String::new, |image| format::bytes(image.bytes)),
        attestations: image.map_or_else(Vec::new, |image| image.attestations.iter().map(named).collect()),
        built: deploy.map(|run| &run.report),
        rollback: (!is_live).then(|| rollback(release)),
        commits: deploy.map_or_else(Vec::new, |run| {
            commits.iter().map(|commit| CommitRow::new(&run.report, commit)).collect()
        }),
        deployments: runs.iter().rev().map(|run| Row::deployment(history, &run.report)).collect(),
    }))
}

fn named(attestation: &Attestation) -> (&str, &str) {
    let name = match attestation.artifact_type.as_str() {
        Attestation::SBOM => "SBOM",
        Attestation::PROVENANCE => "Provenance",
        other => other,
    };
    (name, &attestation.digest)
}
