//! Watches a deploy to its end, which may come earlier than Render's own.

use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;

use launchway_core::events::Reporter;
use launchway_core::exit::{Exit, Failure};
use launchway_render::api::ApiError;
use launchway_render::events::Event;
use launchway_render::image;
use launchway_render::model::{Deploy, Phase};
use launchway_render::telemetry::LogLine;

use super::target::Target;

/// This many crashes of its instances end a deploy early: Render itself tries for 15 minutes.
const CRASHES: usize = 3;

/// Reads events and the log once per this many polls of the deploy: Render allows 400 reads a minute.
const LOOKS_PER_EVENTS: usize = 4;

impl Target<'_> {
    /// Polls our deploy until it is live. Any other end is an error, and so is the timeout.
    pub(super) fn watch(&self, deploy: &mut Deploy) -> Result<()> {
        let timeout = self.timings.timeout;
        let begin = Instant::now();
        let end = begin + timeout;
        let id = deploy.id.clone();
        let (mut outage, mut looks) = (String::new(), 0_usize);
        while deploy.status.is_open() {
            if Instant::now() >= end {
                let message = format!(
                    "deploy {id} is still {} after {}",
                    deploy.status,
                    humantime::format_duration(timeout)
                );
                return Err(Failure::new(Exit::DeployFailed, message).into());
            }
            let left = end.saturating_duration_since(Instant::now());
            self.interrupt.check()?;
            match self.api.deploy(&id) {
                Ok(now) => {
                    let elapsed = after(begin);
                    if now.status != deploy.status {
                        let remark =
                            if now.status.phase() == Phase::Unknown { ", an unknown status" } else { "" };
                        self.note(format!("deploy {id}: {}{elapsed}{remark}", now.status));
                    }
                    self.reporter.progress(format!("deploy {id}: {}{elapsed}", now.status));
                    outage.clear();
                    // The id must not get lost, and what Render once reported stays true.
                    let before = std::mem::replace(deploy, Deploy { id: id.clone(), ..now });
                    deploy.image = deploy.image.take().or(before.image);
                    deploy.created_at = deploy.created_at.take().or(before.created_at);
                    if deploy.status.is_open() {
                        if looks % LOOKS_PER_EVENTS == 0 {
                            self.show_log(began(deploy));
                            self.fail_early(deploy)?;
                        }
                        looks += 1;
                        self.interrupt.sleep(self.timings.poll.min(left))?;
                    }
                }
                // An outage of the API is not one of the deploy.
                Err(ApiError::Unavailable { after, why, .. }) => {
                    if why != outage {
                        self.note(format!("the Render API is not available ({why}): retrying"));
                        outage = why;
                    }
                    let wait = self.timings.poll.max(after.unwrap_or_default());
                    self.interrupt.sleep(wait.min(left))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.ended(deploy)
    }

    /// Succeeds if the deploy is live; otherwise the error says how it ended.
    pub(super) fn ended(&self, deploy: &Deploy) -> Result<()> {
        let id = &deploy.id;
        let superseded =
            |message: String| -> Result<()> { Err(Failure::new(Exit::Superseded, message).into()) };
        match deploy.status.phase() {
            Phase::Live => return Ok(()),
            Phase::Deactivated => {
                let newer = self.newer_than(deploy).unwrap_or_else(|| "a newer deploy".to_owned());
                return superseded(format!("deploy {id} was live but has been superseded by {newer}"));
            }
            Phase::Canceled => {
                let ending = self.ending(deploy);
                // Render also calls a deploy cancelled that it gave up itself.
                if ending.as_ref().and_then(Event::cause).is_none() {
                    let named = ending.as_ref().and_then(Event::newer_deploy).map(str::to_owned);
                    if let Some(newer) = named.or_else(|| self.newer_than(deploy)) {
                        return superseded(format!("deploy {id} was cancelled and superseded by {newer}"));
                    }
                    return failed(format!("deploy {id} was cancelled"));
                }
            }
            Phase::Failed | Phase::UnderWay | Phase::Unknown => {}
        }
        failed(format!("deploy {id} ended as {}", deploy.status))
    }

    /// The event that says how the deploy ended. It may arrive late or never.
    pub(super) fn ending(&self, deploy: &Deploy) -> Option<Event> {
        for _ in 0..3 {
            let events = self.api.events(began(deploy)).ok()?;
            let found = events.into_iter().find(|event| {
                event.kind == "deploy_ended" && event.details.deploy_id.as_deref() == Some(&deploy.id)
            });
            if found.is_some() {
                return found;
            }
            self.interrupt.sleep(self.timings.poll).ok()?;
        }
        None
    }

    /// The id of a deploy that was requested after ours.
    pub(super) fn newer_than(&self, ours: &Deploy) -> Option<String> {
        let deploys = self.api.deploys(self.since).ok()?;
        deploys
            .into_iter()
            .find(|other| other.id != ours.id && other.created_at > ours.created_at)
            .map(|newer| newer.id)
    }

    /// Fails as soon as events show that waiting is pointless.
    fn fail_early(&self, deploy: &Deploy) -> Result<()> {
        let begin = began(deploy);
        let Ok(events) = self.api.events(begin) else { return Ok(()) };
        // Both times are by Render's own clock.
        let events: Vec<Event> =
            events.into_iter().filter(|event| time(&event.timestamp).is_some_and(|at| at >= begin)).collect();
        let wanted = deploy.image.as_ref().and_then(|image| image.reference.as_deref()).unwrap_or_default();
        let digest = wanted.split_once('@').map_or("", |(_, digest)| digest);
        let pull = events.iter().find(|event| {
            event.kind == "image_pull_failed"
                && event
                    .details
                    .image
                    .as_deref()
                    .is_some_and(|image| image::is_pinned(image, &self.repository(), digest))
        });
        if let Some(event) = pull {
            let message = event.details.message.as_deref().unwrap_or("no reason given");
            return failed(format!(
                "Render cannot pull the image: {}; check the service's registry credential",
                self.line(message)
            ));
        }
        let crash = |event: &&Event| event.kind == "server_failed";
        if events.iter().filter(crash).count() < CRASHES {
            return Ok(());
        }
        // Instances of the earlier release may crash too, which is not this deploy's fault.
        let older = self.api.instances_before(begin).unwrap_or_default();
        let ours: Vec<&Event> = events
            .iter()
            .filter(crash)
            .filter(|event| event.details.instance.as_ref().is_none_or(|id| !older.contains(id)))
            .collect();
        if ours.len() < CRASHES {
            return Ok(());
        }
        let why = ours
            .iter()
            .find_map(|event| event.cause())
            .map_or_else(String::new, |(why, _)| format!(": {why}"));
        failed(format!("deploy {} crashed {} times{why}", deploy.id, ours.len()))
    }

    /// One line of untrusted text, fit to be shown.
    pub(super) fn line(&self, text: &str) -> String {
        line(&self.reporter, text)
    }

    /// The last lines of the instances that have started since then: those of the earlier release keep printing in the
    /// meantime.
    pub(super) fn printed(&self, since: SystemTime) -> Vec<LogLine> {
        let mut lines = self.api.log(&self.service.owner_id, since).unwrap_or_default();
        if !lines.is_empty() {
            let older = self.api.instances_before(since).unwrap_or_default();
            lines.retain(|line| line.instance().is_none_or(|instance| !older.contains(instance)));
        }
        lines
    }

    /// Shows what the instances of a deploy have printed since the last time.
    pub(super) fn show_log(&self, since: SystemTime) {
        for found in self.printed(since) {
            let text = self.line(&found.message);
            if self.shown.borrow_mut().insert((found.timestamp, found.message)) {
                self.reporter.output(&text);
            }
        }
    }
}

/// One line of untrusted text, without secrets and control characters, and cut at a limit.
///
/// Redaction comes first: after the cut, it would not recognise half a secret.
pub(super) fn line(reporter: &Reporter, text: &str) -> String {
    const LONGEST: usize = 500;
    let text = reporter.redacted(text);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    reporter.redacted(&text).chars().take(LONGEST).collect::<String>().trim().to_owned()
}

fn failed(message: String) -> Result<()> {
    Err(Failure::new(Exit::DeployFailed, message).into())
}

/// When Render accepted the deploy, by Render's clock.
pub(super) fn began(deploy: &Deploy) -> SystemTime {
    let given = deploy.created_at.as_deref().and_then(time);
    given.unwrap_or_else(|| SystemTime::now() - Duration::from_secs(600))
}

fn time(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}

/// How long something took, if it is worth mentioning.
fn after(begin: Instant) -> String {
    match begin.elapsed().as_secs() {
        0 => String::new(),
        seconds => format!(" after {}", humantime::format_duration(Duration::from_secs(seconds))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use launchway_core::events::Sink;
    use launchway_core::secret::{Redactor, Secret};

    #[test]
    fn a_secret_across_the_cut_of_a_long_line_is_redacted() {
        let reporter = Reporter::new(Sink::Memory(Vec::new()));
        reporter.redact(Redactor::new([Secret::new("correct-horse-battery-staple")]));
        let text = format!("{}correct-horse-battery-staple", "-".repeat(490));
        let shown = line(&reporter, &text);
        assert!(shown.ends_with("-<redacted>") && !shown.contains("correct"), "{shown}");
        assert_eq!(line(&reporter, "a\u{1b}[2Jb\n"), "a [2Jb");
    }
}
