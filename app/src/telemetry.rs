//! The log, the panic hook, Sentry, and metrics.

pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod panic;
pub(crate) mod rate_limit;
pub(crate) mod sentry;
