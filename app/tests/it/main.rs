//! The service from outside, mostly as a child process on loopback with a fake Sentry.
#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod board;
mod browser;
mod faults;
mod hosts;
mod process;
mod reporting;
mod reports;
mod routes;
mod settings;
mod support;
mod test_error;
