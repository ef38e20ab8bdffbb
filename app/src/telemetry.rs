//! What a process tells the outside about itself: the log, panics, events in Sentry, and counts.

pub(crate) mod limit;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod panic;
pub(crate) mod sentry;
