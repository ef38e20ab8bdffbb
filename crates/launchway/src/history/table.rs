//! `cargo xtask history`: the deployment log.

use anyhow::Result;
use launchway_report::{Deployment, DeploymentKind, DeploymentOutcome, Release, Report, SCHEMA};
use serde_json::Value;

use super::{History, ended, ledger};
use crate::columns::columns;
use crate::context::Context;
use launchway_registry::Access;

/// Shows every deployment known to this machine or the ledger, newest first.
pub(crate) fn show(ctx: &Context, as_json: bool) -> Result<()> {
    let (mut known, strange) = History::new(&ctx.kept(), &ctx.reporter).read()?;
    let ledger = ctx.registry(Access::Pull).and_then(|client| ledger::read(&client, ctx.image()));
    let unread = ledger.map(|ledger| known.extend(ledger.reports)).err();
    let mut known: Vec<_> = known.into_values().collect();
    known.sort_by_cached_key(|bytes| std::cmp::Reverse(ended(bytes)));
    let newer = if as_json {
        // In full, including fields that this version does not know.
        for bytes in &known {
            ctx.reporter.text(serde_json::from_slice::<Value>(bytes)?.to_string());
        }
        0
    } else {
        let reports: Vec<Report> = known.iter().filter_map(|bytes| understood(bytes)).collect();
        ctx.reporter.page(table(&reports));
        known.len() - reports.len()
    };
    // What was asked for comes first, then what it lacks.
    strange.report(&ctx.reporter);
    if let Some(error) = unread {
        ctx.reporter.skipped("ledger", format!("{error:#}"));
    }
    match newer {
        0 => {}
        1 => ctx.reporter.note("1 report was written by a newer Launchway: update to see it"),
        many => {
            ctx.reporter
                .note(format!("{many} reports were written by a newer Launchway: update to see them"));
        }
    }
    Ok(())
}

/// The report, unless its version gives the fields another meaning.
fn understood(bytes: &[u8]) -> Option<Report> {
    serde_json::from_slice(bytes).ok().filter(|report: &Report| report.schema == SCHEMA)
}

/// One line per deployment, followed by what does not fit on it.
fn table(reports: &[Report]) -> String {
    let known: Vec<_> =
        reports.iter().filter_map(|report| Some((report, report.deployment.as_ref()?))).collect();
    if known.is_empty() {
        return "no deployments are known on this machine".to_owned();
    }
    let mut rows = vec![["when", "what", "outcome", "commit", "digest"].map(str::to_owned)];
    rows.extend(known.iter().map(|(report, deployment)| row(report, deployment)));
    let rows = columns(&rows);
    let mut lines = rows.lines();
    let mut text = lines.next().unwrap_or_default().to_owned();
    for (line, (report, deployment)) in lines.zip(known) {
        text.extend(["\n", line]);
        for more in more(report, deployment) {
            // Below its outcome.
            text.extend(["\n", &" ".repeat(18), &more]);
        }
    }
    text
}

fn row(report: &Report, deployment: &Deployment) -> [String; 5] {
    let what = match &deployment.kind {
        DeploymentKind::Deploy => "deploy",
        DeploymentKind::Rollback => "rollback",
        DeploymentKind::Other(word) => word,
    };
    let outcome = match &deployment.outcome {
        DeploymentOutcome::Live => "live",
        DeploymentOutcome::Unchanged => "unchanged",
        DeploymentOutcome::RolledBack => "rolled back",
        DeploymentOutcome::NotRolledBack => "not rolled back",
        DeploymentOutcome::Superseded => "superseded",
        DeploymentOutcome::Other(word) => word,
    };
    let digest = |release: &Release| launchway_core::short(&release.digest);
    let release = deployment.release.as_ref();
    let commit = release.and_then(|release| release.commit.as_deref()).unwrap_or(&report.commit.sha);
    [
        deployment.finished.to_string().get(..16).unwrap_or_default().replace('T', " "),
        what.to_owned(),
        outcome.to_owned(),
        launchway_core::short(commit),
        release.map_or_else(|| "-".to_owned(), digest),
    ]
    .map(|cell| shown(&cell))
}

/// The environment, who started it, and why it failed.
fn more(report: &Report, deployment: &Deployment) -> Vec<String> {
    let service = report.service.as_ref().map(|service| service.name.as_ref().unwrap_or(&service.key));
    let to: Vec<&str> = service.into_iter().chain([&deployment.environment]).map(String::as_str).collect();
    let mut lines = vec![format!("{}, by {}", to.join(" "), report.actor)];
    lines.extend(deployment.reason.as_ref().and_then(|reason| reason.lines().next()).map(str::to_owned));
    lines.iter().map(|line| shown(line)).collect()
}

/// Others can write to the ledger: its text must not control the terminal.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests;
