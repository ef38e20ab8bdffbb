//! One event a line on standard output.

use std::io::Write as _;

use super::Event;

/// `--format json`.
#[derive(Debug)]
pub(crate) struct Json;

impl Json {
    #[expect(clippy::unused_self, reason = "the three reporters are used alike")]
    pub(super) fn show(&mut self, event: &Event) {
        if let Ok(line) = serde_json::to_string(event) {
            // A reader that has gone must not end the run.
            drop(writeln!(std::io::stdout(), "{line}"));
        }
    }
}
