//! Shared by the fakes: a server on loopback, its transcript, and state that can be awaited.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{Query, Request};
use axum::http::{HeaderMap, HeaderName, Method, Uri};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::script::Script;

/// One request and its response: enough to check what a client did, too little to contain a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// `GET`, `PUT`, …
    pub method: String,
    /// The path without the query, which can carry a token.
    pub path: String,
    /// The status of the response.
    pub status: u16,
    /// The bytes of the request's body that arrived.
    pub request_bytes: u64,
}

/// Responds to requests; [`Server`] does the rest.
pub(crate) trait Fake: Send + Sync + 'static {
    /// Responds, and reads as much of the body as it needs.
    fn respond(&self, request: &mut Incoming) -> impl Future<Output = Response> + Send;
}

/// A server on loopback that ends when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    transcript: Arc<Shared<Vec<Exchange>>>,
    task: JoinHandle<()>,
    // Dropping it closes the open connections; aborting the task alone would leave them open.
    _shutdown: oneshot::Sender<()>,
}

impl Server {
    /// Serves on a port chosen by the kernel. `make` gets the address.
    pub(crate) async fn start<S: Fake>(make: impl FnOnce(SocketAddr) -> S) -> anyhow::Result<(Self, Arc<S>)> {
        Self::start_with(make, None).await
    }

    /// Serves the requests that the script leaves to it.
    pub(crate) async fn start_with<S: Fake>(
        make: impl FnOnce(SocketAddr) -> S,
        script: Option<Arc<Script>>,
    ) -> anyhow::Result<(Self, Arc<S>)> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("failed to listen on loopback")?;
        let address = listener.local_addr().context("failed to read the address of a listener")?;
        let fake = Arc::new(make(address));
        let transcript = Arc::new(Shared::new(Vec::new()));
        let (shutdown, stopped) = oneshot::channel::<()>();
        let router = {
            let (fake, transcript) = (Arc::clone(&fake), Arc::clone(&transcript));
            Router::new().fallback(move |request| {
                exchange(Arc::clone(&fake), Arc::clone(&transcript), script.clone(), request)
            })
        };
        let serving = axum::serve(listener, router).with_graceful_shutdown(async { drop(stopped.await) });
        let task = tokio::spawn(async { drop(serving.await) });
        Ok((Self { address, transcript, task, _shutdown: shutdown }, fake))
    }

    /// The address that it listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening: connections are refused from now on.
    pub(crate) fn close(&self) {
        self.task.abort();
    }

    /// Every exchange so far, in the order of the responses.
    pub(crate) fn transcript(&self) -> Vec<Exchange> {
        self.transcript.read(Clone::clone)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn exchange<S: Fake>(
    fake: Arc<S>,
    transcript: Arc<Shared<Vec<Exchange>>>,
    script: Option<Arc<Script>>,
    request: Request,
) -> Response {
    /// A refused upload is read up to this limit, so that the client sees the response and not a broken pipe.
    const DRAINED: u64 = 64 << 20;

    let mut request = Incoming::new(request);
    if let Some(script) = script {
        match script.respond(request).await {
            Ok(response) => return response,
            Err(left) => request = left,
        }
    }
    let response = fake.respond(&mut request).await;
    while request.received < DRAINED && matches!(request.chunk().await, Ok(Some(_))) {}
    let exchange = Exchange {
        method: request.method.to_string(),
        path: request.uri.path().to_owned(),
        status: response.status().as_u16(),
        request_bytes: request.received,
    };
    transcript.change(|transcript| transcript.push(exchange));
    response
}

/// A request whose body is counted while it is read.
pub(crate) struct Incoming {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    uri: Uri,
    body: Body,
    received: u64,
}

/// Why a body could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// It is larger than allowed for this kind of request.
    TooLarge,
    /// The client disconnected, or its framing is wrong.
    Broken,
}

impl Incoming {
    fn new(request: Request) -> Self {
        let (parts, body) = request.into_parts();
        Self { method: parts.method, headers: parts.headers, uri: parts.uri, body, received: 0 }
    }

    /// The same request again, with its body from the start.
    pub(crate) fn again(self, body: Vec<u8>) -> Self {
        Self { body: Body::from(body), received: 0, ..self }
    }

    /// The path's segments, decoded one by one: an encoded slash is not a separator.
    pub(crate) fn segments(&self) -> Vec<String> {
        self.uri.path().trim_start_matches('/').split('/').map(percent_decoded).collect()
    }

    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    /// The path and query as received, for a proxy.
    pub(crate) fn target(&self) -> &str {
        self.uri.path_and_query().map_or("/", |target| target.as_str())
    }

    /// The decoded pairs of the query; none if the query is malformed.
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        Query::<Vec<(String, String)>>::try_from_uri(&self.uri).map(|query| query.0).unwrap_or_default()
    }

    /// The first value of a query parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.query().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// A header's value, if it is text.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The next piece of the body, `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            match poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await {
                None => return Ok(None),
                Some(Err(_)) => return Err(BodyError::Broken),
                Some(Ok(frame)) => {
                    // Trailers are frames too, but are not used here.
                    if let Ok(data) = frame.into_data() {
                        self.received += data.len() as u64;
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The whole body, at most `limit` bytes.
    pub(crate) async fn bytes(&mut self, limit: usize) -> Result<Vec<u8>, BodyError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if bytes.len() + chunk.len() > limit {
                return Err(BodyError::TooLarge);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// A value behind a lock whose changes can be awaited.
pub(crate) struct Shared<T> {
    value: Mutex<T>,
    changed: watch::Sender<()>,
}

impl<T> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Mutex::new(value), changed: watch::Sender::new(()) }
    }

    /// Reads the value.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lock())
    }

    /// Changes the value and wakes those who wait for it.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.send_replace(());
        result
    }

    /// The result of `look`, as soon as it has one; `None` after `timeout`.
    pub(crate) async fn wait_for<R>(&self, timeout: Duration, look: impl Fn(&T) -> Option<R>) -> Option<R> {
        let mut changed = self.changed.subscribe();
        let found = async {
            loop {
                if let Some(found) = self.read(&look) {
                    return Some(found);
                }
                changed.changed().await.ok()?;
            }
        };
        tokio::time::timeout(timeout, found).await.ok().flatten()
    }

    // A panic in a test's closure must not turn every later read into another panic.
    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client without proxy and redirects.
pub fn loopback_client() -> anyhow::Result<reqwest::Client> {
    // reqwest needs a provider even for plain http. Installing one fails if there is one already, which is fine.
    rustls::crypto::ring::default_provider().install_default().ok();
    // No proxy and no certificate store, which a minimal machine may lack.
    let builder =
        reqwest::Client::builder().no_proxy().tls_certs_only([]).redirect(reqwest::redirect::Policy::none());
    builder.build().context("failed to set up an HTTP client")
}

/// `N` unguessable bytes, in hexadecimal.
pub(crate) fn random_hex<const N: usize>() -> String {
    let mut bytes = [0_u8; N];
    // Once seeded, the kernel's generator does not fail. If it did, a fixed name would show up as a clash.
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).ok();
    hex(&bytes)
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// Decodes `%XX`; leaves a malformed escape unchanged.
fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                hex_digit(*high).zip(hex_digit(*low)).map(|(high, low)| (high << 4 | low, after))
            }
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, tail));
        decoded.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests;
