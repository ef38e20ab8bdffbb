//! The foundation that all parts of the pipeline share.
//!
//! `exit`, `interrupt` and `leftovers` are about how a run ends; `secret` and `environment` about its input.
//! `command` and `runner` start children, `http` and `retry` send requests, `file` writes whole files.
//! `events` is what a run reports, in the form that a terminal, GitHub or a program reads; `findings` and `plain` read
//! what children print.

pub mod command;
pub mod encode;
pub mod environment;
pub mod events;
pub mod exit;
pub mod file;
pub mod findings;
pub mod http;
pub mod interrupt;
pub mod leftovers;
pub mod plain;
pub mod retry;
pub mod runner;
pub mod secret;
mod short;
mod size;

pub use short::short;
pub use size::size;

#[doc(hidden)]
pub use xshell;
