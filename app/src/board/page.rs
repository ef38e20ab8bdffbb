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
        let tomorrow = Time::from_milliseconds((now.milliseconds() / DAY + 1) * DAY);
        Ok(Self {
            home: html::home::page(history, &environments, identity, &figures, drift.as_ref(), fault, now)?,
            json: json::board(history, identity, &figures, drift.as_ref())?,
            feed: feed::feed(history, identity, now)?,
            live_badge: badges::live(identity)?,
            coverage_badge: badges::coverage(history)?,
            version: history.version,
            fault,
            expires: drift::settled(drift.as_ref(), identity, now).unwrap_or(tomorrow).min(tomorrow),
        })
    }

    /// Whether the pages are up to date.
    pub(super) fn current(&self, version: u64, fault: bool, now: Time) -> bool {
        self.version == version && self.fault == fault && now < self.expires
    }
}
