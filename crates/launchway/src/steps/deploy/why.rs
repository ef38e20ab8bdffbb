//! Why a deploy failed: Render's reason, the app's last lines, and what to try.

use launchway_render::events::Event;
use launchway_render::model::Deploy;

use super::Kind;
use super::remote::Remote;
use super::watch::{began, line};

impl Remote<'_> {
    /// Tells what Render knows of a deploy that did not go well, and returns its reason.
    ///
    /// It must not keep an undo waiting for long: what Render does not tell at once is left out.
    pub(super) fn explain(&self, deploy: &Deploy, kind: Kind) -> Option<String> {
        let begin = began(deploy);
        let ending = self.ending(deploy);
        let crash = || {
            let events = self.api.events(begin).ok()?;
            events.iter().filter(|event| event.kind == "server_failed").find_map(Event::cause)
        };
        let cause = ending.as_ref().and_then(Event::cause).or_else(crash);
        match kind {
            // The end of a failed step shows its last lines.
            Kind::Deploy => {
                self.show_log(begin);
                self.ctx.reporter.keep_tail();
            }
            Kind::Rollback => {
                const LAST: usize = 20;
                let lines = self.api.log(&self.service.owner_id, begin).unwrap_or_default();
                for found in &lines[lines.len().saturating_sub(LAST)..] {
                    self.note(format!("  {}", line(&found.message)));
                }
            }
        }
        let (why, advice) = cause?;
        self.note(format!("Render says: {why}"));
        self.note(format!("to try: {advice}"));
        Some(why)
    }
}
