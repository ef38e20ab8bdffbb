//! Counts and times, in Prometheus' text form.
//!
//! No label holds what a client chose: a route is the pattern that matched, a method one of nine words.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the histogram's buckets, in seconds. The last is what a request may take.
const BUCKETS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];

/// The counts of one process. They start at zero and only grow.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    routes: Mutex<BTreeMap<String, Route>>,
    /// Requests that named a host that is not ours.
    pub(crate) rejected_hosts: Counter,
    /// Requests that were turned away because too many others were being answered.
    pub(crate) rejected_requests: Counter,
    /// Events that were handed to the sender.
    pub(crate) events_sent: Counter,
    /// Events that were one too many of their kind.
    pub(crate) events_suppressed: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
struct Route {
    answers: BTreeMap<(&'static str, u16), u64>,
    /// How many took no longer than each of [`BUCKETS`], and longer than the one before.
    buckets: [u64; BUCKETS.len()],
    count: u64,
    seconds: f64,
}

impl Metrics {
    /// Counts one answer. `route` is the pattern that matched, or `none`.
    pub(crate) fn record(&self, method: &str, route: &str, status: u16, time: Duration) {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if !routes.contains_key(route) {
            routes.insert(route.to_owned(), Route::default());
        }
        let Some(route) = routes.get_mut(route) else { return };
        *route.answers.entry((known(method), status)).or_default() += 1;
        let seconds = time.as_secs_f64();
        if let Some(place) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            route.buckets[place] += 1;
        }
        route.count += 1;
        route.seconds += seconds;
    }

    /// Everything, with the number of reports on the board where there is one.
    pub(crate) fn text(&self, board: Option<u64>) -> String {
        let mut text = String::new();
        // Writing to a `String` does not fail.
        self.write(&mut text, board).ok();
        text
    }

    fn write(&self, out: &mut String, board: Option<u64>) -> fmt::Result {
        self.write_routes(out)?;
        head(out, "sentry_events_total", "counter", "Events for Sentry, by what became of them.")?;
        writeln!(out, "sentry_events_total{{outcome=\"sent\"}} {}", self.events_sent.get())?;
        writeln!(out, "sentry_events_total{{outcome=\"suppressed\"}} {}", self.events_suppressed.get())?;
        head(out, "rejected_hosts_total", "counter", "Requests that named a host not in HOSTS.")?;
        writeln!(out, "rejected_hosts_total {}", self.rejected_hosts.get())?;
        head(
            out,
            "rejected_requests_total",
            "counter",
            "Requests turned away because too many were in progress.",
        )?;
        writeln!(out, "rejected_requests_total {}", self.rejected_requests.get())?;
        if let Some(reports) = board {
            head(out, "board_reports", "gauge", "Reports on the release board.")?;
            writeln!(out, "board_reports {reports}")?;
        }
        Ok(())
    }

    fn write_routes(&self, out: &mut String) -> fmt::Result {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        head(out, "http_requests_total", "counter", "Answered requests.")?;
        for (route, Route { answers, .. }) in &*routes {
            for ((method, status), count) in answers {
                let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
                writeln!(out, "http_requests_total{{{labels}}} {count}")?;
            }
        }
        let name = "http_request_duration_seconds";
        head(out, name, "histogram", "Time from a request's head to its answer's.")?;
        for (route, Route { buckets, count, seconds, .. }) in &*routes {
            let mut below = 0;
            for (bound, here) in BUCKETS.iter().zip(buckets) {
                below += here;
                writeln!(out, "{name}_bucket{{route=\"{route}\",le=\"{bound}\"}} {below}")?;
            }
            writeln!(out, "{name}_bucket{{route=\"{route}\",le=\"+Inf\"}} {count}")?;
            writeln!(out, "{name}_sum{{route=\"{route}\"}} {seconds}")?;
            writeln!(out, "{name}_count{{route=\"{route}\"}} {count}")?;
        }
        Ok(())
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

/// Anybody can send any word as a method.
fn known(method: &str) -> &'static str {
    const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"];
    METHODS.into_iter().find(|known| *known == method).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_what_is_told() {
        let metrics = Metrics::default();
        metrics.record("GET", "/runs/{id}", 200, Duration::from_millis(5));
        metrics.record("GET", "/runs/{id}", 200, Duration::from_millis(20));
        metrics.record("BREW", "none", 404, Duration::from_mins(1));
        metrics.rejected_hosts.add();
        metrics.events_suppressed.add();
        let text = metrics.text(Some(3));
        for line in [
            "# TYPE http_requests_total counter",
            "http_requests_total{method=\"GET\",route=\"/runs/{id}\",status=\"200\"} 2",
            "http_requests_total{method=\"other\",route=\"none\",status=\"404\"} 1",
            "# TYPE http_request_duration_seconds histogram",
            "http_request_duration_seconds_bucket{route=\"/runs/{id}\",le=\"0.001\"} 0",
            "http_request_duration_seconds_bucket{route=\"/runs/{id}\",le=\"0.005\"} 1",
            "http_request_duration_seconds_bucket{route=\"/runs/{id}\",le=\"0.025\"} 2",
            "http_request_duration_seconds_bucket{route=\"/runs/{id}\",le=\"+Inf\"} 2",
            "http_request_duration_seconds_sum{route=\"/runs/{id}\"} 0.025",
            "http_request_duration_seconds_count{route=\"/runs/{id}\"} 2",
            "http_request_duration_seconds_bucket{route=\"none\",le=\"15\"} 0",
            "http_request_duration_seconds_bucket{route=\"none\",le=\"+Inf\"} 1",
            "sentry_events_total{outcome=\"sent\"} 0",
            "sentry_events_total{outcome=\"suppressed\"} 1",
            "rejected_hosts_total 1",
            "rejected_requests_total 0",
            "board_reports 3",
        ] {
            assert_eq!(text.lines().filter(|other| *other == line).count(), 1, "{line}:\n{text}");
        }
        assert!(!metrics.text(None).contains("board_reports"));
    }
}
