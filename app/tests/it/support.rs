//! A server as a child process, a client for it, and a fake Sentry.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A key that a PROD server accepts.
pub(crate) const SECRET: &str = "tK7vQ2xW9mZ4pL8sR3bN6cF1yH5jD0gT7uA2eX4wM9qVz5Jk8BrU";
/// What a PROD server on loopback needs.
pub(crate) const PROD: [(&str, &str); 4] =
    [("SERVER_TYPE", "PROD"), ("HOSTS", "localhost"), ("SECRET_KEY", SECRET), ("APP_COMMIT", COMMIT)];
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Longer than anything here takes, so that a stuck test ends.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The program with these variables and no others.
#[expect(clippy::disallowed_methods, reason = "the environment is cleared here")]
pub(crate) fn app(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    // A coverage run collects the child's counts there.
    if let Some(profile) = std::env::var_os("LLVM_PROFILE_FILE") {
        command.env("LLVM_PROFILE_FILE", profile);
    }
    command.envs(variables.iter().copied());
    command
}

/// Runs the program until it exits.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    app(arguments, variables).output().unwrap()
}

/// A running server, terminated on drop.
pub(crate) struct Server {
    child: Child,
    /// Receives the whole log once the process has exited. A mutex makes the server shareable between threads.
    log: Mutex<Receiver<String>>,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `app serve` on a free loopback port and waits until it listens.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_as(&[], variables)
    }

    pub(crate) fn start_as(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = app(arguments, variables);
        command.env("LISTEN", "127.0.0.1").env("PORT", "0").stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (send_address, listening) = channel();
        let (send_log, log) = channel();
        thread::spawn(move || {
            let mut log = String::new();
            for line in stderr.lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("listening on http://") {
                    send_address.send(address.parse().unwrap()).ok();
                }
                log.push_str(&line);
                log.push('\n');
            }
            send_log.send(log).ok();
        });
        let Ok(address) = listening.recv_timeout(TIMEOUT) else {
            child.kill().unwrap();
            panic!("the server did not listen:\n{}", log.recv().unwrap());
        };
        Self { child, log: Mutex::new(log), address }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the process to exit. Returns its status, the time that took, and the log.
    pub(crate) fn wait(&mut self) -> (ExitStatus, Duration, String) {
        let start = Instant::now();
        let Ok(log) = self.log.get_mut().unwrap().recv_timeout(TIMEOUT) else {
            self.child.kill().unwrap();
            panic!("the server did not end:\n{}", self.log.get_mut().unwrap().recv().unwrap());
        };
        (self.child.wait().unwrap(), start.elapsed(), log)
    }

    /// Terminates the server and returns its log.
    pub(crate) fn end(mut self) -> String {
        self.signal(Signal::TERM);
        let (status, _, log) = self.wait();
        assert!(status.success(), "{status}:\n{log}");
        log
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream
    }

    /// Sends `request` and reads until the server closes the connection.
    pub(crate) fn send(&self, request: &str) -> Response {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        Response::parse(&String::from_utf8(response).unwrap())
    }

    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let headers: String =
            headers.iter().map(|(name, value)| [name, ": ", value, "\r\n"].concat()).collect();
        let length = body.len();
        self.send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        ))
    }

    /// Sends a body that the server may reject before it has read it, and ignores a broken connection.
    pub(crate) fn request_that_may_break(&self, method: &str, path: &str, body: &str) {
        let mut stream = self.connect();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).ok();
        stream.write_all(body.as_bytes()).ok();
        let mut status = [0; 12];
        if stream.read_exact(&mut status).is_ok() {
            assert_eq!(&status, b"HTTP/1.1 413");
        }
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], "")
    }

    pub(crate) fn test_error(&self, id: &str) -> Response {
        self.request("POST", "/test-error", &sign(id, now(), "").each(), "")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_some() {
            return;
        }
        // SIGTERM first, so that a coverage run gets its counts.
        self.signal(Signal::TERM);
        if self.log.get_mut().unwrap().recv_timeout(TIMEOUT).is_err() {
            self.child.kill().unwrap();
        }
        self.child.wait().unwrap();
    }
}

/// A response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        };
        Self { status, headers: lines.map(header).collect(), body: body.to_owned() }
    }

    /// The value of a header that occurs at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(other, _)| other == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert_eq!(values.next(), None, "a second {name}");
        value
    }
}

