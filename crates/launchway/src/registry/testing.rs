//! A server for tests on loopback: a small registry whose answers a test can twist, and which remembers every request.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::context::Context;
use launchway_core::environment::Environment;
use launchway_registry::{Digest, Repository};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.target.contains(part)
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// 401 with this challenge.
    pub(crate) fn challenge(challenge: impl Into<String>) -> Self {
        Self::new(401)
            .header("WWW-Authenticate", challenge)
            .body(r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#)
    }
}

/// What the small registry keeps.
#[derive(Default)]
struct State {
    blobs: BTreeSet<String>,
    tags: BTreeMap<String, Vec<u8>>,
    uploads: usize,
    seen: Vec<Request>,
}

/// The server; it ends when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A registry without a login.
    pub(crate) fn plain() -> Self {
        Self::twisted(|_, _| None)
    }

    /// A registry where `twist` answers first: it gets the request and how many like it (method and path) came before.
    pub(crate) fn twisted(twist: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (state, stop, twist) = (Arc::clone(&state), Arc::clone(&stop), Arc::new(twist));
            move || {
                while let Ok((stream, _)) = listener.accept() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let (state, twist) = (Arc::clone(&state), Arc::clone(&twist));
                    std::thread::spawn(move || serve(stream, &state, twist.as_ref()));
                }
            }
        });
        Self { address, state, stop, thread: Some(thread) }
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn repository(&self) -> Repository {
        format!("{}/acme/app", self.address).parse().unwrap()
    }

    /// A context whose image is this registry's, with more variables.
    pub(crate) fn context(&self, root: &std::path::Path, variables: &[(&str, &str)]) -> Context {
        let image = self.repository().to_string();
        // Not the developer's own Docker configuration.
        let none = [("PIPELINE_IMAGE", image.as_str()), ("DOCKER_CONFIG", "/nonexistent")];
        let environment = Environment::of(none).with(Environment::of(variables.iter().copied()));
        Context::for_test(root, environment)
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.state.lock().unwrap().seen.clone()
    }

    /// Every request as `METHOD path`, without the query.
    pub(crate) fn lines(&self) -> Vec<String> {
        let path = |target: &str| target.split('?').next().unwrap().replace("/v2/acme/app/", "");
        self.seen().iter().map(|seen| format!("{} {}", seen.method, path(&seen.target))).collect()
    }

    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        self.seen().iter().filter(|request| request.is(method, part)).count()
    }

    /// The digest that a tag names.
    pub(crate) fn tag(&self, tag: &str) -> Option<Digest> {
        Some(Digest::of(self.state.lock().unwrap().tags.get(tag)?))
    }

    pub(crate) fn set_tag(&self, tag: &str, manifest: &[u8]) {
        self.state.lock().unwrap().tags.insert(tag.to_owned(), manifest.to_owned());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>, twist: &dyn Fn(&Request, usize) -> Option<Reply>) {
    let mut reader = BufReader::new(stream);
    let Some(request) = read(&mut reader) else { return };
    let before = {
        let mut state = state.lock().unwrap();
        let path = request.target.split('?').next().unwrap();
        let before = state
            .seen
            .iter()
            .filter(|seen| seen.method == request.method && seen.target.split('?').next().unwrap() == path);
        let before = before.count();
        state.seen.push(request.clone());
        before
    };
    let reply = twist(&request, before).unwrap_or_else(|| state.lock().unwrap().answer(&request));
    let mut headers = vec![("Connection".to_owned(), "close".to_owned())];
    headers.extend(reply.headers);
    if !headers.iter().any(|(name, _)| name == "Content-Length") {
        headers.push(("Content-Length".to_owned(), reply.body.len().to_string()));
    }
    let headers: Vec<String> =
        headers.into_iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let text = format!("HTTP/1.1 {} x\r\n{}\r\n", reply.status, headers.concat());
    let mut stream = reader.into_inner();
    drop(stream.write_all(text.as_bytes()));
    if request.method != "HEAD" {
        drop(stream.write_all(&reply.body));
    }
}

/// One request; `None` where the connection ended first.
fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    assert!(!headers.contains_key("transfer-encoding"), "registries want a Content-Length");
    let length = headers.get("content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, target, headers, body })
}

impl State {
    fn answer(&mut self, request: &Request) -> Reply {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let path = path.trim_start_matches("/v2/acme/app/");
        let method = request.method.as_str();
        if let Some(name) = path.strip_prefix("manifests/") {
            if method == "PUT" {
                self.tags.insert(name.to_owned(), request.body.clone());
                return Reply::new(201);
            }
            return self.tags.get(name).map_or(Reply::new(404), |manifest| {
                let digest = Digest::of(manifest).to_string();
                Reply::new(200).header("Docker-Content-Digest", digest).body(manifest.clone())
            });
        }
        match method {
            "POST" => {
                self.uploads += 1;
                let place = format!("/v2/acme/app/blobs/uploads/{}?state=a%3Db", self.uploads);
                Reply::new(202).header("Location", place)
            }
            "PUT" => {
                let digest = Digest::of(&request.body);
                if !query.contains(&format!("digest={}", digest.to_string().replace(':', "%3A"))) {
                    return Reply::new(400).body(r#"{"errors":[{"code":"DIGEST_INVALID","message":"no"}]}"#);
                }
                self.blobs.insert(digest.to_string());
                Reply::new(201)
            }
            _ if self.blobs.contains(path.trim_start_matches("blobs/")) => Reply::new(200),
            _ => Reply::new(404),
        }
    }
}
