//! Scripts: a test's responses, which take precedence over a fake's, and the received requests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use crate::server::Incoming;

/// A complete request.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `PUT`, …
    pub method: String,
    /// Path and query, as received.
    pub target: String,
    /// Names in lower case; of a repeated header, the last value.
    pub headers: BTreeMap<String, String>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Request {
    /// Whether it has this method and its target contains `part`.
    pub fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.target.contains(part)
    }

    /// The value of a header; empty without one.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// A scripted response.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    delay: Duration,
}

impl Reply {
    /// A response with this status.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), delay: Duration::ZERO }
    }

    /// Adds a header. A `Content-Length` that does not match the body makes the response break off.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// This much later.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// 401 with this challenge.
    pub fn challenge(challenge: impl Into<String>) -> Self {
        Self::new(401)
            .header("WWW-Authenticate", challenge)
            .body(r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#)
    }

    async fn into_response(self) -> Response {
        tokio::time::sleep(self.delay).await;
        let own_length = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let body = if own_length { cut_short() } else { Body::from(self.body) };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or_default();
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

/// An empty body whose length the server does not know, so that it accepts any `Content-Length`.
pub(crate) fn cut_short() -> Body {
    match fs_err::File::open("/dev/null") {
        Ok(nothing) => {
            let nothing = tokio::fs::File::from_std(nothing.into_parts().0);
            Body::new(reqwest::Body::from(nothing))
        }
        Err(_) => Body::empty(),
    }
}

/// A rule that responds before a fake. It gets each request, and the number of earlier ones with the same method and
/// path.
pub(crate) type Rule = Box<dyn Fn(&Request, usize) -> Option<Reply> + Send + Sync>;

/// A rule, and the received requests.
pub(crate) struct Script {
    rule: Rule,
    requests: Mutex<Vec<Request>>,
}

impl Script {
    pub(crate) fn new(rule: Rule) -> Self {
        Self { rule, requests: Mutex::new(Vec::new()) }
    }

    /// The requests so far, in the order of arrival.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.lock().clone()
    }

    /// Records the request. `Err` returns it for the fake if the script does not respond.
    pub(crate) async fn respond(&self, mut incoming: Incoming) -> Result<Response, Incoming> {
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = incoming.chunk().await {
            body.extend_from_slice(&chunk);
        }
        let headers = incoming.headers.iter();
        let headers = headers
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let request = Request {
            method: incoming.method.to_string(),
            target: incoming.target().to_owned(),
            headers: headers.collect(),
            body,
        };
        let before = {
            let mut requests = self.lock();
            let alike = |seen: &&Request| seen.method == request.method && seen.path() == request.path();
            let before = requests.iter().filter(alike).count();
            requests.push(request.clone());
            before
        };
        match (self.rule)(&request, before) {
            Some(reply) => Ok(reply.into_response().await),
            None => Err(incoming.again(request.body)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
