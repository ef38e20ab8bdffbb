//! One event a line on standard output.

use std::io::{self, Write as _};

use super::Event;

/// `--format json`.
#[derive(Debug)]
pub struct Json;

impl Json {
    #[expect(clippy::unused_self, reason = "the three reporters are used alike")]
    pub(super) fn show(&mut self, event: &Event) -> io::Result<()> {
        writeln!(io::stdout(), "{}", serde_json::to_string(event)?)
    }
}
