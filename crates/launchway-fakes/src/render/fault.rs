//! Faults to inject, the calls or images that they apply to, and the call at which a drill holds the fake.

use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::random::Random;
use super::refusal::Refusal;
use super::script::response;

/// A call that a fault can apply to, and at which a drill can hold the fake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// GET of the service: the first request of a deploy.
    Service,
    /// GET of the variables.
    Variables,
    /// PUT or DELETE of a variable, or of all of them.
    Write,
    /// POST of a deploy.
    Deploy,
    /// GET of one deploy.
    Watch,
    /// GET of the service's version, at the front, once a deploy has been requested. Before that, a client reads the
    /// version of the release that is live, which proves nothing and does not count.
    Version,
}

/// A fault. Faults that apply to calls are tried in the order in which they were injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every call is refused: 401, as with a revoked key.
    Unauthorized,
    /// The next call of this kind gets a 429 with a wait of one second.
    TooManyRequests(Call),
    /// Every call of this kind gets a 500.
    Broken(Call),
    /// Every call of this kind gets a 403, as with a key that can read but not write.
    Forbidden(Call),
    /// The next `times` calls of this kind get a 502 and an HTML page, as from a proxy that has lost the API.
    BadGateway {
        /// The kind of call.
        call: Call,
        /// How many of them.
        times: usize,
    },
    /// The next call of this kind takes effect, and its response breaks off before any content.
    Lost(Call),
    /// The next requested deploy starts, and the response is an empty 202, as in a third of the recorded ones.
    Accepted,
    /// Another deploy of this image is requested just before the next one, which has to wait.
    Queued {
        /// The full reference.
        image: String,
    },
    /// Another deploy of this image cancels the next one as soon as it is accepted.
    Superseded {
        /// The full reference.
        image: String,
    },
    /// Another deploy of this image is requested just after the next one, and starts after it.
    Overtaken {
        /// The full reference.
        image: String,
    },
    /// This variable is set to this value right after the variables are read.
    VariableChanged {
        /// Its name.
        key: String,
        /// Its value.
        value: String,
    },
    /// The given fault starts after the response to a call of this kind.
    After(Call, Box<Fault>),
    /// The image of this digest is faulty.
    Image(String, ImageFault),
    /// The next `times` requests with this method and a path that ends like this get this response, at the API or at
    /// the front.
    Response {
        /// `GET`, `PUT`, …
        method: &'static str,
        /// The end of the path.
        end: &'static str,
        /// The status of the response.
        status: u16,
        /// Its body.
        body: String,
        /// Whether the request takes effect all the same.
        done: bool,
        /// How many of them.
        times: usize,
    },
    /// One in so many requests gets an error response, at the API or at the front, until `left` of them did: 502 or 429
    /// and the request had no effect, or 502 or an HTML page and it had.
    Random {
        /// The random numbers that decide.
        random: Random,
        /// One in so many.
        one_in: u64,
        /// How many are left.
        left: u32,
    },
}

impl Fault {
    /// A [`Fault::Response`] that happens once and replaces the request's effect.
    pub fn once(method: &'static str, end: &'static str, status: u16, body: &str) -> Self {
        Self::Response { method, end, status, body: body.to_owned(), done: false, times: 1 }
    }

    /// A [`Fault::Response`] that happens `times` times.
    pub fn often(method: &'static str, end: &'static str, status: u16, body: &str, times: usize) -> Self {
        Self::Response { method, end, status, body: body.to_owned(), done: false, times }
    }

    /// A [`Fault::Response`] that happens once, after the request has taken effect.
    pub fn after(method: &'static str, end: &'static str, status: u16, body: &str) -> Self {
        Self::Response { method, end, status, body: body.to_owned(), done: true, times: 1 }
    }
}

/// The parts of a request that decide which fault applies.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'r> {
    pub(crate) method: &'r str,
    pub(crate) path: &'r str,
    /// `None` at the front.
    pub(crate) call: Option<Call>,
    pub(crate) is_front: bool,
}

/// A fault of an image, as its instances show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFault {
    /// The registry refuses the pull.
    NotPulled,
    /// It exits with status 1 shortly after its start.
    Crashes,
    /// It is killed for lack of memory.
    OutOfMemory,
    /// It never passes the health check.
    NeverHealthy,
    /// It reports another commit.
    OtherCommit,
    /// It responds well until it has reported its version `ImageFault::GOOD_RESPONSES` times, and with 503 after that.
    FailsLater,
}

/// The effect of a fault on a call.
pub(crate) enum Effect {
    /// This response; the call has no effect.
    Instead(Response),
    /// Somebody else acts first.
    Before(Deed),
    /// Somebody else acts after the call took effect, and before its response.
    After(Deed),
    /// The call takes effect and gets this response.
    Replace(Response),
}

/// What somebody else does in the meantime.
pub(crate) enum Deed {
    RequestDeploy { image: String, cancelling: bool },
    Set { key: String, value: String },
}

