//! What a deploy could not roll back, and how to finish by hand.

use super::Kind;
use super::release::Release;
use super::service_state::ServiceState;
use super::target::Target;

impl Target<'_> {
    /// The page for the person who finishes by hand: the current state, and what to do.
    pub(super) fn facts(
        &self,
        kind: Kind,
        before: Option<&ServiceState>,
        names: &[&str],
        left: &[String],
    ) -> String {
        let (live, now) = self.api.within(self.timings.rollback, || (self.api.live(), self.api.variables()));
        let mut lines = vec![match kind {
            Kind::Deploy => "the service was NOT fully rolled back:".to_owned(),
            Kind::Rollback => "the rollback was NOT fully undone:".to_owned(),
        }];
        lines.extend(left.iter().map(|left| format!("- {left}")));
        lines.push("now:".to_owned());
        lines.push(match live {
            Ok(Some(live)) => {
                let release = Release::of(&live, None);
                let digest = release.map_or_else(|| "of unknown digest".to_owned(), |release| release.digest);
                format!("- live: deploy {}, {digest}", live.id)
            }
            Ok(None) => "- live: nothing".to_owned(),
            Err(error) => format!("- live: unknown ({:#})", anyhow::Error::from(error)),
        });
        let differ = match (&now, before) {
            (Ok(now), Some(before)) => before.differing(names.iter().copied(), now),
            _ => names.to_vec(),
        };
        if !differ.is_empty() {
            lines.push(format!(
                "- these variables still have the values that this run wrote, and the next deploy will use them: {}",
                differ.join(", ")
            ));
        }
        lines.extend(by_hand(self.dashboard().as_deref(), &self.repository(), before, &differ));
        lines.join("\n")
    }
}

/// What is left to do by hand, and where; nothing in a rehearsal, which has no dashboard.
pub(super) fn by_hand(
    dashboard: Option<&str>,
    repository: &str,
    before: Option<&ServiceState>,
    differ: &[&str],
) -> Vec<String> {
    let Some(dashboard) = dashboard else {
        return vec!["nothing to do by hand: this service ends with the rehearsal".to_owned()];
    };
    let mut lines = vec!["by hand:".to_owned()];
    if before.is_some_and(|before| before.live.is_none()) {
        lines.push("- deploy again once the cause is fixed: the next deploy replaces this one".to_owned());
        lines.push(format!(
            "- or {dashboard} → Settings → Suspend Web Service: then nothing is live, as before"
        ));
        return lines;
    }
    if !differ.is_empty() {
        lines.push(format!("- {dashboard} → Environment: restore {}", differ.join(", ")));
    }
    if let Some(live) = before.and_then(|before| before.live.as_ref()) {
        lines.push(format!(
            "- `cargo xtask rollback --to {}`, which on this machine also restores the variables",
            live.id
        ));
    }
    if let Some(release) = before.and_then(|before| before.release.as_ref()) {
        lines.push(format!(
            "- or {dashboard} → Manual Deploy → Deploy a specific image: `{repository}@{}`",
            release.digest
        ));
    } else {
        lines.push(format!("- check {dashboard}"));
    }
    lines
}
