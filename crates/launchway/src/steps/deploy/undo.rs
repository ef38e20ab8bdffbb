//! Back to what was before: our deploy ended, the variables as they were, the previous release live and proved again.

use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Result;

use crate::context::Context;
use launchway_core::exit::{Exit, Failure};
use launchway_core::interrupt::Interrupt;
use launchway_core::secret::Secret;
use launchway_render::api::ApiError;
use launchway_render::image;
use launchway_render::model::{Deploy, Phase};

use super::apply::Fate;
use super::base::{Base, value};
use super::plan::differing;
use super::proof;
use super::remote::{Release, Remote};

/// What an undo goes back from.
pub(super) struct Undo<'u, 'a> {
    pub(super) remote: &'u Remote<'a>,
    pub(super) base: &'u Base,
    /// The variables that were written, or that may have been, each with its new value.
    pub(super) written: &'u [(String, Option<Secret>)],
    /// What was asked for.
    pub(super) release: &'u Release,
    pub(super) fate: &'u mut Fate,
    pub(super) timeout: Duration,
}

/// How an undo ended.
#[derive(Debug)]
pub(super) enum Undone {
    /// As it was.
    Restored,
    /// Somebody else's newer deploy has taken over; it is not ours to touch.
    Superseded(String),
    /// This could not be put back.
    Left(Vec<String>),
}

/// What became of the deploy that is undone.
enum Serving {
    /// It never served.
    Never,
    /// It serves, or may come to.
    Perhaps,
    /// It served, and somebody else's newer one does now.
    Superseded(String),
}

impl Undo<'_, '_> {
    pub(super) fn run(mut self) -> Undone {
        let mut left = Vec::new();
        let serving = match self.end_ours() {
            Ok(Serving::Superseded(newer)) => return Undone::Superseded(newer),
            Ok(serving) => serving,
            Err(error) => {
                left.push(format!("whether our deploy may still go live is not known: {error:#}"));
                Serving::Perhaps
            }
        };
        if self.base.live.is_none() && !matches!(serving, Serving::Never) {
            // A first deploy has no release to go back to. The one that is live, or may come to be, keeps what it was
            // started with: without its variables it would not survive the next start.
            left.push(self.stays());
            return Undone::Left(left);
        }
        let (api, patience) = (&self.remote.api, self.remote.pace.undo);
        if let Err(error) = api.within(patience, || self.restore_variables()) {
            left.push(format!("variables: {error:#}"));
        }
        match self.restore_release(&serving) {
            Ok(()) => {}
            Err(error) if Exit::of(&error) == Exit::Superseded && left.is_empty() => {
                return Undone::Superseded(format!("{error:#}"));
            }
            Err(error) => left.push(format!("release: {error:#}")),
        }
        if let Err(error) = self.restore_image() {
            left.push(format!("the image in the service's settings: {error:#}"));
        }
        if left.is_empty() { Undone::Restored } else { Undone::Left(left) }
    }

