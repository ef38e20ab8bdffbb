//! Sentry: what is sent, and bounds on the time that sending takes.
//!
//! The SDK's defaults suit short-lived programs. Here:
//! - There are no default integrations: the one for panics waits for the network inside the hook (see [`super::panic`]).
//! - The transport has a timeout: the default one has none, and shutdown waits for it.
//! - [`Sentry::close`] bounds the shutdown itself.
//! - [`scrub`] removes what could identify a person or hold a secret.
//! - [`event_limit`] caps each kind of event per minute, so that one busy error does not use up the quota.
//! - A session is one request ([`crate::http`] starts and ends them), and sessions are sent as totals.

mod event_limit;

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sentry::integrations::backtrace::ProcessStacktraceIntegration;
use sentry::protocol::{Event, Request};
use sentry::transports::UreqHttpTransportOptions;
use sentry::{
    ClientInitGuard, ClientOptions, Envelope, SessionMode, Transport, TransportFactory, TransportOptions,
};
use tracing::warn;

use self::event_limit::EventLimit;
use super::metrics::Metrics;
use crate::identity::Identity;
use crate::settings::dsn::SentryDsn;

/// Bounds one event, from the DNS lookup to the end of the response.
const SEND_TIMEOUT: Duration = Duration::from_secs(3);
/// Bounds sending what is queued at shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);
/// Headers that an event may show. Others may hold a secret or identify a person.
const SHOWN_HEADERS: [&str; 6] =
    ["accept", "content-length", "content-type", "host", "user-agent", "webhook-id"];

/// The connection to Sentry.
pub(crate) struct Sentry(ClientInitGuard);

/// Starts reporting errors. Call it on the main thread, before other threads start.
pub(crate) fn start(dsn: &SentryDsn, identity: &Identity, metrics: Arc<Metrics>) -> Sentry {
    let dist = identity.dist().map(ToOwned::to_owned);
    let mut options = ClientOptions::new()
        .release(identity.release())
        .environment(identity.environment())
        .default_integrations(false)
        .add_integration(ProcessStacktraceIntegration)
        .before_send(move |event| Some(Event { dist: dist.clone().map(Into::into), ..scrub(event) }))
        .session_mode(SessionMode::Request)
        .shutdown_timeout(CLOSE_TIMEOUT)
        .transport(WithTimeout(metrics));
    options.dsn = Some(dsn.expose().clone());
    Sentry(sentry::init(options))
}

impl Sentry {
    /// Sends what is queued, for at most [`CLOSE_TIMEOUT`].
    ///
    /// In a thread of its own: closing joins the SDK's sender, which may hang. The process exits without it.
    pub(crate) fn close(self) {
        let (done, closed) = mpsc::channel();
        thread::spawn(move || {
            drop(self.0);
            done.send(())
        });
        if closed.recv_timeout(CLOSE_TIMEOUT).is_err() {
            warn!("gave up on events that Sentry did not take in {} s", CLOSE_TIMEOUT.as_secs());
        }
    }
}

/// Builds the SDK's transport with a timeout.
///
/// Its own agent also ignores `SSL_VERIFY=false`, which the SDK would obey.
struct WithTimeout(Arc<Metrics>);

impl TransportFactory for WithTimeout {
    fn create_transport_with_options(&self, options: TransportOptions) -> Arc<dyn Transport> {
        let agent = ureq::Agent::config_builder().timeout_global(Some(SEND_TIMEOUT)).max_redirects(0).build();
        let sender = UreqHttpTransportOptions::from(options).with_agent(agent.into()).build();
        Arc::new(Limited { sender, limit: EventLimit::default(), metrics: Arc::clone(&self.0) })
    }
}

/// Suppresses events beyond the limit of their kind.
///
/// Not done in `before_send`, where a suppressed event would not count against its session either.
struct Limited<T> {
    sender: T,
    limit: EventLimit,
    metrics: Arc<Metrics>,
}

impl<T: Transport> Transport for Limited<T> {
    fn send_envelope(&self, envelope: Envelope) {
        if let Some(event) = envelope.event() {
            if !self.limit.admit(event, Instant::now()) {
                self.metrics.events_suppressed.inc();
                return;
            }
            self.metrics.events_sent.inc();
        }
        self.sender.send_envelope(envelope);
    }

    fn flush(&self, timeout: Duration) -> bool {
        self.sender.flush(timeout)
    }

    fn shutdown(&self, timeout: Duration) -> bool {
        self.sender.shutdown(timeout)
    }
}

/// Keeps a request's method, its URL without the query, and a few headers; drops the host's name and the user.
fn scrub(mut event: Event<'static>) -> Event<'static> {
    event.server_name = None;
    event.user = None;
    event.request = event.request.map(|Request { method, mut url, mut headers, .. }| {
        headers.retain(|name, _| SHOWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()));
        if let Some(url) = &mut url {
            url.set_query(None);
            url.set_fragment(None);
            // These fail without a host, and then there is nothing to remove.
            url.set_username("").ok();
            url.set_password(None).ok();
        }
        Request { method, url, headers, ..Request::default() }
    });
    event
}

#[cfg(test)]
mod tests;
