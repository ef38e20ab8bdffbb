//! `/api/board.json`: the figures on the page, for machines.

use report::{Coverage, Report};
use serde::Serialize;

use super::drift::Drift;
use super::figures::Figures;
use super::history::History;
use super::page::Page;
use crate::identity::Identity;

/// The newest runs that it names.
const RUNS: usize = 50;

#[derive(Serialize)]
struct Body<'a> {
    /// Who answers: the same as `/version`.
    live: &'a Identity,
    /// What the reports say instead.
    drift: Option<&'a Drift>,
    /// Reports of this service and environment.
    reports: u64,
    /// Reports that are kept and counted nowhere: of other services or environments, and of impossible times.
    elsewhere: usize,
    untimely: usize,
    figures: &'a Figures,
    /// Of the newest run that measured it.
    coverage: Option<Coverage>,
    /// The newest first, without their commits.
    runs: Vec<&'a Report>,
}

pub(super) fn board(
    history: &History,
    identity: &Identity,
    figures: &Figures,
    drift: Option<&Drift>,
) -> askama::Result<Page> {
    let newest = || history.runs.iter().rev().map(|run| &run.report);
    let body = Body {
        live: identity,
        drift,
        reports: history.total,
        elsewhere: history.elsewhere,
        untimely: history.untimely,
        figures,
        coverage: newest().find_map(|report| report.coverage),
        runs: newest().take(RUNS).collect(),
    };
    let body = serde_json::to_vec(&body).map_err(|error| askama::Error::Custom(Box::new(error)))?;
    Ok(Page::new("application/json", body))
}
