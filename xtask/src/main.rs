//! `cargo xtask`: the pipeline that takes the service from commit to live.

mod command;
mod config;
mod context;
mod environment;
mod exit;
mod git;
mod http;
mod interrupt;
mod pipeline;
mod report;
mod secret;
mod steps;

fn main() {}
