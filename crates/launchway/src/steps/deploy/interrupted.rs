//! What an interrupted run does with its deploy.

use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc;

use launchway_core::interrupt::Interrupt;

use super::Kind;

/// What to do with the deploy of an interrupted run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Roll it back.
    RollBack,
    /// Leave the deploy running without us.
    Leave,
    /// Stop at once, after a second signal.
    Stop,
}

/// Decides what to do with the deploy of an interrupted run.
pub(super) type Ask = fn(Kind, &Interrupt) -> Choice;

impl Choice {
    /// Asks the user on a terminal; elsewhere, rolls back.
    pub(super) fn on_terminal(kind: Kind, interrupt: &Interrupt) -> Self {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Self::RollBack;
        }
        let question = match kind {
            Kind::Deploy => "roll back this deploy, or leave it running? (Ctrl-C again stops at once) [R/l]",
            Kind::Rollback => "undo this rollback, or leave it running? (Ctrl-C again stops at once) [U/l]",
        };
        // Not an event, because the answer must be on the same line.
        drop(write!(std::io::stderr(), "\ninterrupted: {question} "));
        drop(std::io::stderr().flush());
        let (sender, answer) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            // Without an answer, the default applies.
            drop(std::io::stdin().read_line(&mut line));
            drop(sender.send(line));
        });
        loop {
            match answer.recv_timeout(Interrupt::TICK) {
                Ok(line) => return Self::of(&line),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Self::RollBack,
                Err(mpsc::RecvTimeoutError::Timeout) if interrupt.take() => return Self::Stop,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn of(line: &str) -> Self {
        if line.trim().to_ascii_lowercase().starts_with('l') { Self::Leave } else { Self::RollBack }
    }
}
