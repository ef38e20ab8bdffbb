//! A registry, a Render, a Sentry, a board and GitHub's Actions API on loopback, for rehearsals and for the clients' tests.
//!
//! The fakes depend on no other crate of the workspace, so that a misreading of a protocol cannot agree with itself.
//! The documentation of each module says what that fake simplifies.

pub mod board;
pub mod github;
pub mod registry;
pub mod render;
mod script;
pub mod sentry;
mod server;

pub use script::{Reply, Request};
pub use server::{Exchange, hex, loopback_client};
