//! The service that the pipeline ships.
//!
//! `main` hands over to [`cli::run`]. From there: [`settings`] reads and judges the environment, `telemetry` wires
//! the log, the panic hook and Sentry, [`http`] holds the routes, [`board`] what the pipeline reported, and `serve`
//! ties them to a socket and to the signals that end a process.

pub mod board;
mod check;
pub mod cli;
mod clients;
mod healthcheck;
pub mod http;
pub mod identity;
mod serve;
pub mod settings;
pub mod sign;
mod telemetry;
