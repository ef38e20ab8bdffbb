//! Accepts and serves connections, with bounds on what a client may take.
//!
//! axum's own server has no timeout for the head of a request and shuts down only when every client has gone: a client
//! that sent half a request would keep it alive for ever.
//!
//! Each connection takes a file descriptor. When the limit is reached, the client that has kept the server waiting
//! longest is disconnected (see [`crate::clients`]).
//!
//! hyper itself rejects a head that is too large or malformed, with 431 or 400 and a closed connection; those responses
//! lack the router's security headers.

mod stream;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tracing::warn;

use self::stream::Stream;
use crate::clients::{Client, Clients, Seat};
use crate::telemetry::rate_limit::RateLimit;

/// Bounds the head of a request, and the wait between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Replaces [`HEAD_TIMEOUT`] at shutdown.
const LAST_HEAD_TIMEOUT: Duration = Duration::from_secs(1);
/// Largest head of a request, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;
/// Most headers of a request.
const HEADERS: usize = 64;
/// Most connections. Each may hold a head, the body of a report and a response.
const MOST: u64 = 1024;
/// File descriptors for everything else: the log, the board's file, Sentry.
const RESERVE: u64 = 64;
/// Pause when neither the limit nor the system allows another connection.
const RECOVERY: Duration = Duration::from_millis(5);
/// Most log lines a minute about connections that could not be accepted.
const MOST_LINES: u32 = 10;

/// All connections of the server.
pub(super) struct Connections {
    http: http1::Builder,
    service: TowerToHyperService<Router>,
    /// Whether connections must close. Each holds a receiver while it is open.
    closing: watch::Sender<bool>,
    clients: Arc<Clients>,
    lines: RateLimit,
}

impl Connections {
    /// Allows as many connections as there are file descriptors, up to [`MOST`].
    pub(super) fn new(router: Router) -> Self {
        let most = descriptors().saturating_sub(RESERVE).clamp(16, MOST);
        Self::at_most(usize::try_from(most).unwrap_or(usize::MAX), router)
    }

    fn at_most(most: usize, router: Router) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_LIMIT)
            .max_headers(HEADERS);
        Self {
            http,
            service: TowerToHyperService::new(router),
            closing: watch::Sender::new(false),
            clients: Clients::new(most),
            lines: RateLimit::new(MOST_LINES),
        }
    }

    /// Accepts and serves connections.
    pub(super) async fn accept(&self, listener: &TcpListener) -> Infallible {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let seat = loop {
                        match self.clients.enter() {
                            Some(seat) => break seat,
                            // All clients are being served. None of them takes long: `enter` closes those that
                            // pipeline requests.
                            None => tokio::time::sleep(RECOVERY).await,
                        }
                    };
                    tokio::spawn(serve(
                        stream,
                        seat,
                        self.http.clone(),
                        self.service.clone(),
                        self.closing.subscribe(),
                    ));
                }
                Err(error) if is_client_error(&error) => {}
                Err(error) => {
                    self.clients.evict();
                    if let Some(suppressed) = self.lines.admit(Instant::now()) {
                        warn!(suppressed, "cannot accept connections: {error}");
                    }
                    tokio::time::sleep(RECOVERY).await;
                }
            }
        }
    }

    /// Closes idle connections at once, others and new ones after one response.
    pub(super) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Waits until no connection is open.
    pub(super) async fn closed(&self) {
        self.closing.closed().await;
    }
}

/// Raises the limit of open files as far as the system allows, and returns it.
fn descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    // `None` means unlimited.
    (if raised { maximum } else { current }).unwrap_or(u64::MAX)
}

/// Serves one connection until it closes or is evicted.
async fn serve(
    stream: TcpStream,
    seat: Seat,
    http: http1::Builder,
    service: TowerToHyperService<Router>,
    closing: watch::Receiver<bool>,
) {
    let client = Arc::clone(&seat.client);
    client.wait();
    tokio::select! {
        () = respond(stream, client, http, service, closing) => {}
        () = seat.evicted() => {}
    }
}

/// Responds to the requests of one connection.
async fn respond(
    stream: TcpStream,
    client: Arc<Client>,
    mut http: http1::Builder,
    service: TowerToHyperService<Router>,
    mut closing: watch::Receiver<bool>,
) {
    // A connection that is opened during shutdown gets one response.
    let is_last = *closing.borrow();
    http.keep_alive(!is_last);
    let has_requested = Arc::new(AtomicBool::new(false));
    let (requested, served) = (Arc::clone(&has_requested), Arc::clone(&client));
    let service = service_fn(move |mut request: Request<Incoming>| {
        requested.store(true, Ordering::Relaxed);
        let (client, service) = (Arc::clone(&served), service.clone());
        client.requested();
        client.work();
        request.extensions_mut().insert(Arc::clone(&client));
        async move {
            // Lets other clients go first, so that pipelined requests do not run in a row.
            tokio::task::yield_now().await;
            let response = service.call(request).await;
            client.wait();
            response
        }
    });
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(Stream::new(stream)), service));
    if !is_last {
        tokio::select! {
            // Data that has arrived is read first: hyper closes a connection that it has read nothing from.
            biased;
            // A client that disconnects or sends nonsense is not our error.
            _ = connection.as_mut() => return,
            () = closed(&mut closing) => {}
            () = client.dismissed() => {}
        }
        connection.as_mut().graceful_shutdown();
    }
    // hyper would wait for the rest of an incomplete head.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = tokio::time::sleep(LAST_HEAD_TIMEOUT) => {}
    }
    if has_requested.load(Ordering::Relaxed) {
        connection.await.ok();
    }
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    // Fails when the sender is gone, which closes too.
    closing.wait_for(|closing| *closing).await.ok();
}

/// Whether the client disconnected before it was accepted.
fn is_client_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests;
