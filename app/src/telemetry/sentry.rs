//! Sentry: what is sent, and a bound on how long sending may hold anything up.
//!
//! The SDK's defaults are made for programs that end by themselves. Here:
//! - no default integrations: the one for panics waits for the network inside the hook (see [`super::panic`]);
//! - an own transport with a timeout: the default one has none, and ending the process waits for it;
//! - the end itself is bounded too, in [`Sentry::close`];
//! - events lose what could identify a person or hold a secret, in [`scrub`];
//! - of each kind of event so many are sent a minute: a fault in a busy place does not use up the quota, see [`kinds`];
//! - a session is a request, and requests are told in sums ([`crate::http`] begins and ends them).

mod kinds;

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

use self::kinds::Kinds;
use super::metrics::Metrics;
use crate::identity::Identity;
use crate::settings::dsn::SentryDsn;

/// For one event, from the look-up of the host to the last byte of the answer.
const SEND_TIMEOUT: Duration = Duration::from_secs(3);
/// For all that is left to be sent when the process ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);
/// Headers that an event may show. Everything else may hold a secret or name a person.
const SHOWN_HEADERS: [&str; 6] =
    ["accept", "content-length", "content-type", "host", "user-agent", "webhook-id"];

/// The connection to Sentry.
pub(crate) struct Sentry(ClientInitGuard);

/// Starts to report errors. Call it on the main thread, before other threads start.
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
        .transport(Bounded(metrics));
    options.dsn = Some(dsn.expose().clone());
    Sentry(sentry::init(options))
}

impl Sentry {
    /// Sends what is left, for at most [`CLOSE_TIMEOUT`].
    ///
    /// In a thread of its own: closing joins the SDK's sender, which may be stuck. The process ends without it.
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

/// Makes the SDK's transport on an agent with a timeout.
///
/// An own agent also means that `SSL_VERIFY=false` in the environment, which the SDK obeys, changes nothing.
struct Bounded(Arc<Metrics>);

impl TransportFactory for Bounded {
    fn create_transport_with_options(&self, options: TransportOptions) -> Arc<dyn Transport> {
        let agent = ureq::Agent::config_builder().timeout_global(Some(SEND_TIMEOUT)).max_redirects(0).build();
        let sender = UreqHttpTransportOptions::from(options).with_agent(agent.into()).build();
        Arc::new(Limited { sender, kinds: Kinds::default(), metrics: Arc::clone(&self.0) })
    }
}

/// Sends no more than so many events of a kind.
///
/// Here and not in `before_send`: an event that is kept back there does not count against its session either.
struct Limited<T> {
    sender: T,
    kinds: Kinds,
    metrics: Arc<Metrics>,
}

impl<T: Transport> Transport for Limited<T> {
    fn send_envelope(&self, envelope: Envelope) {
        if let Some(event) = envelope.event() {
            if !self.kinds.admit(event, Instant::now()) {
                self.metrics.events_kept_back.add();
                return;
            }
            self.metrics.events_sent.add();
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

/// Keeps of a request its method, its address without the query, and a few headers. The machine's name and whoever asked
/// are nobody's business.
fn scrub(mut event: Event<'static>) -> Event<'static> {
    event.server_name = None;
    event.user = None;
    event.request = event.request.map(|Request { method, mut url, mut headers, .. }| {
        headers.retain(|name, _| SHOWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()));
        if let Some(url) = &mut url {
            url.set_query(None);
            url.set_fragment(None);
            // They fail where there is no host, and then there is nothing to remove.
            url.set_username("").ok();
            url.set_password(None).ok();
        }
        Request { method, url, headers, ..Request::default() }
    });
    event
}

#[cfg(test)]
mod tests;
