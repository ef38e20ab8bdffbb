//! What goes wrong on purpose, with which call or which image, and where a drill stops the clock.

use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::random::Random;
use super::refusal::Refusal;
use super::script::response;

/// A call that a fault can befall, and at which a drill can stop the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// GET of the service: the first thing that a deploy asks.
    Service,
    /// GET of the variables.
    Variables,
    /// PUT or DELETE of a variable, or of all of them.
    Write,
    /// POST of a deploy.
    Deploy,
    /// GET of one deploy.
    Watch,
    /// GET of the app's version, at the front, once a deploy was asked for: what is asked before is who was there first.
    Version,
}

/// Something that goes wrong. Those that concern calls are tried in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every call is refused: 401, as with a key that was revoked.
    Unauthorized,
    /// The next call of this kind gets a 429 with a wait of one second.
    TooManyRequests(Call),
    /// Every call of this kind is answered 500.
    Broken(Call),
    /// Every call of this kind is answered 403, as with a key that may read and not write.
    Forbidden(Call),
    /// The next `times` calls of this kind get a 502 and a page of HTML, as from a proxy that has lost the API.
    BadGateway {
        /// Which kind.
        call: Call,
        /// How many of them.
        times: usize,
    },
    /// The next call of this kind is done, and its answer breaks off before it says anything.
    Lost(Call),
    /// The next deploy that is asked for is begun, and the answer is an empty 202, as in a third of the recorded ones.
    Accepted,
    /// Somebody else asks for a deploy of this image a moment before us, so that ours has to wait.
    Behind {
        /// The whole reference.
        image: String,
    },
    /// Somebody else's deploy of this image cancels ours as soon as it was taken.
    Superseded {
        /// The whole reference.
        image: String,
    },
    /// Somebody else asks for a deploy of this image a moment after us, and Render begins it when ours is over.
    Overtaken {
        /// The whole reference.
        image: String,
    },
    /// Somebody else sets this variable right after the variables were read.
    Meddled {
        /// Its name.
        key: String,
        /// Its value.
        value: String,
    },
    /// The fault behind it begins once a call of this kind was answered.
    Then(Call, Box<Fault>),
    /// Something is wrong with the image of this digest, and with no other.
    Image(String, ImageFault),
    /// The next `times` requests of this method to a path that ends like this get this response, at the API or at the
    /// front.
    Response {
        /// `GET`, `PUT`, …
        method: &'static str,
        /// How the path ends.
        end: &'static str,
        /// The status of the response.
        status: u16,
        /// Its body.
        body: String,
        /// Whether the request is acted on all the same.
        done: bool,
        /// How many of them.
        times: usize,
    },
    /// One in so many requests gets no good response, at the API or at the front, until `left` of them did: 502 or 429
    /// and nothing was done, or 502 or a page of HTML and it was.
    Random {
        /// What decides.
        random: Random,
        /// One in so many.
        one_in: u64,
        /// How many there are still to be.
        left: u32,
    },
}

impl Fault {
    /// A [`Fault::Response`] that happens once, instead of what the request wants.
    pub fn once(method: &'static str, end: &'static str, status: u16, body: &str) -> Self {
        Self::Response { method, end, status, body: body.to_owned(), done: false, times: 1 }
    }

    /// A [`Fault::Response`] that happens so many times.
    pub fn often(method: &'static str, end: &'static str, status: u16, body: &str, times: usize) -> Self {
        Self::Response { method, end, status, body: body.to_owned(), done: false, times }
    }

    /// A [`Fault::Response`] that happens once, after what the request wants was done.
    pub fn after(method: &'static str, end: &'static str, status: u16, body: &str) -> Self {
        Self::Response { method, end, status, body: body.to_owned(), done: true, times: 1 }
    }
}

/// A request, as far as it decides which fault befalls it.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'r> {
    pub(crate) method: &'r str,
    pub(crate) path: &'r str,
    /// `None` at the front.
    pub(crate) call: Option<Call>,
    pub(crate) is_front: bool,
}

/// What is wrong with an image, as its instances show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFault {
    /// The registry does not give it away.
    NotPulled,
    /// It ends with status 1 a moment after its start.
    Crashes,
    /// It is killed for want of memory.
    OutOfMemory,
    /// It never passes the health check.
    NeverHealthy,
    /// It answers as another commit.
    OtherCommit,
    /// It responds well until it has reported its version `ImageFault::GOOD_RESPONSES` times, and with 503 from then on.
    FailsLater,
}

/// What comes of a call that a fault befell.
pub(crate) enum Effect {
    /// This answer, and the call is not looked at.
    Instead(Response),
    /// Somebody does something first.
    Before(Deed),
    /// Somebody does something after it was done and before it is answered.
    After(Deed),
    /// It is done, and answered like this.
    Replace(Response),
}

/// What somebody else does meanwhile.
pub(crate) enum Deed {
    RequestDeploy { image: String, cancelling: bool },
    Set { key: String, value: String },
}

impl Call {
    /// The kind of a call of the API, where it is one of these.
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
    /// More than a proof of its version asks for, and fewer than a bake does.
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
            | Self::Then(call, _) => called == Some(*call),
            Self::Accepted | Self::Behind { .. } | Self::Superseded { .. } | Self::Overtaken { .. } => {
                called == Some(Call::Deploy)
            }
            Self::Meddled { .. } => called == Some(Call::Variables),
            Self::Image(..) | Self::Response { .. } | Self::Random { .. } => false,
        }
    }

    /// What it does, and what is left of it.
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
            Self::Behind { image } => {
                (Some(Effect::Before(Deed::RequestDeploy { image, cancelling: false })), None)
            }
            Self::Superseded { image } => {
                (Some(Effect::After(Deed::RequestDeploy { image, cancelling: true })), None)
            }
            Self::Overtaken { image } => {
                (Some(Effect::After(Deed::RequestDeploy { image, cancelling: false })), None)
            }
            Self::Meddled { key, value } => (Some(Effect::After(Deed::Set { key, value })), None),
            Self::Then(_, next) => (None, Some(*next)),
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

/// An answer whose connection ends before its body has come.
fn broken_off() -> Response {
    let mut response = StatusCode::CREATED.into_response();
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("1000"));
    // A stream, whose length the server does not know beforehand.
    if let Ok(nothing) = fs_err::File::open("/dev/null") {
        let nothing = tokio::fs::File::from_std(nothing.into_parts().0);
        *response.body_mut() = Body::new(reqwest::Body::from(nothing));
    }
    response
}
