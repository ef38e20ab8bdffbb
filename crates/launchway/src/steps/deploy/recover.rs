//! Handles a deploy that failed: rolls it back, leaves it alone, or reports what is left to do.

use launchway_report::DeploymentOutcome;

use launchway_core::exit::{Exit, Failure};

use super::Kind;
use super::automatic_rollback::{AutomaticRollback, RollbackOutcome};
use super::interrupted::{Ask, Choice};
use super::kept_release::Origin;
use super::ready::Ready;
use super::request::{State, Unproved};
use super::target::Target;

/// Rolls back what a failed deploy has changed, and adds to its error what it could not.
pub(super) fn recover(
    target: &Target<'_>,
    kind: Kind,
    ready: &Ready,
    failed: Unproved,
    ask: Ask,
) -> (DeploymentOutcome, anyhow::Error) {
    let Unproved { mut state, error } = failed;
    let exit = Exit::of(&error);
    if ready.written.is_empty() && matches!(state, State::NotRequested) {
        return (DeploymentOutcome::Unchanged, error);
    }
    let names: Vec<&str> = ready.written.iter().map(|(name, _)| name.as_str()).collect();
    let ended = |exit: Exit, error: &anyhow::Error, more: &str| -> anyhow::Error {
        Failure::new(exit, format!("{error:#}\n{more}")).into()
    };
    if exit == Exit::Superseded {
        if names.is_empty() {
            return (DeploymentOutcome::Superseded, error);
        }
        let more =
            format!("the newer deploy runs with the variables that this one wrote: {}", names.join(", "));
        return (DeploymentOutcome::Superseded, ended(exit, &error, &more));
    }
    // From here on a signal concerns the rollback.
    target.interrupt.take();
    let choice = if exit == Exit::Interrupted { ask(kind, &target.interrupt) } else { Choice::RollBack };
    if choice == Choice::Leave {
        let more = format!(
            "the {} was left unproved; variables that it wrote: {}{}",
            kind.word(),
            listed(&names),
            goes_on(kind, &state)
        );
        return (DeploymentOutcome::NotRolledBack, ended(Exit::Interrupted, &error, &more));
    }
    let mut error = error;
    if let State::Ours(deploy) = &state {
        if exit != Exit::Interrupted
            && let Some(why) = target.diagnose(deploy, kind)
        {
            error = Failure::new(exit, format!("{error:#}: {why}")).into();
        }
        ready.keep(target, deploy, Origin::Failed, None);
    }
    let outcome = match &ready.before {
        _ if choice == Choice::Stop => RollbackOutcome::Left(vec![format!(
            "nothing was restored, because the run was stopped{}",
            goes_on(kind, &state)
        )]),
        Some(before) => {
            let (written, release) = (&ready.written, &ready.release);
            AutomaticRollback { target, before, written, release, state: &mut state }.run()
        }
        None => RollbackOutcome::Left(vec![format!(
            "this machine knows neither the earlier state nor which of these variables were written: {}",
            target.config.deploy.names().join(", ")
        )]),
    };
    match outcome {
        RollbackOutcome::Restored => {
            let exit = match exit {
                Exit::Interrupted | Exit::Missing => exit,
                _ => Exit::DeployFailed,
            };
            let was_live = ready.before.as_ref().is_none_or(|before| before.live.is_some());
            let restored = match kind {
                Kind::Deploy if !was_live => "nothing is live, as before; the variables were restored",
                Kind::Deploy => "the service was rolled back",
                Kind::Rollback => "the rollback was undone: the service is as it was before",
            };
            (DeploymentOutcome::RolledBack, ended(exit, &error, restored))
        }
        RollbackOutcome::Superseded(newer) => {
            let undoing = match kind {
                Kind::Deploy => "the rollback",
                Kind::Rollback => "undoing the rollback",
            };
            let more = format!("{undoing} stopped at a newer deploy: {newer}");
            (DeploymentOutcome::Superseded, ended(Exit::Superseded, &error, &more))
        }
        RollbackOutcome::Left(left) => {
            // If a signal ended the rollback, the facts are still worth collecting.
            target.interrupt.take();
            let facts = target.facts(kind, ready.before.as_ref(), &names, &left);
            (DeploymentOutcome::NotRolledBack, ended(Exit::NotRolledBack, &error, &facts))
        }
    }
}

/// What becomes of our deploy without us.
fn goes_on(kind: Kind, state: &State) -> String {
    match (state, kind) {
        (State::NotRequested, _) => "; no deploy was requested".to_owned(),
        (State::Unclear { .. }, _) => "; whether Render accepted the deploy is unknown".to_owned(),
        (State::Ours(deploy), Kind::Deploy) => {
            format!("; `cargo xtask deploy --attach {}` watches the deploy", deploy.id)
        }
        // That command takes a deploy of this checkout's commit.
        (State::Ours(deploy), Kind::Rollback) => format!("; deploy {} continues on Render", deploy.id),
    }
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
