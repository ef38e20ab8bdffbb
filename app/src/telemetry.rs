//! What a process tells the outside about itself: the log, panics, and events in Sentry.

pub(crate) mod log;
pub(crate) mod panic;
pub(crate) mod sentry;
