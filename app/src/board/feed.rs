//! `/feed.atom`: the newest deployments, for feed readers (RFC 4287).

use askama::Template;
use launchway_report::{Deployment, Time};

use super::history::History;
use super::html;
use super::page::Page;
use crate::identity::Identity;

/// Most entries.
const ENTRIES: usize = 50;

#[derive(Template)]
#[template(path = "feed.xml")]
struct Feed<'a> {
    identity: &'a Identity,
    updated: Time,
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    run: &'a str,
    actor: &'a str,
    updated: Time,
    title: String,
    text: String,
}

pub(super) fn feed(history: &History, identity: &Identity, now: Time) -> askama::Result<Page> {
    let entries: Vec<_> = history
        .deployments()
        .into_iter()
        .rev()
        .take(ENTRIES)
        .map(|(run, deployment)| {
            let Deployment { environment, reason, .. } = deployment;
            let (_, outcome) = html::outcome(deployment);
            let (subject, sha) = history.subject_of(&run.report);
            let because = reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            Entry {
                run: &run.report.id,
                actor: &run.report.actor,
                updated: deployment.finished,
                title: format!("{outcome}: {subject}"),
                text: format!("{sha} to {environment} {outcome}{because}"),
            }
        })
        .collect();
    let updated = entries.first().map_or(now, |entry| entry.updated);
    let feed = Feed { identity, updated, entries }.render()?;
    Ok(Page::new("application/atom+xml; charset=utf-8", well_formed(&feed)))
}

/// Replaces the characters that XML cannot represent, such as terminal escapes: a single one would make the feed
/// unreadable.
fn well_formed(text: &str) -> String {
    let fits = |c: &char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    text.chars().map(|c| if fits(&c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}
