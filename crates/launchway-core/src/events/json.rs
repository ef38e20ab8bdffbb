//! One event per line on standard output.

use std::io::{self, Write as _};

use serde::Serialize;

use super::Event;
use super::terminal::Verbosity;

/// The version of the events, present in each of them. Raised when a field is removed or changes its meaning.
pub const SCHEMA: u32 = 1;

/// One event, on its own line.
#[derive(Serialize)]
struct Line<'e> {
    schema: u32,
    #[serde(flatten)]
    event: &'e Event,
}

/// Returns an event as its line, without the line break.
pub fn line(event: &Event) -> serde_json::Result<String> {
    serde_json::to_string(&Line { schema: SCHEMA, event })
}

/// `--format json`.
#[derive(Debug, Default)]
pub struct Json(pub Verbosity);

impl Json {
    /// Prints the event and returns whether it did.
    pub(super) fn show(&self, event: &Event) -> io::Result<bool> {
        let is_shown = event.is_shown(self.0);
        if is_shown {
            writeln!(io::stdout(), "{}", line(event)?)?;
        }
        Ok(is_shown)
    }
}
