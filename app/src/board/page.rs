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
    day: u64,
}

impl Pages {
    /// Renders all pages as of `now`.
    pub(super) fn new(history: &History, identity: &Identity, now: Time) -> askama::Result<Self> {
        let history = &history.of(identity, now);
        let figures = Figures::new(history, now);
        let drift = drift::drift(history, identity);
        Ok(Self {
            home: html::home(history, identity, &figures, drift.as_ref(), now)?,
            json: json::board(history, identity, &figures, drift.as_ref())?,
            feed: feed::feed(history, identity, now)?,
            live_badge: badges::live(identity)?,
            coverage_badge: badges::coverage(history)?,
            version: history.version,
            day: now.milliseconds() / DAY,
        })
    }

    /// Whether the pages show this version of the history, as of today.
    pub(super) fn current(&self, version: u64, now: Time) -> bool {
        self.version == version && self.day == now.milliseconds() / DAY
    }
}
