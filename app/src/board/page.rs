//! Rendered pages.

use askama::Template;
use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use launchway_report::Time;
use ring::digest::{SHA256, digest};

use super::drift;
use super::figures::Figures;
use super::history::History;
use super::{badges, feed, html, json};
use crate::identity::Identity;

const DAY: u64 = 86_400_000;

/// One rendered page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its media type.
    pub content_type: &'static str,
    /// Its content.
    pub body: Bytes,
    /// A quoted hash of the content, for `If-None-Match`.
    pub etag: String,
}

impl Page {
    pub(super) fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, &body));
        Self { content_type, etag: format!("\"{}\"", &hash[..22]), body }
    }

    pub(super) fn html(template: &impl Template) -> askama::Result<Self> {
        Ok(Self::new("text/html; charset=utf-8", template.render()?))
    }
}

/// All pages that show the whole history.
#[derive(Debug)]
pub struct Pages {
    /// `/`
    pub home: Page,
    /// `/api/board.json`
    pub json: Page,
    /// `/feed.atom`
    pub feed: Page,
    /// `/badge/live.svg`
    pub live_badge: Page,
    /// `/badge/coverage.svg`
    pub coverage_badge: Page,
    version: u64,
    fault: bool,
    /// When they must be rendered again even without a change: figures and states depend on the time.
    expires: Time,
}

impl Pages {
    /// Renders all pages as of `now`.
    pub(super) fn new(
        history: &History,
        identity: &Identity,
        fault: bool,
        now: Time,
    ) -> askama::Result<Self> {
        let environments = history.environments();
        let history = &history.of(identity, now);
        let figures = Figures::new(history, now);
        let drift = drift::drift(history, identity);
        let start = history.under_way().map(|(_, start)| start);
        let tomorrow = Time::from_milliseconds((now.milliseconds() / DAY + 1) * DAY);
        let due = start.map(|start| start.until).filter(|until| now < *until);
        let settled = drift::settled(drift.as_ref(), start, identity, now);
        Ok(Self {
            home: html::home::page(history, &environments, identity, &figures, drift.as_ref(), fault, now)?,
            json: json::board(history, identity, &figures, drift.as_ref(), start)?,
            feed: feed::feed(history, identity, now)?,
            live_badge: badges::live(identity)?,
            coverage_badge: badges::coverage(history)?,
            version: history.version,
            fault,
            expires: [settled, due].into_iter().flatten().fold(tomorrow, Time::min),
        })
    }

    /// Whether the pages are up to date.
    pub(super) fn current(&self, version: u64, fault: bool, now: Time) -> bool {
        self.version == version && self.fault == fault && now < self.expires
    }
}

#[cfg(test)]
mod tests {
    use launchway_report::DeploymentOutcome::Live;

    use super::*;
    use crate::board::test_reports::{ago, deployed, history, identity, release, started};

    #[test]
    fn the_pages_are_rendered_again_when_a_deployment_should_have_ended() {
        let history = history(vec![deployed("1", 9, Live), started("2", 5)]);
        let until = history.under_way().unwrap().1.until;
        let pages = |now| Pages::new(&history, &identity(&release("a")), false, now).unwrap();
        let says = |pages: &Pages, text: &str| String::from_utf8_lossy(&pages.home.body).contains(text);
        let under_way = pages(ago(5));
        let last = Time::from_milliseconds(until.milliseconds() - 1);
        assert!(under_way.current(history.version, false, last) && says(&under_way, ">deploying</span>"));
        assert!(!under_way.current(history.version, false, until));
        let overdue = pages(until);
        assert!(overdue.current(history.version, false, until) && says(&overdue, "did not report its end"));
    }
}