    /// Sees to it that our own deploy does not go live any more, if it has not.
    fn end_ours(&mut self) -> Result<Serving> {
        if let Fate::Unclear { known } = &self.fate
            && let Some(found) = self.remote.ours(self.release, known)?
        {
            *self.fate = Fate::Ours(found);
        }
        let Fate::Ours(deploy) = &mut *self.fate else {
            return Ok(match self.fate {
                Fate::NotAsked => Serving::Never,
                _ => Serving::Perhaps,
            });
        };
        let (remote, id) = (self.remote, deploy.id.clone());
        let mut asked = !deploy.status.is_open();
        let ended = remote.wait_for(|| {
            if !asked {
                match remote.api.cancel(&id) {
                    Ok(_) => {
                        asked = true;
                        remote.note(format!("deploy {id} is cancelled"));
                    }
                    // Often it has ended in the meantime, and the next look says so.
                    Err(ApiError::Refused { .. } | ApiError::Unavailable { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            match remote.api.deploy(&id) {
                Ok(now) => Ok((!now.status.is_open()).then_some(now.status)),
                Err(ApiError::Unavailable { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })?;
        let Some(status) = ended else { return Ok(Serving::Perhaps) };
        deploy.status = status;
        Ok(match deploy.status.phase() {
            Phase::Live => Serving::Perhaps,
            Phase::Deactivated => {
                let newer = remote.newer_than(deploy).unwrap_or_else(|| "another deploy".to_owned());
                let names: Vec<&str> = self.written.iter().map(|(name, _)| name.as_str()).collect();
                let with = if names.is_empty() { "no variable".to_owned() } else { names.join(", ") };
                Serving::Superseded(format!("{newer} serves now, with what this deploy wrote: {with}"))
            }
            Phase::Failed | Phase::Canceled | Phase::UnderWay | Phase::Unknown => Serving::Never,
        })
    }

    /// Puts back each variable that still has the value that we wrote: what somebody else wrote meanwhile is theirs.
    fn restore_variables(&self) -> Result<()> {
        /// A call whose answer was lost may have worked: only reading again tells.
        const LOOKS: usize = 3;
        if self.written.is_empty() {
            return Ok(());
        }
        let mut refused = None;
        let mut touched = Vec::new();
        for _ in 0..LOOKS {
            let now = self.remote.api.variables()?;
            self.remote.hide_variables(&now);
            let ours: Vec<&str> = self
                .written
                .iter()
                .filter(|(name, new)| value(&now, name) == new.as_ref())
                .map(|(name, _)| name.as_str())
                .collect();
            let ours = differing(ours, self.base, &now);
            if ours.is_empty() {
                let all = self.written.iter().map(|(name, _)| name.as_str());
                for name in differing(all, self.base, &now) {
                    self.remote.note(format!("{name} was changed by somebody else meanwhile: left alone"));
                }
                if !touched.is_empty() {
                    self.remote.note(format!("put back: {}", touched.join(", ")));
                }
                return Ok(());
            }
            for name in ours {
                if !touched.contains(&name) {
                    touched.push(name);
                }
                let done = match self.base.value(name) {
                    Some(old) => self.remote.api.put_variable(name, old),
                    None => self.remote.api.delete_variable(name),
                };
                if let Err(error) = done {
                    refused = Some(anyhow::Error::from(error));
                }
            }
        }
        Err(refused.unwrap_or_else(|| anyhow::anyhow!("they do not keep what is written")))
    }

    /// What a first deploy leaves, where it could not be ended.
    fn stays(&self) -> String {
        let what = match &self.fate {
            Fate::Ours(deploy) => format!("deploy {} is {}, unproved, and stays", deploy.id, deploy.status),
            _ => "the deploy that was asked for may still begin, and is left to".to_owned(),
        };
        format!(
            "nothing was live before, so there is nothing to go back to: {what}, with the variables that it needs"
        )
    }

    /// Sees to it that what was live is live, with the environment that it had.
    fn restore_release(&self, serving: &Serving) -> Result<()> {
        let remote = self.remote;
        let Some(before) = &self.base.live else { return Ok(()) };
        if matches!(serving, Serving::Never) {
            if matches!(self.fate, Fate::NotAsked) {
                return Ok(());
            }
            // An instance keeps the variables that it was started with.
            match remote.api.live()? {
                Some(mut live) if live.id == before.id => {
                    let proved = self.answers_as_before(&mut live);
                    if proved.is_ok() {
                        remote.note(format!("deploy {} is live, as before", live.id));
                        return Ok(());
                    }
                }
                Some(other) => return Err(superseded_by(&other)),
                None => {}
            }
        } else {
            let all = remote.api.deploys(remote.since)?;
            let mut open = all.iter().filter(|deploy| deploy.status.is_open());
            match &self.fate {
                Fate::Unclear { known } => {
                    if let Some(other) = open.find(|deploy| !known.contains(&deploy.id)) {
                        anyhow::bail!(
                            "the deploy that was asked for may still begin, after or before {}",
                            other.id
                        );
                    }
                }
                // To ask for another one would put an end to it, or to ours.
                Fate::Ours(ours) => {
                    let newer = |other: &&Deploy| other.id != ours.id && other.created_at > ours.created_at;
                    if let Some(other) = open.find(newer) {
                        return Err(superseded_by(other));
                    }
                }
                Fate::NotAsked => {}
            }
        }
        match self.redeploy() {
            // This is the last line of defence.
            Err(error) if !matches!(Exit::of(&error), Exit::Superseded | Exit::Interrupted) => {
                remote.note(format!("{error:#}: trying once more"));
                self.redeploy()
            }
            done => done,
        }
    }

    /// Deploys the previous release by its digest, and proves it.
    fn redeploy(&self) -> Result<()> {
        let Some(release) = &self.base.release else {
            anyhow::bail!("Render does not tell the digest of what was live");
        };
        let remote = self.remote;
        remote.note(format!("going back to {}", release.words()));
        let mut fate = Fate::NotAsked;
        remote.ask(release, &mut fate)?;
        let Fate::Ours(mut deploy) = fate else { anyhow::bail!("Render took no deploy") };
        remote.follow(&mut deploy, self.timeout)?;
        proof::compare(&deploy, release)?;
        self.answers_as_before(&mut deploy)
    }

    /// The app answers the commit that it answered before; where it answered none, nothing is known.
    fn answers_as_before(&self, deploy: &mut Deploy) -> Result<()> {
        match &self.base.answered {
            Some(commit) => self.remote.prove(deploy, Some(commit)).map(drop),
            None => Ok(()),
        }
    }

    /// The image that the settings name: Render may have taken ours over from the deploy.
    fn restore_image(&self) -> Result<()> {
        if matches!(self.fate, Fate::NotAsked) {
            return Ok(());
        }
        let Some(before) = &self.base.service.image_path else { return Ok(()) };
        self.remote.store_image(before)
    }
}

impl Remote<'_> {
    /// Has the service's settings name this image, unless they do.
    pub(super) fn store_image(&self, image: &str) -> Result<()> {
        let now = self.api.service()?;
        let named = |path: &str| {
            let digest = image.split_once('@').map(|(_, digest)| digest);
            path == image || digest.is_some_and(|digest| image::is_pinned(path, image, digest))
        };
        if now.image_path.as_deref().is_some_and(named) {
            return Ok(());
        }
        let credential = now.registry_credential.as_ref().map(|credential| credential.id.as_str());
        let owner = if now.owner_id.is_empty() { &self.service.owner_id } else { &now.owner_id };
        let kept = self.api.set_image(owner, image, credential.filter(|id| !id.is_empty()))?;
        match kept.image_path {
            Some(path) if named(&path) => Ok(()),
            other => anyhow::bail!("Render keeps `{}` and not `{image}`", other.unwrap_or_default()),
        }
    }

    /// The page for whoever finishes by hand: what is so now, and what to do.
    pub(super) fn facts(&self, base: Option<&Base>, names: &[&str], left: &[String]) -> String {
        let (live, now) = self.api.within(self.pace.undo, || (self.api.live(), self.api.variables()));
        let mut lines = vec!["the service is NOT as it was:".to_owned()];
        lines.extend(left.iter().map(|left| format!("- {left}")));
        lines.push("what is so now:".to_owned());
        lines.push(match live {
            Ok(Some(live)) => {
                let release = Release::of(&live, None);
                let digest =
                    release.map_or_else(|| "of no known digest".to_owned(), |release| release.digest);
                format!("- live: deploy {}, {digest}", live.id)
            }
            Ok(None) => "- live: nothing".to_owned(),
            Err(error) => format!("- live: not known ({:#})", anyhow::Error::from(error)),
        });
        let differ = match (&now, base) {
            (Ok(now), Some(base)) => differing(names.iter().copied(), base, now),
            _ => names.to_vec(),
        };
        if !differ.is_empty() {
            lines.push(format!(
                "- these variables keep what this deploy wrote, and the next deploy of any kind takes them up: {}",
                differ.join(", ")
            ));
        }
        lines.extend(by_hand(self.dashboard().as_deref(), &self.repository(), base, &differ));
        lines.join("\n")
    }
}

/// What is left to do, and where; in a rehearsal, which has no dashboard, nothing.
pub(super) fn by_hand(
    dashboard: Option<&str>,
    repository: &str,
    base: Option<&Base>,
    differ: &[&str],
) -> Vec<String> {
    let Some(dashboard) = dashboard else {
        return vec!["nothing to do by hand: this service ends with the rehearsal".to_owned()];
    };
    let mut lines = vec!["by hand:".to_owned()];
    if base.is_some_and(|base| base.live.is_none()) {
        lines.push("- deploy again, once the cause is gone: the next deploy replaces this one".to_owned());
        lines.push(format!(
            "- or {dashboard} → Settings → Suspend Web Service: nothing is live then, as before"
        ));
        return lines;
    }
    if !differ.is_empty() {
        lines.push(format!("- {dashboard} → Environment: set {} back", differ.join(", ")));
    }
    if let Some(before) = base.and_then(|base| base.live.as_ref()) {
        lines.push(format!(
            "- `cargo xtask rollback --to {}`, from this machine also the variables",
            before.id
        ));
    }
    if let Some(before) = base.and_then(|base| base.release.as_ref()) {
        lines.push(format!(
            "- or {dashboard} → Manual Deploy → Deploy a specific image: `{repository}@{}`",
            before.digest
        ));
    } else {
        lines.push(format!("- look at {dashboard}"));
    }
    lines
}

fn superseded_by(other: &Deploy) -> anyhow::Error {
    let message =
        format!("{} is {}, which is neither this deploy nor the one before it", other.id, other.status);
    Failure::new(Exit::Superseded, message).into()
}

/// What to do with a deploy whose run was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Undo,
    /// The deploy goes on without us.
    Leave,
    /// Whoever asks twice wants no more of it.
    Stop,
}

impl Choice {
    /// Asks on a terminal; elsewhere there is nobody to ask.
    pub(super) fn on_terminal(ctx: &Context) -> Self {
        if ctx.is_rehearsal() || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Self::Undo;
        }
        // Not an event: it is a question, and its answer stands on the same line.
        drop(write!(
            std::io::stderr(),
            "\ninterrupted: undo this deploy, or leave it as it is? (Ctrl-C again stops at once) [U/l] "
        ));
        drop(std::io::stderr().flush());
        let (sender, answer) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            // Without an answer it is the default.
            drop(std::io::stdin().read_line(&mut line));
            drop(sender.send(line));
        });
        loop {
            match answer.recv_timeout(Interrupt::TICK) {
                Ok(line) => return Self::of(&line),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Self::Undo,
                Err(mpsc::RecvTimeoutError::Timeout) if ctx.interrupt.take() => return Self::Stop,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn of(line: &str) -> Self {
        if line.trim().to_ascii_lowercase().starts_with('l') { Self::Leave } else { Self::Undo }
    }
}
