//! The panic hook: one line in the log and one event in Sentry.
//!
//! Sentry's own hook waits until the event is sent. While Sentry is slow, that would block a worker thread, and the
//! requests behind it, for two seconds per panic. This hook only queues the event.

use std::panic::{self, PanicHookInfo};

use sentry::Hub;
use sentry::integrations::panic::{PanicIntegration, message_from_panic_info};
use tracing::error;

/// Replaces the panic hook of the process.
pub(crate) fn install() {
    panic::set_hook(Box::new(report));
}

fn report(info: &PanicHookInfo<'_>) {
    let location = info.location().map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()));
    error!(target: "app::panic", location, "{}", message_from_panic_info(info));
    Hub::with_active(|hub| {
        let mut event = PanicIntegration::new().event_from_panic_info(info);
        // The release binary has no symbols, so the stack trace does not show the location.
        event.tags.insert("panic.location".to_owned(), location);
        hub.capture_event(event);
    });
}
