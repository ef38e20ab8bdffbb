//! `/runs`: all runs in memory, in pages.

use askama::Template;

use super::Row;
use crate::assets;
use crate::board::format;
use crate::board::history::History;
use crate::board::page::Page;

/// Runs on a page.
const SIZE: usize = 50;

#[derive(Template)]
#[template(path = "runs.html")]
struct Runs<'a> {
    style: &'a str,
    icon: &'a str,
    rows: Vec<Row<'a>>,
    range: String,
    newer: Option<String>,
    older: Option<String>,
    /// Name, address, and whether it is the current one; empty unless several environments report.
    filters: Vec<(&'a str, String, bool)>,
}

/// Renders page `number`, from 1, of the runs that deployed to `environment`, or of all runs.
pub(in crate::board) fn page(
    history: &History,
    number: usize,
    environment: Option<&str>,
) -> Option<askama::Result<Page>> {
    let runs: Vec<_> = history
        .runs
        .iter()
        .rev()
        .filter(|run| environment.is_none() || run.environment() == environment)
        .collect();
    let skipped = number.checked_sub(1)?.checked_mul(SIZE)?;
    if skipped > 0 && skipped >= runs.len() {
        return None;
    }
    let rows: Vec<_> = runs.iter().skip(skipped).take(SIZE).map(|run| Row::run(&run.report)).collect();
    let environments = history.environments();
    let several = environments.len() > 1;
    let all = ("All", "/runs".to_owned(), environment.is_none());
    let filter = |name| (name, address(1, Some(name)), environment == Some(name));
    let range = match rows.len() {
        0 => "No runs".to_owned(),
        count => {
            let [first, last, total] =
                [skipped + 1, skipped + count, runs.len()].map(|number| format::number(number as u64));
            format!("Runs {first}–{last} of {total}")
        }
    };
    Some(Page::html(&Runs {
        style: assets::style_path(),
        icon: assets::icon_path(),
        newer: (number > 1).then(|| address(number - 1, environment)),
        older: (skipped + rows.len() < runs.len()).then(|| address(number + 1, environment)),
        rows,
        range,
        filters: if several {
            [all].into_iter().chain(environments.into_iter().map(filter)).collect()
        } else {
            Vec::new()
        },
    }))
}

/// Environments are made of `[A-Za-z0-9._-]`, so they need no encoding.
pub(super) fn address(number: usize, environment: Option<&str>) -> String {
    let filter = environment.map(|environment| format!("environment={environment}"));
    let page = (number > 1).then(|| format!("page={number}"));
    let query: Vec<_> = filter.into_iter().chain(page).collect();
    if query.is_empty() { "/runs".to_owned() } else { format!("/runs?{}", query.join("&")) }
}
