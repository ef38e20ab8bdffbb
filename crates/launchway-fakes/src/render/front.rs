//! The service's fixed address: an HTTP proxy to the live instance, which counts its responses.
//!
//! It works per request and not per connection: with a proxy of bytes, a client that keeps its connection open would go
//! on talking to the previous release after the switch. A request in flight at the switch gets its response from the
//! instance that it was sent to: that instance gets no SIGTERM before it has responded, for as long as Render would
//! wait.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::due::Faults;
use super::engine::Engine;
use super::fault::{Call, Effect, ImageFault, Seen};
use crate::server::{Fake, Incoming, Shared};

/// Where traffic goes, and its counts.
pub(crate) struct Front {
    target: Shared<Option<Target>>,
    counted: Shared<Counted>,
    client: reqwest::Client,
    faults: Arc<Faults>,
    version_path: String,
    /// Set if nothing runs.
    script: OnceLock<Weak<Engine>>,
}

/// The live instance.
#[derive(Clone)]
struct Target {
    address: SocketAddr,
    /// The digest of its image.
    sha: String,
    /// How often its version was requested.
    asked: u32,
    /// One for the front and one for every request that the instance has not started to respond to.
    under_way: Arc<()>,
}

/// Counts of the front's responses so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Every request.
    pub requests: u64,
    /// Those that a live instance should have handled but did not respond to.
    pub lost: u64,
}

/// The requests that an instance still has to respond to after the switch.
pub(crate) struct UnderWay(Arc<()>);

impl UnderWay {
    /// Returns when there are none left, or after `longest`.
    pub(crate) async fn answered(&self, longest: Duration) {
        let none_left = async {
            while Arc::strong_count(&self.0) > 1 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // A request without a response by then will never get one.
        drop(tokio::time::timeout(longest, none_left).await);
    }
}

#[derive(Default)]
struct Counted {
    traffic: Traffic,
    /// By second since 1970 and status.
    by_status: BTreeMap<(u64, u16), u64>,
}

impl Front {
    pub(crate) fn new(client: reqwest::Client, faults: Arc<Faults>, version_path: String) -> Self {
        let (target, counted) = (Shared::new(None), Shared::new(Counted::default()));
        Self { target, counted, client, faults, version_path, script: OnceLock::new() }
    }

    /// Responds as the script of this service says.
    pub(crate) fn follow_script(&self, engine: &Arc<Engine>) {
        // Once, when the fake starts.
        self.script.set(Arc::downgrade(engine)).ok();
    }

    /// Sends all further requests to another instance. Returns a handle that waits until the previous one has started
    /// to respond to its last request.
    pub(crate) fn switch(&self, address: SocketAddr, sha: &str) -> Option<UnderWay> {
        let target = Target { address, sha: sha.to_owned(), asked: 0, under_way: Arc::new(()) };
        self.target.change(|current| current.replace(target)).map(|previous| UnderWay(previous.under_way))
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.counted.read(|counted| counted.traffic)
    }

    /// The counts of responses between two seconds since 1970, by status and then by second.
    pub(crate) fn answers(&self, from: u64, to: u64) -> BTreeMap<u16, BTreeMap<u64, u64>> {
        let mut answers: BTreeMap<u16, BTreeMap<u64, u64>> = BTreeMap::new();
        self.counted.read(|counted| {
            for ((second, status), count) in &counted.by_status {
                if (from..=to).contains(second) {
                    answers.entry(*status).or_default().insert(*second, *count);
                }
            }
        });
        answers
    }

    fn count(&self, status: StatusCode, lost: bool) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.counted.change(|counted| {
            counted.traffic.requests += 1;
            counted.traffic.lost += u64::from(lost);
            *counted.by_status.entry((now, status.as_u16())).or_default() += 1;
        });
    }

    /// The response of a faulty image, if it differs from a good one.
    fn spoilt(&self, target: &Target, is_version: bool) -> Option<Response> {
        match self.faults.image_fault(&target.sha)? {
            ImageFault::OtherCommit => {
                let version = "{\"commit\":\"0000000000000000000000000000000000000000\"}";
                is_version.then(|| version.into_response())
            }
            ImageFault::FailsLater => (target.asked >= ImageFault::GOOD_RESPONSES)
                .then(|| (StatusCode::SERVICE_UNAVAILABLE, "out of order\n").into_response()),
            ImageFault::NotPulled
            | ImageFault::Crashes
            | ImageFault::OutOfMemory
            | ImageFault::NeverHealthy => None,
        }
    }

    /// The request, as forwarded to the instance.
    fn passed_on(&self, target: &Target, request: &Incoming, body: Vec<u8>) -> reqwest::RequestBuilder {
        let url = format!("http://{}{}", target.address, request.target());
        let mut headers = end_to_end(&request.headers);
        // Render terminates TLS at its edge and sets this header; the front plays that edge.
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        headers.insert("x-forwarded-for", HeaderValue::from_static("127.0.0.1"));
        if let Some(host) = request.headers.get(HOST) {
            headers.insert(HOST, host.clone());
        }
        self.client.request(request.method.clone(), url).headers(headers).body(body)
    }
}

impl Fake for Front {
    async fn respond(&self, request: &mut Incoming) -> Response {
        /// The proxy buffers a request's body in memory; the response's is streamed.
        const MAX_BODY: usize = 16 << 20;

        let is_version = request.method == "GET" && request.path() == self.version_path;
        self.faults.pass(is_version.then_some(Call::Version)).await;
        let seen = Seen { method: request.method.as_str(), path: request.path(), call: None, is_front: true };
        // A request at the front changes nothing.
        if let Some(Effect::Instead(response) | Effect::Replace(response)) = self.faults.befalling(seen) {
            self.count(response.status(), false);
            return response;
        }
        if let Some(engine) = self.script.get().and_then(Weak::upgrade) {
            let response = engine.front_scripted(is_version);
            self.count(response.status(), false);
            return response;
        }
        let Ok(body) = request.bytes(MAX_BODY).await else {
            return (StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n").into_response();
        };
        let Some(target) = self.target.read(Clone::clone) else {
            let nobody = (StatusCode::BAD_GATEWAY, "no instance is live\n").into_response();
            self.count(nobody.status(), false);
            return nobody;
        };
        let spoilt = self.spoilt(&target, is_version);
        if is_version {
            self.target.change(|now| {
                if let Some(now) = now.as_mut().filter(|now| now.address == target.address) {
                    now.asked += 1;
                }
            });
        }
        let answer = match spoilt {
            Some(answer) => Some(answer),
            None => self.passed_on(&target, request, body).send().await.ok().map(|answer| {
                let (status, headers) = (answer.status(), end_to_end(answer.headers()));
                (status, headers, Body::new(reqwest::Body::from(answer))).into_response()
            }),
        };
        let lost = answer.is_none();
        let answer = answer
            .unwrap_or_else(|| (StatusCode::BAD_GATEWAY, "the instance does not respond\n").into_response());
        self.count(answer.status(), lost);
        answer
    }
}

/// Removes the headers that concern one connection only (RFC 9110, §7.6.1).
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    const HOP_BY_HOP: [HeaderName; 4] =
        [CONNECTION, TRANSFER_ENCODING, HOST, HeaderName::from_static("keep-alive")];
    let mut headers = headers.clone();
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers
}
