//! Rate limits, based on Render's API reference, "Rate limiting", and recorded headers.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use axum::http::HeaderMap;

use crate::server::Shared;

/// How many requests each bucket accepts per window.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// GET, for all resources.
    pub reads: u32,
    /// PATCH of a service and POST of its deploys, together.
    pub deploys: u32,
    /// Every other POST, PATCH, PUT and DELETE.
    pub writes: u32,
    /// The time after which a bucket is full again.
    pub window: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { reads: 400, deploys: 10, writes: 30, window: Duration::from_secs(60) }
    }
}

/// The limit that a request counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Bucket {
    Reads,
    Deploys,
    Writes,
}

/// The buckets' levels.
pub(crate) struct Limiter {
    limits: Limits,
    windows: Shared<HashMap<Bucket, Window>>,
}

struct Window {
    start: Instant,
    used: u32,
}

/// The state after one request.
pub(crate) struct Allowance {
    pub(crate) granted: bool,
    limit: u32,
    remaining: u32,
    reset: u64,
}

impl Limiter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, windows: Shared::new(HashMap::new()) }
    }

    /// Counts one request. A window opens with its first request.
    pub(crate) fn take(&self, bucket: Bucket, now: Instant) -> Allowance {
        let limit = match bucket {
            Bucket::Reads => self.limits.reads,
            Bucket::Deploys => self.limits.deploys,
            Bucket::Writes => self.limits.writes,
        };
        self.windows.change(|windows| {
            let window = windows.entry(bucket).or_insert(Window { start: now, used: 0 });
            if now.duration_since(window.start) >= self.limits.window {
                *window = Window { start: now, used: 0 };
            }
            let granted = window.used < limit;
            window.used += u32::from(granted);
            let left = (window.start + self.limits.window).duration_since(now);
            Allowance { granted, limit, remaining: limit - window.used, reset: whole_seconds(left) }
        })
    }
}

impl Allowance {
    /// On the wire, `Ratelimit-Reset` is in seconds from now, although the reference says epoch.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.insert("ratelimit-limit", self.limit.into());
        headers.insert("ratelimit-remaining", self.remaining.into());
        headers.insert("ratelimit-reset", self.reset.into());
        if !self.granted {
            headers.insert("retry-after", self.reset.into());
        }
    }
}

/// Rounded up: a client that waits exactly this long must not come too early.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
