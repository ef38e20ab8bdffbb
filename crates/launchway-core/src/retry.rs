//! The one retry policy: which responses to retry, how often, and the wait in between.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::{Duration, Instant, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// How often and how long to try.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// The number of tries, including the first.
    pub tries: u32,
    /// The first wait; each further one is twice as long.
    pub backoff: Duration,
    /// The longest wait, even if a server asks for more.
    pub longest_wait: Duration,
    /// No wait ends after this.
    pub deadline: Option<Instant>,
}

impl Retry {
    /// Starts an operation that has not failed yet.
    pub fn begin(self) -> Tries {
        Tries { retry: self, failed: 0 }
    }
}

/// The tries so far.
#[derive(Debug)]
pub struct Tries {
    retry: Retry,
    failed: u32,
}

/// Why there is no further try. `Display` completes "the registry is busy; …".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// All tries have been used up.
    Tries(u32),
    /// The server asks for a longer wait than all tries together would take.
    Asked(Duration),
    /// The next try would be after the deadline.
    Deadline,
}

impl Tries {
    /// The wait before the next try: the backoff, or what the server asks for if that is longer.
    pub fn next_wait(&mut self, asked: Option<Duration>) -> Result<Duration, GiveUp> {
        let Retry { tries, backoff, longest_wait, deadline } = self.retry;
        self.failed += 1;
        if self.failed >= tries {
            return Err(GiveUp::Tries(tries));
        }
        if let Some(asked) = asked.filter(|asked| *asked > longest_wait * tries) {
            return Err(GiveUp::Asked(asked));
        }
        let own = jittered(backoff.saturating_mul(1 << (self.failed - 1)));
        // A server that asks for no wait while it fails must not be hammered.
        let wait = asked.unwrap_or_default().max(own).min(longest_wait);
        if deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
            return Err(GiveUp::Deadline);
        }
        Ok(wait)
    }
}

impl fmt::Display for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tries(tries) => write!(f, "tried {tries} times"),
            Self::Asked(asked) => write!(f, "it asks for a wait of {}", humantime::format_duration(*asked)),
            Self::Deadline => f.write_str("no time is left for another try"),
        }
    }
}

/// Whether a status may soon change: a timeout, too many requests, or a server error, except for those that mean that
/// the server never supports the request.
pub fn is_transient(status: StatusCode) -> bool {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => false,
        status => status.is_server_error(),
    }
}

/// The wait in `Retry-After` (RFC 9110 §10.2.3): seconds, or a date; a date in the past means now.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default())
}

/// A random wait between half and all of it, so that clients that failed together do not return together.
fn jittered(wait: Duration) -> Duration {
    // The only source of randomness in the standard library: a hasher's keys.
    let random = RandomState::new().build_hasher().finish() % 1000;
    wait / 2 + wait / 2 * u32::try_from(random).unwrap_or_default() / 1000
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    const RETRY: Retry = Retry {
        tries: 3,
        backoff: Duration::from_secs(4),
        longest_wait: Duration::from_secs(120),
        deadline: None,
    };

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = humantime::parse_rfc3339("1994-11-06T08:49:30Z").unwrap();
        for (text, expected) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
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
    fn waits_double_and_end() {
        let mut tries = RETRY.begin();
        let waits = [tries.next_wait(None).unwrap(), tries.next_wait(None).unwrap()];
        assert!((2..=4).contains(&waits[0].as_secs()) && (4..=8).contains(&waits[1].as_secs()), "{waits:?}");
        assert_eq!(tries.next_wait(None).unwrap_err().to_string(), "tried 3 times");
    }

    #[test]
    fn a_server_may_ask_for_another_wait() {
        let wait = |asked| RETRY.begin().next_wait(Some(Duration::from_secs(asked)));
        assert!(wait(0).unwrap() >= Duration::from_secs(2));
        assert_eq!(wait(5), Ok(Duration::from_secs(5)));
        assert_eq!(wait(300), Ok(RETRY.longest_wait));
        assert_eq!(wait(6 * 3600).unwrap_err().to_string(), "it asks for a wait of 6h");
    }

    #[test]
    fn no_wait_lasts_beyond_the_deadline() {
        let retry = Retry { deadline: Some(Instant::now() + Duration::from_secs(5)), ..RETRY };
        retry.begin().next_wait(Some(Duration::ZERO)).unwrap();
        let error = retry.begin().next_wait(Some(Duration::from_secs(6))).unwrap_err();
        assert_eq!(error.to_string(), "no time is left for another try");
    }

    #[test]
    fn a_wait_is_jittered_downwards() {
        let wait = Duration::from_secs(8);
        let waits: Vec<Duration> = (0..20).map(|_| jittered(wait)).collect();
        assert!(waits.iter().all(|jittered| (wait / 2..=wait).contains(jittered)), "{waits:?}");
        assert!(waits.iter().any(|other| *other != waits[0]), "{waits:?}");
    }
}
