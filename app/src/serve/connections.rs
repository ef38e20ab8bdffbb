//! Connections: accepted, served with bounds on what a client may take, and told to end.
//!
//! axum's own server has no bound on the time for a head, and ends only when every client has gone: one that sent half
//! a request keeps it alive for ever.
//!
//! Each connection takes a file descriptor, of which there are only so many: when all that may be open are, the one
//! that has kept the server waiting longest makes room (see [`crate::clients`]).
//!
//! A head that is too large or makes no sense is answered by hyper, with 431 or 400 and nothing else: no body, no
//! further request on that connection, and none of the headers that every answer of the router carries.

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
use crate::telemetry::limit::Limit;

/// For the head of a request, and for a connection between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The same once the process was told to end.
const LAST_HEAD_TIMEOUT: Duration = Duration::from_secs(1);
/// Largest head of a request, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;
/// Most headers of a request.
const HEADERS: usize = 64;
/// Most connections. Each may hold a head, a body of a report and an answer.
const MOST: u64 = 1024;
/// Descriptors for everything else: the log, the board's file, Sentry.
const RESERVE: u64 = 64;
/// Time to wait when there is no room for another connection and nobody to send away, or none that the system gives.
const RECOVERY: Duration = Duration::from_millis(5);
/// Most lines about connections that could not be accepted, a minute.
const MOST_LINES: u32 = 10;

/// All connections of the server.
pub(super) struct Connections {
    http: http1::Builder,
    service: TowerToHyperService<Router>,
    /// Whether connections are to end. Each of them has a receiver until it has ended.
    end: watch::Sender<bool>,
    clients: Arc<Clients>,
    lines: Limit,
}

impl Connections {
    /// As many as the system gives descriptors for, within reason.
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
            end: watch::Sender::new(false),
            clients: Clients::new(most),
            lines: Limit::new(MOST_LINES),
        }
    }

    /// Serves whoever connects.
    pub(super) async fn accept(&self, listener: &TcpListener) -> Infallible {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let seat = loop {
                        match self.clients.enter() {
                            Some(seat) => break seat,
                            // All are being worked for, which takes no one long: who sends one request behind the
                            // other is told to end.
                            None => tokio::time::sleep(RECOVERY).await,
                        }
                    };
                    tokio::spawn(serve(
                        stream,
                        seat,
                        self.http.clone(),
                        self.service.clone(),
                        self.end.subscribe(),
                    ));
                }
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    self.clients.evict();
                    if let Some(untold) = self.lines.admit(Instant::now()) {
                        warn!(untold, "cannot accept connections: {error}");
                    }
                    tokio::time::sleep(RECOVERY).await;
                }
            }
        }
    }

    /// Tells all connections to end: idle ones at once, others after their answer. The same for those that still come.
    pub(super) fn end(&self) {
        self.end.send_replace(true);
    }

    /// Waits until no connection is open.
    pub(super) async fn ended(&self) {
        self.end.closed().await;
    }
}

/// Raises the bound on open files to what the system allows this process, and answers it.
fn descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    // No bound is no number.
    (if raised { maximum } else { current }).unwrap_or(u64::MAX)
}

/// Serves one connection until it ends, or has to make room for another.
async fn serve(
    stream: TcpStream,
    seat: Seat,
    http: http1::Builder,
    service: TowerToHyperService<Router>,
    end: watch::Receiver<bool>,
) {
    let client = Arc::clone(&seat.client);
    client.wait();
    tokio::select! {
        () = answer(stream, client, http, service, end) => {}
        () = seat.evicted() => {}
    }
}

/// Answers what comes over one connection.
async fn answer(
    stream: TcpStream,
    client: Arc<Client>,
    mut http: http1::Builder,
    service: TowerToHyperService<Router>,
    mut end: watch::Receiver<bool>,
) {
    // Who comes after the end was told gets one answer.
    let is_last = *end.borrow();
    http.keep_alive(!is_last);
    let has_asked = Arc::new(AtomicBool::new(false));
    let (asked, served) = (Arc::clone(&has_asked), Arc::clone(&client));
    let service = service_fn(move |mut request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        let (client, service) = (Arc::clone(&served), service.clone());
        client.asked();
        client.work();
        request.extensions_mut().insert(Arc::clone(&client));
        async move {
            // One request, then the others': who sends many at once is not answered all of them in a row.
            tokio::task::yield_now().await;
            let answer = service.call(request).await;
            client.wait();
            answer
        }
    });
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(Stream::new(stream)), service));
    if !is_last {
        tokio::select! {
            // What has arrived is read first: hyper closes a connection that it has read nothing from.
            biased;
            // A client that breaks off or talks nonsense is nobody's fault here.
            _ = connection.as_mut() => return,
            () = told(&mut end) => {}
            () = client.dismissed() => {}
        }
        connection.as_mut().graceful_shutdown();
    }
    // hyper waits for the rest of a head that has begun.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = tokio::time::sleep(LAST_HEAD_TIMEOUT) => {}
    }
    if has_asked.load(Ordering::Relaxed) {
        connection.await.ok();
    }
}

async fn told(end: &mut watch::Receiver<bool>) {
    // Fails where the sender is gone, which is an end too.
    end.wait_for(|end| *end).await.ok();
}

/// Whether the client went away before it was served, which says nothing about the server.
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests;
