//! `cargo xtask history`: the deployment log.

use anyhow::Result;
use report::{Deployment, DeploymentKind, DeploymentOutcome, Release, Report};

use super::{ledger, read};
use crate::cli::Format;
use crate::context::Context;
use crate::overview;

/// Shows every attempt to deploy, the newest first: those that this machine knows of and those in the ledger.
pub(crate) fn show(ctx: &Context, format: Format) -> Result<()> {
    let mut known = read(ctx)?;
    match ledger::read(ctx) {
        Ok(ledger) => known.extend(ledger.reports),
        Err(error) => ctx.reporter.skipped("ledger", format!("{error:#}")),
    }
    let mut reports = Vec::new();
    for bytes in known.values() {
        reports.push(serde_json::from_slice::<Report>(bytes)?);
    }
    reports.sort_by_key(|report| std::cmp::Reverse(report.finished));
    match format {
        Format::Json => {
            for report in &reports {
                ctx.reporter.text(serde_json::to_string(report)?);
            }
        }
        Format::Human => ctx.reporter.text(table(&reports)),
    }
    Ok(())
}

fn table(reports: &[Report]) -> String {
    let mut rows = vec![["when", "what", "outcome", "commit", "digest", "by", "why"].map(str::to_owned)];
    for report in reports {
        if let Some(deployment) = &report.deployment {
            rows.push(row(report, deployment));
        }
    }
    if rows.len() == 1 {
        return "nothing was deployed yet, as far as is known here".to_owned();
    }
    overview::table(&rows).trim_end().to_owned()
}

fn row(report: &Report, deployment: &Deployment) -> [String; 7] {
    const LONGEST: usize = 80;
    let what = match deployment.kind {
        DeploymentKind::Deploy => "deploy",
        DeploymentKind::Rollback => "rollback",
    };
    let outcome = match deployment.outcome {
        DeploymentOutcome::Live => "live",
        DeploymentOutcome::Unchanged => "unchanged",
        DeploymentOutcome::RolledBack => "rolled back",
        DeploymentOutcome::NotRolledBack => "not rolled back",
        DeploymentOutcome::Superseded => "superseded",
    };
    let digest = |release: &Release| release.digest.chars().take("sha256:".len() + 12).collect::<String>();
    let release = deployment.release.as_ref();
    let commit = release.and_then(|release| release.commit.as_deref()).unwrap_or(&report.commit.sha);
    let reason = deployment.reason.as_deref().unwrap_or_default();
    let first: String = reason.lines().next().unwrap_or_default().chars().take(LONGEST).collect();
    [
        deployment.finished.to_string().get(..16).unwrap_or_default().replace('T', " "),
        what.to_owned(),
        outcome.to_owned(),
        commit.chars().take(12).collect(),
        release.map_or_else(|| "-".to_owned(), digest),
        report.actor.clone(),
        first,
    ]
    // Of a ledger that others can write to: nothing in it may steer the terminal.
    .map(|cell| cell.chars().filter(|c| !c.is_control()).collect())
}

#[cfg(test)]
mod tests;
