//! The log: one line per event on standard error.

use std::io;

use tracing::Level;

/// Starts the log. Calling it again does nothing.
pub(crate) fn start() {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(Level::INFO)
        .with_ansi(false)
        // Reporting a failed write would panic when standard error is closed.
        .log_internal_errors(false)
        .finish();
    tracing::subscriber::set_global_default(subscriber).ok();
}
