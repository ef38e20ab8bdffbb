//! The service that the pipeline ships.
//!
//! `main` calls [`cli::run`]. [`settings`] reads and checks the environment, `telemetry` sets up the log, the panic hook
//! and Sentry, [`http`] holds the routes, [`board`] keeps what the pipeline reported, and `serve` runs the server until a
//! signal ends it.

mod assets;
pub mod board;
mod check;
pub mod cli;
mod clients;
mod healthcheck;
pub mod http;
pub mod identity;
mod serve;
pub mod settings;
pub mod signature;
mod telemetry;
