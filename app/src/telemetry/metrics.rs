//! Metrics for Prometheus, in the `OpenMetrics` text format.
//!
//! No label contains what a client chose: a route is the pattern that matched, a method one of nine words.

mod process;

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use self::process::Process;

/// Upper bounds of the histogram's buckets, in seconds. The last is the timeout of a request.
const BUCKETS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];

/// The metrics of one process.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Response, Counter>,
    durations: Family<Route, Histogram>,
    /// Requests that named a host that is not allowed.
    pub(crate) rejected_hosts: Counter,
    /// Requests that were rejected because too many others were in progress.
    pub(crate) rejected_requests: Counter,
    /// Events that were queued for Sentry.
    pub(crate) events_sent: Counter,
    /// Events beyond the limit of their kind.
    pub(crate) events_suppressed: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Response {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        registry.register("http_requests", "Responses", requests.clone());
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        registry.register_with_unit(
            "http_request_duration",
            "Time from the head of a request to the head of its response",
            Unit::Seconds,
            durations.clone(),
        );
        let events = Family::<Outcome, Counter>::default();
        registry.register("sentry_events", "Events for Sentry, by outcome", events.clone());
        let event = |outcome| events.get_or_create_owned(&Outcome { outcome });
        let (events_sent, events_suppressed) = (event("sent"), event("suppressed"));
        let rejected_hosts = Counter::default();
        registry.register(
            "rejected_hosts",
            "Requests that named a host that is not allowed",
            rejected_hosts.clone(),
        );
        let rejected_requests = Counter::default();
        registry.register(
            "rejected_requests",
            "Requests rejected because too many were in progress",
            rejected_requests.clone(),
        );
        registry.register_collector(Box::new(Process::new()));
        Self {
            registry,
            requests,
            durations,
            rejected_hosts,
            rejected_requests,
            events_sent,
            events_suppressed,
        }
    }
}

impl Metrics {
    /// Records one response. `route` is the pattern that matched, or `none`.
    pub(crate) fn record(&self, method: &str, route: &str, status: u16, time: Duration) {
        let response = Response { method: known(method), route: route.to_owned(), status };
        self.requests.get_or_create(&response).inc();
        self.durations.get_or_create(&Route { route: route.to_owned() }).observe(time.as_secs_f64());
    }

    /// All metrics, and the number of reports on the board if there is a board.
    pub(crate) fn text(&self, reports: Option<u64>) -> String {
        let mut board = Registry::default();
        if let Some(reports) = reports {
            let gauge = ConstGauge::new(i64::try_from(reports).unwrap_or(i64::MAX));
            board.register("board_reports", "Reports on the release board", gauge);
        }
        let mut text = String::new();
        // Writing to a `String` does not fail.
        encode_registry(&mut text, &board).ok();
        encode(&mut text, &self.registry).ok();
        text
    }
}

/// A client may send any word as a method.
fn known(method: &str) -> &'static str {
    const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"];
    METHODS.into_iter().find(|known| *known == method).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_metrics_are_in_the_text() {
        let metrics = Metrics::default();
        metrics.record("GET", "/runs/{id}", 200, Duration::from_millis(5));
        metrics.record("GET", "/runs/{id}", 200, Duration::from_millis(20));
        metrics.record("BREW", "none", 404, Duration::from_secs(60));
        metrics.rejected_hosts.inc();
        metrics.events_suppressed.inc();
        let text = metrics.text(Some(3));
        for line in [
            "# TYPE http_requests counter",
            "http_requests_total{method=\"GET\",route=\"/runs/{id}\",status=\"200\"} 2",
            "http_requests_total{method=\"other\",route=\"none\",status=\"404\"} 1",
            "# TYPE http_request_duration_seconds histogram",
            "http_request_duration_seconds_bucket{le=\"0.001\",route=\"/runs/{id}\"} 0",
            "http_request_duration_seconds_bucket{le=\"0.005\",route=\"/runs/{id}\"} 1",
            "http_request_duration_seconds_bucket{le=\"0.025\",route=\"/runs/{id}\"} 2",
            "http_request_duration_seconds_bucket{le=\"+Inf\",route=\"/runs/{id}\"} 2",
            "http_request_duration_seconds_sum{route=\"/runs/{id}\"} 0.025",
            "http_request_duration_seconds_count{route=\"/runs/{id}\"} 2",
            "http_request_duration_seconds_bucket{le=\"15.0\",route=\"none\"} 0",
            "http_request_duration_seconds_bucket{le=\"+Inf\",route=\"none\"} 1",
            "sentry_events_total{outcome=\"sent\"} 0",
            "sentry_events_total{outcome=\"suppressed\"} 1",
            "rejected_hosts_total 1",
            "rejected_requests_total 0",
            "board_reports 3",
            "# TYPE process_start_time_seconds gauge",
            "# TYPE process_cpu_seconds counter",
            "# TYPE process_resident_memory_bytes gauge",
            "# TYPE process_open_fds gauge",
            "# TYPE process_max_fds gauge",
            "# EOF",
        ] {
            assert_eq!(text.lines().filter(|other| *other == line).count(), 1, "{line}:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
        let value = |name: &str| -> f64 {
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e6 && value("process_open_fds") > 2.0, "{text}");
        assert!(value("process_max_fds") > 2.0 && value("process_start_time_seconds") > 1.7e9, "{text}");
        assert!(value("process_cpu_seconds_total") >= 0.0, "{text}");
        assert!(!metrics.text(None).contains("board_reports"));
    }
}
