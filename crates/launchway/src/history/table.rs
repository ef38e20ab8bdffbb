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
    let mut known = History::of(ctx).read()?;
    match ctx.registry(Access::Pull).and_then(|client| ledger::read(&client, ctx.image())) {
        Ok(ledger) => known.extend(ledger.reports),
        Err(error) => ctx.reporter.skipped("ledger", format!("{error:#}")),
    }
    let mut known: Vec<_> = known.into_values().collect();
    known.sort_by_cached_key(|bytes| std::cmp::Reverse(ended(bytes)));
    if as_json {
        // In full, including fields that this version does not know.
        for bytes in &known {
            ctx.reporter.text(serde_json::from_slice::<Value>(bytes)?.to_string());
        }
        return Ok(());
    }
    let reports: Vec<Report> = known.iter().filter_map(|bytes| understood(bytes)).collect();
    ctx.reporter.text(table(&reports));
    match known.len() - reports.len() {
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

fn table(reports: &[Report]) -> String {
    let mut rows =
        vec![["when", "what", "to", "outcome", "commit", "digest", "by", "why"].map(str::to_owned)];
    for report in reports {
        if let Some(deployment) = &report.deployment {
            rows.push(row(report, deployment));
        }
    }
    if rows.len() == 1 {
        return "no deployments are known on this machine".to_owned();
    }
    columns(&rows).trim_end().to_owned()
}

fn row(report: &Report, deployment: &Deployment) -> [String; 8] {
    const LONGEST: usize = 80;
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
    let service = report.service.as_ref().map(|service| service.name.as_ref().unwrap_or(&service.key));
    let to: Vec<&str> = service.into_iter().chain([&deployment.environment]).map(String::as_str).collect();
    let digest = |release: &Release| launchway_core::short(&release.digest);
    let release = deployment.release.as_ref();
    let commit = release.and_then(|release| release.commit.as_deref()).unwrap_or(&report.commit.sha);
    let reason = deployment.reason.as_deref().unwrap_or_default();
    let first: String = reason.lines().next().unwrap_or_default().chars().take(LONGEST).collect();
    [
        deployment.finished.to_string().get(..16).unwrap_or_default().replace('T', " "),
        what.to_owned(),
        to.join(" "),
        outcome.to_owned(),
        launchway_core::short(commit),
        release.map_or_else(|| "-".to_owned(), digest),
        report.actor.clone(),
        first,
    ]
    // Others can write to the ledger: its text must not control the terminal.
    .map(|cell| cell.chars().filter(|c| !c.is_control()).collect())
}

#[cfg(test)]
mod tests;
