//! People: calm lines, colour and progress only on a terminal.

use super::Event;

/// The reporter for people.
#[derive(Debug)]
pub(crate) struct Terminal;

impl Terminal {
    #[expect(clippy::unused_self, reason = "grows")]
    pub(super) fn show(&mut self, _event: &Event) {}
}
