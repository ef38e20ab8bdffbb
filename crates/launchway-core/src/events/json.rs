//! One event a line on standard output.

use std::io::{self, Write as _};

use super::Event;
use super::terminal::Verbosity;

/// `--format json`.
#[derive(Debug, Default)]
pub struct Json(pub Verbosity);

impl Json {
    /// Prints the event and returns whether it did.
    pub(super) fn show(&self, event: &Event) -> io::Result<bool> {
        let is_shown = event.is_shown(self.0);
        if is_shown {
            writeln!(io::stdout(), "{}", serde_json::to_string(event)?)?;
        }
        Ok(is_shown)
    }
}
