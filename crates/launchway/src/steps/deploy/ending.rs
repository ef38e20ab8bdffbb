//! How a transaction ends that did not go well, and how one is taken up that lost its terminal.

use anyhow::{Context as _, Result};
use report::DeploymentOutcome;

use crate::context::Context;
use launchway_core::exit::{Exit, Failure};
use launchway_render::image;
use launchway_render::model::{EnvVar, Phase};

use super::apply::Fate;
use super::remote::Release;
use super::snapshot::{Snapshot, Standing};
use super::transaction::Transaction;
use super::undo::{Choice, Undo, Undone};

impl Transaction<'_> {
    /// Ends a deploy that failed, so that the service is as it was, and adds to the error what is not.
    pub(super) fn give_up(
        &mut self,
        error: anyhow::Error,
        ask: fn(&Context) -> Choice,
    ) -> (DeploymentOutcome, anyhow::Error) {
        let exit = Exit::of(&error);
        if self.written.is_empty() && matches!(self.fate, Fate::NotAsked) {
            return (DeploymentOutcome::Unchanged, error);
        }
        let names: Vec<String> = self.written.iter().map(|(name, _)| name.clone()).collect();
        let ended = |exit: Exit, more: &str| -> anyhow::Error {
            Failure::new(exit, format!("{error:#}\n{more}")).into()
        };
        if exit == Exit::Superseded {
            if names.is_empty() {
                return (DeploymentOutcome::Superseded, error);
            }
            let more = format!("the newer deploy runs with what this one wrote: {}", names.join(", "));
            return (DeploymentOutcome::Superseded, ended(Exit::Superseded, &more));
        }
        // From here on a signal means the undo.
        self.ctx.interrupt.take();
        let choice = if exit == Exit::Interrupted { ask(self.ctx) } else { Choice::Undo };
        if choice == Choice::Leave {
            let more = format!(
                "left as it is, unproved, with what this deploy wrote ({}){}",
                listed(&names),
                self.goes_on()
            );
            return (DeploymentOutcome::NotRolledBack, ended(Exit::Interrupted, &more));
        }
        let why = match self.fate.deploy() {
            Some(deploy) if exit != Exit::Interrupted => self.remote.explain(deploy, self.kind),
            _ => None,
        };
        self.keep(Standing::Failed);
        let error = match why {
            Some(why) => Failure::new(exit, format!("{error:#}: {why}")).into(),
            None => error,
        };
        let ended = |exit: Exit, more: &str| -> anyhow::Error {
            Failure::new(exit, format!("{error:#}\n{more}")).into()
        };
        let undone = match (&self.base, &self.release) {
            _ if choice == Choice::Stop => Undone::Left(vec![format!(
                "nothing was put back, because the run was stopped{}",
                self.goes_on()
            )]),
            (Some(base), Some(release)) => {
                let (remote, written, fate) = (&self.remote, &self.written, &mut self.fate);
                Undo { remote, base, written, release, fate, timeout: self.timeout }.run()
            }
            _ => Undone::Left(vec![format!(
                "what was before is not known on this machine, nor which of these variables the deploy wrote: {}",
                listed(&self.ctx.config.deploy.names())
            )]),
        };
        match undone {
            Undone::Restored => {
                let exit = match exit {
                    Exit::Interrupted | Exit::Missing => exit,
                    _ => Exit::DeployFailed,
                };
                (DeploymentOutcome::RolledBack, ended(exit, "the service is as it was"))
            }
            Undone::Superseded(newer) => {
                let more = format!("not undone any further, because of a newer deploy: {newer}");
                (DeploymentOutcome::Superseded, ended(Exit::Superseded, &more))
            }
            Undone::Left(left) => {
                // A signal during the undo ended that; the facts are worth the wait.
                self.ctx.interrupt.take();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let facts = self.remote.facts(self.base.as_ref(), &names, &left);
                (DeploymentOutcome::NotRolledBack, ended(Exit::NotRolledBack, &facts))
            }
        }
    }

    /// What becomes of our deploy without us.
    fn goes_on(&self) -> String {
        match &self.fate {
            Fate::NotAsked => "; no deploy was asked for".to_owned(),
            Fate::Unclear { .. } => "; whether Render took the deploy is not known".to_owned(),
            Fate::Ours(deploy) => format!("; `cargo xtask deploy --attach {}` follows the deploy", deploy.id),
        }
    }

    /// Takes up a deploy of ours that an earlier run asked for, with what that run kept of the one before.
    pub(super) fn attach(&mut self, id: &str) -> Result<()> {
        let release = self.release.as_ref().context("the plan has no release")?;
        let deploy = self.remote.api.deploy(id)?;
        let found = Release::of(&deploy, None);
        if !found.is_some_and(|found| release.is(&found.digest)) {
            let message = format!("deploy {id} is not one of {}", release.words());
            return Err(Failure::new(Exit::Usage, message).into());
        }
        let mut base = self.remote.base()?;
        let older = self.remote.api.deploys(self.remote.since)?.into_iter().find(|other| {
            other.created_at < deploy.created_at
                && matches!(other.status.phase(), Phase::Live | Phase::Deactivated)
        });
        let kept = match older {
            Some(older) => Snapshot::open(self.ctx, &older.id)?.map(|kept| (kept, older)),
            None => None,
        };
        match kept {
            Some((kept, older)) => {
                for (name, old) in kept.variables {
                    let now = base.value(&name).cloned();
                    if now == old {
                        continue;
                    }
                    base.variables.retain(|variable| variable.key != name);
                    let key = name.clone();
                    base.variables.extend(old.map(|value| EnvVar { key, value }));
                    self.written.push((name, now));
                }
                base.service.image_path =
                    Some(image::pinned(&self.remote.repository(), &kept.release.digest));
                base.answered.clone_from(&kept.release.commit);
                base.release = Some(kept.release);
                base.live = Some(older);
                self.base = Some(base);
            }
            None => self.remote.note(
                "what was live before is not known on this machine: a failure cannot be put back from here",
            ),
        }
        self.remote.note(format!("deploy {id}: {}", deploy.status));
        self.fate = Fate::Ours(deploy);
        Ok(())
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "no variable".to_owned() } else { names.join(", ") }
}
