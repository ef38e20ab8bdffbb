//! The lines of a plan, in the order in which it runs.

use std::time::Duration;

use crate::timings::Timings;

use super::rollout::Rollout;
use super::{Kind, proof};
use launchway_core::short;

impl Rollout {
    /// Before the release is chosen.
    pub(super) fn first_lines(&self) -> Vec<String> {
        let wait = match self.queue {
            Duration::ZERO => String::new(),
            wait => format!(", and wait up to {} for them to end", humantime::format_duration(wait)),
        };
        let service = self.service.as_deref().unwrap_or("RENDER_SERVICE_ID");
        vec![
            format!("check that service `{service}` is up and runs `{}`", self.image),
            format!("look for deploys in progress{wait}"),
        ]
    }

    /// From the chosen release to a deploy that Render accepted.
    pub(super) fn request_lines(&self) -> Vec<String> {
        let names = self.variables.join(", ");
        let to = if names.is_empty() { String::new() } else { format!(" to {names}") };
        let unless =
            self.expect.as_ref().map_or_else(String::new, |hash| format!("; stop unless the plan is {hash}"));
        let mut lines = vec![format!("read all variables and plan the changes{to}{unless}")];
        if !self.check.is_empty() {
            lines.push(format!(
                "run the image's program with `{}` in the planned environment; stop if it reports an error",
                self.check.join(" ")
            ));
        }
        lines.push("read the service again; stop if it has changed".to_owned());
        lines.extend(self.report.first_line(self.kind));
        lines.push(if names.is_empty() {
            "write no variables".to_owned()
        } else {
            format!("write the variables that differ: {names}")
        });
        if self.kind == Kind::Deploy {
            let release = self.sentry_release.as_deref().unwrap_or_default();
            lines.extend(
                self.sentry.line(&format!("create the Sentry release {release} with its new commits")),
            );
        }
        lines.push(format!("request a deploy of `{}@<digest>`", self.image));
        lines
    }

    /// From that deploy to the report.
    pub(super) fn proof_lines(&self) -> Vec<String> {
        let words = humantime::format_duration;
        let Timings { poll, timeout, settle, bake, .. } = self.timings;
        let (poll, timeout, settle) = (words(poll), words(timeout), words(settle));
        let commit = self.commit.as_deref().map_or_else(
            || "the commit of that release".to_owned(),
            |commit| format!("commit {}", short(commit)),
        );
        let mut lines = vec![
            format!("check the deploy every {poll} until it is live; cancel it after {timeout}"),
            "compare the digest that Render runs with the requested one".to_owned(),
            match &self.version {
                Some(path) => format!(
                    "poll the service at `{path}` for up to {settle} until it reports {commit} {} times in a row",
                    proof::IN_A_ROW
                ),
                None => format!(
                    "poll the service at `{}` for up to {settle} until it is healthy {} times in a row; its commit is not \
                     proved, because `deploy.version` is not configured",
                    self.health,
                    proof::IN_A_ROW
                ),
            },
        ];
        if !bake.is_zero() {
            let version = self.version.as_ref().map_or_else(String::new, |path| format!(" and `{path}`"));
            lines.push(format!("bake for {}, polling `{}`{version}", words(bake), self.health));
        }
        lines.push("set that digest in the service's settings".to_owned());
        lines.push("keep the release and its variables, encrypted, for a rollback".to_owned());
        if self.kind == Kind::Rollback || self.sentry.is_on() {
            let release = self.sentry_release.as_ref().map_or_else(
                || "the Sentry release of that commit".to_owned(),
                |name| format!("the Sentry release {name}"),
            );
            let environment =
                self.environment.as_ref().map_or_else(String::new, |name| format!(" to {name}"));
            lines.extend(self.sentry.line(&format!("record the deploy of {release}{environment}")));
        }
        lines.extend(self.report.lines());
        lines.push(format!(
            "if any of this fails: cancel the deploy, restore the variables (within {}), then deploy and prove the earlier release, and check whether the service is up",
            words(self.timings.rollback)
        ));
        lines
    }
}