/// The headers of a signed message.
pub(crate) struct Signed {
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
}

impl Signed {
    pub(crate) fn each(&self) -> [(&str, &str); 3] {
        [
            ("webhook-id", &self.id),
            ("webhook-timestamp", &self.timestamp),
            ("webhook-signature", &self.signature),
        ]
    }
}

/// Signs a test error with [`SECRET`], by the contract of `POST /test-error`.
pub(crate) fn sign(id: &str, timestamp: u64, body: &str) -> Signed {
    sign_for("launchway/test-error/v1", id, timestamp, body.as_bytes())
}

/// Signs for `purpose`, with HKDF spelled out as two rounds of HMAC.
pub(crate) fn sign_for(purpose: &str, id: &str, timestamp: u64, body: &[u8]) -> Signed {
    let hmac = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
    let pseudorandom = hmac(b"launchway", SECRET.as_bytes());
    let key = hmac(pseudorandom.as_ref(), format!("{purpose}\x01").as_bytes());
    let signature = hmac(key.as_ref(), &[format!("{id}.{timestamp}.").as_bytes(), body].concat());
    let signature = format!("v1,{}", STANDARD.encode(signature));
    Signed { id: id.to_owned(), timestamp: timestamp.to_string(), signature }
}

/// Unix time in seconds.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A fake Sentry that records events and sessions.
pub(crate) struct Sentry {
    pub(crate) dsn: String,
    events: Receiver<Value>,
    sessions: Receiver<Value>,
}

impl Sentry {
    pub(crate) fn start() -> Self {
        Self::after(|_| ())
    }

    /// Starts one that accepts its first event after `wait` returns, and keeps what `wait` returns open.
    pub(crate) fn after<T>(wait: impl FnOnce(&TcpListener) -> T + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dsn = format!("http://key@{}/42", listener.local_addr().unwrap());
        let (send_event, events) = channel();
        let (send_sessions, sessions) = channel();
        thread::spawn(move || {
            let _open = wait(&listener);
            for stream in listener.incoming() {
                let items = take_envelope(&mut BufReader::new(stream.as_ref().unwrap()));
                // Recorded before it is acknowledged.
                for (kind, payload) in items {
                    let recorded = match kind.as_str() {
                        "event" => send_event.send(payload),
                        "sessions" => send_sessions.send(payload),
                        _ => panic!("{kind}: {payload}"),
                    };
                    if recorded.is_err() {
                        return;
                    }
                }
                stream
                    .unwrap()
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
                    .unwrap();
            }
        });
        Self { dsn, events, sessions }
    }

    /// Waits for the next event.
    pub(crate) fn event(&self) -> Value {
        self.events.recv_timeout(TIMEOUT).unwrap()
    }

    /// The events that no test has taken yet.
    pub(crate) fn remaining(&self) -> Vec<Value> {
        self.events.try_iter().collect()
    }

    /// The numbers of exited, errored and crashed sessions so far.
    pub(crate) fn sessions(&self) -> [u64; 3] {
        let mut sums = [0; 3];
        for payload in self.sessions.try_iter() {
            assert!(payload["attrs"]["release"].as_str().unwrap().starts_with("app@"), "{payload}");
            for aggregate in payload["aggregates"].as_array().unwrap() {
                for (sum, name) in sums.iter_mut().zip(["exited", "errored", "crashed"]) {
                    *sum += aggregate[name].as_u64().unwrap_or_default();
                }
            }
        }
        sums
    }
}

/// Reads one envelope and returns the type and the payload of each item.
pub(crate) fn take_envelope(request: &mut impl BufRead) -> Vec<(String, Value)> {
    let mut head = Vec::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        request.read_line(&mut line).unwrap();
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
        head.push(line);
    }
    assert_eq!(head[0], "post /api/42/envelope/ http/1.1");
    assert!(head.iter().any(|line| line.starts_with("x-sentry-auth: sentry sentry_key=key,")), "{head:?}");
    let mut body = vec![0; length];
    request.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    let lines: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let items = lines[1..].chunks(2);
    items.map(|item| (item[0]["type"].as_str().unwrap().to_owned(), item[1].clone())).collect()
}
