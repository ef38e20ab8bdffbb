//! How many events of a kind are sent: a fault that every request runs into is told, and not a thousand times.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use sentry::protocol::Event;

use crate::telemetry::limit::Limit;

/// Most events of one kind a minute.
const MOST: u32 = 10;
/// Most kinds that are told apart at a time. What comes on top of them counts as one kind.
const MOST_KINDS: usize = 256;
/// The kind of those. No event makes this name by itself.
const REST: &str = "";

/// One limit for each kind of event.
#[derive(Debug, Default)]
pub(super) struct Kinds(Mutex<HashMap<String, Limit>>);

impl Kinds {
    /// Whether one more event like this may be sent.
    pub(super) fn admit(&self, event: &Event<'_>, now: Instant) -> bool {
        let mut limits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kind = kind(event);
        if limits.len() >= MOST_KINDS && !limits.contains_key(&kind) {
            limits.retain(|_, limit| !limit.is_idle(now));
            if limits.len() >= MOST_KINDS {
                REST.clone_into(&mut kind);
            }
        }
        limits.entry(kind).or_insert_with(|| Limit::new(MOST)).admit(now).is_some()
    }
}

/// What makes events the same: their explicit fingerprint, the place of the panic, the kind of error, the message.
///
/// The first that there is. Not the text of an exception: it may hold what differs from one request to the next.
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
    use crate::telemetry::limit::WINDOW;

    fn message(text: &str) -> Event<'static> {
        Event { message: Some(text.to_owned()), ..Event::default() }
    }

    #[test]
    fn each_kind_has_its_own_limit_and_a_minute_ends_it() {
        let (kinds, start) = (Kinds::default(), Instant::now());
        let sent = (0..50).filter(|_| kinds.admit(&message("one"), start)).count();
        assert_eq!(sent, 10);
        assert!(kinds.admit(&message("other"), start));
        assert!(kinds.admit(&message("one"), start + WINDOW));
    }

    #[test]
    fn no_more_than_so_many_kinds_are_told_apart() {
        let (kinds, start) = (Kinds::default(), Instant::now());
        let sent = (0..1000).filter(|n| kinds.admit(&message(&n.to_string()), start)).count();
        assert_eq!(sent, MOST_KINDS + 10);
        assert!(kinds.0.lock().unwrap().len() <= MOST_KINDS + 1);
        // A minute later the old ones make room.
        assert!(kinds.admit(&message("new"), start + WINDOW));
        assert_eq!(kinds.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn the_kind_is_what_does_not_differ_between_requests() {
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
