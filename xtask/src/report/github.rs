//! GitHub Actions: groups, annotations, a job summary, step outputs.

use super::Event;

/// The reporter on GitHub.
#[derive(Debug)]
pub(crate) struct GitHub;

impl GitHub {
    #[expect(clippy::unused_self, reason = "grows")]
    pub(super) fn show(&mut self, _event: &Event) {}
}
