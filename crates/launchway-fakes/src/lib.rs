//! A registry, a Render, a Sentry and a board on loopback: what a rehearsal runs against, and what the clients' tests talk to.
//!
//! The fakes depend on no other crate of the workspace, so that a misreading of a protocol cannot agree with itself.
//! What each one simplifies is said in the documentation of its module.

pub mod board;
pub mod registry;
pub mod render;
mod script;
pub mod sentry;
mod server;

pub use script::{Reply, Request};
pub use server::{Exchange, hex, loopback_client};
