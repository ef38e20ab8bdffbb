//! The log: one line per event, on standard error.

use std::io;

use tracing::Level;

/// Starts the log. Does nothing the second time.
pub(crate) fn start() {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(Level::INFO)
        .with_ansi(false)
        // A line that cannot be written is lost. Otherwise the complaint about it panics where standard error is closed.
        .log_internal_errors(false)
        .finish();
    tracing::subscriber::set_global_default(subscriber).ok();
}
