//! `/badge/live.svg` and `/badge/coverage.svg`, for a README.

use askama::Template;

use super::format::{count, percent, short, shown_percent};
use super::history::History;
use super::page::Page;
use crate::identity::Identity;

const GOOD: &str = "#1a7f4b";
const BAD: &str = "#b3261e";
const UNKNOWN: &str = "#5a6877";

#[derive(Template)]
#[template(path = "badge.svg")]
struct Badge<'a> {
    label: &'a str,
    value: &'a str,
    colour: &'static str,
    label_width: f64,
    value_width: f64,
}

/// The running release.
pub(super) fn live(identity: &Identity) -> askama::Result<Page> {
    badge("live", &format!("{} {}", identity.version, short(&identity.commit)), GOOD)
}

/// The coverage of the newest run that measured it, coloured by the threshold.
pub(super) fn coverage(history: &History) -> askama::Result<Page> {
    match history.runs.iter().rev().find_map(|run| run.report.coverage) {
        Some(coverage) => {
            let percent = percent(&coverage);
            let colour = if percent >= f64::from(coverage.threshold) { GOOD } else { BAD };
            badge("coverage", &shown_percent(percent), colour)
        }
        None => badge("coverage", "unknown", UNKNOWN),
    }
}

fn badge(label: &str, value: &str, colour: &'static str) -> askama::Result<Page> {
    // The image embeds no font: `textLength` stretches any font to this width.
    let width = |text: &str| count(text.chars().count()) * 6.5 + 12.0;
    let badge = Badge { label, value, colour, label_width: width(label), value_width: width(value) };
    Ok(Page::new("image/svg+xml", badge.render()?))
}
