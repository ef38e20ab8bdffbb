//! Trying again: what is worth it, how often and after how long.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::context::Context;
use launchway_core::exit::{Exit, Failure};

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may go better in a while; the other side may have said when. The hint is for when it does not.
    Passing { message: String, after: Option<Duration>, hint: Option<String> },
    /// Another attempt would end the same.
    Lasting(anyhow::Error),
}

impl Trouble {
    pub(super) fn passing(message: impl Into<String>) -> Self {
        Self::Passing { message: message.into(), after: None, hint: None }
    }

    /// A registry's refusal that will not change by itself.
    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self::Lasting(Failure::new(Exit::Registry, message).into())
    }

    /// The error for one that is not tried again.
    pub(super) fn into_error(self) -> anyhow::Error {
        match self {
            Self::Passing { message, hint, .. } => given_up(&message, "", hint.as_deref()),
            Self::Lasting(error) => error,
        }
    }
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::Lasting(error)
    }
}

/// How often something is tried.
const TRIES: u32 = 5;
/// The longest wait that a server can ask for.
const LONGEST_WAIT: Duration = Duration::from_mins(2);

/// Tries up to five times, waiting `pause`, then twice as long each time, or what the other side asked for.
///
/// An interrupt ends a wait at once. No wait lasts beyond `end`.
pub(super) fn retrying<T>(
    ctx: &Context,
    pause: Duration,
    end: Option<Instant>,
    mut attempt: impl FnMut() -> Result<T, Trouble>,
) -> Result<T> {
    let mut number = 1;
    loop {
        ctx.interrupt.check()?;
        let (message, after, hint) = match attempt() {
            Ok(value) => return Ok(value),
            Err(Trouble::Passing { message, after, hint }) => (message, after, hint),
            Err(lasting) => return Err(lasting.into_error()),
        };
        // What an interrupt broke off looks like a broken connection.
        ctx.interrupt.check()?;
        if number == TRIES {
            return Err(given_up(&message, &format!("; tried {TRIES} times"), hint.as_deref()));
        }
        if let Some(after) = after.filter(|after| *after > LONGEST_WAIT * TRIES) {
            let asked = format!("; it asks to wait {}", humantime::format_duration(after));
            return Err(given_up(&message, &asked, hint.as_deref()));
        }
        let wait = after.unwrap_or_else(|| jittered(pause * 2_u32.pow(number - 1))).min(LONGEST_WAIT);
        if end.is_some_and(|end| Instant::now() + wait >= end) {
            return Err(given_up(&message, "; no time is left to try again", hint.as_deref()));
        }
        ctx.reporter.note(format!("{message}; trying again in {:.1} s", wait.as_secs_f64()));
        ctx.interrupt.sleep(wait)?;
        number += 1;
    }
}

fn given_up(message: &str, why: &str, hint: Option<&str>) -> anyhow::Error {
    let hint = hint.map(|hint| format!(": {hint}")).unwrap_or_default();
    Failure::new(Exit::Registry, format!("{message}{why}{hint}")).into()
}

/// Whether a status is worth another try: too slow, too many requests, or trouble of the server's own, but for what
/// it never does.
pub(super) fn is_passing(status: StatusCode) -> bool {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => false,
        status => status.is_server_error(),
    }
}

/// What `Retry-After` asks for (RFC 9110 §10.2.3): seconds, or a date, of which one in the past means now.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    Some(http_date(text)?.duration_since(now).unwrap_or_default())
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the one form of a date that servers send (RFC 9110 §5.6.7).
fn http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.strip_suffix(" GMT")?.split(' ');
    let [day, month, year, time] = [words.next()?, words.next()?, words.next()?, words.next()?];
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).ok()
}

/// Between half of it and all of it, so that clients that failed together do not come back together.
fn jittered(wait: Duration) -> Duration {
    // The standard library's one source of randomness: a hasher's keys.
    let random = RandomState::new().build_hasher().finish() % 1000;
    wait / 2 + wait / 2 * u32::try_from(random).unwrap_or_default() / 1000
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;
    use launchway_core::environment::Environment;

    fn ctx() -> Context {
        Context::for_test(std::path::Path::new("/nonexistent"), Environment::default())
    }

    fn passing(after: Option<Duration>) -> Trouble {
        Trouble::Passing { message: "the registry is busy".to_owned(), after, hint: Some("wait".to_owned()) }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = humantime::parse_rfc3339("1994-11-06T08:49:30Z").unwrap();
        for (text, expected) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("-1", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]);
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "of `{text}`");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn five_tries_and_no_more() {
        let (ctx, mut tries) = (ctx(), 0);
        let error = retrying(&ctx, Duration::from_millis(1), None, || -> Result<(), _> {
            tries += 1;
            Err(passing(None))
        })
        .unwrap_err();
        assert_eq!((tries, Exit::of(&error)), (5, Exit::Registry));
        assert_eq!(error.to_string(), "the registry is busy; tried 5 times: wait");
        assert_eq!(ctx.reporter.events().len(), 4);
    }

    #[test]
    fn what_lasts_is_not_tried_again() {
        let mut tries = 0;
        let error = retrying(&ctx(), Duration::from_hours(1), None, || -> Result<(), _> {
            tries += 1;
            Err(Trouble::refused("no"))
        })
        .unwrap_err();
        assert_eq!((tries, error.to_string().as_str()), (1, "no"));
    }

    #[test]
    fn nothing_waits_beyond_the_end() {
        let (ctx, mut tries) = (ctx(), 0);
        let end = Some(Instant::now() + Duration::from_secs(5));
        let error = retrying(&ctx, Duration::from_millis(1), end, || -> Result<(), _> {
            tries += 1;
            Err(passing((tries == 2).then_some(Duration::from_secs(6))))
        })
        .unwrap_err();
        assert_eq!((tries, Exit::of(&error)), (2, Exit::Registry));
        assert_eq!(error.to_string(), "the registry is busy; no time is left to try again: wait");
    }

    #[test]
    fn a_wait_of_hours_is_told_and_not_waited_for() {
        let mut tries = 0;
        let error = retrying(&ctx(), Duration::from_millis(1), None, || -> Result<(), _> {
            tries += 1;
            Err(passing(Some(Duration::from_hours(6))))
        })
        .unwrap_err();
        assert_eq!(
            (tries, error.to_string().as_str()),
            (1, "the registry is busy; it asks to wait 6h: wait")
        );
    }

    #[test]
    fn an_interrupt_ends_the_wait() {
        let ctx = ctx();
        let error = retrying(&ctx, Duration::from_hours(1), None, || -> Result<(), _> {
            ctx.interrupt.set();
            Err(passing(Some(Duration::from_hours(1))))
        })
        .unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Interrupted);
    }

    #[test]
    fn a_wait_is_jittered_downwards() {
        let wait = Duration::from_secs(8);
        let waits: Vec<Duration> = (0..20).map(|_| jittered(wait)).collect();
        assert!(waits.iter().all(|jittered| (wait / 2..=wait).contains(jittered)), "{waits:?}");
        assert!(waits.iter().any(|other| *other != waits[0]), "{waits:?}");
    }
}
