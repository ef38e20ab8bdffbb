//! What every part of the pipeline needs and none of them owns.
//!
//! `exit` says how a run ends, `secret` what is never shown, `environment` what was set, `interrupt` when to stop;
//! `command` starts children, `http` asks servers, `file` writes whole files; `events` is what a run reports, with the
//! ways of showing it, `findings` and `plain` read what children print.

pub mod command;
pub mod encode;
pub mod environment;
pub mod events;
pub mod exit;
pub mod file;
pub mod findings;
pub mod http;
pub mod interrupt;
pub mod plain;
pub mod retry;
pub mod runner;
pub mod secret;
mod size;

pub use size::size;

#[doc(hidden)]
pub use xshell;
