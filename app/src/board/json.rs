//! `/api/board.json`: the content of the board, for machines.

use launchway_report::{Coverage, Report, UnderWay};
use serde::Serialize;

use super::drift::Drift;
use super::figures::Figures;
use super::history::History;
use super::page::Page;
use crate::identity::Identity;

/// Most runs.
const RUNS: usize = 50;

#[derive(Serialize)]
struct Body<'a> {
    /// The running release, as in `/version`.
    live: &'a Identity,
    /// The release that the reports name instead.
    drift: Option<&'a Drift>,
    /// The deployment that has started and not reported its end.
    under_way: Option<&'a UnderWay>,
    /// Reports of this service and environment.
    reports: u64,
    /// Stored reports that are left out: of other services or environments, and with impossible times.
    elsewhere: usize,
    untimely: usize,
    figures: &'a Figures,
    /// From the newest run that measured it.
    coverage: Option<Coverage>,
    /// The newest first, without their commits.
    runs: Vec<&'a Report>,
}

pub(super) fn board(
    history: &History,
    identity: &Identity,
    figures: &Figures,
    drift: Option<&Drift>,
    under_way: Option<&UnderWay>,
) -> askama::Result<Page> {
    let newest = || history.runs.iter().rev().map(|run| &run.report);
    let body = Body {
        live: identity,
        drift,
        under_way,
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
