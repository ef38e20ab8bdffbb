//! Whole commands: the pipeline's program, run on a copy of a small workspace.
#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod bare;
mod base_image;
mod children;
mod ci;
mod commands;
mod commit;
mod faults;
mod github;
mod init;
mod interrupt;
mod lint;
mod output;
mod pages;
mod parity;
mod registry;
mod rehearse;
mod repository;
mod reproducible;
mod rollback;
mod schema;
mod secrets;
mod shards;
mod smoke;
mod support;
mod test_coverage;
mod turns;
mod widths;
