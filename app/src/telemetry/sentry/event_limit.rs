//! A limit for each kind of event: an error that every request hits is reported, but not a thousand times.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use sentry::protocol::Event;

use crate::telemetry::rate_limit::RateLimit;

/// Most events of one kind a minute.
const MOST: u32 = 10;
/// Most kinds that are tracked at a time. All others count as one kind.
const MOST_KINDS: usize = 256;
/// The kind of all others. No event has this kind by itself.
const REST: &str = "";

/// One limit for each kind of event.
#[derive(Debug, Default)]
pub(super) struct EventLimit(Mutex<HashMap<String, RateLimit>>);

impl EventLimit {
    /// Whether this event may be sent.
    pub(super) fn admit(&self, event: &Event<'_>, now: Instant) -> bool {
        let mut limits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kind = kind(event);
        if limits.len() >= MOST_KINDS && !limits.contains_key(&kind) {
            limits.retain(|_, limit| !limit.is_idle(now));
            if limits.len() >= MOST_KINDS {
                REST.clone_into(&mut kind);
            }
        }
        limits.entry(kind).or_insert_with(|| RateLimit::new(MOST)).admit(now).is_some()
    }
}

/// Groups events by the first of these that they have: an explicit fingerprint, the location of a panic, the type of an
/// error, the message. The text of an exception is left out: it may differ from one request to the next.
fn kind(event: &Event<'_>) -> String {
    let explicit = event.fingerprint.iter().any(|part| part != "{{ default }}" && part != "{{default}}");
    if explicit {
        return format!("fingerprint {}", event.fingerprint.join(" "));
    }
    if let Some(place) = event.tags.get("panic.location") {
        return format!("panic {place}");
    }
    if let Some(exception) = event.exception.first() {
        return format!("exception {}", exception.ty);
    }
    match &event.message {
        Some(message) => format!("message {message}"),
        None => format!("level {}", event.level),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use sentry::protocol::Exception;

    use super::*;
    use crate::telemetry::rate_limit::WINDOW;

    fn message(text: &str) -> Event<'static> {
        Event { message: Some(text.to_owned()), ..Event::default() }
    }

    #[test]
    fn each_kind_has_a_limit_per_minute() {
        let (kinds, start) = (EventLimit::default(), Instant::now());
        let sent = (0..50).filter(|_| kinds.admit(&message("one"), start)).count();
        assert_eq!(sent, 10);
        assert!(kinds.admit(&message("other"), start));
        assert!(kinds.admit(&message("one"), start + WINDOW));
    }

    #[test]
    fn the_number_of_tracked_kinds_is_bounded() {
        let (kinds, start) = (EventLimit::default(), Instant::now());
        let sent = (0..1000).filter(|n| kinds.admit(&message(&n.to_string()), start)).count();
        assert_eq!(sent, MOST_KINDS + 10);
        assert!(kinds.0.lock().unwrap().len() <= MOST_KINDS + 1);
        // A minute later the old ones are dropped.
        assert!(kinds.admit(&message("new"), start + WINDOW));
        assert_eq!(kinds.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn the_kind_does_not_depend_on_the_request() {
        let mut event = message("text");
        assert_eq!(kind(&event), "message text");
        event.exception =
            vec![Exception { ty: "Error".into(), value: Some("7".into()), ..Exception::default() }].into();
        assert_eq!(kind(&event), "exception Error");
        event.tags.insert("panic.location".to_owned(), "a.rs:1".to_owned());
        assert_eq!(kind(&event), "panic a.rs:1");
        event.fingerprint = Cow::Owned(vec!["a".into(), "b".into()]);
        assert_eq!(kind(&event), "fingerprint a b");
        assert_eq!(kind(&Event::default()), "level error");
    }
}
