//! The panic hook: one line in the log and one event in Sentry.
//!
//! Sentry's own hook also waits until the event was sent. On a server, that stops a worker thread for two seconds per
//! panic while Sentry is slow, and the requests that wait for the thread with it. This one only puts it in the queue.

use std::panic::{self, PanicHookInfo};

use sentry::Hub;
use sentry::integrations::panic::{PanicIntegration, message_from_panic_info};
use tracing::error;

/// Replaces the process's panic hook.
pub(crate) fn install() {
    panic::set_hook(Box::new(report));
}

fn report(info: &PanicHookInfo<'_>) {
    let location = info.location().map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()));
    error!(target: "app::panic", location, "{}", message_from_panic_info(info));
    Hub::with_active(|hub| {
        let mut event = PanicIntegration::new().event_from_panic_info(info);
        // What ships has no symbols, so the stack trace alone does not tell where this was.
        event.tags.insert("panic.location".to_owned(), location);
        hub.capture_event(event);
    });
}
