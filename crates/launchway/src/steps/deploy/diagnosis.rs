//! Why a deploy failed: Render's reason, the service's last lines, and what to try.

use launchway_render::events::Event;
use launchway_render::model::Deploy;

use super::Kind;
use super::target::Target;
use super::watch::began;

impl Target<'_> {
    /// Reports what Render knows about a failed deploy, and returns its reason.
    ///
    /// The rollback waits for this, so whatever Render does not provide at once is left out.
    pub(super) fn diagnose(&self, deploy: &Deploy, kind: Kind) -> Option<String> {
        let begin = began(deploy);
        let ending = self.ending(deploy);
        let crash = || {
            let events = self.api.events(begin).ok()?;
            events.iter().filter(|event| event.kind == "server_failed").find_map(Event::cause)
        };
        let cause = ending.as_ref().and_then(Event::cause).or_else(crash);
        match kind {
            // The report of a failed step ends with its last lines.
            Kind::Deploy => {
                self.show_log(begin);
                self.reporter.keep_tail();
            }
            Kind::Rollback => {
                const LAST: usize = 20;
                let lines = self.printed(begin);
                if !lines.is_empty() {
                    self.note(format!("deploy {} printed:", deploy.id));
                }
                for found in &lines[lines.len().saturating_sub(LAST)..] {
                    self.note(format!("  {}", self.line(&found.message)));
                }
            }
        }
        let (why, hint) = cause?;
        let why = self.line(&why);
        self.note(format!("Render says: {why}"));
        self.note(format!("hint: {hint}"));
        Some(why)
    }
}
