//! The service from the outside: mostly as a child process on loopback, with a Sentry of our own.
#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod board;
mod browser;
mod canary;
mod faults;
mod hosts;
mod process;
mod reporting;
mod reports;
mod routes;
mod settings;
mod support;