impl Call {
    /// The kind of an API call, if it is one of these.
    pub(crate) fn of(method: &str, segments: &[&str]) -> Option<Self> {
        Some(match (method, segments) {
            ("GET", ["v1", "services", _]) => Self::Service,
            ("GET", ["v1", "services", _, "env-vars"]) => Self::Variables,
            ("PUT" | "DELETE", ["v1", "services", _, "env-vars", ..]) => Self::Write,
            ("POST", ["v1", "services", _, "deploys"]) => Self::Deploy,
            ("GET", ["v1", "services", _, "deploys", _]) => Self::Watch,
            _ => return None,
        })
    }
}

impl ImageFault {
    /// More than the proof of a version requires, and fewer than a bake.
    pub(crate) const GOOD_RESPONSES: u32 = 6;

    /// Whether an instance of the image never becomes healthy.
    pub(crate) fn is_fatal(self) -> bool {
        match self {
            Self::NotPulled | Self::Crashes | Self::OutOfMemory | Self::NeverHealthy => true,
            Self::OtherCommit | Self::FailsLater => false,
        }
    }
}

impl Fault {
    pub(crate) fn strikes(&mut self, seen: Seen<'_>) -> bool {
        match self {
            Self::Response { method, end, .. } => seen.method == *method && seen.path.ends_with(*end),
            Self::Random { random, one_in, left } => *left > 0 && random.below(*one_in) == 0,
            _ => !seen.is_front && self.fits(seen.call),
        }
    }

    fn fits(&self, called: Option<Call>) -> bool {
        match self {
            Self::Unauthorized => true,
            Self::TooManyRequests(call)
            | Self::Broken(call)
            | Self::Forbidden(call)
            | Self::BadGateway { call, .. }
            | Self::Lost(call)
            | Self::After(call, _) => called == Some(*call),
            Self::Accepted | Self::Queued { .. } | Self::Superseded { .. } | Self::Overtaken { .. } => {
                called == Some(Call::Deploy)
            }
            Self::VariableChanged { .. } => called == Some(Call::Variables),
            Self::Image(..) | Self::Response { .. } | Self::Random { .. } => false,
        }
    }

    /// The effect of the fault, and what is left of the fault.
    pub(crate) fn happens(self) -> (Option<Effect>, Option<Self>) {
        match self {
            Self::Unauthorized => {
                let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized");
                (Some(Effect::Instead(refusal.into_response())), Some(self))
            }
            Self::TooManyRequests(_) => {
                let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "rate limit exceeded");
                let mut response = refusal.into_response();
                response.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
                (Some(Effect::Instead(response)), None)
            }
            Self::Broken(_) => {
                let refusal = Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal server error");
                (Some(Effect::Instead(refusal.into_response())), Some(self))
            }
            Self::Forbidden(_) => {
                let refusal = Refusal::new(StatusCode::FORBIDDEN, "Forbidden");
                (Some(Effect::Instead(refusal.into_response())), Some(self))
            }
            Self::BadGateway { call, times } => {
                let page = (StatusCode::BAD_GATEWAY, "<html><h1>502 Bad Gateway</h1></html>\n");
                let left = (times > 1).then(|| Self::BadGateway { call, times: times - 1 });
                (Some(Effect::Instead(page.into_response())), left)
            }
            Self::Lost(_) => (Some(Effect::Replace(broken_off())), None),
            Self::Accepted => (Some(Effect::Replace(StatusCode::ACCEPTED.into_response())), None),
            Self::Queued { image } => {
                (Some(Effect::Before(Deed::RequestDeploy { image, cancelling: false })), None)
            }
            Self::Superseded { image } => {
                (Some(Effect::After(Deed::RequestDeploy { image, cancelling: true })), None)
            }
            Self::Overtaken { image } => {
                (Some(Effect::After(Deed::RequestDeploy { image, cancelling: false })), None)
            }
            Self::VariableChanged { key, value } => (Some(Effect::After(Deed::Set { key, value })), None),
            Self::After(_, next) => (None, Some(*next)),
            Self::Image(..) => (None, Some(self)),
            Self::Response { method, end, status, body, done, times } => {
                let given = response(status, &body);
                let effect = if done { Effect::Replace(given) } else { Effect::Instead(given) };
                let left = times.checked_sub(1).filter(|times| *times > 0);
                (Some(effect), left.map(|times| Self::Response { method, end, status, body, done, times }))
            }
            Self::Random { mut random, one_in, left } => {
                let effect = match random.below(4) {
                    0 => Effect::Instead(response(502, "<html>bad gateway</html>")),
                    1 => Effect::Instead(response(429, r#"{"message":"rate limit exceeded"}"#)),
                    2 => Effect::Replace(response(502, "<html>bad gateway</html>")),
                    _ => Effect::Replace(response(200, "<html>hello</html>")),
                };
                (Some(effect), Some(Self::Random { random, one_in, left: left.saturating_sub(1) }))
            }
        }
    }
}

/// A response whose connection ends before its body arrives.
fn broken_off() -> Response {
    let mut response = StatusCode::CREATED.into_response();
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("1000"));
    // A stream, because the server does not know its length in advance.
    if let Ok(nothing) = fs_err::File::open("/dev/null") {
        let nothing = tokio::fs::File::from_std(nothing.into_parts().0);
        *response.body_mut() = Body::new(reqwest::Body::from(nothing));
    }
    response
}
